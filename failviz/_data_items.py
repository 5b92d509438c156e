"""Reading a data set in batches, taking batches apart, and recognising both when a run is resumed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from failviz._frames import is_dataframe

LABEL_KEYS = ("labels", "label")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


class Pairs:
    """(X, y) arrays, frames or sparse matrices as a data set of pairs, by position."""

    def __init__(self, inputs: Any, labels: Any):
        self.inputs, self.labels = inputs, as_column(labels)
        if self.labels.ndim != 1:
            raise ValueError(
                f"y must be one label per row, shape (n,), not {self.labels.shape}: a model with several outputs is "
                "searched head by head, see Evaluation.from_multilabel."
            )
        self._n = inputs.shape[0] if hasattr(inputs, "shape") else len(inputs)
        if self._n != len(self.labels):
            raise ValueError(f"X has {self._n} rows, and y has {len(self.labels)}.")

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        inputs = self.rows(row, row + 1)[0]
        return (inputs.iloc if hasattr(inputs, "iloc") else inputs)[0], self.labels[row]

    def rows(self, start: int, stop: int) -> tuple[Any, np.ndarray]:
        """Rows `start...stop` in the type that X has, so that estimators see the frame they were fitted on."""
        inputs = self.inputs.iloc if hasattr(self.inputs, "iloc") else self.inputs
        return inputs[start:stop], self.labels[start:stop]


class Rows:
    """Some items of a data set, transformed as the model sees them."""

    def __init__(self, items: Any, rows: np.ndarray, transform: Callable[[Any], Any] | None):
        self._items, self._rows, self._transform = items, rows, transform

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: int) -> Any:
        return read(self._items, int(self._rows[position]), self._transform)


def as_items(dataset: Any) -> Any:
    """A map-style data set of whatever was given; streams and loaders are refused with what to give instead."""
    if isinstance(dataset, tuple) and len(dataset) == 2:
        return Pairs(*dataset)
    if is_dataframe(dataset):
        raise TypeError("evaluate wants a table and its labels: evaluate(model, (frame, labels)).")
    if isinstance(dataset, torch.utils.data.DataLoader):
        raise TypeError("evaluate wants the data set, not its DataLoader: give loader.dataset (and batch_size=).")
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(f"evaluate needs a data set with a length and items, and a {type(dataset).__name__} has none.")
    if len(dataset) == 0:
        raise ValueError("the data set is empty: there is nothing to evaluate.")
    return dataset


def read(items: Any, row: int, transform: Callable[[Any], Any] | None) -> Any:
    """Item `row`, its input transformed (the whole item when it is a dict); a failure names the row."""
    try:
        item = items[row]
        if transform is None:
            return item
        return (transform(item[0]), *item[1:]) if isinstance(item, tuple | list) else transform(item)
    except Exception as error:
        raise ValueError(f"item {row} of the data set cannot be read: {type(error).__name__}: {error}") from error


def batches(
    items: Any, start: int, batch_size: int, transform: Callable[[Any], Any] | None, collate: Any
) -> Iterator[tuple[int, Any]]:
    """(first row, batch) from row `start` on."""
    for first in range(start, len(items), batch_size):
        last = min(first + batch_size, len(items))
        if isinstance(items, Pairs) and transform is None and collate is None:
            yield first, items.rows(first, last)
            continue
        chosen = [read(items, row, transform) for row in range(first, last)]
        try:
            batch = (collate or torch.utils.data.default_collate)(chosen)
        except (TypeError, RuntimeError) as error:
            kind = type(chosen[0][0] if isinstance(chosen[0], tuple | list) else chosen[0]).__name__
            raise ValueError(
                f"rows {first} to {last - 1} do not make a batch ({error}): items hold a {kind}; "
                "give transform= to turn each into a tensor of one shape, or collate= to join them."
            ) from error
        yield first, batch


def split(batch: Any) -> tuple[Any, Any]:
    """(input, labels or None) of a batch of pairs, of dicts, or of inputs alone."""
    if isinstance(batch, Mapping):
        key = next((key for key in LABEL_KEYS if key in batch), None)
        return {name: value for name, value in batch.items() if name not in LABEL_KEYS}, batch[key] if key else None
    if isinstance(batch, tuple | list):
        return (batch[0], batch[1]) if len(batch) > 1 else (batch[0], None)
    return batch, None


def checked_labels(
    labels: Any, n: int, n_classes: int, first_row: int, number_of: Mapping[Any, int] | None = None
) -> np.ndarray:
    """int64 (n,) class numbers below n_classes, of numbers or of names; the first row that is none is named."""
    array = as_column(labels)
    if array.shape == (n,) and array.dtype.kind in "OUT":
        named = [row for row, label in enumerate(array.tolist()) if isinstance(label, str)]
        if named and not number_of:
            row, label = first_row + named[0], str(array[named[0]])
            raise ValueError(
                f"labels must be class numbers, and that of row {row} is {label!r}: number them by the model's outputs "
                "(to evaluate, class_names= in their order does it)."
            )
        array = numbered(array, first_row, number_of or {}) if named else np.asarray(array.tolist())
    if array.shape != (n,) or array.dtype.kind not in "biuf":
        raise ValueError(f"labels must be class numbers, one per example, not shape {array.shape} of {array.dtype}.")
    bad = np.flatnonzero(~((array >= 0) & (array < n_classes) & (array == np.floor(array))))
    if len(bad):
        raise ValueError(
            f"label of row {first_row + bad[0]} is {array[bad[0]]}, and the model has classes 0 to {n_classes - 1}: "
            "are these the classes it was trained on?"
        )
    return array.astype(np.int64)


def numbered(labels: np.ndarray, first_row: int, number_of: Mapping[Any, int]) -> np.ndarray:
    """int64 (n,): the number of each label's class; the first label that is none is named."""
    values = labels.tolist()
    for row, label in enumerate(values):
        if label not in number_of:
            raise ValueError(
                f"label of row {first_row + row} is {label!r}, and the model knows {shortened(number_of)}: name "
                "classes as in its training, or leave these rows out."
            )
    return np.array([number_of[label] for label in values], dtype=np.int64)


def as_column(labels: Any) -> np.ndarray:
    """Labels as an array, (n, 1) as (n,); what is missing among names does not become the name "nan"."""
    is_listed = isinstance(labels, list | tuple) and any(isinstance(label, str) for label in labels)
    array = np.array(labels, dtype=object) if is_listed else to_array(labels)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def shortened(names: Iterable[Any]) -> str:
    """Names in a sentence, of many the first and the last."""
    known = [repr(name) for name in names]
    if len(known) > 8:
        known[5:-1] = ["..."]
    return ", ".join(known)


def to_array(values: Any) -> np.ndarray:
    """numpy array of a tensor (on any device, of any precision) or of anything else."""
    if not isinstance(values, torch.Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()


def fingerprint(items: Any) -> str:
    """What tells one data set from another of the same length: up to nine of its items, and its labels if it has them.

    An item that is different each time it is read (random augmentation) is left out.
    """
    digest = hashlib.sha256()
    for row in sorted({int(row) for row in np.linspace(0, len(items) - 1, 9)}):
        once, again = (_digest(read(items, row, None)) for _ in range(2))
        digest.update(once if once == again else b"random")
    for name in ("targets", "labels"):
        values = getattr(items, name, None)
        if values is not None and not callable(values):
            digest.update(_digest(np.asarray(values)))
    return digest.hexdigest()


def describe(function: Any) -> str | None:
    """What tells one function or transform from another: its name and code, or its text without addresses."""
    if function is None:
        return None
    code = getattr(function, "__code__", None)
    if code is not None:
        facts = (code.co_code, code.co_names, [c for c in code.co_consts if isinstance(c, str | int | float | tuple)])
        body = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
        return f"{function.__module__}.{function.__qualname__} {body}"
    return f"{type(function).__module__}.{type(function).__qualname__} {_ADDRESS.sub('', repr(function))}"


def _digest(value: Any) -> bytes:
    digest = hashlib.sha256()

    def feed(part: Any) -> None:
        if isinstance(part, Mapping):
            for key in sorted(part, key=str):
                feed(str(key))
                feed(part[key])
        elif isinstance(part, tuple | list):
            for one in part:
                feed(one)
        elif isinstance(part, torch.Tensor):
            feed(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        elif is_dataframe(part) or hasattr(part, "iloc"):  # the row of a frame
            feed(part.to_numpy())
        elif hasattr(part, "tocsr"):  # of a sparse table
            rows = part.tocsr()
            feed((str(rows.shape), rows.indptr, rows.indices, rows.data))
        elif isinstance(part, np.ndarray) and part.dtype == object:
            for one in part.tolist():
                digest.update(f"{type(one).__name__}:".encode())
                feed(one)
        elif isinstance(part, np.ndarray | np.generic):
            digest.update(str(part.dtype).encode() + np.ascontiguousarray(part).tobytes())
        elif hasattr(part, "tobytes"):
            digest.update(part.tobytes())
        else:
            digest.update(_ADDRESS.sub("", repr(part)).encode())

    feed(value)
    return digest.digest()
