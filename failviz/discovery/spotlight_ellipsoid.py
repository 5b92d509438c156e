"""Spotlights that are ellipsoids: k_i = max(0, 1 - (x_i - mu)' P (x_i - mu)) with a full precision matrix P.

d'Eon et al. 2021 (arXiv 2107.00758) climb the objective with all d (d + 1) / 2 entries of P, and fit whatever few rows
lie inside. Here the shape follows from what the spotlight covers: P is proportional to the inverse of the covariance of
its rows, weighted by kernel and loss and shrunken as by Ledoit & Wolf 2004 (J. Multivariate Analysis 88). In
coordinates in which that covariance is the identity the ellipsoid is a sphere, and all of `spotlight_level.py` holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular

from failviz.discovery.spotlight_level import Cloud, Scaling

_LEAST_SHRINKAGE = 0.01  # keeps axes within what float32 resolves
_ROUNDING = 1e-12  # of squared distances between rows whose rms length is 1, in float32
_BLOCK = 4096


def shrunken_covariance(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Covariance of weighted rows around their mean, drawn toward a sphere as far as their number makes it uncertain.

    With equal weights that of Ledoit & Wolf (as `sklearn.covariance.ledoit_wolf`, but never shrunken by less than 1%):
    (1 - a) S + a (tr S / d) I, a = sum_i p_i^2 |x_i x_i' - S|^2 / |S - (tr S / d) I|^2, p = weights / sum of weights.

    Parameters
    ----------
    rows : (n, d)
    weights : (n,), 0 or more

    Returns
    -------
    float64 (d, d)
        0 where all rows are alike.
    """
    belongs = weights > 0
    rows, share = rows[belongs].astype(np.float64), weights[belongs].astype(np.float64)
    share /= max(share.sum(), np.finfo(float).tiny)
    rows -= share @ rows
    covariance = (rows * share[:, None]).T @ rows
    sphere = np.eye(len(covariance)) * (np.trace(covariance) / len(covariance))
    lengths = np.einsum("ij,ij->i", rows, rows)
    along = np.einsum("ij,ij->i", rows @ covariance, rows)
    error = float(share**2 @ (lengths**2 - 2.0 * along + (covariance**2).sum()))
    distance = float(((covariance - sphere) ** 2).sum())
    shrinkage = max(_LEAST_SHRINKAGE, min(1.0, error / distance)) if distance > 0 else 1.0
    shrunken: np.ndarray = (1.0 - shrinkage) * covariance + shrinkage * sphere
    return shrunken


@dataclass(frozen=True, eq=False)
class Frame:
    """Coordinates in which the ellipsoid around some rows is a sphere, scaled as `Scaling` does.

    Attributes
    ----------
    factor : float64 (d, d), lower triangular
        L, with L L' the covariance.
    scaling : Scaling
        Of the rows x L^-T.
    """

    factor: np.ndarray
    scaling: Scaling

    @classmethod
    def of(cls, cloud: Cloud, mass: np.ndarray) -> Frame | None:
        """The frame of the rows under mass (n,); None where they are alike but for rounding."""
        covariance = shrunken_covariance(cloud.rows, mass)
        if not np.trace(covariance) > _ROUNDING:
            return None
        factor = cholesky(covariance, lower=True)
        return cls(factor, Scaling.fit(_upright(cloud.rows, factor), cloud.weights))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """float32 (n, d)."""
        return self.scaling(_upright(rows, self.factor))

    def undo(self, centres: np.ndarray) -> np.ndarray:
        centred: np.ndarray = self.scaling.undo(centres) @ self.factor.T
        return centred

    @property
    def precision(self) -> np.ndarray:
        """float64 (d, d): (x - mu)' P (x - mu) is the squared distance in the frame."""
        inverse = solve_triangular(self.factor, np.eye(len(self.factor)), lower=True)
        return inverse.T @ inverse / self.scaling.radius**2


def _upright(rows: np.ndarray, factor: np.ndarray) -> np.ndarray:
    return rows @ solve_triangular(factor, np.eye(len(factor)), lower=True).T.astype(np.float32)


def quadratic_distances(rows: np.ndarray, centre: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """float64 (n,): (x - mu)' P (x - mu), in blocks."""
    out = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        difference = rows[start : start + _BLOCK] - centre
        out[start : start + _BLOCK] = np.einsum("ij,ij->i", difference @ precision, difference)
    return out
