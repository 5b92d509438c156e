"""Did retraining help, and whom did it hurt: models compared on the same examples, group by group.

Every example is its own control, so only those whose outcome changed say anything: exact test of McNemar 1947
(Psychometrika 12:153), percentile bootstrap of the pairs (Efron & Tibshirani 1993, An Introduction to the Bootstrap,
chapter 13), adjusted for the groups compared together (Benjamini & Hochberg 1995, JRSS B 57:289).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

from failviz import _checks, _statistics
from failviz.evaluation import Evaluation
from failviz.interventions.changes import BEFORE, BETTER, UNCLEAR, WORSE, Change, Comparison
from failviz.interventions.plan import RetrainPlan
from failviz.slices import Slice
from failviz.verification import SEEN_LIMIT, UNWEIGHTED, share_seen, slices_of

GROUPS = ("overall", "slice", "class")
"""The kinds of group, in the order of the rows."""

BENT = "only wrong examples are left out, so the old model looks better than it was: part of a loss is chance"


def mcnemar(fixed: int, broken: int) -> float:
    """Probability of counts at least this uneven, were turning right and turning wrong equally likely; exact.

    >>> round(mcnemar(fixed=10, broken=2), 4), mcnemar(0, 0)
    (0.0386, 1.0)
    """
    return min(1.0, 2 * float(stats.binom.cdf(min(fixed, broken), fixed + broken, 0.5)))


@lru_cache(maxsize=4096)  # many classes share a few counts
def change_interval(
    fixed: int, broken: int, n: int, n_resamples: int = 10_000, random_state: int = 0
) -> tuple[float, float]:
    """95% interval of the change of the error rate, (broken - fixed) / n, by a bootstrap of the pairs.

    The change of a resample depends on its counts of examples fixed, broken and neither only, and these are
    multinomial: they are drawn, not the rows, so that equal counts have equal intervals. Half an example is added to
    fixed and to broken, one to neither (Agresti & Min 2005, Statistics in Medicine 24:729), without which the interval
    of a few examples that all changed, or of none that did, would be a point. (NaN, NaN) when n is zero.

    >>> [round(x, 2) for x in change_interval(fixed=30, broken=8, n=100)]
    [-0.33, -0.1]
    """
    if n == 0:
        return math.nan, math.nan
    shares = np.array([fixed + 0.5, broken + 0.5, n - fixed - broken + 1]) / (n + 2)
    drawn = np.random.default_rng(random_state).multinomial(n, shares, size=n_resamples)
    low, high = np.percentile((drawn[:, 1] - drawn[:, 0]) / n, [2.5, 97.5])
    return float(low), float(high)


def compare(
    before: Evaluation,
    after: Any,
    slices: Any = (),
    *,
    q: float = 0.1,
    n_resamples: int = 10_000,
    random_state: Any = 0,
    used: RetrainPlan | Iterable[object] = (),
) -> Comparison:
    """Compare retrained models with the old one on the same examples: all of them, slice by slice, class by class.

    Which examples a slice holds is settled on `before`, so the same ones are compared. Of the held-out rows of an arm
    that are called better or worse, a share of at most `q` is expected to be chance, where the tests rise and fall
    together or are independent, and neither model was trained on these examples.

    Parameters
    ----------
    before : Evaluation
        The old model, with labels and predictions. Its weights are not used: each row counts once.
    after : Evaluation, array (n,), or dict of {arm name: either}
        The retrained model, called "after", or several arms. An Evaluation holds the same ids, in any order, with the
        same labels; an array holds predicted classes in the rows of `before`.
    slices : fitted finder, Slice, Verdicts, or sequence of these
        Of `before`; a finder's slices are taken on it.
    q : float
        False-discovery rate, in (0, 1).
    n_resamples : int
        Bootstrap resamples behind each interval.
    random_state : int, RandomState or None
        Seeds the bootstrap; the order of rows, slices and arms does not change an interval.
    used : RetrainPlan or ids
        Examples of `before` that helped to choose what was added: left out of every count, and `note` says how many.
        Of a plan, its `used_ids`, if `before` is the Evaluation that they belong to; a plan that trains on `before`
        itself marks every row.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        When an arm holds other examples or other labels, a slice belongs to another Evaluation, labels or predictions
        are missing, there is no arm, or an id is unknown.

    Notes
    -----
    A slice that these examples chose was picked for its errors, and errors that came by chance do not come again: part
    of its gain would be there without retraining. Its rows are marked, and are not counted when the others are
    adjusted. That is so of slices drawn by hand, of those that read the outcome or the old model's predictions, and of
    those whose finder has seen more than 1% of these rows. Where all of `used` were wrong before, the reverse holds of
    the groups they are left out of. `Comparison.between` two arms suffers from neither.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz import Evaluation
    >>> x, labels = np.eye(40), np.arange(40) % 2
    >>> before = Evaluation(x, labels=labels, predictions=np.where(np.arange(40) < 20, 1 - labels, labels))
    >>> plan, random = np.where(np.arange(40) < 4, 1 - labels, labels), before.predictions
    >>> comparison = compare(before, {"plan": plan, "random": random})
    >>> comparison[0].words
    '50% → 10% (−40 pts [−53, −23]), better'
    >>> [change.verdict for change in comparison if change.group == "overall"]
    ['better', 'no clear change']
    """
    _checks.fraction(q, "q")
    _checks.whole_number(n_resamples, "n_resamples", least=1)
    if not isinstance(before, Evaluation):
        raise TypeError(f"compare takes the Evaluation before, not {type(before).__name__}.")
    before.require("labels", "predictions", by="compare")
    given = after if isinstance(after, Mapping) else {"after": after}
    if not given:
        raise ValueError("after is an empty dict: give at least one retrained model, {name: evaluation}.")
    arms = dict(zip(_checks.unique_names(list(given), "arm names"), given.values(), strict=True))
    is_used, notes = _used(used, before)
    if any((e.weights != e.weights[0]).any() for e in (before, *arms.values()) if isinstance(e, Evaluation)):
        notes.append(UNWEIGHTED)
    from sklearn.utils import check_random_state

    paired = _Paired(
        groups=_groups(before, slices_of(slices, before), is_used, _trained_on(used, before)),
        before=before.errors,
        wrong={arm: _wrong(arm, one, before) for arm, one in arms.items()},
        note="; ".join(notes),
        level=q,
        n_resamples=int(n_resamples),
        seed=int(check_random_state(random_state).randint(2**31 - 1)),
    )
    return paired.compared(tuple(arms))


@dataclass(frozen=True, eq=False)
class _Group:
    """Rows compared together, why these examples chose them, and how leaving some out bent what is left."""

    kind: str
    name: str
    slice: Slice | None
    rows: np.ndarray
    chosen: str
    bent: str


@dataclass(frozen=True, eq=False)
class _Paired:
    """Right and wrong of every example before and in every arm (n,), and the groups to compare."""

    groups: list[_Group]
    before: np.ndarray
    wrong: Mapping[str, np.ndarray]
    note: str
    level: float
    n_resamples: int
    seed: int

    def compared(self, arms: tuple[str, ...], baseline: str | None = None) -> Comparison:
        """The arms against before, or against another arm."""
        columns = [self._changes(arm, baseline) for arm in arms]
        order = sorted(range(len(self.groups)), key=lambda i: _place(columns[0][i]))
        changes = tuple(column[i] for i in order for column in columns)
        return Comparison(changes, arms, self.note, BEFORE if baseline is None else baseline, self)

    def _changes(self, arm: str, baseline: str | None) -> list[Change]:
        """One arm's Change of every group."""
        was = self.before if baseline is None else self.wrong[baseline]
        now = self.wrong[arm]
        # Two retrained models share neither the luck of the old one nor the bend of what was left out.
        bent = [group.bent if baseline is None else "" for group in self.groups]
        held_out = np.array([not (group.chosen or b) for group, b in zip(self.groups, bent, strict=True)])
        fixed, broken = (
            np.array([int(turned[group.rows].sum()) for group in self.groups]) for turned in (was & ~now, now & ~was)
        )
        p = np.array([mcnemar(f, b) for f, b in zip(fixed.tolist(), broken.tolist(), strict=True)])
        adjusted = _statistics.benjamini_hochberg(p)
        adjusted[held_out] = _statistics.benjamini_hochberg(p[held_out])
        changes = []
        for i, group in enumerate(self.groups):
            n, turned_right, turned_wrong = len(group.rows), int(fixed[i]), int(broken[i])
            n_wrong = int(was[group.rows].sum())
            low, high = change_interval(turned_right, turned_wrong, n, self.n_resamples, self.seed)
            clear = BETTER if turned_right > turned_wrong else WORSE
            luck = f"{group.chosen}: part of the gain is chance" if group.chosen and baseline is None else group.chosen
            changes.append(
                Change(
                    arm=arm,
                    group=group.kind,
                    name=group.name,
                    slice=group.slice,
                    n=n,
                    before=n_wrong / n if n else math.nan,
                    after=(n_wrong - turned_right + turned_wrong) / n if n else math.nan,
                    change=(turned_wrong - turned_right) / n if n else math.nan,
                    low=low,
                    high=high,
                    fixed=turned_right,
                    broken=turned_wrong,
                    p=float(p[i]),
                    q=float(adjusted[i]),
                    verdict=clear if adjusted[i] <= self.level else UNCLEAR,
                    held_out=bool(held_out[i]),
                    caution="; ".join(part for part in (luck, bent[i]) if part),
                )
            )
        return changes


def _place(change: Change) -> tuple[int, bool, float, str]:
    """Where a row of the first arm stands: by kind, then what got worse, then what has no examples."""
    return GROUPS.index(change.group), not change.n, -change.change if change.n else 0.0, change.name


def _groups(before: Evaluation, slices: list[Slice], is_used: np.ndarray, trained_on: str) -> list[_Group]:
    """All examples, the slices and the classes, less the rows used (n,)."""
    labels = before.labels
    assert labels is not None
    cache: dict[Any, Any] = {}
    everything = np.ones(before.n_examples, dtype=bool)
    members: list[tuple[str, str, Slice | None, np.ndarray, str]] = [
        ("overall", "all examples", None, everything, trained_on)
    ]
    members += [("slice", one.name, one, one.is_member, trained_on or _chosen_by(one, before, cache)) for one in slices]
    members += [("class", before.class_name(c), None, labels == c, trained_on) for c in np.unique(labels).tolist()]
    only_wrong = before.errors[is_used].all()
    return [
        _Group(
            kind, name, one, np.flatnonzero(mask & ~is_used), why, BENT if only_wrong and is_used[mask].any() else ""
        )
        for kind, name, one, mask, why in members
    ]


def _chosen_by(one: Slice, before: Evaluation, cache: dict[Any, Any]) -> str:
    """How these examples chose the slice; empty when they did not."""
    if one.is_drawn:
        return "drawn while looking at these examples"
    if one.uses_outcome:
        return "chosen by what the old model got wrong here"
    if "prediction" in one.reads:
        return "chosen by what the old model said here"
    return "found on these examples" if share_seen(one, before, cache) > SEEN_LIMIT else ""


def _trained_on(plan: Any, before: Evaluation) -> str:
    """What to say where a plan trains on the very examples that judge it; empty where not."""
    marks = (plan.train, plan.pool) if isinstance(plan, RetrainPlan) else ()
    return "trained on these examples" if any(mark is not None and mark.hash == before.hash for mark in marks) else ""


def _used(used: RetrainPlan | Iterable[object], before: Evaluation) -> tuple[np.ndarray, list[str]]:
    """Boolean (n,): rows to leave out; and what to say of them."""
    is_used = np.zeros(before.n_examples, dtype=bool)
    if isinstance(used, RetrainPlan) and used.used_ids and used.used_hash != before.hash:
        return is_used, ["examples of another Evaluation chose the additions, so none is left out here"]
    is_used[before.rows_of(used.used_ids if isinstance(used, RetrainPlan) else used)] = True
    n = int(is_used.sum())
    are = "example that chose the additions is" if n == 1 else "examples that chose the additions are"
    return is_used, [f"{n:,} {are} left out"] if n else []


def _wrong(arm: str, after: Any, before: Evaluation) -> np.ndarray:
    """Boolean (n,): what an arm gets wrong, in the rows of `before`; other data are refused."""
    labels = before.labels
    assert labels is not None
    if not isinstance(after, Evaluation):
        name = f"the predictions of arm {arm!r}"
        n_classes = None if before.class_names is None and before.probs is None else before.n_classes
        given = _checks.classes(after, name, before.n_examples)
        wrong: np.ndarray = _checks.class_numbers(given, name, before.class_names, n_classes) != labels
        return wrong
    after.require("labels", "predictions", by=f"compare, for arm {arm!r},")
    assert after.labels is not None
    here, there = dict.fromkeys(before.ids.tolist()), dict.fromkeys(after.ids.tolist())
    for example in here:
        if example not in there:
            raise ValueError(f"arm {arm!r} lacks the example with id {example!r}: compare needs the same examples.")
    for example in there:
        if example not in here:
            raise ValueError(
                f"arm {arm!r} has an example with id {example!r}, which is not in the Evaluation before: "
                "compare needs the same examples."
            )
    rows = after.rows_of(before.ids)
    ours, theirs = labels, after.labels[rows]
    if before.class_names is not None and after.class_names is not None:
        ours, theirs = (np.array(e.class_names, dtype=object)[x] for e, x in ((before, ours), (after, theirs)))
    differ = np.flatnonzero(ours != theirs)
    if len(differ):
        row = differ[0]
        raise ValueError(
            f"arm {arm!r} has the label {after.class_name(after.labels[rows[row]])!r} for example {before.ids[row]!r}, "
            f"which was {before.class_name(labels[row])!r} before: compare needs the same labels."
        )
    return after.errors[rows]
