"""Validation at the public edge: every refusal names what was wrong, what came and what to do.

Kernels below the edge trust their input. All functions return the checked value, never a
silently corrected one, and never modify what they are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

_CHUNK_BYTES = 64 << 20


def row_chunks(array: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
    """Yield (first row, block) so that memory-mapped arrays are never read whole."""
    row_bytes = max(1, array.nbytes // max(1, len(array)))
    step = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def finite(array: np.ndarray, name: str) -> np.ndarray:
    """Refuse NaN and infinity, naming the column and the first row that holds one."""
    for start, block in row_chunks(array):
        good = np.isfinite(block)
        if not good.all():
            row = int(np.flatnonzero(~good.reshape(len(block), -1).all(axis=1))[0])
            value = block[row].ravel()[~good[row].ravel()][0]
            raise ValueError(
                f"{name} must be finite, and row {start + row} holds {value}: drop or repair that row before building."
            )
    return array


def numeric(values: object, name: str) -> np.ndarray:
    """Return `values` as a real numeric array (memory-mapped arrays stay so); refuse anything else."""
    array = values if isinstance(values, np.ndarray) else np.asarray(_to_numpy(values))
    if array.dtype == bool or not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise TypeError(f"{name} must be an array of real numbers, not of dtype {array.dtype}.")
    return array


def _to_numpy(values: object) -> object:
    """Bring a torch tensor to the host without importing torch."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values


def column(values: object, name: str, n: int) -> np.ndarray:
    """Return a finite float64 array of shape (n,); true and false count as 1 and 0."""
    array = np.asarray(_to_numpy(values))
    array = array.astype(np.float64) if array.dtype == bool else numeric(array, name)
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one value per example, not {array.shape}.")
    return finite(array.astype(np.float64), name)


def embedding(values: object, name: str) -> np.ndarray:
    """Return a finite float16 or float32 array of shape (n, d), without copying where it can."""
    array = numeric(values, name)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must have shape (n, d), one row per example, not {array.shape}"
            + (": a single feature is array.reshape(-1, 1)." if array.ndim == 1 else ": flatten or pool it first.")
        )
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise ValueError(f"{name} has shape {array.shape}: an Evaluation needs at least one example and one dimension.")
    if array.dtype not in (np.float16, np.float32):
        finite(array, name)
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    return finite(array, name)


def probabilities(values: object, n: int) -> np.ndarray:
    """Return probs as float32 (n, n_classes), refused unless each row is a distribution within 1e-3."""
    array = numeric(values, "probs")
    if array.ndim != 2 or len(array) != n or array.shape[1] < 2:
        raise ValueError(
            f"probs must have shape ({n}, n_classes) with at least two classes, not {array.shape}"
            + (": a binary model gives np.column_stack([1 - p, p])." if array.size == n else ".")
        )
    finite(array, "probs")
    array = array.astype(np.float32)
    negative = np.flatnonzero((array < 0).any(axis=1))
    if len(negative):
        raise ValueError(f"probs must not be negative, and row {negative[0]} is: pass probabilities, not logits.")
    total = array.sum(axis=1, dtype=np.float64)
    off = np.flatnonzero(np.abs(total - 1) > 1e-3)
    if len(off):
        raise ValueError(
            f"probs must sum to one in every row (within 0.001), and row {off[0]} sums to {total[off[0]]:.4g}: "
            "pass softmax outputs, not logits."
        )
    return array


def class_indices(values: object, name: str, n: int, class_names: Sequence[str] | None) -> np.ndarray:
    """Return int64 class numbers (n,), from numbers or from class names."""
    array = np.asarray(_to_numpy(values))
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one value per example, not {array.shape}.")
    if array.dtype.kind in "OUS":
        if class_names is None:
            raise ValueError(f"{name} holds names, so class_names is needed to number them.")
        number = {str(class_name): index for index, class_name in enumerate(class_names)}
        for row, value in enumerate(array):
            if str(value) not in number:
                raise ValueError(
                    f"{name} row {row} is {str(value)!r}, which is not among class_names {list(class_names)}."
                )
        return np.array([number[str(value)] for value in array], dtype=np.int64)
    if array.dtype == bool:
        array = array.astype(np.int64)
    numeric(array, name)
    if np.issubdtype(array.dtype, np.floating):
        finite(array, name)
        if (array != np.floor(array)).any():
            row = int(np.flatnonzero(array != np.floor(array))[0])
            raise ValueError(f"{name} must be class numbers, and row {row} is {array[row]}.")
    array = array.astype(np.int64)
    limit = None if class_names is None else len(class_names)
    bad = np.flatnonzero((array < 0) | (array >= limit) if limit is not None else array < 0)
    if len(bad):
        span = f"0 to {limit - 1}" if limit is not None else "0 or more"
        raise ValueError(f"{name} must be class numbers from {span}, and row {bad[0]} is {array[bad[0]]}.")
    return array


def unique_names(values: Iterable[object], name: str) -> tuple[str, ...]:
    """Return the values as strings, refused when one comes twice."""
    names = tuple(str(value) for value in values)
    if len(set(names)) != len(names):
        seen: set[str] = set()
        for row, value in enumerate(names):
            if value in seen:
                raise ValueError(f"{name} must be unique, and {value!r} comes again at position {row}.")
            seen.add(value)
    return names


def rows(values: object, n: int) -> np.ndarray:
    """Return row numbers (int64) from row numbers or a boolean mask over n examples."""
    array = np.asarray(values)
    if array.dtype == bool:
        if array.shape != (n,):
            raise ValueError(f"a boolean mask must have shape ({n},), not {array.shape}.")
        return np.flatnonzero(array)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise TypeError("rows must be a one-dimensional array of whole numbers or a boolean mask.")
    if array.min() < -n or array.max() >= n:
        raise IndexError(f"rows must lie between 0 and {n - 1}, not {array.min()} to {array.max()}.")
    return np.where(array < 0, array + n, array).astype(np.int64)


def fraction(value: float, name: str) -> float:
    """Return a number strictly between zero and one."""
    if not (isinstance(value, int | float | np.number) and 0 < value < 1):
        raise ValueError(f"{name} must lie strictly between 0 and 1, not {value!r}.")
    return float(value)
