"""One failure direction of one class: choose C by cross-validation, fit, place the intercept.

Jain et al. 2022, arXiv 2206.14754, section 3. Departures from the paper, all in "auroc" selection, because
balanced accuracy at small C scores an arbitrary intercept (see `svm.py`): C is chosen by how well held-out
errors are ranked, and a free intercept is placed where out-of-fold balanced accuracy is best. The linear discriminant
and the network have no C; their threshold is placed in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier

from failviz._parallel import ignoring
from failviz.discovery.direction_lda import Discriminant
from failviz.discovery.svm import BalancedSVM, Hyperplane, SharedGram

_TIE = 1e-12


@dataclass(frozen=True)
class Network:
    """The log-odds of failure that a small network gives, plus b."""

    model: MLPClassifier
    intercept: float = 0.0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        chances = np.clip(self.model.predict_proba(rows)[:, 1], 1e-15, 1 - 1e-15)
        return np.log(chances) - np.log1p(-chances) + self.intercept


@dataclass(frozen=True)
class Direction:
    """The fit of one class: `plane` is positive toward failure, `cv_scores` (n_C,) belong to the grid.

    The discriminant and the network have no C (NaN), and one score.
    """

    plane: Hyperplane | Network
    C: float
    cv_scores: np.ndarray
    is_saturated: bool = False


def auroc(scores: np.ndarray, is_error: np.ndarray) -> float:
    """Chance that an error scores above a correct example, ties counting one half (Mann & Whitney 1947)."""
    ranks = rankdata(scores)
    n_errors = int(is_error.sum())
    n_pairs = n_errors * (len(is_error) - n_errors)
    return float((ranks[is_error].sum() - n_errors * (n_errors + 1) / 2) / n_pairs)


def balanced_accuracy(scores: np.ndarray, is_error: np.ndarray) -> float:
    """Mean of the shares of errors above zero and of correct examples not above it."""
    return float(((scores[is_error] > 0).mean() + (scores[~is_error] <= 0).mean()) / 2)


def best_threshold(scores: np.ndarray, is_error: np.ndarray, folds: np.ndarray, low: float, high: float) -> float:
    """The threshold in [low, high] with the highest mean balanced accuracy over folds.

    Parameters
    ----------
    scores : float (n,)
        Out-of-fold scores on one scale, larger = more likely to fail.
    is_error : bool (n,)
    folds : int (n,)
        The fold in which each row was held out.
    low, high : float
        Where the threshold may lie.

    Returns
    -------
    float
        Half-way between two scores, or an end of the interval; among equally good ones the most central.
    """
    n_side = np.zeros((int(folds.max()) + 1, 2))
    np.add.at(n_side, (folds, is_error.astype(int)), 1)
    gain = np.where(is_error, -1.0, 1.0) / n_side[folds, is_error.astype(int)]
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    # accuracy[r]: threshold above the r lowest scores, up to a constant and a factor
    accuracy = np.concatenate([[0.0], np.cumsum(gain[order])])
    between = (ranked[1:] + ranked[:-1])[ranked[1:] > ranked[:-1]] / 2
    candidates = np.concatenate([between[(between > low) & (between < high)], [low, (low + high) / 2, high]])
    reached = accuracy[np.searchsorted(ranked, candidates, side="right")]
    best = candidates[reached >= reached.max() - _TIE]
    return float(best[np.abs(best - (low + high) / 2).argmin()])


def fit_direction(
    rows: np.ndarray,
    is_error: np.ndarray,
    *,
    C_grid: np.ndarray,
    cv: int,
    selection: str,
    estimator: str = "svm",
    rng: np.random.RandomState,
    shuffle: bool = True,
) -> Direction:
    """The direction in which one class fails.

    Parameters
    ----------
    rows : float64 (n, d)
        Whitened unit rows of the class.
    is_error : bool (n,)
        At least `cv` errors and `cv` correct examples.
    C_grid : float (n_C,), increasing
    cv : int
        Stratified folds.
    selection : "auroc" or "balanced_accuracy"
        The latter repeats the paper, arbitrary intercepts included.
    estimator : "svm", "lda" or "mlp"
    rng : RandomState
        Of the folds and of the network.
    shuffle : bool
        False takes rows for the folds in the order given, as the paper's code does.

    Returns
    -------
    Direction
    """
    # The splitter sees 1 = correct, as in the paper's code.
    splitter = StratifiedKFold(cv, shuffle=shuffle, random_state=rng if shuffle else None)
    folds = np.empty(len(rows), dtype=np.int64)
    for number, (_, held_out) in enumerate(splitter.split(rows, ~is_error)):
        folds[held_out] = number
    if estimator == "lda":
        return _without_C(rows, is_error, folds, _discriminant)
    if estimator == "mlp":
        return _without_C(rows, is_error, folds, partial(_network, seed=int(rng.randint(2**31 - 1))))
    method = _as_published if selection == "balanced_accuracy" else _by_ranking
    return method(rows, is_error, folds, C_grid)


def _discriminant(rows: np.ndarray, is_error: np.ndarray) -> Hyperplane:
    coef = Discriminant(rows, is_error).coef(rows[is_error])
    return Hyperplane(coef / (np.linalg.norm(coef) or 1.0), 0.0)


def _network(rows: np.ndarray, is_error: np.ndarray, seed: int) -> Network:
    model = MLPClassifier((rows.shape[1], 100), random_state=seed)
    with ignoring(ConvergenceWarning):  # as the paper's code, which stops after 200 epochs
        return Network(model.fit(rows, is_error))


def _without_C(
    rows: np.ndarray,
    is_error: np.ndarray,
    folds: np.ndarray,
    fit: Callable[[np.ndarray, np.ndarray], Hyperplane | Network],
) -> Direction:
    """Fit once; the threshold is the one that serves out-of-fold scores best."""
    heights, scores = np.empty(len(rows)), []
    for fold in range(int(folds.max()) + 1):
        held_out, part = folds == fold, folds != fold
        heights[held_out] = fit(rows[part], is_error[part])(rows[held_out])
        scores.append(auroc(heights[held_out], is_error[held_out]))
    threshold = best_threshold(heights, is_error, folds, heights.min(), heights.max())
    return Direction(replace(fit(rows, is_error), intercept=-threshold), np.nan, np.array([np.mean(scores)]))


def _by_ranking(rows: np.ndarray, is_error: np.ndarray, folds: np.ndarray, C_grid: np.ndarray) -> Direction:
    gram = SharedGram(rows)
    n_folds = int(folds.max()) + 1
    scores = np.empty((n_folds, len(C_grid)))
    heights = np.empty((len(C_grid), len(rows)))  # out of fold, along the unit vector
    for fold in range(n_folds):
        held_out, part = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        problem, part_gram = BalancedSVM(rows[part], is_error[part]), gram.of(part)
        for k, C in enumerate(C_grid):
            if k > 0 and problem.is_saturated(C):  # the same ray as before
                scores[fold, k], heights[k, held_out] = scores[fold, 0], heights[0, held_out]
                continue
            coef = problem.unit_coef if problem.is_saturated(C) else problem.solve(C, part_gram).coef
            height = rows[held_out] @ coef / (np.linalg.norm(coef) or 1.0)
            heights[k, held_out] = height
            scores[fold, k] = auroc(height, is_error[held_out])
    cv_scores = scores.mean(axis=0)

    problem = BalancedSVM(rows, is_error)
    tied = np.flatnonzero(cv_scores >= cv_scores.max() - _TIE)
    unsaturated = tied[C_grid[tied] > problem.saturated_C]
    chosen = int((unsaturated if len(unsaturated) else tied)[-1])
    C = float(C_grid[chosen])
    if len(unsaturated):
        return Direction(problem.solve(C, gram), C, cv_scores)
    coef, low, high = problem.saturated(C)
    length = np.linalg.norm(coef)
    threshold = best_threshold(heights[chosen] * length, is_error, folds, -high, -low)
    return Direction(Hyperplane(coef, -threshold), C, cv_scores, is_saturated=True)


def _as_published(rows: np.ndarray, is_error: np.ndarray, folds: np.ndarray, C_grid: np.ndarray) -> Direction:
    gram = SharedGram(rows)
    n_folds = int(folds.max()) + 1
    scores = np.empty((n_folds, len(C_grid)))
    for fold in range(n_folds):
        held_out, part = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        problem, part_gram = BalancedSVM(rows[part], is_error[part]), gram.of(part)
        for k, C in enumerate(C_grid):
            plane = _with_libsvm_intercept(problem, C, part_gram)
            scores[fold, k] = balanced_accuracy(plane(rows[held_out]), is_error[held_out])
    cv_scores = scores.mean(axis=0)
    C = float(C_grid[int(cv_scores.argmax())])  # the first of the strictly best: the smallest C
    problem = BalancedSVM(rows, is_error)
    plane = _with_libsvm_intercept(problem, C, gram)
    return Direction(plane, C, cv_scores, is_saturated=problem.is_saturated(C))


def _with_libsvm_intercept(problem: BalancedSVM, C: float, gram: SharedGram) -> Hyperplane:
    return problem.solve_libsvm(C, gram) if problem.is_saturated(C) else problem.solve(C, gram)
