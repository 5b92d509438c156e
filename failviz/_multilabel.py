"""One model with several yes-or-no outputs: each head becomes a binary Evaluation with a threshold of its own.

Jain, Lawrence, Moitra & Madry 2022 (arXiv 2206.14754) search a multi-label model head by head, each at the threshold
with the best F1 on validation data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from failviz import _checks
from failviz._columns import frozen

if TYPE_CHECKING:
    from failviz.evaluation import Evaluation

GRID = np.arange(1, 100) / 100
"""Thresholds that are tried."""
_TINY = np.finfo(np.float32).tiny
_SHOWN = 10


def f1_scores(is_positive: np.ndarray, p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """F1 of one head at every threshold of `GRID`, float64 (99,): 2 TP / (2 TP + FP + FN), 0 without positives.

    Parameters
    ----------
    is_positive : bool (n,)
    p : float (n,)
        Predicted positive where p >= threshold.
    weights : float64 (n,)
        How much each example counts.
    """
    passed = np.searchsorted(GRID, p.astype(np.float64), side="right")  # how many thresholds an example passes

    def counts(of: np.ndarray) -> np.ndarray:
        histogram = np.bincount(passed, weights=weights * of, minlength=len(GRID) + 1)
        return histogram[::-1].cumsum()[::-1][1:]

    true, false = counts(is_positive), counts(~is_positive)
    wanted = true + false + weights @ is_positive  # 2 TP + FP + FN
    return np.divide(2 * true, wanted, out=np.zeros(len(GRID)), where=wanted > 0)


def best_threshold(is_positive: np.ndarray, p: np.ndarray, weights: np.ndarray) -> float:
    """The threshold of `GRID` with the highest F1; of equal ones that nearest to 0.5, then the lower."""
    scores = f1_scores(is_positive, p, weights)
    best = GRID[scores >= scores.max() * (1 - 1e-12)]
    return float(best[np.abs(best - 0.5).argmin()])


class Heads(Mapping[str, "Evaluation"]):
    """The heads of a multi-label model by name, each a binary Evaluation of the same examples.

    `Evaluation.from_multilabel` makes one. An Evaluation is built when it is first asked for; embeddings, ids, metadata
    and the fingerprints of rows are shared by all.

    Attributes
    ----------
    thresholds : dict of {str: float}
        A head is predicted positive where its probability is at least this. Give those of validation data to
        `from_multilabel` for every other data set.
    """

    def __init__(
        self, examples: Evaluation, is_positive: np.ndarray, probs: np.ndarray, thresholds: Mapping[str, float]
    ) -> None:
        self.thresholds = dict(thresholds)
        self._column = {name: column for column, name in enumerate(thresholds)}
        self._examples, self._is_positive, self._probs = examples, is_positive, probs
        self._built: dict[str, Evaluation] = {}

    def __getitem__(self, name: str) -> Evaluation:
        if name not in self._column:
            raise KeyError(f"there is no head {name!r}, only {', '.join(map(repr, self))}")
        if name not in self._built:
            is_positive, p = self._is_positive[:, self._column[name]], self._probs[:, self._column[name]]
            p = p.astype(np.float64)
            self._built[name] = self._examples._with_columns(
                labels=frozen(is_positive.astype(np.int64)),
                predictions=frozen((p >= self.thresholds[name]).astype(np.int64)),
                probs=frozen(np.column_stack([1 - p, p]).astype(np.float32)),
                losses=frozen(-np.log(np.maximum(np.where(is_positive, p, 1 - p), _TINY))),
                class_names=[f"not {name}", name],
            )
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._column)

    def __len__(self) -> int:
        return len(self._column)

    def __repr__(self) -> str:
        shown = [f"{name!r} at {threshold:.2f}" for name, threshold in list(self.thresholds.items())[:_SHOWN]]
        more = [f"and {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return f"Heads({self._examples.n_examples:,} examples: {', '.join(shown + more)})"


def heads_of(examples: Evaluation, labels: Any, probs: Any, thresholds: Any, head_names: Any) -> Heads:
    """Heads of the Evaluation of some examples; the parameters are those of `Evaluation.from_multilabel`."""
    names = _names(labels, probs, head_names)
    labels, probs = _checks.to_numpy(labels), _checks.to_numpy(probs)
    labels, probs = _table(labels, "labels", examples.n_examples), _table(probs, "probs", examples.n_examples)
    if labels.shape != probs.shape:
        raise ValueError(
            f"labels and probs need one column per head, and they have {labels.shape[1]} and {probs.shape[1]}."
        )
    if names is None:
        names = tuple(f"head {number}" for number in range(labels.shape[1]))
    if len(names) != labels.shape[1]:
        raise ValueError(f"head_names must name each of the {labels.shape[1]} heads, and {len(names)} came.")
    _refuse(
        labels, (labels != 0) & (labels != 1), "labels", names, "must be 0 or 1", "drop that row where it is unknown"
    )
    _refuse(
        probs, ~((probs >= 0) & (probs <= 1)), "probs", names, "must lie in [0, 1]", "pass sigmoid outputs, not logits"
    )
    is_positive = labels.astype(bool)
    if thresholds is None:
        chosen = [best_threshold(is_positive[:, j], probs[:, j], examples.weights) for j in range(len(names))]
    else:
        chosen = _given(thresholds, names)
    return Heads(examples, frozen(is_positive), frozen(probs), dict(zip(names, chosen, strict=True)))


def _names(labels: Any, probs: Any, head_names: Iterable[object] | None) -> tuple[str, ...] | None:
    """The names given, else those of the columns of a DataFrame; None where there are none."""
    found = [
        _checks.unique_names(table.columns, f"column names of {what}")
        for table, what in ((labels, "labels"), (probs, "probs"))
        if hasattr(table, "columns")
    ]
    if len(found) == 2 and found[0] != found[1]:
        raise ValueError("the columns of labels and of probs have other names or another order: give both the same.")
    if head_names is not None:
        return _checks.unique_names(head_names, "head_names")
    return found[0] if found else None


def _table(values: Any, name: str, n: int) -> np.ndarray:
    table = np.asarray(values)
    if table.dtype != bool or name == "probs":
        table = _checks.numeric(table, name)
    if table.ndim != 2 or len(table) != n or table.shape[1] == 0:
        raise ValueError(f"{name} must have shape ({n}, n_heads), one column per head, not {table.shape}.")
    return table


def _refuse(table: np.ndarray, is_bad: np.ndarray, what: str, names: tuple[str, ...], rule: str, cure: str) -> None:
    """Name the first entry (row by row) that breaks the rule."""
    if is_bad.any():
        row, column = np.argwhere(is_bad)[0]
        raise ValueError(f"{what} {rule}, and head {names[column]!r} row {row} is {table[row, column]}: {cure}.")


def _given(thresholds: Any, names: tuple[str, ...]) -> list[float]:
    """One number per head, from one for all, a sequence in the order of the heads, or a dict by name."""
    if isinstance(thresholds, Mapping):
        for name in names:
            if name not in thresholds:
                raise ValueError(f"thresholds has none for head {name!r}: give one for each.")
        unknown = [name for name in thresholds if name not in names]
        if unknown:
            raise ValueError(f"thresholds names {unknown[0]!r}, and the heads are {', '.join(map(repr, names))}.")
        values = [thresholds[name] for name in names]
    else:
        table = np.asarray(_checks.to_numpy(thresholds))
        if table.ndim > 1 or (table.ndim == 1 and len(table) != len(names)):
            raise ValueError(
                f"thresholds must be one number, or one per head ({len(names)}), not of shape {table.shape}."
            )
        values = [table.item()] * len(names) if table.ndim == 0 else table.tolist()
    return [
        _checks.fraction(value, f"the threshold of head {name!r}") for name, value in zip(names, values, strict=True)
    ]
