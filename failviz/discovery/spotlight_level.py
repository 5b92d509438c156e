"""Spotlight without a barrier: the exact radius for a centre, and centres that climb the loss.

Kernel of d'Eon et al. 2021 (arXiv 2107.00758, section 3): k_i = max(0, 1 - tau |x_i - mu|^2), objective
sum k_i l_i / sum k_i at total weight S. For a fixed centre the tau with total weight exactly S follows
from the sorted distances, which leaves the centre alone to be found. All functions take a whole batch
of centres, because several cost little more than one: X is read once per product.

Coordinates: rows centred, their rms length 1 (see `Scaling`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLOOR = 1e-6
"""Squared distances are not resolved below this: rounding of float32, and rows that coincide with a centre."""

N_STEPS = 60
_N_FINAL = 20  # of the steps, at the final size
_FIRST_SHARE = 0.7  # of the rows, the size at which the shrinking of a level ascent starts
_FIRST_MULTIPLE = 8.0  # of the final size, the same for a mean shift
_LONGEST_STEP = 4.0


@dataclass(frozen=True)
class Scaling:
    """Centre and rms radius of a cloud, the farthest hundredth of its rows left out."""

    centre: np.ndarray
    radius: float

    @classmethod
    def fit(cls, rows: np.ndarray) -> Scaling:
        rough = np.median(rows[:: max(1, len(rows) // 2048)], axis=0).astype(np.float64)
        distances = squared_distances(rows, rough)
        near = distances <= np.quantile(distances, 0.99)
        centre = rows.mean(axis=0, where=near[:, None], dtype=np.float64)
        distances = squared_distances(rows, centre)
        radius = np.sqrt(distances[near].mean()) or np.sqrt(distances.mean()) or 1.0
        return cls(centre, float(radius))

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """float32 (n, d) in the coordinates of this module."""
        return ((rows - self.centre) / self.radius).astype(np.float32)

    def undo(self, centres: np.ndarray) -> np.ndarray:
        return centres * self.radius + self.centre


def squared_distances(rows: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """float64 (n,): |x_i - centre|^2, by differences, exact to rounding; in blocks."""
    out = np.empty(len(rows))
    for start in range(0, len(rows), 4096):
        difference = rows[start : start + 4096] - centre
        out[start : start + 4096] = np.einsum("ij,ij->i", difference, difference, dtype=np.float64)
    return out


def exact_tau(distances: np.ndarray, size: float) -> np.ndarray:
    """The tau at which sum_i max(0, 1 - tau d_i) = size, for each row of distances.

    With the m nearest inside, the total weight is m - tau (d_1 + .. + d_m); m is the number of rows
    whose own distance, taken as the edge, leaves a weight below `size`.

    Parameters
    ----------
    distances : (s, n), squared, at least `FLOOR`
    size : float
        Total weight, in (0, n].

    Returns
    -------
    float64 (s,)
    """
    ranked = np.sort(distances, axis=1)
    total = np.cumsum(ranked, axis=1, dtype=np.float64)
    count = np.arange(1, ranked.shape[1] + 1)
    inside = np.maximum(1, (count - total / ranked < size).sum(axis=1))
    return np.maximum(0.0, inside - size) / total[np.arange(len(ranked)), inside - 1]


class Cloud:
    """Scaled rows (n, d) float32 with their losses, ready for batches of centres."""

    def __init__(self, rows: np.ndarray, losses: np.ndarray):
        self.rows, self.losses = rows, losses.astype(np.float32)
        self._lengths = np.einsum("ij,ij->i", rows, rows)

    def __len__(self) -> int:
        return len(self.rows)

    def distances(self, centres: np.ndarray) -> np.ndarray:
        """Squared distances, float32 (s, n)."""
        out = centres.astype(np.float32) @ self.rows.T
        out *= -2.0
        out += self._lengths
        out += np.einsum("ij,ij->i", centres, centres)[:, None].astype(np.float32)
        return np.maximum(out, FLOOR, out=out)

    def kernel(self, distances: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """k, float32 (s, n)."""
        return np.maximum(0.0, 1.0 - tau[:, None].astype(np.float32) * distances)

    def ascent(self, centres: np.ndarray, distances: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """Direction in which each centre climbs, float64 (s, d), in units of a mean shift.

        d objective / d mu = (2 tau / S) sum over the slice of (l_i - lam)(x_i - mu), lam = sum l d / sum d.
        """
        inside = kernel > 0
        reach = np.where(inside, distances, 0.0)
        lam = (reach @ self.losses) / reach.sum(axis=1)
        pull = np.where(inside, self.losses - lam[:, None], np.float32(0.0))
        shift = pull @ self.rows - pull.sum(axis=1)[:, None] * centres
        return shift / np.maximum(np.abs(pull).sum(axis=1), 1e-30)[:, None]

    def mean_row(self, centres: np.ndarray, size: float) -> np.ndarray:
        """The weighted mean of the rows that each centre covers at the given size, float64 (s, d)."""
        distances = self.distances(centres)
        kernel = self.kernel(distances, exact_tau(distances, size))
        return (kernel @ self.rows).astype(np.float64) / kernel.sum(axis=1, dtype=np.float64)[:, None]

    def mean_loss(self, kernel: np.ndarray) -> np.ndarray:
        """sum k l / sum k, (s,); -inf where no row is inside."""
        total = kernel.sum(axis=1, dtype=np.float64)
        loss = (kernel @ self.losses).astype(np.float64)
        return np.divide(loss, total, out=np.full(len(total), -np.inf), where=total > 0)

    def mean_loss_error(self, kernel: np.ndarray) -> np.ndarray:
        """Standard error of `mean_loss`, (s,); infinite where no row is inside."""
        total = kernel.sum(axis=1, dtype=np.float64)
        mean = np.where(total > 0, self.mean_loss(kernel), 0.0)
        square = ((kernel * (self.losses - mean[:, None].astype(np.float32))) ** 2).sum(axis=1, dtype=np.float64)
        return np.divide(np.sqrt(square), total, out=np.full(len(total), np.inf), where=total > 0)


def level_ascent(
    cloud: Cloud, centres: np.ndarray, size: float, *, anchors: np.ndarray, confine: float | None, shrink: bool
) -> np.ndarray:
    """Climb the objective at exactly the given size, from every centre at once.

    With `shrink`, the size falls geometrically from 0.7 n to `size` on the way, which steps over
    small local optima; steps are taken only when they raise the objective at the size of the moment.

    Parameters
    ----------
    cloud : Cloud
    centres : (s, d)
    size : float
        Total weight S.
    anchors : (s, d)
        Where the data are for each centre.
    confine : float or None
        Centres stay within this distance (in rms radii) of their anchors; None = free.
    shrink : bool

    Returns
    -------
    float64 (s, d)
    """
    reach = np.ones(len(centres))
    distances = cloud.distances(centres)
    for at_size in _sizes(len(cloud), size, _FIRST_SHARE * len(cloud) if shrink else size):
        kernel = cloud.kernel(distances, exact_tau(distances, at_size))
        ascent = cloud.ascent(centres, distances, kernel)
        proposed = _confined(centres + reach[:, None] * ascent, anchors, confine)
        new_distances = cloud.distances(proposed)
        new_kernel = cloud.kernel(new_distances, exact_tau(new_distances, at_size))
        better = cloud.mean_loss(new_kernel) > cloud.mean_loss(kernel)
        centres = np.where(better[:, None], proposed, centres)
        distances = np.where(better[:, None], new_distances, distances)
        reach = np.where(better, np.minimum(1.5 * reach, _LONGEST_STEP), 0.5 * reach)
    return centres


def mean_shift(
    cloud: Cloud, centres: np.ndarray, size: float, *, anchors: np.ndarray, confine: float | None, shrink: bool
) -> np.ndarray:
    """Move every centre to the loss-weighted mean of its slice, again and again, as the size shrinks.

    Climbs less than `level_ascent` but stays between the rows it covers. Parameters as there; the size
    shrinks from 8 S only, since at larger sizes all centres move to the same place.
    """
    for at_size in _sizes(len(cloud), size, _FIRST_MULTIPLE * size if shrink else size)[::2]:
        distances = cloud.distances(centres)
        pull = cloud.kernel(distances, exact_tau(distances, at_size)) * cloud.losses
        total = pull.sum(axis=1, dtype=np.float64)
        moved = (pull @ cloud.rows) / np.where(total > 0, total, 1.0)[:, None]
        centres = _confined(np.where(total[:, None] > 0, moved, centres), anchors, confine)
    return centres


def _sizes(n: int, size: float, first: float) -> np.ndarray:
    first = min(max(first, size), n)
    falling = np.geomspace(first, size, N_STEPS - _N_FINAL) if first > size else np.empty(0)
    return np.concatenate([falling, np.full(_N_FINAL, size)])


def _confined(centres: np.ndarray, anchors: np.ndarray, confine: float | None) -> np.ndarray:
    if confine is None:
        return centres
    away = centres - anchors
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return anchors + away * np.minimum(1.0, confine / np.maximum(length, 1e-30))
