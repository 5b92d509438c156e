"""What a run changed, as the Compare view reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from failviz.evaluation import Evaluation
from failviz.interventions.changes import UNCLEAR, Change, Comparison
from failviz.interventions.plan import PLAN
from failviz.widget.catalogue import Item
from failviz.widget.channels import numbers_or_none
from failviz.widget.examples import summary
from failviz.widget.run import Run

_ORDER = {"overall": 0, "slice": 2, "class": 3}


def table(
    comparison: Comparison, items: Sequence[Item], targets: Sequence[str], unit: str, evaluation: Evaluation
) -> dict[str, Any]:
    """All examples, the slices that the plan was made for, the others, the classes; a cell for every arm.

    `comparison` is over the slices of `items`, each called by its key, as two slices may have one name.
    """
    by_key = {item.key: item for item in items}
    rows: list[dict[str, Any]] = []
    for arms in comparison.by_group():
        change = next(iter(arms.values()))
        item = by_key.get(change.name) if change.group == "slice" else None
        is_target = item is not None and item.key in targets
        rows.append(
            {
                "group": change.group,
                "name": _name(change, item, unit),
                "key": None if item is None else item.key,
                "n": change.n,
                "before": numbers_or_none(change.before),
                "is_target": is_target,
                "held_out": change.held_out,
                "caution": _caution(change, item, evaluation) or None,
                "cells": [_cell(one) for one in arms.values()],
            }
        )
    rows.sort(key=lambda row: 1 if row["is_target"] else _ORDER[row["group"]])
    notes = [comparison.note] if comparison.note else []
    if any(row["is_target"] and row["held_out"] for row in rows):
        notes.append(f"the same {unit} confirmed the slices, so part of a gain may be chance: see plan against control")
    if any(change.verdict == UNCLEAR and (change.low > 0 or change.high < 0) for change in comparison):
        notes.append(
            "“better” and “worse” allow for all rows compared at once, so an interval may miss 0 and be no clear change"
        )
    return {
        "note": "; ".join(notes),
        "arms": list(comparison.arms),
        "rows": rows,
        "versus": _versus(comparison, by_key, targets, unit),
    }


def _versus(
    comparison: Comparison, by_key: Mapping[str, Item], targets: Sequence[str], unit: str
) -> dict[str, Any] | None:
    """The plan against its first control: on all examples, and on the slices it was made for."""
    controls = [arm for arm in comparison.arms if arm != PLAN]
    if PLAN not in comparison.arms or not controls:
        return None
    rows = []
    for change in comparison.between(controls[0], PLAN):
        item = by_key.get(change.name) if change.group == "slice" else None
        if change.group == "overall" or (item is not None and item.key in targets):
            facts = {"name": _name(change, item, unit), "key": None if item is None else item.key, "n": change.n}
            numbers = {name: numbers_or_none(getattr(change, name)) for name in ("change", "low", "high")}
            rows.append({**facts, **numbers, "verdict": change.verdict})
    rows.sort(key=lambda row: row["key"] is not None)
    return {"arm": controls[0], "rows": rows}


def _name(change: Change, item: Item | None, unit: str) -> str:
    if change.group == "overall":
        return f"all {unit}"
    return change.name if item is None else item.slice.name


def _caution(change: Change, item: Item | None, evaluation: Evaluation) -> str:
    """Why the row is not what it seems, and how many examples it lacks."""
    whole = evaluation.n_examples if change.group == "overall" else None if item is None else len(item.slice)
    lacking = 0 if whole is None else whole - change.n
    parts = [change.caution] if change.caution else []
    if lacking:
        parts.append(f"less {lacking:,} that chose the additions")
    return "; ".join(parts)


def _cell(change: Change) -> dict[str, Any]:
    return {
        "arm": change.arm,
        "n": change.n,
        "before": numbers_or_none(change.before),
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


def in_table(run: Run) -> dict[str, Any]:
    """One line of the list of runs."""
    return {
        "number": run.number,
        "title": run.plan.name,
        "status": run.status,
        "started": run.started,
        "seconds": run.seconds,
        "n_added": len(run.plan.additions),
        "has_results": run.has_results,
        "arms": run.arms,
        "share": run.share,
        "doing": "stopping" if run.is_stopping else run.doing,
        "error": run.error,
    }
