"""What a finder finds again when it searches once more: on fewer examples, or without those it is to be judged on.

Stability is the mean best-match Jaccard index over refits on subsamples (after Ben-Hur, Elisseeff & Guyon 2002, who
judge clusterings so); cross-fitting has each example judged by a search that did not see it (Chernozhukov et al. 2018,
arXiv 1608.00060, section 3).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from failviz._parallel import parallel_map
from failviz.evaluation import Evaluation
from failviz.slices import Slice

if TYPE_CHECKING:
    from failviz.discovery.base import SliceFinder

N_REFITS = 10
SHARE = 0.8


def stability(
    finder: SliceFinder, refit_on: Evaluation, evaluation: Evaluation, *, random_state: Any = 0, progress: bool = True
) -> np.ndarray:
    """How far each slice of a finder is found again when a fifth of the data is left out.

    Parameters
    ----------
    finder : fitted SliceFinder
    refit_on : Evaluation
        What it was fitted on; ten copies are fitted on 80% of it each, drawn within each label.
    evaluation : Evaluation
        Where members are compared; not what the finder was fitted on.
    random_state : int or None
    progress : bool

    Returns
    -------
    float64 (k,)
        Mean over refits of the largest Jaccard index with any slice of the refit in the same scope: 1 = always found
        again, member for member. A slice without members has NaN.
    """
    mine = finder.slices(evaluation)
    seeds = np.random.default_rng(random_state).integers(2**31 - 1, size=N_REFITS)
    pieces = [(finder, refit_on, evaluation, int(seed)) for seed in seeds]
    refits = parallel_map(_refitted, pieces, desc="stability", progress=progress)
    return np.array([np.mean([_best_match(one, again)[0] for again in refits]) for one in mine], dtype=np.float64)


def _refitted(finder: SliceFinder, refit_on: Evaluation, evaluation: Evaluation, seed: int) -> list[Slice]:
    part, _ = refit_on.split(SHARE, stratify=refit_on.labels is not None, random_state=seed)
    return _copy(finder).fit(part).slices(evaluation)


def cross_fitted(
    finder: SliceFinder, evaluation: Evaluation, n_folds: int, *, random_state: Any = 0, progress: bool = True
) -> list[Slice]:
    """The slices of a finder with each example placed by a search that did not see it.

    The finder is fitted again without each of `n_folds` parts. The slice of such a fit that shares most members with
    the finder's own slice, among the examples that both fits saw, places the examples of the part.

    Parameters
    ----------
    finder : SliceFinder
        Fitted on `evaluation`.
    evaluation : Evaluation
    n_folds : int
        At least 2.

    Returns
    -------
    list of Slice
        As `finder.slices(evaluation)`, with scores and weights of the fits that did not see each example. Where a fit
        found nothing in the scope of a slice, the examples of that part are not in it.
    """
    from sklearn.model_selection import StratifiedKFold

    mine = finder.slices(evaluation)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    folds = [held_out for _, held_out in splitter.split(evaluation.labels, evaluation.labels)]
    pieces = [(finder, evaluation, held_out) for held_out in folds]
    refits = parallel_map(_without, pieces, desc="cross-fitting", progress=progress)
    crossed = []
    for one in mine:
        scores, weights = np.full(evaluation.n_examples, -np.inf), np.zeros(evaluation.n_examples)
        for held_out, again in zip(folds, refits, strict=True):
            seen = np.ones(evaluation.n_examples, dtype=bool)
            seen[held_out] = False
            match = _best_match(one, again, seen)[1]
            if match is not None:
                scores[held_out], weights[held_out] = match.scores[held_out], match.weights[held_out]
        scores.setflags(write=False)
        weights.setflags(write=False)
        crossed.append(replace(one, scores=scores, weights=weights, seen={}))
    return crossed


def _without(finder: SliceFinder, evaluation: Evaluation, held_out: np.ndarray) -> list[Slice]:
    part = np.setdiff1d(np.arange(evaluation.n_examples), held_out)
    return _copy(finder).fit(evaluation.take(part)).slices(evaluation)


def _copy(finder: SliceFinder) -> SliceFinder:
    from sklearn.base import clone

    copy: SliceFinder = clone(finder)
    return copy.set_params(progress=False) if "progress" in copy.get_params() else copy


def _best_match(one: Slice, others: list[Slice], rows: np.ndarray | None = None) -> tuple[float, Slice | None]:
    """The largest Jaccard index of members with a slice of the same scope, and that slice; NaN without members."""
    mine = one.is_member if rows is None else one.is_member & rows
    if not mine.any():
        return np.nan, None
    best, match = 0.0, None
    for other in others:
        if other.scope == one.scope:
            theirs = other.is_member if rows is None else other.is_member & rows
            index = float((mine & theirs).sum() / (mine | theirs).sum())
            if match is None or index > best:
                best, match = index, other
    return best, match
