"""Exact nearest neighbours: faiss where it is installed, else matrix products in blocks; the same answers.

Either way only finds candidates, in float32; a few more than asked for are ranked again by their
distances in float64, ties by row number, so that neither the engine nor the block size shows.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from failviz._parallel import ignoring

_SPARE = 8
_BLOCK_ROWS = 1024


def nearest(
    points: np.ndarray, base: np.ndarray, k: int, *, engine: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `base` nearest to each point, nearest first.

    Parameters
    ----------
    points : float array (m, d)
    base : float array (n, d)
    k : int
        At most n are returned.
    engine : "faiss" or "numpy", optional
        Default: faiss when it is installed.

    Returns
    -------
    rows : int64 (m, min(k, n))
    distances : float64 (m, min(k, n))
        L2.
    """
    k = min(k, len(base))
    wanted = min(k + _SPARE, len(base))
    points = np.ascontiguousarray(points, dtype=np.float32)
    base = np.ascontiguousarray(base, dtype=np.float32)
    engine = engine or ("faiss" if importlib.util.find_spec("faiss") else "numpy")
    find = _with_faiss(base) if engine == "faiss" else _with_numpy(base)
    rows = np.empty((len(points), k), dtype=np.int64)
    distances = np.empty((len(points), k))
    for first in range(0, len(points), _BLOCK_ROWS):
        block = points[first : first + _BLOCK_ROWS]
        candidates = np.sort(find(block, wanted), axis=1)
        gaps = np.linalg.norm(base[candidates].astype(np.float64) - block[:, None], axis=2)
        order = np.argsort(gaps, axis=1, kind="stable")[:, :k]
        rows[first : first + len(block)] = np.take_along_axis(candidates, order, axis=1)
        distances[first : first + len(block)] = np.take_along_axis(gaps, order, axis=1)
    return rows, distances


def _with_numpy(base: np.ndarray):
    squares = np.einsum("ij,ij->i", base, base)

    def find(block: np.ndarray, wanted: int) -> np.ndarray:
        closeness = squares - 2 * block @ base.T  # squared distance less a constant per point
        return np.argpartition(closeness, wanted - 1, axis=1)[:, :wanted]

    return find


def _with_faiss(base: np.ndarray):
    with ignoring(Warning):  # its generated bindings warn on import
        import faiss
    index = faiss.IndexFlatL2(base.shape[1])
    index.add(base)

    def find(block: np.ndarray, wanted: int) -> np.ndarray:
        return index.search(block, wanted)[1]

    return find
