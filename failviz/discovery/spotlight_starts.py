"""Where a search for spotlights begins: two halves of the data alike in loss, and centres where losses are high."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from failviz._parallel import ignoring
from failviz.discovery.spotlight_level import Cloud


def stratified_halves(losses: np.ndarray, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Two halves (row numbers, ascending) alike in loss: of each two neighbours in rank, one goes to either."""
    ranked = np.argsort(losses, kind="stable")
    n_pairs = len(ranked) // 2
    pairs = ranked[: 2 * n_pairs].reshape(-1, 2)
    first = rng.randint(2, size=n_pairs)
    picked = pairs[np.arange(n_pairs), first]
    other = np.concatenate([pairs[np.arange(n_pairs), 1 - first], ranked[2 * n_pairs :]])
    return np.sort(picked), np.sort(other)


def first_centres(cloud: Cloud, n_starts: int, rng: np.random.RandomState) -> np.ndarray:
    """Centres (s, d) of k-means clusters of the fifth of the rows with the highest loss, weighted by loss."""
    ranked = np.argsort(-cloud.losses, kind="stable")
    n_fifth = len(cloud) // 5
    if cloud.weights is not None:
        n_fifth = int(np.searchsorted(np.cumsum(cloud.weights[ranked]), cloud.total / 5))
    top = np.sort(ranked[: min(len(cloud), max(n_fifth, 2 * n_starts))])
    rows, weights = cloud.rows[top], cloud.mass(cloud.losses)[top].astype(np.float64)
    if not weights.any():
        weights = np.ones(len(top))
    distinct = len(np.unique(rows[weights > 0], axis=0))
    if distinct <= n_starts:
        return np.unique(rows[weights > 0], axis=0).astype(np.float64)
    means = KMeans(n_starts, n_init=1, max_iter=10, random_state=rng.randint(2**31 - 1))
    with ignoring(ConvergenceWarning):  # fewer centres than asked for are starts as good
        return means.fit(rows, sample_weight=weights).cluster_centers_.astype(np.float64)
