"""What to do about a slice: choose examples to train on, retrain, and compare before with after.

`select`, `upweight` and `relabel` make a `RetrainPlan`; `retrain` follows it; `compare` says what it changed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = [
    "Comparison",
    "Progress",
    "RetrainPlan",
    "TrainingDiverged",
    "compare",
    "relabel",
    "retrain",
    "select",
    "upweight",
]

if TYPE_CHECKING:
    from failviz.interventions.changes import Comparison
    from failviz.interventions.comparison import compare
    from failviz.interventions.plan import RetrainPlan
    from failviz.interventions.selection import select
    from failviz.interventions.training import Progress, TrainingDiverged, retrain
    from failviz.interventions.weighting import relabel, upweight

_HOME = {
    "Comparison": "changes",
    "Progress": "training",
    "RetrainPlan": "plan",
    "TrainingDiverged": "training",
    "compare": "comparison",
    "relabel": "weighting",
    "retrain": "training",
    "select": "selection",
    "upweight": "weighting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"failviz.interventions has no {name!r}, only {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"failviz.interventions.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
