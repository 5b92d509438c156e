"""What the scores of a slice say by themselves: where membership begins, and what lies how far down."""

from __future__ import annotations

import numpy as np

from failviz.slices import Slice


def membership_bound(one: Slice) -> float | None:
    """The score above which examples are members; None where no one score parts them from the others."""
    member, scores = one.is_member & one.in_scope, one.scores
    other = ~member & one.in_scope
    if not member.any() or not other.any():
        return None
    least, most = float(scores[member].min()), float(scores[other].max())
    if most >= least:
        return None
    return 0.0 if most <= 0 <= least else (least + most) / 2


def ranked(scores: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values (n,) in the order of falling scores (n,), those of equal scores replaced by their mean.

    What any order of the ties gives on average, so that the order of the rows does not matter.

    >>> ranked(np.array([1.0, 3.0, 1.0]), np.array([1.0, 5.0, 0.0])).tolist()
    [5.0, 0.5, 0.5]
    """
    _, place, sizes = np.unique(-scores, return_inverse=True, return_counts=True)
    means = np.bincount(place, weights=values, minlength=len(sizes)) / sizes
    return np.repeat(means, sizes)
