"""Training examples that should count more, and labels that a person has corrected."""

from __future__ import annotations

from typing import Any

import numpy as np

from failviz.annotations import Annotations
from failviz.evaluation import Evaluation
from failviz.interventions.plan import DataMark, RetrainPlan
from failviz.slices import Slice
from failviz.verification import slices_of

SCHEMES = ("double", "balanced", "soft")


def upweight(evaluation: Evaluation, slices: Any, scheme: str = "double", *, name: str | None = None) -> RetrainPlan:
    """Let the training examples of some slices count more (Jain et al. 2022, arXiv 2206.14754, section 4).

    Parameters
    ----------
    evaluation : Evaluation
        Of the training data.
    slices : finder, Slice, or nested sequence of these
        Of the training data: `finder.slices(evaluation)`, or the fitted finder itself.
    scheme : {"double", "balanced", "soft"}
        "double": members count twice, as in the paper. "balanced": members weigh as much in all as the rest of
        their scope (never less than 1 each). "soft": between 1 and 2, by soft membership; where that is only 0 or
        1 and scores say more, by the rank of the score within the scope. An example in several slices takes its
        largest factor.
    name : str, optional

    Returns
    -------
    RetrainPlan
        With `weights`; what stays at 1 is left out.

    Raises
    ------
    ValueError
        An unknown scheme, slices of another Evaluation, or slices without members.

    Examples
    --------
    >>> import numpy as np
    >>> train = Evaluation(np.eye(3), labels=[0, 0, 1])
    >>> hard = Slice.drawn(train, ["0"], "hard")
    >>> dict(upweight(train, hard).weights)
    {'0': 2.0}
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, not {scheme!r}.")
    _check_labelled(evaluation, by="upweight")
    given = slices_of(slices, evaluation)
    if not given:
        raise ValueError("upweight needs at least one slice, and it got none.")
    factors = np.ones(evaluation.n_examples)
    for one in given:
        factors = np.maximum(factors, _factors(one, scheme))
    heavier = np.flatnonzero(factors > 1)
    if len(heavier) == 0:
        if not any(one.weights.any() for one in given):
            raise ValueError("none of the slices has a training example in it, so there is nothing to weigh.")
        raise ValueError(f"by scheme {scheme!r} no example of these slices counts more than others: use 'double'.")
    called = given[0].name if len(given) == 1 else f"{len(given)} slices"
    how = {
        "double": "count twice",
        "balanced": "weigh as much as the rest of their class",
        "soft": "count up to twice, by how typical they are",
    }
    return RetrainPlan(
        name=name or f"{called}: {scheme} weight",
        weights=dict(zip(evaluation.ids[heavier].tolist(), factors[heavier].tolist(), strict=True)),
        class_names=_class_names(evaluation),
        reason=f"{len(heavier):,} training examples of {called} {how[scheme]}.",
        targets=tuple(one.name for one in given),
        train=DataMark.of(evaluation, by="upweight"),
    )


def _factors(one: Slice, scheme: str) -> np.ndarray:
    """float64 (n,), at least 1: how many times each example counts."""
    member, scope = one.is_member, one.in_scope
    if scheme == "double":
        return np.where(member, 2.0, 1.0)
    if scheme == "balanced":
        n_in, n_rest = int(member.sum()), int((scope & ~member).sum())
        return np.where(member, max(1.0, n_rest / n_in), 1.0) if n_in else np.ones(len(member))
    # Ties share the mean of their ranks, so that the order of the rows does not show.
    _, where, counts = np.unique(one.scores[scope], return_inverse=True, return_counts=True)
    if len(counts) <= 2 or not np.isin(one.weights, (0.0, 1.0)).all() or not member.any():
        return 1.0 + one.weights
    last = np.cumsum(counts)
    ranks = (last - (counts + 1) / 2)[where]
    factors = np.ones(len(member))
    factors[scope] = 1.0 + ranks / max(1, len(where) - 1)
    return factors


def relabel(evaluation: Evaluation, annotations: Annotations, *, name: str | None = None) -> RetrainPlan:
    """Train with the labels that a person has corrected.

    Parameters
    ----------
    evaluation : Evaluation
        Of the training data.
    annotations : Annotations
        About it: its relabels are taken.
    name : str, optional

    Returns
    -------
    RetrainPlan
        With `relabels`.

    Raises
    ------
    ValueError
        When nothing was relabelled, or the annotations speak of other examples or classes.

    Examples
    --------
    >>> import numpy as np
    >>> train = Evaluation(np.eye(3), labels=[0, 0, 1], class_names=["cat", "dog"])
    >>> notes = Annotations(":memory:", train)
    >>> notes.relabel(["1"], "dog")
    >>> dict(relabel(train, notes).relabels)
    {'1': 1}
    """
    _check_labelled(evaluation, by="relabel")
    said = corrected(evaluation, annotations)
    if not said:
        raise ValueError("nothing was relabelled: see Annotations.relabel.")
    noun = "training example" if len(said) == 1 else "training examples"
    return RetrainPlan(
        name=name or f"{len(said):,} relabelled",
        relabels=said,
        class_names=_class_names(evaluation),
        reason=f"{len(said):,} {noun} with the label that a person gave.",
        train=DataMark.of(evaluation, by="relabel"),
    )


def corrected(evaluation: Evaluation, annotations: Annotations) -> dict[str, int]:
    """Id to class number of every example that a person relabelled; refused where they are about other data."""
    if not isinstance(annotations, Annotations):
        raise TypeError(f"annotations must be an Annotations, not {type(annotations).__name__}.")
    about = annotations.evaluation
    if about is not None and about.hash != evaluation.hash:
        raise ValueError(
            f"the annotations are about another Evaluation ({about.hash[:8]}), not this one ({evaluation.hash[:8]})."
        )
    said = annotations.relabels
    evaluation.rows_of(said)
    number = {name: c for c, name in enumerate(_class_names(evaluation))}
    strange = [label for label in said.values() if label not in number]
    if strange:
        raise ValueError(f"there is no class {strange[0]!r} in this Evaluation: the classes are {', '.join(number)}.")
    return {example: number[label] for example, label in said.items()}


def _class_names(evaluation: Evaluation) -> tuple[str, ...]:
    return tuple(evaluation.class_name(c) for c in range(evaluation.n_classes))


def _check_labelled(evaluation: Evaluation, by: str) -> None:
    if not isinstance(evaluation, Evaluation):
        raise TypeError(f"{by} takes the training data as an Evaluation, not {type(evaluation).__name__}.")
    evaluation.require("labels", by=by)
