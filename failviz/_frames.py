"""Dataframes of pandas or polars: which they are, the numbers in them, and what their columns are called."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_dataframe(thing: Any) -> bool:
    """Whether it is a frame of pandas or polars, held in memory."""
    return hasattr(thing, "columns") and hasattr(thing, "to_numpy") and hasattr(thing, "__len__")


def not_numbers(frame: Any) -> Any:
    """The name of the first column of a dataframe that holds neither numbers nor true and false; None where all do."""
    return next((name for name, dtype in zip(frame.columns, frame.dtypes, strict=True) if not _is_number(dtype)), None)


def to_table(frame: Any, what: str) -> np.ndarray:
    """Array (n, d) of a dataframe, what is missing as NaN; float32 where no type of its columns holds them all.

    Raises
    ------
    TypeError
        Where a column does not hold numbers; it is named.
    """
    stranger = not_numbers(frame)
    if stranger is not None:
        raise TypeError(
            f"{what} must hold numbers, and column {stranger!r} does not: leave it out, or encode it as numbers."
        )
    array: np.ndarray = frame.to_numpy()
    if array.dtype.kind in "uif":
        return array
    return frame.to_numpy(dtype=np.float32, na_value=np.nan) if hasattr(frame, "iloc") else array.astype(np.float32)


def column_names(table: Any) -> list[str] | None:
    """What the columns of a dataframe are called; None where they are but numbered, and of anything else."""
    columns = getattr(table, "columns", None)
    return None if columns is None else telling_names(list(columns))


def telling_names(names: list[Any]) -> list[str] | None:
    """These names, or None where they tell nothing: none, numbers, blanks, or one twice."""
    is_telling = all(isinstance(name, str) and name.strip() and not name.strip().isdecimal() for name in names)
    return names if names and is_telling and len(set(names)) == len(names) else None


def _is_number(dtype: Any) -> bool:
    if hasattr(dtype, "kind"):  # of numpy and pandas
        return str(dtype.kind) in "buif"
    return bool(dtype.is_numeric()) or str(dtype) == "Boolean"
