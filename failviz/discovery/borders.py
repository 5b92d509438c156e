"""Where the members of a candidate end: at a border of its own, where a hidden group ends, or at a score.

A direction seeks errors: it ranks well, and where to cut it is another question. A hidden group is a cloud and knows
where it ends. So a direction may rank the members of a group that lies where it aims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from failviz.discovery.candidates import Candidate, placed
from failviz.discovery.cross_fit import spread_of
from failviz.evaluation import Evaluation


@dataclass(frozen=True, eq=False)
class Bordered:
    """A candidate and where its members end.

    Attributes
    ----------
    candidate : Candidate
        Ranks the examples.
    group : Candidate or None
        The members are those of this hidden group.
    cut : float or None
        The members are those of a higher score. Without group and cut the candidate has a border of its own.
    middle, spread : (float, float)
        Of the scores in the fit, of others and of members, where there is a group.
    """

    candidate: Candidate
    group: Candidate | None = None
    cut: float | None = None
    middle: tuple[float, float] = (0.0, 0.0)
    spread: tuple[float, float] = (1.0, 1.0)

    @classmethod
    def of(cls, candidate: Candidate, group: Candidate, scope: Evaluation, space: str) -> Bordered:
        """Around the members of a group, as they lie in a scope."""
        (scores, _), (_, of_group) = placed([candidate, group], scope, space)
        sides = [side if len(side) else scores for side in (scores[of_group < 0.5], scores[of_group >= 0.5])]
        middle = float(np.median(sides[0])), float(np.median(sides[1]))
        return cls(candidate, group, middle=middle, spread=(spread_of(sides[0]), spread_of(sides[1])))

    def _drawn(
        self, scores: np.ndarray, weights: np.ndarray, of_group: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.cut is not None:
            return scores - self.cut, (scores > self.cut).astype(np.float64)
        if of_group is None:
            return scores, weights
        inside = (of_group >= 0.5).astype(np.int64)
        heights = (scores - np.take(self.middle, inside)) / np.take(self.spread, inside)
        ranked = inside - 1 + (1 + heights / (1 + np.abs(heights))) / 2  # a unit for each side, at any height
        return ranked, inside.astype(np.float64)


def drawn(bordered: Sequence[Bordered], view: Evaluation, space: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores and weights in [0, 1], each float64 (m,) per candidate.

    Scores are above 0 inside a group and beyond a cut, and weights there are 1; with a border of its own both are as
    the candidate has them.
    """
    groups = [one.group for one in bordered if one.group is not None]
    places = placed([*(one.candidate for one in bordered), *groups], view, space)
    of_groups = iter(weights for _, weights in places[len(bordered) :])
    return [
        one._drawn(scores, weights, None if one.group is None else next(of_groups))
        for one, (scores, weights) in zip(bordered, places, strict=False)
    ]
