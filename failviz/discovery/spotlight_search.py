"""Spotlights of one group of examples, one after another: starts, the choice on a held-out half, and the fit on all.

d'Eon et al. 2021, arXiv 2107.00758. The climbs are in `spotlight_level.py`, the published one in `spotlight_adam.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np

from failviz._parallel import one_thread
from failviz._progress import progress as progress_bar
from failviz.discovery.spotlight_adam import STEPS, ascend_as_published, barrier_widths
from failviz.discovery.spotlight_ellipsoid import Frame, quadratic_distances
from failviz.discovery.spotlight_entropy import EntropyPenalty, objective
from failviz.discovery.spotlight_level import (
    FLOOR,
    Cloud,
    Scaling,
    level_ascent,
    mean_shift,
    squared_distances,
    weighted_quantile,
)
from failviz.discovery.spotlight_settings import Settings
from failviz.discovery.spotlight_size import at_least_tau, exact_tau
from failviz.discovery.spotlight_starts import first_centres, stratified_halves

N_ROUNDS = 3
"""Times that the shape of an ellipsoid is taken anew from what it covers, at most."""
_CLIMBS = {"mean shift": mean_shift, "level ascent": level_ascent}
_FEWEST_HELD_OUT = 0.25  # of the size: a slice that the other half hardly enters has no held-out loss to speak of


@dataclass(frozen=True, eq=False)
class Group:
    """Examples to search, as arrays over its rows.

    Attributes
    ----------
    rows : (n, d)
    losses : float64 (n,), 0 or more
    weights : float64 (n,) with mean 1, or None
        Each row stands for weight x `unit` examples; None = 1.
    unit : float
    penalties : of these rows
    """

    rows: np.ndarray
    losses: np.ndarray
    weights: np.ndarray | None = None
    unit: float = 1.0
    penalties: tuple[EntropyPenalty, ...] = ()

    @property
    def total(self) -> float:
        return float(len(self.rows) if self.weights is None else self.weights.sum())

    def mass(self, kernel: np.ndarray) -> np.ndarray:
        return kernel if self.weights is None else kernel * self.weights


class Spot(NamedTuple):
    """A spotlight that was found, under the names of the attributes and stats of `Spotlight`."""

    centre: np.ndarray
    precision: float | np.ndarray
    floor: float
    peak: float
    weight: float
    objective: float
    held_out: float
    method: str
    mean_loss: float
    mean_loss_of_all: float
    gain: float
    """Weight times what the objective, held out if it was, exceeds that of the whole group by."""


Found: TypeAlias = tuple[
    np.ndarray, "float | np.ndarray", float, float, str
]  # centre, precision, floor, held out, method


def search(
    group: Group, size: float, settings: Settings, rng: np.random.RandomState, *, progress: bool = False
) -> list[Spot]:
    """The spotlights of a group in the order found, each on losses reduced by what those before it cover.

    Parameters
    ----------
    group : Group
    size : float
        S, in weights of the group.
    settings : Settings
    rng : RandomState
        Of the halves and the starts.
    progress : bool
    """
    losses, weights = group.losses, group.weights
    values, shift = _clipped(group, None if settings.solver == "adam" else settings.loss_clip), 0.0
    if settings.flip:  # as losses that are high where the model does well, and are reduced like them
        shift = -float(values.max())
        values = -shift - values
    solver = (_Published if settings.solver == "adam" else _Level)(group, size, settings, rng)
    objective_of_all = objective(values, group.mass(np.ones(len(losses))), group.penalties)
    spots = []
    for _ in progress_bar(range(settings.n_slices), desc="spotlights", enabled=progress):
        with one_thread():
            centre, precision, floor, held_out, method = solver.next(values, shift)
            kernel = np.maximum(0.0, closeness(group.rows, centre, precision, floor))
        mass = group.mass(kernel)
        total, peak = float(mass.sum()), float(kernel.max()) or 1.0
        reached = objective(values, mass, group.penalties)
        excess = (reached if np.isnan(held_out) else held_out) - objective_of_all
        spot = Spot(
            centre,
            precision,
            floor,
            peak,
            weight=total * group.unit,
            objective=reached + shift,
            held_out=held_out + shift,
            method=method,
            mean_loss=float(mass @ losses / total) if total > 0 else 0.0,
            mean_loss_of_all=float(losses.mean() if weights is None else np.average(losses, weights=weights)),
            gain=excess * total * group.unit,
        )
        spots.append(spot)
        values = values * (1.0 - kernel / peak)
    return spots


def closeness(rows: np.ndarray, centre: np.ndarray, precision: float | np.ndarray, floor: float) -> np.ndarray:
    """float64 (n,): 1 - (x - mu)' P (x - mu), with P = tau I for a number tau; what is nearer than `floor` is as near.

    The floor is a squared distance, for a matrix P measured by it.
    """
    if np.ndim(precision) == 0:
        return 1.0 - precision * np.maximum(squared_distances(rows, centre), floor)
    return 1.0 - np.maximum(quadratic_distances(rows, centre, np.asarray(precision)), floor)


class _Published:
    """Spotlights one after another by the published optimiser."""

    def __init__(self, group: Group, size: float, settings: Settings, rng: np.random.RandomState):
        self._group, self._size, self._full = group, size, settings.kernel == "full"
        self._barrier_scale = settings.barrier_scale
        # In float32 the published code does not repeat even itself; the shape of an ellipsoid needs more.
        self._rows = group.rows.astype(np.float64 if self._full else np.float32)

    def next(self, values: np.ndarray, shift: float) -> Found:
        """The next one, on `values`; its plateaus are relative to an objective that is `shift` higher."""
        group = self._group
        centre, precision = ascend_as_published(
            self._rows,
            values + shift,
            self._size,
            widths=barrier_widths(group.total, self._size, STEPS),
            barrier_scale=self._barrier_scale,
            full=self._full,
            weights=group.weights,
            penalties=group.penalties,
        )
        return centre, precision, 0.0, np.nan, "adam"


class _Level:
    """Spotlights one after another by level ascent and mean shift, chosen on a held-out half."""

    def __init__(self, group: Group, size: float, settings: Settings, rng: np.random.RandomState):
        self._group, self._size, self._rng = group, size, rng
        self._confine, self._n_starts = settings.confine, settings.n_starts
        self._full, self._at_least = settings.kernel == "full", settings.size == "at_least"
        self._scaling = Scaling.fit(group.rows, group.weights)
        self._scaled = self._scaling(group.rows)
        self._halves = stratified_halves(group.losses, rng)

    def next(self, values: np.ndarray, shift: float) -> Found:
        everything, rows, scaling = self._cloud(values), self._group.rows, self._scaling
        start, way, held_out = self._chosen(values)
        climb = _CLIMBS[way]
        covered = everything.mean_row(start, self._size)
        centre = climb(everything, start, self._size, anchors=covered, confine=self._confine, shrink=False)
        reshaped = islice(self._reshaped(everything, centre, self._size, climb), len(held_out) - 1)
        shapes = [(frame, moved[0]) for frame, _, moved in reshaped]
        if shapes:
            frame, moved = shapes[-1]
            mu, shape = scaling.undo(frame.undo(moved)), frame.precision / scaling.radius**2
            tau = self._tau(np.maximum(quadratic_distances(rows, mu, shape), FLOOR), values)
            return mu, tau * shape, tau * FLOOR, held_out[len(shapes)], f"{way}, ellipsoid"
        mu, floor = scaling.undo(centre[0]), FLOOR * scaling.radius**2
        tau = self._tau(np.maximum(squared_distances(rows, mu), floor), values)
        if self._full:
            return mu, tau * np.eye(len(mu)), tau * floor, held_out[0], way
        return mu, tau, floor, held_out[0], way

    def _chosen(self, values: np.ndarray) -> tuple[np.ndarray, str, list[float]]:
        """What does best on the half kept back: a centre (1, d), the way of climbing, and the objectives there of the
        sphere and of each round in which it is worth a shape of its own."""
        searched, kept = (self._cloud(values, half) for half in self._halves)
        part = max(1.0, self._size * searched.total / self._group.total)
        starts = first_centres(searched, self._n_starts, self._rng)
        best_score, centre, way, held_out = -np.inf, starts[:1], "mean shift", [np.nan]
        for name, climb in _CLIMBS.items():
            centres = climb(searched, starts, part, anchors=starts, confine=self._confine, shrink=True)
            losses, scores = _judged(searched, kept, centres, part)
            j = int(scores.argmax())
            if scores[j] > best_score:
                best_score, centre, way, held_out = scores[j], centres[j : j + 1], name, [float(losses[j])]
        if not self._full:
            return centre, way, held_out
        n_rounds = 0
        for frame, cloud, moved in self._reshaped(searched, centre, part, _CLIMBS[way]):
            losses, scores = _judged(cloud, kept.moved(frame(kept.rows)), moved, part)
            held_out.append(float(losses[0]))
            if scores[0] > best_score:
                best_score, n_rounds = scores[0], len(held_out) - 1
        return centre, way, held_out[: n_rounds + 1]

    def _cloud(self, values: np.ndarray, part: np.ndarray | None = None) -> Cloud:
        group = self._group
        rows, weights, penalties = self._scaled, group.weights, group.penalties
        if part is not None:
            rows, values = rows[part], values[part]
            weights = None if weights is None else weights[part]
            penalties = tuple(penalty.take(part) for penalty in penalties)
        return Cloud(rows, values, weights=weights, penalties=penalties, at_least=self._at_least)

    def _reshaped(
        self, cloud: Cloud, centre: np.ndarray, size: float, climb: Callable[..., np.ndarray]
    ) -> Iterator[tuple[Frame, Cloud, np.ndarray]]:
        """Round after round a frame in which what is covered is round, the cloud in it, and the centre (1, d) there."""
        inside, at = cloud, centre
        for _ in range(N_ROUNDS):
            distances = inside.distances(at)
            pull = inside.mass(inside.pull(inside.kernel(distances, inside.tau(distances, size)[0])))
            frame = Frame.of(cloud, pull[0])
            if frame is None:
                return
            inside = cloud.moved(frame(cloud.rows))
            start = inside.mean(pull)
            at = climb(inside, start, size, anchors=start, confine=self._confine, shrink=False)
            yield frame, inside, at

    def _tau(self, distances: np.ndarray, values: np.ndarray) -> float:
        weights, penalties = self._group.weights, self._group.penalties
        if self._at_least:
            return float(at_least_tau(distances[None], self._size, values, weights, penalties)[0][0])
        return float(exact_tau(distances[None], self._size, weights)[0])


def _judged(searched: Cloud, kept: Cloud, centres: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    """Objectives on the half kept back, (s,), and scores to choose by: one standard error less, as the best of many
    is looked for."""
    kernel = kept.kernel(kept.distances(centres), searched.tau(searched.distances(centres), size)[0])
    held_out = kept.mean_loss(kernel)
    is_entered = kept.mass(kernel).sum(axis=1) >= _FEWEST_HELD_OUT * size
    return held_out, np.where(is_entered, held_out - kept.mean_loss_error(kernel), -np.inf)


def _clipped(group: Group, share: float | None) -> np.ndarray:
    if share is None:
        return group.losses
    if group.weights is None:
        return np.minimum(group.losses, np.quantile(group.losses, share, method="lower"))
    return np.minimum(group.losses, weighted_quantile(group.losses, share, group.weights))
