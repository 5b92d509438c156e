"""The precision of a spotlight when its centre is given: total weight exactly S, or the best one of at least S.

The total weight W(tau) = sum w_i max(0, 1 - tau d_i) falls as tau grows, and is linear between the tau = 1 / d_i at
which rows leave. So the tau with W = S follows from the sorted distances; and so does the best tau with W >= S. Between
two such breakpoints the mean loss and the share of each class are ratios of linear functions of tau with one
denominator: they move along a straight line, and never turn back. On a line the mean loss is linear and minus the
entropy of the shares convex, so that the objective is best at an end: at a breakpoint, at W = S, or at tau = 0, where
everything is inside.

After d'Eon et al. 2021 (arXiv 2107.00758), who leave both to a barrier.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import xlogy

from failviz.discovery.spotlight_entropy import EntropyPenalty, charged

EXACT = -1
"""In the place of a rim: the size, and no row, decides tau."""
_TIE = 1e-9  # relative; of objectives nearer than this the smallest spotlight is taken


def exact_tau(distances: np.ndarray, size: float, weights: np.ndarray | None = None) -> np.ndarray:
    """The tau at which sum_i w_i max(0, 1 - tau d_i) = size, for each row of distances.

    With the m nearest inside, the total weight is (w_1 + .. + w_m) - tau (w_1 d_1 + .. + w_m d_m); m is the number
    of rows whose own distance, taken as the edge, leaves a weight below `size`.

    Parameters
    ----------
    distances : (s, n), squared, above 0
    size : float
        Total weight, above 0, at most the sum of the weights.
    weights : (n,), above 0, or None
        How many examples each row stands for; None = 1.

    Returns
    -------
    float64 (s,)
    """
    if weights is None:
        ranked = np.sort(distances, axis=1)
        total = np.cumsum(ranked, axis=1, dtype=np.float64)
        count = np.arange(1, ranked.shape[1] + 1)
        inside = np.maximum(1, (count - total / ranked < size).sum(axis=1))
        return np.maximum(0.0, inside - size) / total[np.arange(len(ranked)), inside - 1]
    order = np.argsort(distances, axis=1, kind="stable")
    ranked, ranked_weights = np.take_along_axis(distances, order, axis=1), weights[order]
    count = np.cumsum(ranked_weights, axis=1, dtype=np.float64)
    total = np.cumsum(ranked_weights * ranked, axis=1, dtype=np.float64)
    inside = np.maximum(1, (count - total / ranked < size).sum(axis=1))
    last = np.arange(len(ranked)), inside - 1
    return np.maximum(0.0, count[last] - size) / total[last]


def at_least_tau(
    distances: np.ndarray,
    size: float,
    losses: np.ndarray,
    weights: np.ndarray | None = None,
    penalties: Sequence[EntropyPenalty] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """The tau with the highest objective among those with total weight of at least `size`, for each row of distances.

    Parameters
    ----------
    distances : (s, n), squared, above 0
    size : float
    losses : (n,)
    weights : (n,), above 0, or None
    penalties : of these rows
        Each takes time in proportion to its number of classes.

    Returns
    -------
    tau : float64 (s,)
    rims : int (s,)
        The row whose distance tau makes the edge; `EXACT` where total weight is `size`. Among equal objectives the
        smallest spotlight.
    """
    distances = np.asarray(distances, dtype=np.float64)
    weights = np.ones(distances.shape[1]) if weights is None else weights
    order = np.argsort(distances, axis=1, kind="stable")
    ranked = np.take_along_axis(distances, order, axis=1)

    def mass_within(counted: np.ndarray) -> np.ndarray:
        """sum of k times what is counted (s, n), for the edge at each row in turn."""
        return np.cumsum(counted, axis=1) - np.cumsum(counted * ranked, axis=1) / ranked

    ranked_weights = weights[order]
    mass = mass_within(ranked_weights)
    is_large_enough = mass >= size
    safe = np.where(is_large_enough, mass, 1.0)
    values = mass_within(ranked_weights * losses[order]) / safe
    for penalty in penalties:
        ranked_classes = penalty.classes[order]
        by_class = np.zeros_like(values)
        for number in range(penalty.n_classes):
            share = np.clip(mass_within(ranked_weights * (ranked_classes == number)) / safe, 0.0, 1.0)
            by_class += xlogy(share, share)
        values += penalty.coefficient * by_class
    at_size = exact_tau(distances, size, weights)
    inside = weights * np.maximum(0.0, 1.0 - at_size[:, None] * distances)
    ends = [_means(losses, mass, penalties) for mass in (inside, np.broadcast_to(weights, distances.shape))]
    candidates = np.column_stack([ends[0], np.where(is_large_enough, values, -np.inf), ends[1]])
    best = candidates.max(axis=1, keepdims=True)
    chosen = (candidates >= best - _TIE * np.abs(best)).argmax(axis=1)

    spotlights, n = np.arange(len(distances)), distances.shape[1]
    rims = np.where(chosen == 0, EXACT, order[spotlights, np.clip(chosen - 1, 0, n - 1)])
    edges = ranked[spotlights, np.clip(chosen - 1, 0, n - 1)]
    return np.where(chosen == 0, at_size, np.where(chosen > n, 0.0, 1.0 / edges)), rims


def _means(losses: np.ndarray, mass: np.ndarray, penalties: Sequence[EntropyPenalty]) -> np.ndarray:
    """The objective of each spotlight of mass (s, n), float64 (s,)."""
    means: np.ndarray = (mass * charged(losses, mass, penalties)).sum(axis=1) / mass.sum(axis=1)
    return means
