"""Where failures might lie within one scope: what several methods propose, and the hidden groups that grow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from failviz import _checks
from failviz.discovery.base import SliceFinder
from failviz.discovery.direction_lda import Discriminant, divided
from failviz.discovery.directions import MOST_DIRECTIONS, FailureDirections
from failviz.discovery.hidden_groups import Whitened, find_groups
from failviz.discovery.mixture import ErrorMixture
from failviz.discovery.predicates import Column, why_unusable
from failviz.discovery.sliceline import SliceLine
from failviz.discovery.spotlight import Spotlight
from failviz.discovery.svm import Hyperplane
from failviz.discovery.tree import FailureTree
from failviz.discovery.tree_fit import words_of
from failviz.discovery.whitening import Whitening
from failviz.evaluation import Evaluation
from failviz.slices import Scope, Slice

HIDDEN_GROUP, DIRECTION = "hidden group", "failure direction"
FEWEST = 5
"""Errors, and correct examples, below which nothing but one direction is proposed within a scope."""
MOST_GROUPS = 12
"""Hidden groups that one scope may propose."""
MOST_ROWS, MOST_SVM_ROWS = 20_000, 5_000
"""That a search, and one for directions of the SVM, looks at within one scope; what it proposes is judged on all."""
DIVISIONS = range(1, MOST_DIRECTIONS + 1)
"""Into how many groups errors are divided, each with a direction of the SVM, and a discriminant, of its own."""
ERRORS_FOR_FOUR = 600
"""That a search shows the SVM, below which it divides them into three: a fourth direction of few displaces others."""
_TOP_SHARES = (0.1, 0.2, 0.35)
_RARE = 0.1
MAX_CATEGORIES = 50
_SURE, _UNSURE, _IF_RIGHT = 0.8, 0.03, 0.6  # how surely the top belongs to a group at first, the others, correct ones


@dataclass(frozen=True, eq=False)
class UnitPlane:
    """A direction (d,) among whitened unit rows, as `FailureDirections` has them."""

    whitening: Whitening
    coef: np.ndarray

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        scores: np.ndarray = self.whitening(rows) @ self.coef
        return scores


@dataclass(frozen=True, eq=False)
class Candidate:
    """A place where failures might lie.

    Attributes
    ----------
    scope : Scope
    method : str
        Who proposed it.
    place : Hyperplane, UnitPlane, or (fitted finder, number of its slice)
        A hyperplane gives log-odds of belonging, a unit plane only ranks. A finder takes a view of the scope.
    name, rule : str or None
        Where the method has words for it.
    """

    scope: Scope
    method: str
    place: Hyperplane | UnitPlane | tuple[SliceFinder, int]
    name: str | None = None
    rule: str | None = None

    @property
    def is_group(self) -> bool:
        """Whether it was fitted as a cloud of its own, not as a place of many errors."""
        return self.method == HIDDEN_GROUP

    @property
    def has_border(self) -> bool:
        """Whether its members mean something. A direction ranks: where to cut it is another question."""
        return self.method != DIRECTION

    @property
    def direction(self) -> np.ndarray | None:
        """(d,), in the coordinates of its own method; None where there is none."""
        if isinstance(self.place, tuple):
            finder, number = self.place
            return finder.direction_of(number) if isinstance(finder, FailureDirections) else None
        return self.place.coef


def placed(candidates: Sequence[Candidate], view: Evaluation, space: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores, and weights in [0, 1], of the examples of a view by each candidate, each float64 (m,)."""
    slices: dict[int, list[Slice]] = {}
    places = []
    for one in candidates:
        if isinstance(one.place, tuple):
            finder, number = one.place
            if id(finder) not in slices:
                slices[id(finder)] = finder.slices(view)
            found = slices[id(finder)][number]
            places.append((found.scores, found.weights))
        else:
            scores = np.concatenate([one.place(rows) for _, rows in _checks.row_chunks(view.space(space))])
            places.append((scores, expit(scores)))
    return places


def view_of(
    evaluation: Evaluation,
    rows: np.ndarray,
    space: str,
    *,
    is_error: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> Evaluation:
    """Some rows, as if all were of one class: what candidates are applied to and, with their errors, found in."""
    return Evaluation(
        {space: evaluation.space(space)[rows]},
        labels=np.zeros(len(rows), dtype=np.int64),
        predictions=None if is_error is None else is_error.astype(np.int64),
        losses=None if is_error is None or evaluation.losses is None else evaluation.losses[rows],
        weights=weights,
        metadata=None if evaluation.metadata is None else evaluation.metadata.iloc[rows],
        feature_names=evaluation.feature_names(space),
    )


def svm_divisions(is_error: np.ndarray, share: float) -> int:
    """Into how many groups the SVM divides the errors of a scope (n,) at most, of which searches see a share.

    Decided once for all searches of the scope, since what one of them finds is looked for by the others.
    """
    n, n_errors = share * len(is_error), share * int(is_error.sum())
    if n > MOST_SVM_ROWS:
        n_errors = min(n_errors, MOST_SVM_ROWS * max(_RARE, n_errors / n))
    return MOST_DIRECTIONS if n_errors >= ERRORS_FOR_FOUR else MOST_DIRECTIONS - 1


def propose(
    evaluation: Evaluation,
    rows: np.ndarray,
    scope: Scope,
    space: str,
    seed: int,
    n_divisions: int = MOST_DIRECTIONS - 1,
) -> list[Candidate]:
    """Candidates found in some rows (m,) of a scope; none where these are all errors, or all correct.

    The SVM divides errors into as many as `n_divisions`. With 1, or where few are errors or few are not, only the
    discriminant toward all errors.
    """
    everyone, rows = evaluation.errors[rows], _thinned(rows, evaluation.errors[rows], MOST_ROWS)
    is_error = evaluation.errors[rows]
    fewest = min(is_error.sum(), (~is_error).sum())
    if fewest == 0:
        return []
    n_divisions = 1 if fewest < FEWEST else n_divisions
    counts = _counts(everyone, is_error)
    view = view_of(evaluation, rows, space, is_error=is_error, weights=counts)
    planes = _discriminants(view.space(space), is_error, DIVISIONS[:1] if n_divisions == 1 else DIVISIONS, seed)
    proposed = [Candidate(scope, DIRECTION, plane) for plane in planes]
    if n_divisions == 1:
        return proposed
    for finder in _finders(view, space, seed, n_divisions, spans_classes=scope == "all"):
        names = finder.fit(_seen_by(finder, evaluation, rows, view)).feature_names_in_
        for number, one in enumerate(finder.slices(view)):
            proposed.append(Candidate(scope, one.method, (finder, number), _words(one, names), one.rule))
    starts = [
        start
        for one, (scores, weights) in zip(proposed, placed(proposed, view, space), strict=True)
        for start in _starts(scores, weights if one.has_border else None, is_error)
    ]
    assert evaluation.labels is not None
    strata = np.unique(evaluation.labels[rows], return_inverse=True)[1]
    start = np.array(starts).reshape(-1, len(rows)).T
    groups = find_groups(Whitened.of(view.space(space)), is_error, strata, start, counts)
    return [Candidate(scope, HIDDEN_GROUP, plane) for plane in groups[:MOST_GROUPS]] + proposed


def _seen_by(finder: SliceFinder, evaluation: Evaluation, rows: np.ndarray, view: Evaluation) -> Evaluation:
    if isinstance(finder, ErrorMixture):  # reads the classes
        return evaluation.take(rows)
    if isinstance(finder, FailureDirections):
        return view.take(_thinned(np.arange(len(rows)), view.errors, MOST_SVM_ROWS))
    return view


def _thinned(rows: np.ndarray, is_error: np.ndarray, most: int) -> np.ndarray:
    """At most so many rows, evenly through them, which stand in an order of their own.

    Errors and correct examples in proportion; where either are rare, all of them up to a tenth of `most`.
    """
    if len(rows) <= most:
        return rows
    share = np.clip(is_error.mean(), _RARE, 1 - _RARE)
    sides = ((rows[is_error], round(most * share)), (rows[~is_error], most - round(most * share)))
    kept = [side[np.arange(n) * len(side) // n] if len(side) > n else side for side, n in sides]
    return np.sort(np.concatenate(kept))


def _counts(everyone: np.ndarray, is_error: np.ndarray) -> np.ndarray | None:
    """How many examples each of those that were kept stands for, float (n,); None where all stand for as many."""
    of_errors, of_others = everyone.sum() / is_error.sum(), (~everyone).sum() / (~is_error).sum()
    if np.isclose(of_errors, of_others, rtol=0.01):
        return None
    return np.where(is_error, of_errors, of_others)


def _words(one: Slice, names: Sequence[str] | None) -> str | None:
    """Its rule as people say it, where it has one; the class, of which there is but one here, goes without saying."""
    return words_of(one.stats["path"], names) if "path" in one.stats else one.name if one.rule else None


def _finders(view: Evaluation, space: str, seed: int, n_divisions: int, *, spans_classes: bool) -> list[SliceFinder]:
    common: dict[str, Any] = {"space": space, "random_state": seed, "progress": False}
    finders: list[SliceFinder] = [
        FailureTree(group_by="label", max_depth=2, n_features=None, **common),
    ]
    finders += [FailureDirections(n_directions=n, **common) for n in DIVISIONS[:n_divisions]]
    if spans_classes:
        finders.append(ErrorMixture(**common))
        if view.losses is not None and view.losses.min() >= 0:
            finders.append(Spotlight(**common))
    if view.metadata is not None and any(
        why_unusable(Column.of(view.metadata[name], name), MAX_CATEGORIES) is None for name in view.metadata.columns
    ):
        support = max(10, view.n_examples // 50)
        rules = SliceLine(3, max_predicates=2, min_support=support, max_categories=MAX_CATEGORIES, space=space)
        finders.append(rules.set_params(progress=False))
    return finders


def _discriminants(embeddings: np.ndarray, is_error: np.ndarray, divisions: range, seed: int) -> list[UnitPlane]:
    """Toward the errors, divided into as many groups: `FailureDirections` with estimator="lda", but of one covariance
    and without a threshold."""
    whitening, rng = Whitening.fit(embeddings), np.random.RandomState(seed)
    rows, coefs = whitening(embeddings), []
    errors, discriminant = rows[is_error], Discriminant(rows, is_error)
    fewest = min(FEWEST, len(errors))
    for n_groups in divisions:
        member = divided(errors, rows[~is_error], n_groups, fewest, rng, discriminant.coef)
        sizes = np.bincount(member)
        coefs += [discriminant.coef(errors[member == group]) for group in np.flatnonzero(sizes >= fewest)]
    return [UnitPlane(whitening, coef / (np.linalg.norm(coef) or 1.0)) for coef in coefs]


def _starts(scores: np.ndarray, weights: np.ndarray | None, is_error: np.ndarray) -> list[np.ndarray]:
    """How surely each example belongs at first (m,): to the members, if there are any, and to the top of the scores."""
    tops = [scores >= np.quantile(scores, 1 - share) for share in _TOP_SHARES]
    if weights is not None:
        tops.append(weights >= 0.5)
    return [
        np.where(top, _SURE, _UNSURE) * np.where(is_error, 1.0, _IF_RIGHT)
        for top in tops
        if 0 < top.sum() <= len(scores) / 2
    ]
