"""Which examples of a pool should join the training set: by failure direction, look-alikes, or a control's rule.

Failure directions: the K deepest of each class (Jain et al. 2022, arXiv 2206.14754, section 4). Look-alikes: the k
nearest of each failure among pool examples with its label (Singla et al. 2022, arXiv 2211.09859, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from failviz import _checks
from failviz._fingerprints import recognised
from failviz.annotations import Annotations
from failviz.evaluation import Evaluation
from failviz.interventions._candidates import (
    CONTROLS,
    Choice,
    called,
    group_of,
    lookalike_groups,
    n_distinct,
    take_turns,
)
from failviz.interventions._lookalikes import CHUNK_ROWS
from failviz.interventions.plan import DataMark, RetrainPlan
from failviz.interventions.weighting import corrected
from failviz.slices import Slice
from failviz.verification import slices_of

WORDS = {
    "direction": "failure score",
    "spotlight": "spotlight weight",
    "membership": "membership",
    "nearest": "look-alikes",
    "confidence": "least confident",
    "loss": "highest loss",
    "random": "random",
    "all": "the whole pool",
}
"""The rules of `select`, and what people call them."""


def select(
    pool: Evaluation,
    slices: Any = (),
    *,
    by: str,
    budget: int | None = None,
    of: Evaluation | None = None,
    k: int = 50,
    sample: float = 1.0,
    space: str | None = None,
    exclude: Iterable[str] = (),
    held_out: Evaluation | None = None,
    annotations: Annotations | None = None,
    controls: Sequence[str] = (),
    added_weight: float = 1.0,
    name: str | None = None,
    random_state: Any = 0,
    chunk_rows: int = CHUNK_ROWS,
) -> RetrainPlan:
    """Choose pool examples to train on, so that what a slice gets wrong is learnt.

    One budget rule for all: the slices take turns, each with its best candidate that is not taken yet, until
    `budget` examples are chosen; ties go by id. The answer depends on neither the order of the pool nor `chunk_rows`.

    Parameters
    ----------
    pool : Evaluation
        Examples with weak labels, which they bring along; embeddings may be memory-mapped.
    slices : finder, Slice, Verdicts, or nested sequence of these
        What to mend: slices of the pool (`finder.slices(pool)`, or the fitted finder itself), except for "nearest",
        where they are slices of `of`. For "confidence", "loss", "random" and "all" only their scopes count; without
        slices the whole pool is the scope.
    by : {"direction", "spotlight", "membership", "nearest", "confidence", "loss", "random", "all"}
        "direction": the highest score (of slices with a failure direction: the deepest toward failure).
        "spotlight": the largest weight, above 0. "membership": members, highest score first. "nearest": the k
        nearest, in L2, of each wrong member of the slice (of each member where none is wrong), among pool examples
        with that member's label; nearest first. "confidence": the least confident. "loss": the highest loss, by weak
        label. "random": the control. "all": everything.
    budget : int
        How many to add; None only with "all".
    of : Evaluation, optional
        Where the slices of "nearest" lie. Its members choose the additions, so they are noted in the plan, and
        `compare(..., used=plan)` leaves them out, right ones and wrong ones alike.
    k : int, default 50
        Neighbours of each example, for "nearest".
    sample : float in (0, 1], default 1
        Share of the members that "nearest" looks at, drawn at random, wrong ones and right ones in proportion. Below
        1 the others stay to judge by, where there is no second Evaluation for that.
    space : str, optional
        Embedding space of "nearest"; default the one in which the slice was found, else the first that both share.
    exclude : ids
        Pool examples that a person has thrown out; the next best take their places.
    held_out : Evaluation, optional
        Pool examples that are identical to one of these (in the first space that both share, up to rounding to
        float16) are left out.
    annotations : Annotations, optional
        Of the pool: an example that a person relabelled comes with that label, and counts as of that class. A slice
        of its new class has no score for it, so rules that go by score or weight pass it over.
    controls : sequence of {"random", "confidence", "loss", "all"}
        Arms to compare with: the same number of each label, chosen by another rule ("all": everything).
    added_weight : float, default 1
        How many training examples each added one counts as.
    name : str, optional
    random_state : int or RandomState, default 0
        Of "random" and of `sample`.
    chunk_rows : int
        Pool rows held in memory at once by "nearest".

    Returns
    -------
    RetrainPlan

    Raises
    ------
    ValueError, TypeError
        Labels missing, a budget above what there is to choose from, slices of another Evaluation, an unknown id.

    Examples
    --------
    >>> import numpy as np
    >>> pool = Evaluation(np.arange(8.0).reshape(-1, 1), labels=[0, 1] * 4, losses=np.arange(8) / 8)
    >>> list(select(pool, by="loss", budget=3).additions)
    ['7', '6', '5']
    """
    _check(pool, by, budget, of, held_out, controls)
    _checks.whole_number(k, "k", least=1)
    _checks.whole_number(chunk_rows, "chunk_rows", least=1)
    if isinstance(sample, bool) or not isinstance(sample, int | float | np.number) or not 0 < sample <= 1:
        raise ValueError(f"sample must be above 0 and at most 1, not {sample!r}.")
    labels = _labels(pool, annotations)
    is_open, cautions = _open_rows(pool, exclude, held_out)
    choice = Choice(pool, labels, is_open, check_random_state(random_state))
    given = [] if slices is None else slices_of(slices, pool if of is None else of)
    if by in ("direction", "spotlight", "membership", "nearest") and not given:
        raise ValueError(f"select by {by!r} needs slices: give slices, or the fitted finder.")
    used: tuple[str, ...] = ()
    if by == "nearest":
        assert of is not None
        groups, used, reason = lookalike_groups(choice, given, of, k, sample, space, budget, chunk_rows)
    else:
        wanted: list[Slice | None] = [*given] or [None]
        groups, reason = [group_of(choice, by, one, budget) for one in wanted], ""
    rows = take_turns(groups, budget, by)
    empty = [one.name for one, group in zip(given, groups, strict=False) if len(group.candidates) == 0]
    cautions += [f"there is no candidate for {name}" for name in empty]
    names = tuple(pool.class_name(c) for c in range(pool.n_classes))
    plan = RetrainPlan(
        name=name or _name(by, given, len(rows)),
        additions=_additions(pool, labels, rows),
        added_weight=added_weight,
        class_names=names,
        budget=budget,
        reason=reason or _reason(by, given, len(rows), n_distinct(groups, pool.n_examples)),
        cautions=tuple(cautions),
        targets=tuple(one.name for one in given),
        used_ids=used,
        used_hash=of.hash if of is not None and used else "",
        pool=DataMark.of(pool, by="select"),
    )
    arms = [_control(choice, rule, plan, labels[rows]) for rule in controls]
    return replace(plan, controls=tuple(arms))


def _check(pool: Any, by: Any, budget: Any, of: Any, held_out: Any, controls: Any) -> None:
    if not isinstance(pool, Evaluation):
        raise TypeError(f"select takes the pool as an Evaluation, not {type(pool).__name__}: see failviz.evaluate.")
    for name, value in (("of", of), ("held_out", held_out)):
        if not (value is None or isinstance(value, Evaluation)):
            raise TypeError(f"{name} must be an Evaluation, not {type(value).__name__}.")
    if not isinstance(by, str) or by not in WORDS:
        raise ValueError(f"by must be one of {', '.join(WORDS)}, not {by!r}.")
    if pool.labels is None:
        raise ValueError("select needs labels, and the pool has none: give it weak ones, such as its own predictions.")
    if not isinstance(controls, list | tuple) or any(rule not in CONTROLS for rule in controls):
        raise ValueError(f"controls must be a list out of {', '.join(CONTROLS)}, not {controls!r}.")
    need = {"confidence": "probs", "loss": "losses"}
    for rule in (by, *controls):
        if rule in need:
            pool.require(need[rule], by=f"select by {rule!r}")
    if by != "all":
        _checks.whole_number(budget, "budget", least=1)
    elif budget is not None:
        raise ValueError("select by 'all' takes everything, so it has no budget: leave it out.")
    if (by == "nearest") != (of is not None):
        what = (
            "needs of=, the Evaluation that its slices belong to"
            if of is None
            else "takes no of=: slices are the pool's"
        )
        raise ValueError(f"select by {by!r} {what}.")


def _labels(pool: Evaluation, annotations: Annotations | None) -> np.ndarray:
    """int64 (n,): the labels the examples come with, a person's where there is one."""
    assert pool.labels is not None
    said = {} if annotations is None else corrected(pool, annotations)
    if not said:
        return pool.labels
    labels = pool.labels.copy()
    labels[pool.rows_of(said)] = list(said.values())
    return labels


def _open_rows(pool: Evaluation, exclude: Iterable[str], held_out: Evaluation | None) -> tuple[np.ndarray, list[str]]:
    """Boolean (n,): rows that may be chosen; and what was left out, in words."""
    is_open, cautions = np.ones(pool.n_examples, dtype=bool), []
    is_open[pool.rows_of(exclude)] = False
    if held_out is not None:
        shared = [space for space in pool.spaces if space in held_out.spaces]
        if not shared:
            raise ValueError(
                f"the pool and held_out share no space ({pool.spaces}, {held_out.spaces}): use one encoder."
            )
        if pool.space(shared[0]).shape[1] != held_out.space(shared[0]).shape[1]:
            raise ValueError(f"space {shared[0]!r} has different dimensions in the pool and held_out: use one encoder.")
        mine, theirs = pool.row_fingerprints(shared[0]), held_out.row_fingerprints(shared[0])
        # A rounded copy is recognised by what is rare; an exact one is left out however often it occurs.
        is_same = recognised(mine, theirs).is_seen | np.isin(mine[:, 0], theirs[:, 0])
        if n_same := int(is_same.sum()):
            are = "example is" if n_same == 1 else "examples are"
            cautions.append(f"{n_same:,} pool {are} left out, as identical to a held-out one")
            is_open &= ~is_same
    return is_open, cautions


def _control(choice: Choice, rule: str, plan: RetrainPlan, labels: np.ndarray) -> RetrainPlan:
    """An arm with the same number of each label, chosen by a rule that knows nothing of the slices."""
    if rule == "all":
        rows = choice.by_rule("all", np.flatnonzero(choice.is_open), None)
        why = "Everything the pool has: does choosing matter at all?"
    else:
        counts = np.bincount(labels)
        parts = [
            choice.by_rule(rule, np.flatnonzero(choice.is_open & (choice.labels == c)), int(counts[c]))
            for c in np.flatnonzero(counts)
        ]
        rows = np.concatenate(parts)
        why = f"The same number of each label, {WORDS[rule]}: what the choice is compared with."
    return replace(
        plan,
        name=rule,
        additions=_additions(choice.pool, choice.labels, rows),
        budget=None if rule == "all" else plan.budget,
        reason=why,
        used_ids=(),
        used_hash="",
    )


def _additions(pool: Evaluation, labels: np.ndarray, rows: np.ndarray) -> dict[str, int]:
    return dict(zip(pool.ids[rows].tolist(), labels[rows].tolist(), strict=True))


def _name(by: str, slices: Sequence[Slice], n: int) -> str:
    return f"{called(slices) if slices else 'the pool'}: {n:,} by {WORDS[by]}"


def _reason(by: str, slices: Sequence[Slice], n: int, n_candidates: int) -> str:
    where = f"the scope of {called(slices)}" if slices else "the pool"
    rules = {
        "direction": "that lie furthest toward failure",
        "spotlight": "deepest in the spotlight",
        "membership": "that belong to the slice",
        "confidence": "the model is least sure of",
        "loss": "with the highest loss, by the labels they came with",
        "random": "drawn at random",
        "all": "all there are",
    }
    return f"{n:,} of {n_candidates:,} pool examples in {where}: those {rules[by]}."
