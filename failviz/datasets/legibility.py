"""Which Fashion-MNIST items are legible: those that their nearest neighbours take for what their label says.

Fashion-MNIST's shirts, coats and pullovers overlap so much that every model errs on them. Scenes leave such items out,
so that what a classifier gets wrong is due to the scene, which is known, and not to the item.
"""

from __future__ import annotations

import numpy as np

N_NEIGHBOURS = 10
BLOCK = 2_000


def find_legible(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which items most of their ten nearest neighbours agree with, themselves left out.

    Neighbours by Euclidean distance of 14 x 14 pictures of 16 gray levels; sums are whole numbers below 2**24, exact
    in float32, so the answer is the same on every machine.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 28, 28)
    labels : ndarray of uint8, shape (n,)

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    n = len(images)
    small = images.reshape(n, 14, 2, 14, 2).astype(np.uint16).sum(axis=(2, 4)) // 64
    points = small.reshape(n, -1).astype(np.float32)
    norms = (points * points).sum(axis=1)
    is_legible = np.empty(n, dtype=bool)
    for start in range(0, n, BLOCK):
        rows = np.arange(start, min(start + BLOCK, n))
        nearness = 2 * (points[rows] @ points.T) - norms
        nearness[np.arange(len(rows)), rows] = -np.inf
        limit = np.partition(nearness, n - N_NEIGHBOURS, axis=1)[:, n - N_NEIGHBOURS, None]
        is_near = nearness >= limit  # ties are all neighbours: no order is needed
        agrees = is_near & (labels[rows, None] == labels[None, :])
        is_legible[rows] = 2 * agrees.sum(axis=1) > is_near.sum(axis=1)
    return is_legible
