"""Finders of slices: each learns on one Evaluation and finds its slices again in any other."""

from failviz.discovery.baselines import ConfidenceRank, ConfusionCells
from failviz.discovery.directions import FailureDirections
from failviz.discovery.spotlight import Spotlight

__all__ = ["ConfidenceRank", "ConfusionCells", "FailureDirections", "Spotlight"]
