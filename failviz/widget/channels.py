"""Columns to colour the map by, one byte per example: category, or value between two ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from failviz.evaluation import Evaluation
from failviz.slices import Slice
from failviz.widget.protocol import Refusal, Reply

MISSING = 255
_MOST_CATEGORIES = 30
_KEPT_CATEGORIES = 20


@dataclass(frozen=True)
class Channel:
    """A column and how it is drawn: kind is "outcome", "category" or "number"."""

    key: str
    label: str
    kind: str

    def entry(self) -> dict[str, str]:
        return {"key": self.key, "label": self.label, "kind": self.kind}


class Channels:
    """Which columns an Evaluation offers, and their bytes."""

    def __init__(self, evaluation: Evaluation):
        self._evaluation = evaluation
        self.all: dict[str, Channel] = {}
        labels, predictions = evaluation.labels is not None, evaluation.predictions is not None
        if labels and predictions:
            self._add("outcome", "Right / wrong", "outcome")
        if labels:
            self._add("label", "Class", "category")
        if predictions:
            self._add("prediction", "Predicted class", "category")
        if evaluation.losses is not None:
            self._add("loss", "Loss", "number")
        if evaluation.probs is not None:
            self._add("confidence", "Confidence", "number")
        self._add("score", "Slice score", "number")
        if evaluation.metadata is not None:
            for name in evaluation.metadata.columns:
                kind = kind_of(evaluation.metadata[name])
                if kind is not None:
                    unit = " (s)" if pd.api.types.is_timedelta64_dtype(evaluation.metadata[name]) else ""
                    self._add(f"meta:{name}", f"{name}{unit}", kind)

    def _add(self, key: str, label: str, kind: str) -> None:
        self.all[key] = Channel(key, label, kind)

    def reply(self, key: str, slice_: Slice | None) -> Reply:
        """The answer to "channel"; `slice_` is whose score is drawn, None draws all as missing."""
        channel = self.all.get(key)
        if channel is None:
            raise Refusal(f"there is nothing called {key!r} to colour by: choose one of {', '.join(self.all)}.")
        categories, low, high = None, None, None
        if channel.kind == "outcome":
            codes = self._evaluation.errors.astype(np.uint8)
            categories = ["right", "wrong"]
        elif channel.kind == "category":
            codes, categories = self._categories(key)
        else:
            codes, low, high = scaled(self._numbers(key, slice_))
        result = {**channel.entry(), "categories": categories, "low": low, "high": high}
        return result, [codes.tobytes()]

    def _categories(self, key: str) -> tuple[np.ndarray, list[str]]:
        evaluation = self._evaluation
        if key.startswith("meta:"):
            assert evaluation.metadata is not None
            return coded(evaluation.metadata[key[len("meta:") :]])
        names = [evaluation.class_name(number) for number in range(evaluation.n_classes)]
        column = evaluation.labels if key == "label" else evaluation.predictions
        assert column is not None
        # Labels and predictions share their categories, so that a colour means the same class in both.
        both = [values for values in (evaluation.labels, evaluation.predictions) if values is not None]
        return few(column, names, np.bincount(np.concatenate(both), minlength=len(names)))

    def _numbers(self, key: str, slice_: Slice | None) -> np.ndarray:
        evaluation = self._evaluation
        if key == "score":
            return np.full(evaluation.n_examples, np.nan) if slice_ is None else slice_.scores
        if key == "loss":
            assert evaluation.losses is not None
            return evaluation.losses
        if key == "confidence":
            return evaluation.confidence
        assert evaluation.metadata is not None
        column = evaluation.metadata[key[len("meta:") :]]
        if pd.api.types.is_timedelta64_dtype(column):
            return column.dt.total_seconds().to_numpy(np.float64)
        return pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)


def kind_of(column: pd.Series) -> str | None:
    """ "category", "number", or None for a column that would show nothing (free text, all missing)."""
    present = column.dropna()
    if len(present) == 0:
        return None
    if pd.api.types.is_datetime64_any_dtype(column):
        return "category"
    if pd.api.types.is_timedelta64_dtype(column):
        return "number"
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if is_number and pd.api.types.is_complex_dtype(column):
        return None
    if is_number and pd.api.types.is_float_dtype(column):
        return "number"
    distinct = present.nunique() if is_number else present.astype(str).nunique()
    if distinct <= _MOST_CATEGORIES:
        return "category"
    if is_number:
        return "number"
    return "category" if distinct <= len(present) / 2 else None


def coded(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Category numbers (n,) uint8 and their names; numbers and dates in their order, texts in the alphabet's."""
    missing = column.isna().to_numpy()
    values = column[~missing]
    if pd.api.types.is_datetime64_any_dtype(column):
        values = by_period(values)
    elif not (pd.api.types.is_integer_dtype(column) or pd.api.types.is_bool_dtype(column)):
        values = values.astype(str)
    distinct, numbers = np.unique(values.to_numpy(), return_inverse=True)
    compact, names = few(numbers, [str(value) for value in distinct], np.bincount(numbers, minlength=len(distinct)))
    codes = np.full(len(column), MISSING, dtype=np.uint8)
    codes[~missing] = compact
    return codes, names


def by_period(dates: pd.Series) -> pd.Series:
    """Dates as texts: to the second, or by the minute, hour, day, month or year, the first that gives few."""
    if not isinstance(dates.dtype, np.dtype | pd.DatetimeTZDtype):  # pyarrow's
        dates = pd.Series(pd.to_datetime(dates.to_numpy(dtype=object)))
    local = dates.dt.tz_localize(None)
    for period in ("s", "min", "h", "D", "M", "Y"):
        texts = local.dt.to_period(period).astype(str)
        if texts.nunique() <= _MOST_CATEGORIES:
            break
    return texts


def few(numbers: np.ndarray, names: Sequence[str], counts: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Category numbers with at most 30 names: past that the 20 most frequent keep theirs, the rest is "other"."""
    if len(names) <= _MOST_CATEGORIES:
        return numbers.astype(np.uint8), list(names)
    kept = np.sort(np.argsort(-counts, kind="stable")[:_KEPT_CATEGORIES])
    place = np.full(len(names), len(kept), dtype=np.uint8)
    place[kept] = np.arange(len(kept))
    return place[numbers], [*(names[number] for number in kept), "other"]


def scaled(values: np.ndarray) -> tuple[np.ndarray, float | None, float | None]:
    """Bytes 0..254 between two ends, 255 where not finite; the extreme half per cent at each end is clipped."""
    values = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(values)
    codes = np.full(len(values), MISSING, dtype=np.uint8)
    if not finite.any():
        return codes, None, None
    low, high = np.percentile(values[finite], [0.5, 99.5], method="nearest")
    share = (np.clip(values[finite], low, high) / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
    codes[finite] = np.rint(share * 254)
    return codes, float(low), float(high)


def numbers_or_none(value: Any) -> float | None:
    """A finite float for JSON, else None."""
    value = float(value)
    return value if np.isfinite(value) else None
