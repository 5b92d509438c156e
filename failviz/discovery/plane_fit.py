"""One plane of PlaneSpot: a map to two dimensions and the Gaussian mixture on it (Plumb et al. 2023, 2207.04104).

The map along which confidence varies is partial least squares with one response (PLS1; Wold, Ruhe, Wold & Dunn 1984,
SIAM J. Sci. Stat. Comput. 5): each axis has the largest covariance with what the axes before it leave of confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from failviz import _checks
from failviz._parallel import ignoring
from failviz.discovery.mixture import principal_axes
from failviz.discovery.mixture_em import responsibilities

FEWEST = 5
"""Members in the fit below which a cluster is no slice, as `verify` would confirm none."""
PATIENCE = 8
"""Larger mixtures tried in a row without a better BIC before the search ends."""
_FLAT = 1e-9  # in the unit of the coordinates: what is but rounding


@dataclass(frozen=True, eq=False)
class LinearMap:
    """To the plane by two axes, float64 (k, 2), from a place, (k,)."""

    mean: np.ndarray
    axes: np.ndarray

    def transform(self, coordinates: np.ndarray) -> np.ndarray:
        """float64 (n, 2) of rows (n, k)."""
        places: np.ndarray = (coordinates - self.mean) @ self.axes
        return places


def principal_map(coordinates: np.ndarray) -> LinearMap:
    """Along the two directions in which rows (n, k) vary most; the second is zero where there is one only."""
    mean, found, _ = principal_axes(coordinates, np.arange(len(coordinates)), 2)
    axes = np.zeros((len(mean), 2))
    axes[:, : found.shape[1]] = found
    return LinearMap(mean, axes)


def confidence_map(coordinates: np.ndarray, confidence: np.ndarray) -> LinearMap:
    """Along the two directions of rows (n, k) that go best with confidence (n,), each coordinate in its own spread.

    The principal map where confidence goes with none.
    """
    mean, spread = coordinates.mean(axis=0), coordinates.std(axis=0)
    spread[spread <= _FLAT] = np.inf
    rows, rest = (coordinates - mean) / spread, confidence - confidence.mean()
    weights, loadings = np.zeros((2, 2, rows.shape[1]))
    for j in range(2):
        toward = rest @ rows
        length = np.linalg.norm(toward)
        if length <= _FLAT * len(rows):
            break
        weights[j] = toward / length
        scores = rows @ weights[j]
        loadings[j] = scores @ rows / (scores @ scores)
        rows = rows - np.outer(scores, loadings[j])
    if not weights[0].any():
        return principal_map(coordinates)
    second = weights[1] - weights[0] * (loadings[0] @ weights[1])  # so that it applies to rows not yet deflated
    return LinearMap(mean, np.column_stack([weights[0], second]) / spread[:, None])


def best_mixture(points: np.ndarray, n_components: int, seed: int) -> Any:
    """The full-covariance `GaussianMixture` of points (n, 3) with the lowest BIC, of at most `n_components`."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    best, lowest, since = None, np.inf, 0
    with ignoring(ConvergenceWarning):  # where rows repeat, some clusters start empty
        for k in range(1, min(n_components, len(points)) + 1):
            mixture = GaussianMixture(k, covariance_type="full", random_state=seed).fit(points)
            bic = mixture.bic(points)
            best, lowest, since = (mixture, bic, 0) if best is None or bic < lowest else (best, lowest, since + 1)
            if since == PATIENCE:
                break
    return best


def plane_logs(mixture: Any, plane: np.ndarray) -> np.ndarray:
    """log pi_s + log N(z; mu_s, C_s), float64 (n, S), of places z (n, 2): the mixture with its third column unseen."""
    logs = np.empty((len(plane), len(mixture.weights_)))
    for s, (weight, mean, cov) in enumerate(
        zip(mixture.weights_, mixture.means_[:, :2], mixture.covariances_[:, :2, :2], strict=True)
    ):
        across, up = (plane - mean).T
        spread = np.sqrt(cov[0, 0])
        rest = np.sqrt(max(cov[1, 1] - cov[0, 1] ** 2 / cov[0, 0], mixture.reg_covar))
        across = across / spread
        up = (up - cov[0, 1] / spread * across) / rest
        logs[:, s] = np.log(weight / (2 * np.pi * spread * rest)) - 0.5 * (across**2 + up**2)
    return logs


@dataclass(frozen=True, eq=False)
class Plane:
    """The map of one group and the mixture on it.

    Attributes
    ----------
    embedding : LinearMap or fitted transformer to two columns
    low, span : float64 (2,)
        The map reaches from `low` to `low + span` on the rows of the fit, which become 0 and 1. Infinite where nothing
        but rounding varies, so that all becomes 0.
    mixture : GaussianMixture
        Over (place on the map, w x confidence).
    sizes, fails, confidences : float64 (S,)
        Per component, by P(s|z) of the rows of the fit: their number, the errors among them, their mean confidence.
    n_members : int64 (S,)
        Rows of the fit with P(s|z) of at least one half.
    base_rate : float
        Error rate of the group in the fit.
    """

    embedding: Any
    low: np.ndarray
    span: np.ndarray
    mixture: Any
    sizes: np.ndarray
    fails: np.ndarray
    confidences: np.ndarray
    n_members: np.ndarray
    base_rate: float

    def places(self, coordinates: np.ndarray) -> np.ndarray:
        """float64 (n, 2): where rows of principal coordinates (n, k) lie on the map."""
        return (_two_columns(self.embedding.transform(coordinates)) - self.low) / self.span

    @property
    def rates(self) -> np.ndarray:
        """Error rates of the components in the fit, float64 (S,)."""
        return self.fails / np.where(self.sizes > 0, self.sizes, 1.0)

    @property
    def importances(self) -> np.ndarray:
        """Errors x error rate, float64 (S,)."""
        return self.fails * self.rates

    @property
    def spots(self) -> np.ndarray:
        """Components that are slices: large enough, and worse than their group."""
        return np.flatnonzero((self.n_members >= FEWEST) & (self.rates > self.base_rate * (1 + 1e-9)))


def map_group(coordinates: np.ndarray, confidence: np.ndarray, errors: np.ndarray, settings: dict[str, Any]) -> Plane:
    """The plane of one group, from principal coordinates (n, k), confidence in the label (n,) and errors (n,).

    `settings` are "embedding", "n_components", "weight" (of confidence) and "seed".
    """
    kind: Any = settings["embedding"]
    embedding: Any
    if isinstance(kind, str):
        embedding = principal_map(coordinates) if kind == "principal" else confidence_map(coordinates, confidence)
        places = embedding.transform(coordinates)
    else:
        embedding = clone(kind)
        places = _two_columns(embedding.fit_transform(coordinates))
    low, span = places.min(axis=0), np.ptp(places, axis=0)
    span[span <= _FLAT * max(1.0, span.max())] = np.inf
    places = (places - low) / span
    mixture = best_mixture(
        np.column_stack([places, settings["weight"] * confidence]), settings["n_components"], settings["seed"]
    )
    posterior = responsibilities(plane_logs(mixture, places))[0]
    sizes = posterior.sum(axis=0)
    return Plane(
        embedding=embedding,
        low=low,
        span=span,
        mixture=mixture,
        sizes=sizes,
        fails=errors @ posterior,
        confidences=confidence @ posterior / np.where(sizes > 0, sizes, 1.0),
        n_members=(posterior >= 0.5).sum(axis=0),
        base_rate=float(errors.mean()),
    )


def _two_columns(places: Any) -> np.ndarray:
    """What an embedding made, as float64 (n, 2)."""
    places = np.asarray(places, dtype=np.float64)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(
            f"embedding must give two columns, and it gave shape {places.shape}: set its n_components to 2."
        )
    return _checks.finite(places, "the rows that embedding gave")
