"""What a plan makes of a training set and a pool: which examples are trained on, with which labels and weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from failviz import _checks
from failviz._data_items import Pairs, as_items, checked_labels, read, split, to_array
from failviz.interventions.plan import DataMark, RetrainPlan, outline

_OWN = -1  # in place of a label: the one that the item comes with
_FEWEST_LABELS, _N_LABELS_READ = 8, 25
_N_SAMPLES = 9  # items by which `labels` of a data set are compared with what its batches say


class Reading(NamedTuple):
    """How items become batches: `transform` and `collate` as `evaluate` takes them."""

    transform: Callable[[Any], Any] | None
    collate: Callable[[list[Any]], Any] | None

    def batch(self, items: list[Any], name: str) -> tuple[Any, np.ndarray | None]:
        """(input, labels that the items come with, or None); `name` is what messages call the data set."""
        try:
            batch = (self.collate or torch.utils.data.default_collate)(items)
        except (TypeError, RuntimeError, KeyError) as error:
            kind = type(items[0][0] if isinstance(items[0], tuple | list) else items[0]).__name__
            raise ValueError(
                f"items of {name} do not make a batch ({type(error).__name__}: {error}): they hold a {kind}; give "
                "transform= to turn each into a tensor of one shape, or collate= to join them."
            ) from error
        inputs, labels = split(batch)
        return inputs, None if labels is None else to_array(labels)


class _ArrayPairs(Pairs):
    """Pairs read row by row, each a copy: torch warns of rows that may not be written to, as those of mapped files."""

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        return np.array(self.inputs[row]), self.labels[row]


class TrainingData:
    """Examples of a data set, then those of a pool that join it, under one numbering.

    Parameters
    ----------
    items : map-style data set
        Examples 0 to n - 1; they come with labels.
    name : str
        What messages call it.
    reading : Reading
    pool : map-style data set, optional
    joining : mapping of int to int
        Row in the pool to label, of examples n to n + m - 1; the rows ascend.

    Attributes
    ----------
    labels : int64 (n + m,)
        The label that counts; -1 = the one that the item comes with.
    weights : float64 (n + m,)
    is_kept : bool (n + m,)
        Trained on in every epoch, however few others are.
    """

    def __init__(
        self, items: Any, name: str, reading: Reading, pool: Any = None, joining: Mapping[int, int] | None = None
    ):
        joining = joining or {}
        self._items, self._name, self._reading, self._pool = items, name, reading, pool
        self._joining = list(joining)
        self.n_items, n = len(items), len(items) + len(joining)
        self.labels = np.full(n, _OWN, dtype=np.int64)
        self.labels[self.n_items :] = list(joining.values())
        self.weights = np.ones(n)
        self.is_kept = np.arange(n) >= self.n_items
        self.known_labels = known_labels(items, name, reading)

    def __len__(self) -> int:
        return len(self.labels)

    def epoch_rows(self, replay: int | None, generator: torch.Generator) -> np.ndarray:
        """int64 rows of one epoch in their order: all that is kept, and `replay` of the others (None = all).

        What has no weight is left out, so that it is as if absent, in the statistics of batches as well.
        """
        counts = self.weights > 0
        kept, others = np.flatnonzero(self.is_kept & counts), np.flatnonzero(~self.is_kept & counts)
        if replay is not None:
            others = others[torch.randperm(len(others), generator=generator)[:replay].numpy()]
        rows = np.concatenate([kept, others])
        return rows[torch.randperm(len(rows), generator=generator).numpy()]

    def inputs(self, rows: np.ndarray) -> Any:
        """The input of some rows, as a batch."""
        return self._read(rows)[0]

    def batch(self, rows: np.ndarray, n_classes: int) -> tuple[Any, np.ndarray]:
        """(input, int64 (b,) labels that count) of some rows."""
        inputs, own = self._read(rows)
        labels = self.labels[rows]
        for position in np.flatnonzero(labels == _OWN):
            row = int(rows[position])
            if own is None:
                raise _unlabelled(self._name)
            labels[position] = checked_labels(own[position : position + 1], 1, n_classes, row)[0]
        return inputs, labels

    def check_labels(self, n_classes: int) -> None:
        """Refuse labels that the model has no class for, where they are known without reading every item."""
        if self.known_labels is not None:
            count = (self.labels == _OWN) & (self.weights > 0)
            checked_labels(np.where(count[: self.n_items], self.known_labels, 0), self.n_items, n_classes, 0)

    def _read(self, rows: np.ndarray) -> tuple[Any, np.ndarray | None]:
        return self._reading.batch([self._item(int(row)) for row in rows], self._name)

    def _item(self, row: int) -> Any:
        if row < self.n_items:
            return read(self._items, row, self._reading.transform)
        item = read(self._pool, self._joining[row - self.n_items], self._reading.transform)
        is_bare = not isinstance(item, tuple | list | Mapping)  # of a pool without labels
        return (item, int(self.labels[row])) if is_bare else item


def planned(
    plan: RetrainPlan,
    train: Any,
    pool: Any,
    reading: Reading,
    *,
    train_ids: Iterable[object] | None = None,
    pool_ids: Iterable[object] | None = None,
) -> TrainingData:
    """The training data that `plan` asks for, of data sets that it was made for; others are refused."""
    joining: dict[int, int] = {}
    if plan.additions:
        assert plan.pool is not None
        known = known_labels(pool, "pool", reading, needed=False)
        row_of = _rows_by_id(pool, "pool", plan.pool, known, pool_ids, {"adds": plan.additions})
        joining = dict(sorted((row_of[example], label) for example, label in plan.additions.items()))
        if known is None and len(joining) >= _FEWEST_LABELS:
            _check_some_labels(pool, reading, joining)
    data = TrainingData(train, "train", reading, pool, joining)
    data.weights[data.n_items :] = plan.added_weight
    if plan.train is not None:
        wanted = {"weighs": plan.weights, "relabels": plan.relabels}
        row_of = _rows_by_id(train, "train", plan.train, data.known_labels, train_ids, wanted)
        for example, weight in plan.weights.items():
            data.weights[row_of[example]] = weight
        for example, label in plan.relabels.items():
            data.labels[row_of[example]] = label
        data.is_kept[[row_of[example] for example in [*plan.weights, *plan.relabels]]] = True
    return data


def items_of(dataset: Any, name: str) -> Any:
    """A map-style data set of one example or more, of whatever `evaluate` takes."""
    if isinstance(dataset, torch.utils.data.DataLoader):
        raise TypeError(f"{name} must be the data set, not its DataLoader: give loader.dataset (and batch_size=).")
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise TypeError(f"{name} must be a data set with a length and items, not a {type(dataset).__name__}.")
    items = as_items(dataset) if len(dataset) else dataset
    if len(items) == 0:
        raise ValueError(f"{name} is empty: it needs at least one example.")
    if isinstance(items, Pairs) and (hasattr(items.inputs, "iloc") or isinstance(items.inputs, np.ndarray)):
        return _ArrayPairs(np.asarray(items.inputs), items.labels)
    return items


def known_labels(items: Any, name: str, reading: Reading, *, needed: bool = True) -> np.ndarray | None:
    """int64 (n,) class numbers in the data set's `labels` or `targets`; None where its batches say otherwise."""
    rows = np.unique(np.linspace(0, len(items) - 1, _N_SAMPLES).astype(np.int64))
    seen = reading.batch([read(items, int(row), reading.transform) for row in rows], name)[1]
    if seen is None:
        if needed:
            raise _unlabelled(name)
        return None
    for attribute in ("labels", "targets"):
        values = getattr(items, attribute, None)
        if values is None or callable(values):
            continue
        array = to_array(values)
        if array.shape == (len(items),) and array.dtype.kind in "biu" and np.array_equal(array[rows], seen.ravel()):
            return array.astype(np.int64)
    return None


def _rows_by_id(
    items: Any,
    name: str,
    mark: DataMark,
    known: np.ndarray | None,
    ids: Iterable[object] | None,
    wanted: Mapping[str, Iterable[str]],
) -> dict[str, int]:
    """Row of every id: those given, else the data set's own or "0" to "n-1", whichever the plan was made with."""
    n = len(items)
    if mark.n != n:
        raise ValueError(f"this plan was made for another {name} ({mark.n:,} examples), not for this one ({n:,}).")
    own = getattr(items, "ids", None)
    candidates = [tuple(map(str, range(n)))]
    if ids is not None:
        candidates = [_checks.unique_names(ids, f"{name}_ids")]
    elif own is not None and not callable(own):
        candidates.insert(0, _checks.unique_names(own, f"ids of {name}"))
    for names in candidates:
        if len(names) != n:
            raise ValueError(f"{name}_ids must name each of the {n} examples, and {len(names)} came.")
    fitting = [names for names in candidates if known is None or outline(names, known) == mark.outline]
    row_of = {example: row for row, example in enumerate((fitting or candidates)[0])}
    for what, examples in wanted.items():
        for example in examples:
            if example not in row_of:
                raise ValueError(
                    f"the plan {what} {example!r}, which is not among the ids of {name} ({', '.join(list(row_of)[:3])} "
                    f"...): give {name}_ids=, those of the Evaluation that it was made from."
                )
    if not fitting:
        raise ValueError(
            f"this plan was made for another {name} of {n:,} examples: ids or labels are not those of this one; give "
            f"{name}_ids=, or make the plan again."
        )
    return row_of


def _check_some_labels(pool: Any, reading: Reading, joining: Mapping[int, int]) -> None:
    """Refuse a pool that does not show all its labels, where most of some items' are not the plan's.

    A few may differ: those that a person relabelled.
    """
    rows = [*joining][:: max(1, len(joining) // _N_LABELS_READ)]
    own = reading.batch([read(pool, row, reading.transform) for row in rows], "pool")[1]
    if own is not None:
        n_other = int((np.asarray(own).ravel() != [joining[row] for row in rows]).sum())
        if 2 * n_other > len(rows):
            raise ValueError(
                f"this plan was made for another pool: {n_other} of {len(rows)} items that it adds have another label "
                "here; give pool_ids=, or make the plan again."
            )


def _unlabelled(name: str) -> ValueError:
    return ValueError(f"{name} needs labels, and its items come without: they must be (input, label) or dicts.")
