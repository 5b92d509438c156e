"""Find, name and fix what a classifier gets wrong, inside the notebook.

Names load when they are first used: `import failviz` pulls in neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Annotations": "annotations",
    "ConfidenceRank": "discovery",
    "ConfusionCells": "discovery",
    "ErrorMixture": "discovery",
    "Evaluation": "evaluation",
    "Explorer": "widget",
    "FailureDirections": "discovery",
    "FailureFinder": "discovery",
    "FailureTree": "discovery",
    "PlaneSpot": "discovery",
    "RetrainPlan": "interventions",
    "Slice": "slices",
    "SliceLine": "discovery",
    "Spotlight": "discovery",
    "compare": "interventions",
    "evaluate": "inference",
    "merge_duplicates": "agreement",
    "overlap": "agreement",
    "retrain": "interventions",
    "retrieve": "retrieval",
    "verify": "verification",
}
_SUBPACKAGES = ("captions", "datasets", "encoders", "interventions", "plots", "saliency", "sources")

__all__ = [
    "Annotations",
    "ConfidenceRank",
    "ConfusionCells",
    "ErrorMixture",
    "Evaluation",
    "Explorer",
    "FailureDirections",
    "FailureFinder",
    "FailureTree",
    "PlaneSpot",
    "RetrainPlan",
    "Slice",
    "SliceLine",
    "Spotlight",
    "captions",
    "compare",
    "datasets",
    "encoders",
    "evaluate",
    "interventions",
    "merge_duplicates",
    "overlap",
    "plots",
    "retrain",
    "retrieve",
    "saliency",
    "sources",
    "verify",
]

if TYPE_CHECKING:
    from failviz import captions, datasets, encoders, interventions, plots, saliency, sources
    from failviz.agreement import merge_duplicates, overlap
    from failviz.annotations import Annotations
    from failviz.discovery import (
        ConfidenceRank,
        ConfusionCells,
        ErrorMixture,
        FailureDirections,
        FailureFinder,
        FailureTree,
        PlaneSpot,
        SliceLine,
        Spotlight,
    )
    from failviz.evaluation import Evaluation
    from failviz.inference import evaluate
    from failviz.interventions import RetrainPlan, compare, retrain
    from failviz.retrieval import retrieve
    from failviz.slices import Slice
    from failviz.verification import verify
    from failviz.widget import Explorer


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(f"failviz.{_HOME[name]}"), name)
    elif name in _SUBPACKAGES:
        value = importlib.import_module(f"failviz.{name}")
    else:
        raise AttributeError(f"failviz has no {name!r}: see failviz.__all__.")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext failviz`: the cell magic `%%failviz_retrain`, which making an Explorer also brings."""
    from failviz.widget import magic

    magic.register(shell)
