"""Spotlight without a barrier: the exact radius for a centre, and centres that climb the loss.

Kernel of d'Eon et al. 2021 (arXiv 2107.00758, section 3): k_i = max(0, 1 - tau |x_i - mu|^2), objective
sum k_i l_i / sum k_i at total weight S. For a fixed centre the tau follows from the sorted distances (see
`spotlight_size.py`), which leaves the centre alone to be found. All functions take a whole batch of centres, because
several cost little more than one: X is read once per product. A row that stands for w examples counts w times in
every sum.

Coordinates: rows centred, their rms length 1 (see `Scaling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from failviz.discovery.spotlight_entropy import EntropyPenalty, charged, discounted
from failviz.discovery.spotlight_size import EXACT, at_least_tau, exact_tau

FLOOR = 1e-6
"""Squared distances are not resolved below this: rounding of float32, and rows that coincide with a centre."""

N_STEPS = 60
_N_FINAL = 20  # of the steps, at the final size
_FIRST_SHARE = 0.7  # of the rows, the size at which the shrinking of a level ascent starts
_FIRST_MULTIPLE = 8.0  # of the final size, the same for a mean shift
_LONGEST_STEP = 4.0
_N_ROUGH = 2048  # rows whose median tells which lie far out


@dataclass(frozen=True)
class Scaling:
    """Centre and rms radius of a cloud, the farthest hundredth of its rows left out."""

    centre: np.ndarray
    radius: float

    @classmethod
    def fit(cls, rows: np.ndarray, weights: np.ndarray | None = None) -> Scaling:
        if weights is None:
            rough = np.median(rows[:: max(1, len(rows) // _N_ROUGH)], axis=0).astype(np.float64)
            distances = squared_distances(rows, rough)
            near = distances <= np.quantile(distances, 0.99)
            centre = rows.mean(axis=0, where=near[:, None], dtype=np.float64)
            distances = squared_distances(rows, centre)
            radius = np.sqrt(distances[near].mean()) or np.sqrt(distances.mean()) or 1.0
        else:
            held = np.cumsum(weights)
            picked = np.searchsorted(held, held[-1] * (np.arange(_N_ROUGH) + 0.5) / _N_ROUGH)
            rough = np.median(rows[np.minimum(picked, len(rows) - 1)], axis=0).astype(np.float64)
            distances = squared_distances(rows, rough)
            near = distances <= weighted_quantile(distances, 0.99, weights)
            centre = np.average(rows[near], axis=0, weights=weights[near])
            distances = squared_distances(rows, centre)
            radius = np.sqrt(np.average(distances[near], weights=weights[near]))
            radius = radius or np.sqrt(np.average(distances, weights=weights)) or 1.0
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


def weighted_quantile(values: np.ndarray, share: float, weights: np.ndarray) -> float:
    """The smallest of the values (n,) such that those up to it hold this share of the weights."""
    order = np.argsort(values, kind="stable")
    held = np.cumsum(weights[order])
    return float(values[order[min(np.searchsorted(held, share * held[-1]), len(order) - 1)]])


def flags_of_product(*lengths: np.ndarray) -> np.errstate:
    """How numpy is to report a float32 product of rows of these squared lengths with one another.

    Where all are finite, no operation is invalid. Yet numpy 2.4 with OpenBLAS 0.3.31 says so, in 1 process of 900, of
    finite rows of 5 columns with one vector (the kernel most likely computes on lanes that it drops): that alone is not
    reported. Anything else is, as numpy is set.
    """
    return np.errstate(invalid="ignore") if all(np.isfinite(one).all() for one in lengths) else np.errstate()


class Cloud:
    """Scaled rows (n, d) float32 with their losses, ready for batches of centres.

    Parameters
    ----------
    rows : float32 (n, d)
    losses : (n,), 0 or more
    weights : (n,), above 0, about 1, or None
        How many examples each row stands for; None = 1. Sizes are sums of weights.
    penalties : of these rows
    at_least : bool
        Whether a size is the least total weight, and the best above it is looked for, or the total weight itself.
    """

    def __init__(
        self,
        rows: np.ndarray,
        losses: np.ndarray,
        *,
        weights: np.ndarray | None = None,
        penalties: Sequence[EntropyPenalty] = (),
        at_least: bool = False,
    ):
        self.rows, self.losses, self.weights = rows, losses.astype(np.float32), weights
        self.total = float(len(rows) if weights is None else weights.sum())
        self._counts = None if weights is None else weights.astype(np.float32)
        self._penalties, self._at_least = penalties, at_least
        self._lengths = np.einsum("ij,ij->i", rows, rows)

    def __len__(self) -> int:
        return len(self.rows)

    def moved(self, rows: np.ndarray) -> Cloud:
        """The same examples in other coordinates."""
        return Cloud(rows, self.losses, weights=self.weights, penalties=self._penalties, at_least=self._at_least)

    def distances(self, centres: np.ndarray) -> np.ndarray:
        """Squared distances, float32 (s, n)."""
        lengths = np.einsum("ij,ij->i", centres, centres).astype(np.float32)
        with flags_of_product(lengths, self._lengths):
            out = centres.astype(np.float32) @ self.rows.T
        out *= -2.0
        out += self._lengths
        out += lengths[:, None]
        return np.maximum(out, FLOOR, out=out)

    def tau(
        self, distances: np.ndarray, size: float, *, is_passing: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The tau of each centre, float64 (s,), and the rims of `at_least_tau` where it is that.

        A size that is passed on the way to a smaller one is met exactly: otherwise all centres would rest at the
        widest spotlight that cannot be bettered in small steps.
        """
        if self._at_least and not is_passing:
            return at_least_tau(distances, size, self.losses, self.weights, self._penalties)
        return exact_tau(distances, size, self.weights), None

    def kernel(self, distances: np.ndarray, tau: np.ndarray) -> np.ndarray:
        """k, float32 (s, n)."""
        return np.maximum(0.0, 1.0 - tau[:, None].astype(np.float32) * distances)

    def mass(self, kernel: np.ndarray) -> np.ndarray:
        """k w, float32 (s, n)."""
        return kernel if self._counts is None else kernel * self._counts

    def ascent(
        self, centres: np.ndarray, distances: np.ndarray, kernel: np.ndarray, rims: np.ndarray | None = None
    ) -> np.ndarray:
        """Direction in which each centre climbs, float64 (s, d), in units of a mean shift.

        d objective / d mu = (2 tau / W) sum over the slice of (l_i - lam)(x_i - mu), with lam = sum l d / sum d at
        W = S. Where a row makes the rim instead, tau = 1 / d_rim, lam is the objective, and the rim itself pulls by
        - sum (l_i - lam) d_i / d_rim.
        """
        losses = charged(self.losses, self.mass(kernel), self._penalties) if self._penalties else self.losses
        inside = kernel > 0
        reach = self.mass(np.where(inside, distances, 0.0))
        lam = _along(reach, losses) / reach.sum(axis=1)
        if rims is not None:
            lam = np.where(rims == EXACT, lam, self.mean_loss(kernel)).astype(np.float32)
        pull = self.mass(np.where(inside, losses - lam[:, None], np.float32(0.0)))
        for j, rim in enumerate(rims if rims is not None else ()):
            if rim != EXACT:
                pull[j, rim] = 0.0
                pull[j, rim] = -(pull[j] @ distances[j]) / distances[j, rim]
        shift = pull @ self.rows - pull.sum(axis=1)[:, None] * centres
        return shift / np.maximum(np.abs(pull).sum(axis=1), 1e-30)[:, None]

    def pull(self, kernel: np.ndarray) -> np.ndarray:
        """Kernel times loss, (s, n), 0 or more: what a mean shift follows."""
        return kernel * discounted(self.losses, self.mass(kernel), self._penalties)

    def mean_row(self, centres: np.ndarray, size: float) -> np.ndarray:
        """The weighted mean of the rows that each centre covers at the given size, float64 (s, d)."""
        distances = self.distances(centres)
        return self.mean(self.mass(self.kernel(distances, self.tau(distances, size)[0])))

    def mean(self, mass: np.ndarray) -> np.ndarray:
        """The mean row under mass (s, n), float64 (s, d)."""
        return (mass @ self.rows).astype(np.float64) / mass.sum(axis=1, dtype=np.float64)[:, None]

    def mean_loss(self, kernel: np.ndarray) -> np.ndarray:
        """sum m l / sum m less the penalties, (s,); -inf where no row is inside."""
        mass = self.mass(kernel)
        total = mass.sum(axis=1, dtype=np.float64)
        loss = _along(mass, charged(self.losses, mass, self._penalties)).astype(np.float64)
        return np.divide(loss, total, out=np.full(len(total), -np.inf), where=total > 0)

    def mean_loss_error(self, kernel: np.ndarray) -> np.ndarray:
        """Standard error of `mean_loss`, (s,); infinite where no row is inside.

        A row is one observation, however many examples it stands for.
        """
        mass = self.mass(kernel)
        total = mass.sum(axis=1, dtype=np.float64)
        losses = charged(self.losses, mass, self._penalties)
        mean = np.where(total > 0, self.mean_loss(kernel), 0.0)
        apart = mass * (losses - mean[:, None].astype(np.float32))
        square = np.square(apart, dtype=np.float64).sum(axis=1)
        return np.divide(np.sqrt(square), total, out=np.full(len(total), np.inf), where=total > 0)


def _along(mass: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """Sum over rows of mass (s, n) times losses (n,) or (s, n)."""
    return mass @ losses if losses.ndim == 1 else np.einsum("ij,ij->i", mass, losses)


def level_ascent(
    cloud: Cloud, centres: np.ndarray, size: float, *, anchors: np.ndarray, confine: float | None, shrink: bool
) -> np.ndarray:
    """Climb the objective at the given size, from every centre at once.

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
    for at_size, is_passing in _sizes(cloud.total, size, _FIRST_SHARE * cloud.total if shrink else size):
        tau, rims = cloud.tau(distances, at_size, is_passing=is_passing)
        kernel = cloud.kernel(distances, tau)
        ascent = cloud.ascent(centres, distances, kernel, rims)
        proposed = _confined(centres + reach[:, None] * ascent, anchors, confine)
        new_distances = cloud.distances(proposed)
        new_kernel = cloud.kernel(new_distances, cloud.tau(new_distances, at_size, is_passing=is_passing)[0])
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
    for at_size, is_passing in _sizes(cloud.total, size, _FIRST_MULTIPLE * size if shrink else size)[::2]:
        distances = cloud.distances(centres)
        kernel = cloud.kernel(distances, cloud.tau(distances, at_size, is_passing=is_passing)[0])
        pull = cloud.mass(cloud.pull(kernel))
        total = pull.sum(axis=1, dtype=np.float64)
        moved = (pull @ cloud.rows) / np.where(total > 0, total, 1.0)[:, None]
        centres = _confined(np.where(total[:, None] > 0, moved, centres), anchors, confine)
    return centres


def _sizes(n: float, size: float, first: float) -> list[tuple[float, bool]]:
    """The size at each step, and whether it is passed on the way to `size`."""
    first = min(max(first, size), n)
    falling = np.geomspace(first, size, N_STEPS - _N_FINAL) if first > size else np.empty(0)
    return [(float(one), True) for one in falling] + [(size, False)] * _N_FINAL


def _confined(centres: np.ndarray, anchors: np.ndarray, confine: float | None) -> np.ndarray:
    if confine is None:
        return centres
    away = centres - anchors
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return anchors + away * np.minimum(1.0, confine / np.maximum(length, 1e-30))
