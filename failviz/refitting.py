"""What a finder finds when it searches once more: on fewer examples, or without those it is to be judged on.

Stability is the mean best-match Jaccard index over refits on subsamples (after Ben-Hur, Elisseeff & Guyon 2002, who
judge clusterings so).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from failviz._parallel import parallel_map
from failviz.evaluation import Evaluation
from failviz.slices import Scope, Slice

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
        What it was fitted on; ten copies are fitted on 80% of it each, drawn within each label and outcome.
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
    if not isinstance(refit_on, Evaluation):
        raise TypeError(f"refit_on takes the Evaluation that the finder was fitted on, not {type(refit_on).__name__}.")
    _require_fitted_on(finder, refit_on, "refit_on")
    mine = finder.slices(evaluation)
    seeds = np.random.default_rng(random_state).integers(2**31 - 1, size=N_REFITS)
    pieces = [(finder, refit_on, evaluation, int(seed)) for seed in seeds]
    refits = parallel_map(_subsampled, pieces, desc="stability", progress=progress)
    return np.array([np.mean([_best_match(one, again) for again in refits]) for one in mine], dtype=np.float64)


def _subsampled(finder: SliceFinder, refit_on: Evaluation, evaluation: Evaluation, seed: int) -> list[Slice]:
    part, _ = refit_on.split(SHARE, random_state=seed)
    return finder._refitted(part).slices(evaluation)


def _best_match(one: Slice, others: list[Slice]) -> float:
    if not one.is_member.any():
        return np.nan
    return max((one.jaccard(other) for other in others if other.scope == one.scope), default=0.0)


def cross_fitted(
    finder: SliceFinder, evaluation: Evaluation, n_folds: int, *, random_state: Any = 0, progress: bool = True
) -> list[list[tuple[np.ndarray, Slice | None]]]:
    """For each slice of a finder, and each part of the data, what a search without that part finds instead of it.

    A slice is matched by its scope and its rank in that scope, and by nothing that depends on the part: a match by
    common members would choose, of all that the search without the part finds, what the errors of the part favour.

    Parameters
    ----------
    finder : SliceFinder
        Fitted on `evaluation`.
    evaluation : Evaluation
    n_folds : int
        At least 2.

    Returns
    -------
    list of list of (bool (n,), Slice or None)
        Per slice of `finder.slices(evaluation)`, per part: the part, and the slice of the fit that did not see it,
        None where that fit has none of this scope and rank.
    """
    _require_fitted_on(finder, evaluation, "cross_fit")
    fold = _folds(evaluation, finder.space_, n_folds, random_state)
    pieces = [(finder, evaluation, fold == number) for number in range(n_folds)]
    refits = parallel_map(_without, pieces, desc="cross-fitting", progress=progress)
    ranked = [_by_scope_and_rank(again) for again in refits]
    keys = _by_scope_and_rank(finder.slices(evaluation))
    return [[(fold == number, found.get(key)) for number, found in enumerate(ranked)] for key in keys]


def _without(finder: SliceFinder, evaluation: Evaluation, held_out: np.ndarray) -> list[Slice]:
    return finder._refitted(evaluation.take(np.flatnonzero(~held_out))).slices(evaluation)


def _by_scope_and_rank(slices: list[Slice]) -> dict[tuple[Scope, int], Slice]:
    found: dict[tuple[Scope, int], Slice] = {}
    n_of_scope: dict[Scope, int] = {}
    for one in slices:
        n_of_scope[one.scope] = n_of_scope.get(one.scope, 0) + 1
        found[one.scope, n_of_scope[one.scope]] = one
    return found


def _folds(evaluation: Evaluation, space: str, n_folds: int, random_state: Any) -> np.ndarray:
    """int64 (n,): parts of nearly equal size, as are their shares of each label and outcome, whatever the row order."""
    from failviz.discovery.base import canonical_order, dealt

    assert evaluation.labels is not None
    rng = np.random.default_rng(random_state)
    strata = 2 * evaluation.labels + evaluation.errors
    hashes = evaluation.row_hashes(space)
    order = canonical_order(evaluation.space(space), hashes, strata)
    shuffled = np.concatenate([rng.permutation(order[strata[order] == stratum]) for stratum in np.unique(strata)])
    return dealt(shuffled, hashes, n_folds)


def _require_fitted_on(finder: SliceFinder, evaluation: Evaluation, argument: str) -> None:
    """The content of rows tells; a finder that has learned from other examples would be another one after a refit."""
    rows = evaluation.row_fingerprints(finder.space_)
    if not np.array_equal(rows[np.lexsort(rows.T[::-1])], finder.seen_rows_):
        raise ValueError(
            f"{argument} takes the Evaluation that {type(finder).__name__} was fitted on, and this is another."
        )
