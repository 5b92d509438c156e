"""Is there any systematic failure at all? One answer for all slices together.

The max-statistic permutation test (Westfall & Young 1993): errors are dealt out anew within each class, and the slice
that stands out most is compared with the one that stands out most by chance. It needs no correction for the number of
slices, and takes account of how far they overlap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from failviz._slice_counts import Counts
from failviz.evaluation import Evaluation

_CHUNK = 4 << 20


def any_failure(
    measured: Sequence[Counts], evaluation: Evaluation, n_permutations: int, random_state: int = 0
) -> float:
    """The chance that the clearest of these slices would look so clear if none were worse than its scope.

    Errors are permuted within labels, for slices of a predicted class within predictions; where slices of both kinds
    are judged, the smaller p-value is doubled.

    Parameters
    ----------
    measured : sequence of Counts
        Slices whose membership does not read the outcome; examples that a finder has seen are left out for all.
    evaluation : Evaluation
    n_permutations : int

    Returns
    -------
    float
        p in (0, 1]; NaN when there is nothing to judge.
    """
    if not measured:
        return np.nan
    judged = np.logical_and.reduce([one.judged for one in measured])
    errors = evaluation.errors[judged]
    by_prediction = [one.slice.is_member[judged] for one in measured if one.slice.scope[0] == "prediction"]
    by_label = [one.slice.is_member[judged] for one in measured if one.slice.scope[0] != "prediction"]
    found = [
        _p_value(np.stack(members, axis=1), column[judged], errors, n_permutations, random_state)
        for members, column in ((by_label, evaluation.labels), (by_prediction, evaluation.predictions))
        if members and column is not None
    ]
    return min(1.0, len(found) * min(found))


def _p_value(
    member: np.ndarray, groups: np.ndarray, errors: np.ndarray, n_permutations: int, random_state: int
) -> float:
    """p of members (n, k), errors (n,) being dealt out anew within groups (n,)."""
    rng = np.random.default_rng(random_state)
    observed, counts = np.zeros(member.shape[1]), np.zeros((n_permutations, member.shape[1]))
    expected, variance = np.zeros(member.shape[1]), np.zeros(member.shape[1])
    for group in np.unique(groups):
        inside = member[groups == group]
        wrong = errors[groups == group]
        n, n_wrong, n_in = len(wrong), int(wrong.sum()), inside.sum(axis=0)
        observed += inside[wrong].sum(axis=0)
        rate = n_wrong / n
        expected += n_in * rate
        variance += n_in * rate * (1 - rate) * (n - n_in) / max(1, n - 1)
        step = max(1, _CHUNK // n)
        for start in range(0, n_permutations, step):
            stop = min(start + step, n_permutations)
            dealt = rng.permuted(np.tile(wrong, (stop - start, 1)), axis=1)
            counts[start:stop] += dealt.astype(np.float32) @ inside.astype(np.float32)
    can_differ = variance > 0
    if not can_differ.any():
        return 1.0
    spread = np.sqrt(variance[can_differ])
    clearest = ((observed - expected)[can_differ] / spread).max()
    by_chance = ((counts - expected)[:, can_differ] / spread).max(axis=1)
    return float((1 + (by_chance >= clearest - 1e-9).sum()) / (n_permutations + 1))
