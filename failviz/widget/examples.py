"""Examples for the screen: galleries, one example in full, and the steps along a failure direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from failviz._checks import is_missing
from failviz._statistics import wilson
from failviz.evaluation import Evaluation
from failviz.slices import Slice
from failviz.sources import in_words
from failviz.widget import wording
from failviz.widget.catalogue import Item, has_outcome
from failviz.widget.channels import numbers_or_none
from failviz.widget.protocol import N_STEPS, Refusal

_BINS = 24


def summary(evaluation: Evaluation, row: int) -> dict[str, Any]:
    """Row, id, label, prediction, wrong, loss, confidence; null where not known."""
    if not 0 <= row < evaluation.n_examples:
        raise Refusal(f"there is no row {row}: rows run from 0 to {evaluation.n_examples - 1}.")
    labels, predictions = evaluation.labels, evaluation.predictions
    return {
        "row": int(row),
        "id": str(evaluation.ids[row]),
        "label": None if labels is None else evaluation.class_name(int(labels[row])),
        "prediction": None if predictions is None else evaluation.class_name(int(predictions[row])),
        "wrong": bool(evaluation.errors[row]) if has_outcome(evaluation) else None,
        "loss": None if evaluation.losses is None else float(evaluation.losses[row]),
        "confidence": None if evaluation.probs is None else float(evaluation.confidence[row]),
    }


def in_gallery(evaluation: Evaluation, row: int, slice_: Slice | None) -> dict[str, Any]:
    """The summary with the slice's score, and the caption where metadata has one."""
    caption = None
    if evaluation.metadata is not None and "caption" in evaluation.metadata.columns:
        value = evaluation.metadata["caption"].iloc[row]
        caption = None if is_missing(value) else str(value)
    score = None if slice_ is None else numbers_or_none(slice_.scores[row])
    return {**summary(evaluation, row), "score": score, "caption": caption}


def in_full(evaluation: Evaluation, row: int) -> dict[str, Any]:
    """The summary and every metadata column, as text."""
    facts = summary(evaluation, row)
    metadata = evaluation.metadata
    pairs = [] if metadata is None else [[str(name), in_words(metadata[name].iloc[row])] for name in metadata.columns]
    return {**facts, "metadata": pairs}


def gallery(
    evaluation: Evaluation, chosen: np.ndarray, slice_: Slice | None, order: str, only: str, offset: int, limit: int
) -> dict[str, Any]:
    """A page of the chosen rows (boolean (n,)), hardest first, ties by row.

    Without a slice, or without losses, the order falls back to the other, then to the rows.
    """
    if only != "all":
        if not has_outcome(evaluation):
            raise Refusal(f"which examples are {only} is not known: this Evaluation has no labels or no predictions.")
        chosen = chosen & (evaluation.errors if only == "wrong" else evaluation.correct)
    rows = np.flatnonzero(chosen)
    scores = None if slice_ is None else slice_.scores
    keys = (scores, evaluation.losses) if order == "score" else (evaluation.losses, scores)
    key = next((key for key in keys if key is not None), None)
    if key is not None:
        rows = rows[np.argsort(-key[rows], kind="stable")]
    page = rows[offset : offset + limit]
    return {"total": len(rows), "examples": [in_gallery(evaluation, int(row), slice_) for row in page]}


class Direction:
    """The examples in a slice's scope, from easiest (lowest score) to hardest.

    Step t of N stands at position t / (N - 1) in that order; ties keep the order of the rows.
    """

    def __init__(self, evaluation: Evaluation, item: Item):
        if not item.has_direction:
            raise Refusal(f"{item.slice.name!r} has no direction to step along: it is a group of examples.")
        self._evaluation, self._item = evaluation, item
        scores = item.slice.scores
        rows = np.flatnonzero(item.slice.in_scope)
        self.rows = rows[np.argsort(scores[rows], kind="stable")]
        self.scores = scores[self.rows]
        self.wrong = evaluation.errors[self.rows] if has_outcome(evaluation) else None

    def position(self, step: int) -> int:
        """Place of a step in the order."""
        return round(step / (N_STEPS - 1) * (len(self.rows) - 1))

    def reply(self) -> dict[str, Any]:
        """Histogram, steps and words. Without labels all counts stand under "right" and low, high are null."""
        slice_ = self._item.slice
        wrong = np.zeros(len(self.rows), dtype=bool) if self.wrong is None else self.wrong
        low, high = float(self.scores[0]), float(self.scores[-1])
        edges = np.linspace(low, high, _BINS + 1) if high > low else np.array([low - 0.5, low + 0.5])
        bins = np.clip(np.searchsorted(edges, self.scores, side="right") - 1, 0, len(edges) - 2)
        return {
            "slice": self._item.key,
            "scope": wording.scope(slice_, self._evaluation),
            "n": len(self.rows),
            "n_steps": N_STEPS,
            "edges": edges.tolist(),
            "right": np.bincount(bins[~wrong], minlength=len(edges) - 1).tolist(),
            "wrong": np.bincount(bins[wrong], minlength=len(edges) - 1).tolist(),
            "boundary": self._boundary(),
            "steps": [self._step(step, wrong) for step in range(N_STEPS)],
            "easiest": _words(slice_.stats.get("easiest")),
            "hardest": _words(slice_.stats.get("hardest")) or slice_.caption or slice_.rule,
        }

    def _step(self, step: int, wrong: np.ndarray) -> dict[str, Any]:
        """The tenth of the scope (at least 10 examples) around a step."""
        width = min(len(self.rows), max(10, round(len(self.rows) / 10)))
        first = _window(self.position(step), width, len(self.rows))
        count = int(wrong[first : first + width].sum())
        low, high = (None, None) if self.wrong is None else wilson(count, width)
        return {
            "score": float(self.scores[self.position(step)]),
            "n": width,
            "n_wrong": count,
            "low": low,
            "high": high,
        }

    def _boundary(self) -> float | None:
        """The score at which membership begins; null when members and others are not parted by score."""
        member = self._item.slice.is_member[self.rows]
        if member.all() or not member.any():
            return None
        outside, inside = float(self.scores[~member].max()), float(self.scores[member].min())
        if outside > inside:
            return None
        return 0.0 if outside <= 0 <= inside else (outside + inside) / 2

    def strip(self, step: int, count: int) -> dict[str, Any]:
        """`count` neighbouring examples around a step, easiest first; centre is the step's own place among them."""
        count = min(count, len(self.rows))
        first = _window(self.position(step), count, len(self.rows))
        rows: Sequence[int] = self.rows[first : first + count].tolist()
        examples = [in_gallery(self._evaluation, row, self._item.slice) for row in rows]
        return {"step": step, "centre": self.position(step) - first, "examples": examples}


def _window(centre: int, width: int, n: int) -> int:
    """First position of a window of `width` around `centre` that stays inside 0..n."""
    return max(0, min(centre - width // 2, n - width))


def _words(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
