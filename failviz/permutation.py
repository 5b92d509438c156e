"""Is there any systematic failure at all? One answer for all slices together.

The permutation test of the smallest p-value (Westfall & Young 1993, section 2.3): errors are dealt out anew within each
class, and the clearest slice is compared with the clearest by chance. It takes account of how far slices overlap, and
small slices, whose error rates jump about, weigh no more than large ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from failviz import _statistics
from failviz._slice_counts import Counts
from failviz.evaluation import Evaluation

_CHUNK_VALUES = 4 << 20


def any_failure(
    measured: Sequence[Counts], evaluation: Evaluation, n_permutations: int, random_state: int = 0
) -> float:
    """The chance that the clearest of these slices would look so clear if none were worse than its scope.

    Errors are permuted within labels, for slices of a predicted class within predictions; where slices of both kinds
    are judged, the smaller p-value is doubled (Bonferroni).

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
    kinds: dict[str, list[np.ndarray]] = {"label": [], "prediction": []}
    for one in measured:
        kinds["prediction" if one.slice.scope[0] == "prediction" else "label"].append(one.slice.is_member[judged])
    columns = {"label": evaluation.labels, "prediction": evaluation.predictions}
    found = [
        _p_value(np.stack(members, axis=1), np.asarray(columns[kind])[judged], errors, n_permutations, random_state)
        for kind, members in kinds.items()
        if members
    ]
    return min(1.0, len(found) * min(found))


def _p_value(
    member: np.ndarray, groups: np.ndarray, errors: np.ndarray, n_permutations: int, random_state: int
) -> float:
    """p of members (n, k), errors (n,) being dealt out anew within groups (n,)."""
    rng = np.random.default_rng(random_state)
    counts = np.zeros((n_permutations + 1, member.shape[1]), dtype=np.int64)  # the last row is what was observed
    strata = []
    for group in np.unique(groups):
        inside, wrong = member[groups == group], errors[groups == group]
        strata.append((inside.sum(axis=0), int(wrong.sum()), len(wrong)))
        counts[-1] += inside[wrong].sum(axis=0)
        step = max(1, _CHUNK_VALUES // len(wrong))
        for start in range(0, n_permutations, step):
            stop = min(start + step, n_permutations)
            dealt = rng.permuted(np.tile(wrong, (stop - start, 1)), axis=1)
            counts[start:stop] += (dealt.astype(np.float32) @ inside.astype(np.float32)).astype(np.int64)
    n_in, n_wrong, n = (np.array(column) for column in zip(*strata, strict=True))
    p = np.column_stack(
        [_statistics.stratified_tails(n_in[:, j], n_wrong, n)[counts[:, j]] for j in range(member.shape[1])]
    ).min(axis=1)
    return float((1 + (p[:-1] <= p[-1] * (1 + 1e-9)).sum()) / (n_permutations + 1))
