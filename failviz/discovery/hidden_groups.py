"""Hidden groups: subpopulations that no one has marked, in which errors are more frequent than elsewhere.

A group is one of two normal clouds with a common covariance, and its members are wrong at a rate of their own. Whether
an example belongs is unknown and estimated, from where it lies and from whether it is wrong (expectation-maximisation;
Dempster, Laird & Rubin 1977; discrimination with unclassified examples, O'Neill 1978). From where it lies alone
belonging is a linear function, Fisher's discriminant between the two clouds. A discriminant between errors and correct
examples aims at the same place less well: errors outside the group, and correct examples inside it, blur it.

Two short cuts. With T the covariance of everything and D the difference of the means, the common covariance is
T - pi (1 - pi) D D', whose inverse takes D to a multiple of T^-1 D: rows are whitened once with T (Ledoit & Wolf 2004),
for all groups and iterations. And every example is placed by means that leave it out, in closed form: in many
dimensions a few members would otherwise hold themselves fast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse import csr_matrix
from scipy.special import expit
from sklearn.covariance import ledoit_wolf

from failviz.discovery.svm import Hyperplane

N_ITERATIONS = 20
LARGEST_SHARE = 0.5
"""Of the examples, beyond which the prior of a group does not rise: what holds the most is no group."""
FEWEST_EXPECTED = 5
"""Expected members below which a group is given up."""
ALIKE = 0.9
"""Correlation of log-odds from which two groups have settled on the same."""
_LARGEST_ODDS = 30.0
_PRIOR_EXAMPLES = 2.0  # with the error rate of everything, added to each side: no rate is 0 or 1


@dataclass(frozen=True, eq=False)
class Whitened:
    """Rows in coordinates in which all directions vary alike.

    Attributes
    ----------
    rows : float64 (n, d)
        Uncorrelated, of unit variance but for the shrinkage.
    mean : float64 (d,)
    transform : float64 (d, d)
        rows = (embeddings - mean) @ transform.
    """

    rows: np.ndarray
    mean: np.ndarray
    transform: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray) -> Whitened:
        """Of embeddings (n, d), summed in the order given."""
        rows = embeddings.astype(np.float64)
        mean = rows.mean(axis=0)
        rows -= mean
        d = rows.shape[1]
        covariance = ledoit_wolf(rows, assume_centered=True)[0] if rows.any() else np.eye(d)
        floor = 1e-9 * max(np.trace(covariance) / d, np.finfo(float).tiny)
        factor = cholesky(covariance + floor * np.eye(d), lower=True)
        transform = solve_triangular(factor, np.eye(d), lower=True).T
        return cls(rows @ transform, mean, transform)

    def plane(self, coef: np.ndarray, intercept: float = 0.0) -> Hyperplane:
        """The plane coef . row + intercept as a function of embeddings."""
        back = self.transform @ coef
        return Hyperplane(back, float(intercept - self.mean @ back))


def find_groups(
    whitened: Whitened,
    is_error: np.ndarray,
    strata: np.ndarray,
    starts: np.ndarray,
    weights: np.ndarray | None = None,
) -> list[Hyperplane]:
    """Groups that the examples themselves settle on, from rough ideas of where errors gather.

    Parameters
    ----------
    whitened : Whitened
    is_error : bool (n,)
    strata : int (n,)
        Rates of error are counted within each (classes, say), numbered from 0.
    starts : float (n, k)
        How surely each example belongs to each group at first, in [0, 1].
    weights : float (n,) or None
        How many examples each stands for, where more of the errors were kept than of the others. They say how large
        the groups are; where these lie does not depend on it.

    Returns
    -------
    list of Hyperplane
        The log-odds of belonging, as a function of embeddings in their own coordinates. Groups in which errors are not
        more frequent are left out; of groups that are nearly one, that for which the errors of the fit speak more
        stays. Most spoken for first.
    """
    if starts.shape[1] == 0 or not whitened.rows.any():
        return []
    shares = np.array(starts, dtype=np.float64)
    evidence = _Evidence(is_error, strata)
    for _ in range(N_ITERATIONS):
        heights = _heights(whitened.rows, shares)
        slopes, offsets = _odds(heights, shares)
        shares = expit(np.clip(heights * slopes + offsets + evidence(shares), -_LARGEST_ODDS, _LARGEST_ODDS))

    heights = _heights(whitened.rows, shares)
    slopes, offsets = _odds(heights, shares)
    odds = heights * slopes + offsets
    members = shares.sum(axis=0)
    is_group = (slopes > 0) & (members >= FEWEST_EXPECTED) & (members <= len(shares) - FEWEST_EXPECTED)
    speaks = np.where(is_group, evidence.excess(expit(odds)), 0.0)
    odds -= odds.mean(axis=0)
    odds /= np.maximum(np.linalg.norm(odds, axis=0), 1e-12)
    kept: list[int] = []
    for j in np.argsort(-speaks, kind="stable"):
        if speaks[j] > 0 and all(odds[:, j] @ odds[:, other] < ALIKE for other in kept):
            kept.append(int(j))
    if weights is not None:
        offsets += _prior_odds(weights @ shares / weights.sum(), len(shares)) - _prior_odds(shares.mean(0), len(shares))
    inside, outside = _means(whitened.rows, shares)
    return [whitened.plane((inside - outside)[:, j] * slopes[j], offsets[j]) for j in kept]


def _means(rows: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of members and of the others, each (d, k)."""
    n_in = shares.sum(axis=0)
    inside = rows.T @ shares
    outside = rows.sum(axis=0)[:, None] - inside
    return inside / np.maximum(n_in, 1e-9), outside / np.maximum(len(rows) - n_in, 1e-9)


def _heights(rows: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Each row along the difference of the two means, itself left out of both: float64 (n, k)."""
    n_in = shares.sum(axis=0)
    inside = rows.T @ shares
    own = np.einsum("ij,ij->i", rows, rows)[:, None]
    toward = rows @ inside
    away = (rows @ rows.sum(axis=0))[:, None] - toward
    toward = (toward - shares * own) / np.maximum(n_in - shares, 1e-9)
    away = (away - (1 - shares) * own) / np.maximum(len(rows) - n_in - (1 - shares), 1e-9)
    return toward - away


def _odds(heights: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset (k,) of the log-odds of belonging given the height, two normals of one variance."""
    n = len(heights)
    n_in = np.maximum(shares.sum(axis=0), 1e-9)
    n_out = np.maximum(n - n_in, 1e-9)
    inside = (shares * heights).sum(axis=0) / n_in
    outside = ((1 - shares) * heights).sum(axis=0) / n_out
    squares = shares * (heights - inside) ** 2 + (1 - shares) * (heights - outside) ** 2
    variance = squares.sum(axis=0) / n
    slopes = (inside - outside) / np.maximum(variance, 1e-12)
    return slopes, _prior_odds(n_in / n, n) - slopes * (inside + outside) / 2


def _prior_odds(share: np.ndarray, n: int) -> np.ndarray:
    """Log-odds of a share of n examples, which no group exceeds nor falls below one of them."""
    share = np.clip(share, 1 / n, LARGEST_SHARE)
    odds: np.ndarray = np.log(share) - np.log1p(-share)
    return odds


class _Evidence:
    """What being wrong or right says about belonging, by the rates of error inside and outside, per stratum."""

    def __init__(self, is_error: np.ndarray, strata: np.ndarray):
        self._error, self._strata = is_error.astype(np.float64), strata
        places = (strata, np.arange(len(strata)))
        self._of_stratum = csr_matrix((np.ones(len(strata)), places))
        self._n = self._of_stratum @ np.ones((len(strata), 1))
        self._wrong = self._of_stratum @ self._error[:, None]
        self._rate = np.clip(self._wrong / self._n, 1e-3, 1 - 1e-3)

    def __call__(self, shares: np.ndarray) -> np.ndarray:
        """Log of the ratio of chances (n, k)."""
        n_in, wrong_in = self._counts(shares)
        inside = self._smoothed(wrong_in, n_in)
        outside = self._smoothed(self._wrong - wrong_in, self._n - n_in)
        if_wrong, if_right = np.log(inside / outside), np.log((1 - inside) / (1 - outside))
        return np.where(self._error[:, None] > 0, if_wrong[self._strata], if_right[self._strata])

    def excess(self, shares: np.ndarray) -> np.ndarray:
        """Errors among the members beyond what the strata explain, in standard deviations (k,)."""
        n_in, wrong_in = self._counts(shares)
        spread = np.einsum("ik,ik->k", self._rate[self._strata] * (1 - self._rate[self._strata]) * shares, shares)
        return (wrong_in - n_in * self._wrong / self._n).sum(axis=0) / np.sqrt(np.maximum(spread, 1e-12))

    def _counts(self, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._of_stratum @ shares, self._of_stratum @ (self._error[:, None] * shares)

    def _smoothed(self, wrong: np.ndarray, n: np.ndarray) -> np.ndarray:
        return (wrong + _PRIOR_EXAMPLES * self._rate) / (n + _PRIOR_EXAMPLES)
