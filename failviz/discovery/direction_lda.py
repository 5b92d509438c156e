"""Failure directions in closed form: the linear discriminant, and several of them when a class fails in several ways.

Fisher's discriminant (Fisher 1936) with the within-class covariance of Ledoit & Wolf 2004 (J. Multivariate Analysis
88), which stays invertible when there are fewer rows than dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from sklearn.cluster import KMeans
from sklearn.covariance import ledoit_wolf

_ROUNDS = 20


class Discriminant:
    """Sigma^-1 (mean of errors - mean of correct), for any set of errors against the same correct rows.

    Parameters
    ----------
    rows : float64 (n, d)
    is_error : bool (n,), both values present
        Sigma is the covariance around the mean of each side.
    """

    def __init__(self, rows: np.ndarray, is_error: np.ndarray):
        self._middle = rows[~is_error].mean(axis=0)
        centred = rows - np.where(is_error[:, None], rows[is_error].mean(axis=0), self._middle)
        covariance = ledoit_wolf(centred, assume_centered=True)[0] if centred.any() else np.eye(rows.shape[1])
        # Where all rows of a side lie on a line or a plane, Ledoit & Wolf may not shrink at all.
        floor = 1e-9 * max(np.trace(covariance) / len(covariance), np.finfo(float).tiny)
        self._factor = cho_factor(covariance + floor * np.eye(len(covariance)))

    def coef(self, errors: np.ndarray) -> np.ndarray:
        """float64 (d,): toward these errors (k, d), away from the correct rows; not rescaled."""
        solved: np.ndarray = cho_solve(self._factor, errors.mean(axis=0) - self._middle)
        return solved


def error_groups(
    rows: np.ndarray, is_error: np.ndarray, n_groups: int, fewest: int, rng: np.random.RandomState
) -> list[np.ndarray]:
    """Divide the errors of a class into groups that each fail in a direction of their own.

    Starts from k-means on the errors; then each error joins the direction along which it lies furthest beyond the
    correct rows, in their standard deviations, and directions are fitted anew, until nothing changes. Groups that
    shrink below `fewest` are given up, and their errors join the others.

    Parameters
    ----------
    rows : float64 (n, d)
        Whitened unit rows of the class.
    is_error : bool (n,)
        At least `fewest` errors and two correct examples.
    n_groups : int
    fewest : int
        Errors below which a group is given up.
    rng : RandomState

    Returns
    -------
    list of int arrays
        Row numbers of the errors of each group, largest group first.
    """
    member = divided(rows[is_error], rows[~is_error], n_groups, fewest, rng, Discriminant(rows, is_error).coef)
    groups = [np.flatnonzero(is_error)[member == group] for group in range(int(member.max()) + 1)]
    return sorted((group for group in groups if len(group) >= fewest), key=len, reverse=True)


def divided(
    errors: np.ndarray,
    correct: np.ndarray,
    n_groups: int,
    fewest: int,
    rng: np.random.RandomState,
    coef: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """The group of each error, int64 (n_errors,); `coef` gives the direction (d,) toward some errors (m, d)."""
    n_distinct = len(np.unique(errors, axis=0))
    member: np.ndarray = KMeans(min(n_groups, n_distinct), n_init=4, random_state=rng).fit_predict(errors)
    for _ in range(_ROUNDS):
        sizes = np.bincount(member)
        kept = np.flatnonzero(sizes >= fewest)
        if len(kept) == 0:
            return np.zeros(len(errors), dtype=np.int64)
        coefs = np.stack([coef(errors[member == group]) for group in kept], axis=1)
        along = correct @ coefs
        spread = along.std(axis=0)
        spread[spread == 0] = 1.0
        best = ((errors @ coefs - along.mean(axis=0)) / spread).argmax(axis=1)
        if len(kept) == len(sizes) and np.array_equal(best, member):
            break
        member = best
    return member
