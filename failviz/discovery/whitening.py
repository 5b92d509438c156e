"""Whitening of embeddings per dimension, then unit rows (Jain et al. 2022, arXiv 2206.14754, section 3.1).

Failure directions live in these coordinates: (z - mean) / sd, divided by its own L2 norm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_BLOCK_ROWS = 16384


@dataclass(frozen=True)
class Whitening:
    """Per-dimension statistics and their use.

    Attributes
    ----------
    mean, scale : float64 arrays (d,)
        Mean and standard deviation (ddof=1); the scale of a constant dimension is 1.
    is_constant : bool array (d,)
        Dimensions that did not vary: they become exactly 0 on the data of the fit.
    passes : int
        How often the transform is applied; the reference code of the paper applies it twice.
    """

    mean: np.ndarray
    scale: np.ndarray
    is_constant: np.ndarray
    passes: int = 1

    @classmethod
    def fit(cls, embeddings: np.ndarray, *, order: np.ndarray | None = None, passes: int = 1) -> Whitening:
        """Statistics of all rows (n, d), two passes in float64, in blocks when memory-mapped.

        Given an `order` of the rows, sums are taken in it, so that they round the same way
        however the rows lie.
        """
        n, d = embeddings.shape
        mean, squares = np.zeros(d), np.zeros(d)
        low, high = np.full(d, np.inf), np.full(d, -np.inf)
        for block in _blocks(embeddings, order):
            mean += block.sum(axis=0, dtype=np.float64) / n
            low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
        for block in _blocks(embeddings, order):
            centred = block - mean
            squares += np.einsum("ij,ij->j", centred, centred)
        is_constant = low == high
        mean[is_constant] = low[is_constant]
        scale = np.sqrt(squares / max(1, n - 1))
        scale[is_constant] = 1.0
        return cls(mean, scale, is_constant, passes)

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        """Whitened rows of unit length, float64 (n, d); a row without direction stays 0."""
        return self._applied(embeddings, self.mean)

    def of_differences(self, differences: np.ndarray) -> np.ndarray:
        """Differences between embeddings (m, d), whitened to unit rows: what is subtracted from both ends cancels."""
        return self._applied(differences, np.zeros_like(self.mean))

    def _applied(self, rows: np.ndarray, mean: np.ndarray) -> np.ndarray:
        for _ in range(self.passes):
            rows = rows - mean
            rows /= self.scale
            length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            rows /= np.where(length > 0, length, 1.0)[:, None]
        return rows


def _blocks(embeddings: np.ndarray, order: np.ndarray | None) -> Iterator[np.ndarray]:
    for start in range(0, len(embeddings), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        yield embeddings[part] if order is None else embeddings[order[part]]
