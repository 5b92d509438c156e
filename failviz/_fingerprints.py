"""Was this row in that other table? Hashes of the content of rows, exact and tolerant of rounding.

Ids prove nothing across data sets, so rows are known again by what they hold.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from failviz import _checks

SEEN_LIMIT = 0.01
"""Share of rows seen before, beyond chance, above which a table counts as seen."""

_PROJECTIONS = 16
_CELL = 0.05  # of a projection of the row at unit length, whose standard deviation is one
_BLOCK_VALUES = 4 << 20
_MANTISSA = 2.0**42 + 1  # splits 11 of the 53 bits of a float64 off (Veltkamp), as many as float16 has


def content_hashes(array: np.ndarray) -> np.ndarray:
    """uint64 (n,): equal for rows (n, d) of equal float32 values."""
    hashes = np.empty(len(array), dtype=np.uint64)
    for start, block in _checks.row_chunks(array):
        words = (np.ascontiguousarray(block, dtype=np.float32) + np.float32(0)).view(np.uint32)
        hashes[start : start + len(block)] = _mixed(words.astype(np.uint64), 0x5EED)
    return hashes


def fingerprints(array: np.ndarray) -> np.ndarray:
    """uint64 (n, 3): the exact hash of each row and two that survive rounding.

    Values are rounded to the precision of float16. The direction of the row, on 16 fixed random
    axes, and the logarithm of its length are then cut into cells, on two grids half a cell apart:
    a row near an edge of one grid is far from the edges of the other. Cells are fractions of the
    row's own length (no statistics of the data are needed), finer in fewer than eight dimensions,
    where rows lie closer. A row and its float16 copy, or its copy with 1e-5 of relative noise,
    agree in one of the grids nearly always; with 1e-3 (half-precision inference) mostly.

    Parameters
    ----------
    array : float array (n, d)
    """
    n, d = array.shape
    axes = np.random.default_rng(0xA8E5).normal(size=(d, _PROJECTIONS))
    cell = _CELL * min(1.0, d / 8)
    prints = np.empty((n, 3), dtype=np.uint64)
    prints[:, 0] = content_hashes(array)
    step = max(1, _BLOCK_VALUES // max(d, 2 * _PROJECTIONS))
    for start in range(0, n, step):
        rows = array[start : start + step].astype(np.float64)
        shifted = rows * _MANTISSA
        rows = shifted - (shifted - rows)
        length = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
        length[length == 0] = 1.0
        # Eight times: all other coordinates say something of the direction, this one alone of the length.
        places = np.hstack([rows @ axes / length, 8 * np.log(length)]) / cell
        for grid, offset in enumerate((0.25, 0.75), start=1):
            cells = np.floor(places + offset).astype(np.int64).view(np.uint64)
            prints[start : start + step, grid] = _mixed(cells, grid)
    return prints


class Recognised(NamedTuple):
    """Which rows were seen before, and how much that says."""

    is_seen: np.ndarray
    """Boolean (n,)."""
    chance: float
    """Share of rows never seen that would be recognised all the same."""
    can_tell: bool
    """False when rows repeat so often that being recognised means nothing."""


def recognised(rows: np.ndarray, seen: np.ndarray) -> Recognised:
    """Look fingerprints (n, 3) up among those of the rows seen (m, 3).

    Only what occurs once among the rows seen identifies a row: zeros of dead units and the few
    possible rows of a discrete table do not. How often a row never seen meets one that occurs once
    is estimated, as in Good 1953 (Biometrika 40), by the share of the seen that occur twice, with one
    pair more for caution. A column of fingerprints in which that would hide half a copy is left out.
    """
    is_seen, twice, can_tell = np.zeros(len(rows), dtype=bool), 2, False
    for column in range(seen.shape[1]):
        values, counts = np.unique(seen[:, column], return_counts=True)
        once, pairs = int((counts == 1).sum()), int((counts == 2).sum())
        if SEEN_LIMIT * len(seen) + 2 * (2 * pairs) < once / 2:
            is_seen |= np.isin(rows[:, column], values[counts == 1])
            twice, can_tell = twice + 2 * pairs, True
    return Recognised(is_seen, twice / max(1, len(seen)), can_tell)


def together(seen: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Fingerprints of the rows in either table; a row in both counts once."""
    return np.concatenate([seen, other[~np.isin(other[:, 0], seen[:, 0])]])


def _mixed(words: np.ndarray, seed: int) -> np.ndarray:
    """uint64 (n,): one well-mixed number for each row of uint64 words (n, m)."""
    odd = np.random.default_rng(seed).integers(0, 2**63, size=words.shape[1], dtype=np.uint64) * 2 + 1
    words = words ^ (words >> np.uint64(15))
    mixed: np.ndarray = (words * odd).sum(axis=1, dtype=np.uint64)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(32))
