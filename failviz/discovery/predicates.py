"""Predicates over metadata: what one column of facts can say about an example, in words and exactly.

A column of text, categories or true and false is asked for equality; numbers and dates of many values lie between
two edges, learned from the quantiles of one Evaluation; "missing" is an answer like any other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

NUMBERS, DATES, TRUTH, VALUES, NOTHING = "numbers", "dates", "true and false", "text or categories", "nothing"
"""What a metadata column holds."""

_KINDS = {
    **dict.fromkeys(("integer", "floating", "mixed-integer-float", "decimal"), NUMBERS),
    **dict.fromkeys(("datetime64", "datetime", "date"), DATES),
    "boolean": TRUTH,
}


@dataclass(frozen=True)
class Column:
    """One metadata column, ready to be compared.

    Attributes
    ----------
    name, kind : str
    values : array (n,)
        float64 for numbers (whole numbers above 2^53 lose their last digits), datetime64[us] in UTC for dates
        (those without a time zone are read as UTC), else objects as they came.
    is_missing : bool (n,)
        None, NaN, NaT or NA; `values` means nothing there.
    """

    name: str
    kind: str
    values: np.ndarray
    is_missing: np.ndarray

    @classmethod
    def of(cls, series: pd.Series, name: str) -> Column:
        """A column from pandas; a category counts as a value even where it is a number."""
        import pandas as pd

        is_missing = series.isna().to_numpy(dtype=bool)
        if isinstance(series.dtype, pd.CategoricalDtype):
            kind = VALUES
        else:
            kind = _KINDS.get(pd.api.types.infer_dtype(series, skipna=True), VALUES)
        if kind == NUMBERS:
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
            is_missing = is_missing | np.isnan(values)  # pandas' nullable floats can hold a NaN that is not NA
        elif kind == DATES:
            values = pd.to_datetime(series, utc=True).dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
        else:
            values = series.astype(object).to_numpy()
        if is_missing.all():
            kind = NOTHING
        return cls(name, kind, values, is_missing)

    @property
    def is_ordered(self) -> bool:
        return self.kind in (NUMBERS, DATES)

    def where(self, test: Callable[[np.ndarray], Any]) -> np.ndarray:
        """Boolean (n,): what `test` says of the values, false where they are missing."""
        held = np.zeros(len(self.values), dtype=bool)
        held[~self.is_missing] = test(self.values[~self.is_missing])
        return held

    @cached_property
    def coded(self) -> tuple[np.ndarray, np.ndarray]:
        """The k values that occur, and which of them each row has: int64 (n,), k where it is missing.

        Numbers and dates ascend, others go by their text.

        Raises
        ------
        TypeError
            When a value, such as a list, has no hash.
        """
        import pandas as pd

        present = ~self.is_missing
        if self.is_ordered:
            distinct, found = np.unique(self.values[present], return_inverse=True)
        else:
            numbers, values = pd.factorize(self.values[present])
            order = np.array([i for _, i in sorted((str(value), i) for i, value in enumerate(values))], dtype=np.intp)
            distinct, found = values[order], np.argsort(order)[numbers]
        codes = np.full(len(self.values), len(distinct), dtype=np.int64)
        codes[present] = found
        return distinct, codes


@dataclass(frozen=True)
class Predicate(ABC):
    """Something that holds of an example or does not, by one metadata column."""

    column: str

    @property
    @abstractmethod
    def name(self) -> str:
        """In plain words."""

    @property
    @abstractmethod
    def rule(self) -> str:
        """In exact form."""

    @abstractmethod
    def holds(self, column: Column) -> np.ndarray:
        """Boolean (n,): of which rows."""


@dataclass(frozen=True)
class Equals(Predicate):
    """The column has this value."""

    value: Any

    @property
    def name(self) -> str:
        return f"{self.column} is {_shown(self.value)}"

    @property
    def rule(self) -> str:
        return f"{self.column} == {_exact(self.value)}"

    def holds(self, column: Column) -> np.ndarray:
        if column.values.dtype != object:
            return column.where(lambda values: values == self.value)
        # numpy would take a tuple for a column of values
        return column.where(lambda values: [value == self.value for value in values])


@dataclass(frozen=True)
class Between(Predicate):
    """The column is above `low` and at most `high`; None = open-ended."""

    low: float | np.datetime64 | None
    high: float | np.datetime64 | None

    @property
    def name(self) -> str:
        if self.low is None:
            return f"{self.column} up to {_shown(self.high)}"
        if self.high is None:
            return f"{self.column} above {_shown(self.low)}"
        return f"{self.column} {_shown(self.low)} to {_shown(self.high)}"

    @property
    def rule(self) -> str:
        if self.low is None:
            return f"{self.column} <= {_exact(self.high)}"
        if self.high is None:
            return f"{self.column} > {_exact(self.low)}"
        return f"{_exact(self.low)} < {self.column} <= {_exact(self.high)}"

    def holds(self, column: Column) -> np.ndarray:
        held = ~column.is_missing
        if self.low is not None:
            held &= column.where(lambda values: values > self.low)
        if self.high is not None:
            held &= column.where(lambda values: values <= self.high)
        return held


@dataclass(frozen=True)
class Missing(Predicate):
    """The column has no value."""

    @property
    def name(self) -> str:
        return f"{self.column} is missing"

    @property
    def rule(self) -> str:
        return self.name

    def holds(self, column: Column) -> np.ndarray:
        return column.is_missing


def why_unusable(column: Column, max_categories: int) -> str | None:
    """In words why a column gives no predicates, or None when it gives some."""
    if column.kind == NOTHING:
        return "holds no values"
    if column.is_ordered:
        return None
    try:
        n_distinct = len(column.coded[0])
    except TypeError as error:
        return f"does not hold single values ({error})"
    if n_distinct > max_categories:
        return f"holds {n_distinct:,} different values, more than max_categories={max_categories}"
    return None


def predicates_of(column: Column, n_bins: int) -> tuple[list[Predicate], np.ndarray]:
    """The predicates of a usable column, of which exactly one holds for each example, and which one it is.

    Parameters
    ----------
    column : Column
    n_bins : int
        Numbers and dates of more than `n_bins` values are cut at their quantiles into at most so many bins.

    Returns
    -------
    list of Predicate
    int64 array (n,)
        Position in the list.
    """
    predicates: list[Predicate]
    distinct, codes = column.coded
    if column.is_ordered and len(distinct) > n_bins:
        places = _cuts(codes[~column.is_missing], len(distinct), n_bins)
        ends = [None, *(_edge(distinct[place], distinct[place + 1]) for place in places), None]
        predicates = [Between(column.name, low, high) for low, high in pairwise(ends)]
        codes = np.where(column.is_missing, len(predicates), np.searchsorted(places, codes))
    else:
        predicates = [Equals(column.name, _plain(value)) for value in distinct]
    if column.is_missing.any():
        predicates.append(Missing(column.name))
    return predicates, codes


def _cuts(codes: np.ndarray, n_distinct: int, n_bins: int) -> np.ndarray:
    """Which of the distinct values end the inner bins: the quantiles, each once, and never the largest."""
    ranks = -(-np.arange(1, n_bins) * len(codes) // n_bins) - 1
    return np.unique(np.minimum(np.sort(codes)[ranks], n_distinct - 2))


def _edge(low: Any, high: Any) -> Any:
    """The number with the fewest digits in [low, high), so that a rule is exact as it reads; of dates the lower."""
    if isinstance(low, np.datetime64):
        return low
    low, high = (float(end) for end in np.nan_to_num([low, high]))
    middle = low / 2 + high / 2
    for digits in range(1, 18):
        edge = float(Context(prec=digits, rounding=ROUND_FLOOR).create_decimal_from_float(middle))
        if low <= edge < high:
            return edge
    return low


def _plain(value: Any) -> Any:
    """A value as Python has it: 4 for 4.0, str for numpy's str_; dates stay datetime64."""
    if isinstance(value, np.datetime64):
        return value
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _exact(value: Any) -> str:
    """As a rule writes it: text in quotes, numbers to the last digit, dates without the time where it is midnight."""
    if isinstance(value, np.datetime64):
        return str(value).removesuffix(".000000").removesuffix("T00:00:00")
    return repr(_plain(value))


def _shown(value: Any) -> str:
    """As a name writes it: text as it is, numbers to six digits."""
    value = _plain(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    return _exact(value) if isinstance(value, np.datetime64) else str(value)
