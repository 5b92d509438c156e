"""Finders of slices: each learns on one Evaluation and finds its slices again in any other."""

from failviz.discovery.baselines import ConfidenceRank, ConfusionCells
from failviz.discovery.directions import FailureDirections
from failviz.discovery.finder import FailureFinder
from failviz.discovery.mixture import ErrorMixture
from failviz.discovery.planespot import PlaneSpot
from failviz.discovery.sliceline import SliceLine
from failviz.discovery.spotlight import Spotlight
from failviz.discovery.tree import FailureTree

__all__ = [
    "ConfidenceRank",
    "ConfusionCells",
    "ErrorMixture",
    "FailureDirections",
    "FailureFinder",
    "FailureTree",
    "PlaneSpot",
    "SliceLine",
    "Spotlight",
]
