"""Validation at the public edge: every refusal names what was wrong, what came and what to do.

Kernels below the edge trust their input. All functions return the checked value, never a
silently corrected one, and never modify what they are given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

_CHUNK_BYTES = 64 << 20


def row_chunks(array: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
    """Yield (first row, block) so that memory-mapped arrays are never read whole."""
    row_bytes = max(1, array.nbytes // max(1, len(array)))
    step = max(1, _CHUNK_BYTES // row_bytes)
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def finite(array: np.ndarray, name: str, first_row: int = 0) -> np.ndarray:
    """Refuse NaN and infinity, naming the column and the first row that holds one; rows count from `first_row`."""
    for start, block in row_chunks(array):
        good = np.isfinite(block)
        if not good.all():
            row = int(np.flatnonzero(~good.reshape(len(block), -1).all(axis=1))[0])
            value = block[row].ravel()[~good[row].ravel()][0]
            raise ValueError(
                f"{name} must be finite, and row {first_row + start + row} holds {value}: drop or repair that row "
                "before building."
            )
    return array


def numeric(values: object, name: str) -> np.ndarray:
    """Return `values` as a real numeric array (memory-mapped arrays stay so); refuse anything else."""
    try:
        values = to_numpy(values)
        array = values if isinstance(values, np.ndarray) else np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} must be an array, and its rows are not of one length.") from error
    if array.dtype == bool or not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise TypeError(f"{name} must be an array of real numbers, not of dtype {array.dtype}.")
    return array


def to_numpy(values: Any) -> Any:
    """Bring a torch tensor to the host without importing torch, and what a mask hides to NaN or None; anything else is
    left as it is."""
    if isinstance(values, np.ma.MaskedArray):
        if not np.ma.is_masked(values):
            return values.data
        if values.dtype.kind in "mM":
            dates = np.array(values.data)
            dates[np.ma.getmaskarray(values)] = "NaT"
            return dates
        if values.dtype.kind not in "biuf":
            return values.tolist()
        return np.where(np.ma.getmaskarray(values), np.nan, values.data)
    if not hasattr(values, "detach"):
        return values
    tensor = values.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:  # bfloat16 and its kin, which numpy does not have
        return tensor.float().numpy()


def is_missing(value: object) -> bool:
    """Whether one value is None, NaN, NaT or pandas' NA; the text "nan" is a text."""
    return value is None or (not isinstance(value, str) and str(value) in ("nan", "NaT", "<NA>"))


def column(values: object, name: str, n: int) -> np.ndarray:
    """Return a finite float64 array of shape (n,); true and false count as 1 and 0."""
    array = np.asarray(to_numpy(values))
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


def probabilities(values: object, n: int, first_row: int = 0) -> np.ndarray:
    """Return probs as float32 (n, n_classes), refused unless each row is a distribution within 1e-3.

    Rows are named by their number counted from `first_row`.
    """
    array = numeric(values, "probs")
    if array.ndim != 2 or len(array) != n or array.shape[1] < 2:
        raise ValueError(
            f"probs must have shape ({n}, n_classes) with at least two classes, not {array.shape}"
            + (": a binary model gives np.column_stack([1 - p, p])." if array.size == n else ".")
        )
    finite(array, "probs", first_row)
    for start, block in row_chunks(array):
        start += first_row
        negative = np.flatnonzero((block < 0).any(axis=1))
        if len(negative):
            raise ValueError(
                f"probs must not be negative, and row {start + negative[0]} is: pass probabilities, not logits."
            )
        total = block.sum(axis=1, dtype=np.float64)
        off = np.flatnonzero(np.abs(total - 1) > 1e-3)
        if len(off):
            raise ValueError(
                f"probs must sum to one in every row (within 0.001), and row {start + off[0]} sums to "
                f"{total[off[0]]:.4g}: pass softmax outputs of all classes, not logits."
            )
    return array if array.dtype == np.float32 else array.astype(np.float32)


def classes(values: object, name: str, n: int) -> np.ndarray:
    """Return classes (n,): numbers as they came, names as an object array of str; none may be missing."""
    array = np.asarray(to_numpy(values))
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one value per example, not {array.shape}.")
    if array.dtype.kind not in "OUST":
        return array.astype(np.int64) if array.dtype == bool else numeric(array, name)
    # From a list, numpy would spell None and NaN out among the names.
    items = (array if isinstance(values, np.ndarray) else np.asarray(values, dtype=object)).tolist()
    for row, item in enumerate(items):
        if is_missing(item):
            raise ValueError(f"{name} row {row} is missing ({item}): drop that row, or give the class a name.")
        if not isinstance(item, str | bytes | int | float | np.number | np.bool_):
            raise TypeError(f"{name} must hold class numbers or names, and row {row} is a {type(item).__name__}.")
    is_name = np.array([isinstance(item, str | bytes) for item in items])
    if is_name.all():
        return np.array([_text(item, name, row) for row, item in enumerate(items)], dtype=object)
    if is_name.any():
        row = int(np.flatnonzero(is_name)[0])
        raise ValueError(f"{name} mixes numbers and names, and row {row} is the name {items[row]!r}: use one of them.")
    return numeric(np.array(items) + 0, name)  # + 0: booleans count as 0 and 1


def class_numbers(array: np.ndarray, name: str, class_names: Sequence[str] | None, n_classes: int | None) -> np.ndarray:
    """Return int64 class numbers (n,) from what `classes` gave; `n_classes` is None when nothing tells it."""
    if array.dtype == object:
        number = {class_name: index for index, class_name in enumerate(class_names or ())}
        for row, value in enumerate(array):
            if value not in number:
                raise ValueError(f"{name} row {row} is {value!r}, which is not among class_names {list(number)}.")
        return np.array([number[value] for value in array], dtype=np.int64)
    finite(array, name)
    broken = np.flatnonzero(array != np.floor(array))
    if len(broken):
        raise ValueError(f"{name} must be class numbers, and row {broken[0]} is {array[broken[0]]}.")
    limit = max(10_000, 10 * len(array)) if n_classes is None else n_classes
    bad = np.flatnonzero((array < 0) | (array >= limit))
    if len(bad):
        value = array[bad[0]]
        if n_classes is None and value > 0:
            raise ValueError(
                f"{name} must be class numbers from 0 up, and row {bad[0]} is {value}, too many classes for "
                f"{len(array)} examples: give names as text, or np.unique({name}, return_inverse=True)[1]."
            )
        span = "0 or more" if n_classes is None else f"0 to {limit - 1}"
        raise ValueError(f"{name} must be class numbers from {span}, and row {bad[0]} is {value}.")
    return array.astype(np.int64)


def unique_names(values: Iterable[object], name: str) -> tuple[str, ...]:
    """Return the values as strings, in their order, refused when one is missing or comes twice."""
    if isinstance(values, str | bytes | Mapping | Set) or not hasattr(values, "__iter__"):
        raise TypeError(f"{name} must be a list, in order, not a {type(values).__name__}.")
    names = tuple(_text(value, name, position) for position, value in enumerate(to_numpy(values)))
    if len(set(names)) != len(names):
        seen: set[str] = set()
        for position, value in enumerate(names):
            if value in seen:
                raise ValueError(f"{name} must be unique, and {value!r} comes again at position {position}.")
            seen.add(value)
    return names


def _text(value: Any, name: str, position: int) -> str:
    """One name as text."""
    if isinstance(value, str):
        return str(value)
    if is_missing(value):
        raise ValueError(f"{name} has nothing at position {position} ({value}): give it a name.")
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{name} has bytes at position {position} that are not text: decode them.") from None
    return str(to_numpy(value))


def unhidden(values: Any, name: str) -> Any:
    """Refuse a masked array in which something is hidden; anything else comes back as it is."""
    if np.ma.is_masked(values):
        first = int(np.flatnonzero(np.ma.getmaskarray(values))[0])
        raise ValueError(f"{name} hide value {first} behind a mask (numpy.ma): fill it, or leave it out, first.")
    return values


def rows(values: object, n: int) -> np.ndarray:
    """Return row numbers (int64) from row numbers or a boolean mask over n examples."""
    array = np.asarray(unhidden(values, "rows"))
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


def whole_number(value: object, name: str, *, least: int) -> int:
    """Return a whole number of at least `least`; True and False are none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    return int(value)


def true_or_false(value: object, name: str) -> bool:
    """Return True or False, and nothing that only counts as either."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, not {value!r}.")
    return bool(value)
