"""What a run changed, as the Compare view reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from failviz.evaluation import Evaluation
from failviz.interventions.changes import Change, Comparison
from failviz.interventions.plan import RetrainPlan
from failviz.widget.catalogue import Item
from failviz.widget.channels import numbers_or_none
from failviz.widget.examples import summary
from failviz.widget.run import Run

_ORDER = {"overall": 0, "slice": 2, "class": 3}


def table(comparison: Comparison, items: Sequence[Item], plan: RetrainPlan, unit: str) -> dict[str, Any]:
    """All examples, the slices that the plan was made for, the others, the classes; a cell for every arm.

    `comparison` is over the slices of `items`, each called by its key, as two slices may have one name.
    """
    by_key = {item.key: item for item in items}
    rows: list[dict[str, Any]] = []
    for arms in comparison.by_group():
        change = next(iter(arms.values()))
        item = by_key.get(change.name) if change.group == "slice" else None
        name = item.slice.name if item is not None else change.name
        rows.append(
            {
                "group": change.group,
                "name": f"all {unit}" if change.group == "overall" else name,
                "key": None if item is None else item.key,
                "n": change.n,
                "before": numbers_or_none(change.before),
                "is_target": item is not None and is_target(item, plan),
                "held_out": change.held_out,
                "caution": change.caution or None,
                "cells": [_cell(one) for one in arms.values()],
            }
        )
    rows.sort(key=lambda row: 1 if row["is_target"] else _ORDER[row["group"]])
    return {"note": comparison.note, "arms": list(comparison.arms), "rows": rows}


def _cell(change: Change) -> dict[str, Any]:
    return {
        "arm": change.arm,
        **{name: numbers_or_none(getattr(change, name)) for name in ("after", "change", "low", "high")},
        "fixed": change.fixed,
        "broken": change.broken,
        "verdict": change.verdict,
    }


def changed_examples(
    evaluation: Evaluation, after: np.ndarray, chosen: np.ndarray, change: str, offset: int, limit: int
) -> dict[str, Any]:
    """A page of the chosen rows (boolean (n,)) that a model has fixed or broken, or left wrong, by row."""
    assert evaluation.labels is not None
    was, now = evaluation.errors, after != evaluation.labels
    rows = np.flatnonzero(chosen & {"fixed": was & ~now, "broken": ~was & now, "still wrong": was & now}[change])
    examples = []
    for row in rows[offset : offset + limit].tolist():
        facts = summary(evaluation, row)
        kept = {name: facts[name] for name in ("row", "id", "label", "prediction")}
        examples.append({**kept, "after": evaluation.class_name(int(after[row]))})
    return {"total": len(rows), "examples": examples}


def is_target(item: Item, plan: RetrainPlan) -> bool:
    """Whether a plan was made for a slice, under the name it has now or the one it was found under."""
    return item.slice.name in plan.targets or item.found_name in plan.targets


def in_table(run: Run) -> dict[str, Any]:
    """One line of the list of runs."""
    return {
        "number": run.number,
        "title": run.plan.name,
        "status": run.status,
        "started": run.started,
        "seconds": run.seconds,
        "n_added": len(run.plan.additions),
        "arms": run.arms,
        "share": run.share,
        "doing": "stopping" if run.is_stopping else run.doing,
        "error": run.error,
    }
