"""Exact nearest neighbours of a few points in a pool that is read once, block by block.

Distances are found in float32 as matrix products; every candidate that rounding could have hidden is measured again
in float64, so that the answer depends on neither the size of the blocks nor the order of the rows.
"""

from __future__ import annotations

import numpy as np

CHUNK_ROWS = 8_192
_POINTS_AT_ONCE = 256
_PAIRS_AT_ONCE = 2_048
_TINY = np.finfo(np.float32).tiny  # below it float32 has fewer digits


def nearest_in_chunks(
    points: np.ndarray, base: np.ndarray, rows: np.ndarray, ranks: np.ndarray, k: int, chunk_rows: int = CHUNK_ROWS
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `base`, among `rows`, that are nearest to each point in L2; ties by rank.

    Beside the points and the answer it holds one block of the pool and its distances to 256 points: at the default
    size and 512 dimensions about 70 MB, whatever the size of the pool, which may be memory-mapped.

    Parameters
    ----------
    points : float array (m, d)
    base : float16 or float32 array (n, d)
    rows : int64 array (r,)
        Ascending.
    ranks : int array (r,)
        Which of two rows at the same distance comes first: the lower.
    k : int
        At most r are returned.
    chunk_rows : int

    Returns
    -------
    positions : int64 (m, min(k, r))
        Into `rows`, nearest first.
    distances : float64 (m, min(k, r))
    """
    k = min(k, len(rows))
    positions = np.empty((len(points), k), dtype=np.int64)
    distances = np.empty((len(points), k))
    for first in range(0, len(points), _POINTS_AT_ONCE):
        block = slice(first, first + _POINTS_AT_ONCE)
        positions[block], distances[block] = _of_block(
            np.asarray(points[block], dtype=np.float64), base, rows, ranks, k, chunk_rows
        )
    return positions, distances


def _of_block(
    points: np.ndarray, base: np.ndarray, rows: np.ndarray, ranks: np.ndarray, k: int, chunk_rows: int
) -> tuple[np.ndarray, np.ndarray]:
    # Distances keep more digits when the origin is near.
    centre = points.mean(axis=0).astype(np.float32)
    m = len(points)
    best = np.full((m, k), -1, dtype=np.int64)
    squares = np.full((m, k), np.inf)
    # No rounding error of |c|^2 + |x|^2 - 2cx in float32 is above this share of |c|^2 + |x|^2.
    share = np.float32(2.0**-23 * (points.shape[1] + 16))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # what overflows is measured again
        centred = (points - centre).astype(np.float32)
        lengths = np.einsum("ij,ij->i", centred, centred)
        for start in range(0, len(rows), chunk_rows):
            wanted = rows[start : start + chunk_rows]
            is_run = wanted[-1] - wanted[0] == len(wanted) - 1
            chunk = base[wanted[0] : wanted[-1] + 1] if is_run else base[wanted]
            near = chunk.astype(np.float32)
            near -= centre
            near_lengths = np.einsum("ij,ij->i", near, near)
            rough = centred @ near.T
            rough *= -2
            rough += near_lengths
            rough += lengths[:, None]
            limit = squares[:, -1].astype(np.float32)
            if k < rough.shape[1]:
                most = rough + share * near_lengths
                most.partition(k - 1, axis=1)
                limit = np.minimum(limit, most[:, k - 1] + share * lengths + _TINY)
            rough -= share * near_lengths
            which, column = np.nonzero(~(rough > (limit + share * lengths + _TINY)[:, None]))
            exact = _exact_squares(points, chunk, which, column)
            best, squares = _merged(best, squares, which, column + start, exact, ranks)
    return best, np.sqrt(squares)


def _exact_squares(points: np.ndarray, chunk: np.ndarray, which: np.ndarray, column: np.ndarray) -> np.ndarray:
    """float64 (p,): squared distances of pairs (point, row of the chunk)."""
    exact = np.empty(len(which))
    for first in range(0, len(which), _PAIRS_AT_ONCE):
        part = slice(first, first + _PAIRS_AT_ONCE)
        difference = points[which[part]] - chunk[column[part]]
        exact[part] = np.einsum("ij,ij->i", difference, difference)
    return exact


def _merged(
    best: np.ndarray,
    squares: np.ndarray,
    which: np.ndarray,
    position: np.ndarray,
    exact: np.ndarray,
    ranks: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of those kept so far and the new pairs, for every point."""
    m, k = best.shape
    points = np.concatenate([np.repeat(np.arange(m), k), which])
    positions = np.concatenate([best.ravel(), position])
    values = np.concatenate([squares.ravel(), exact])
    tie = np.where(positions >= 0, ranks[positions], len(ranks))
    order = np.lexsort((tie, values, points))
    points, positions, values = points[order], positions[order], values[order]
    place = np.arange(len(points)) - np.searchsorted(points, points)
    kept = place < k
    return positions[kept].reshape(m, k), values[kept].reshape(m, k)
