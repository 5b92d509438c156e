"""How well returned slices fit planted groups, and how sure that figure is.

Precision at 10 and 25 and average precision follow dcbench (Eyuboglu et al. 2022, arXiv 2203.14960); discovery and
false-discovery rate follow SpotCheck (Plumb et al. 2022, arXiv 2207.04104, section 4). All take the same number of
slices from every method. A slice that a method does not return has precision 0, since it shows nothing, and the average
precision of a random order, which is the share of the group.

Ties, of examples out of scope above all, stand in one random order that is the same for every method.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

METRICS = ("p10", "p25", "ap")
IDENTIFIED = 0.8
"""A group is identified when more than this share of the top 10 of a slice belongs to it."""
PURE, COVERED = 0.8, 0.8
N_DRAWS = 10_000


def ranking_scores(group: np.ndarray, scores: np.ndarray, tiebreak: np.ndarray) -> tuple[float, float, float]:
    """Precision at 10, precision at 25 and average precision of one ranking.

    Parameters
    ----------
    group : bool array (n,)
        With at least one member.
    scores : array (n,)
        Larger = deeper in the slice; -inf allowed.
    tiebreak : array (n,)
        Distinct numbers, larger first among equal scores.

    Examples
    --------
    >>> ranking_scores(np.arange(50) < 10, -np.arange(50.0), np.arange(50))
    (1.0, 0.4, 1.0)
    """
    hits = group[np.lexsort((-tiebreak, -scores))]
    at_hits = np.flatnonzero(hits) + 1
    average = float(np.mean(np.arange(1, len(at_hits) + 1) / at_hits))
    return float(hits[:10].mean()), float(hits[:25].mean()), average


def score_table(groups: Sequence[np.ndarray], slices: Sequence[np.ndarray], *, n_slices: int, seed: int) -> np.ndarray:
    """Every metric of every slice for every group: float64 (n_groups, n_slices, 3), in the order of `METRICS`.

    Parameters
    ----------
    groups : bool arrays (n,)
    slices : score arrays (n,)
        Most important first; those after the first `n_slices` are not looked at.
    n_slices : int
        How many every method may return.
    seed : int
        Of the order of ties.
    """
    tiebreak = np.random.default_rng(seed).permutation(len(groups[0]))
    table = np.zeros((len(groups), n_slices, len(METRICS)))
    for row, group in enumerate(groups):
        table[row, :, METRICS.index("ap")] = group.mean()
        for column, scores in enumerate(slices[:n_slices]):
            table[row, column] = ranking_scores(group, scores, tiebreak)
    return table


def by_oracle(table: np.ndarray) -> np.ndarray:
    """Each group takes the slice that suits it best, metric by metric: float64 (n_groups, 3)."""
    return table.max(axis=1)


def by_rank(table: np.ndarray) -> np.ndarray:
    """Only the first slices count, as many as there are groups, and each for one group: float64 (n_groups, 3).

    Which of them is for which group is decided, metric by metric, to the method's advantage: groups have no order.

    Examples
    --------
    >>> table = np.zeros((2, 5, 3))
    >>> table[0, 0], table[1, 0], table[1, 2] = 0.9, 1.0, 1.0
    >>> by_rank(table)[:, 0].tolist()  # the third slice does not count, the first counts once
    [0.0, 1.0]
    """
    n_groups = len(table)
    matched = np.empty((n_groups, table.shape[2]))
    for metric in range(table.shape[2]):
        rows, columns = linear_sum_assignment(table[:, :n_groups, metric], maximize=True)
        matched[rows, metric] = table[rows, columns, metric]
    return matched


def discovery_rates(
    members: Sequence[np.ndarray], spots: Sequence[np.ndarray], is_real: Sequence[bool]
) -> tuple[float, float]:
    """SpotCheck's discovery rate and false-discovery rate.

    A slice belongs to a blind spot when at least 0.8 of its members lie there; a blind spot is discovered when its
    slices together hold at least 0.8 of it. A slice is false when it belongs to no blind spot and other data do not
    confirm its lift either: data fail in ways nobody planted.

    Parameters
    ----------
    members : bool arrays (n,)
        Of the slices returned.
    spots : bool arrays (n,)
        With at least one member each.
    is_real : bools
        For every slice, whether its lift is confirmed on other data.

    Returns
    -------
    (float, float)
        The second is 0 when no slice was returned: nothing false was said.

    Examples
    --------
    >>> spot, other = np.arange(100) < 20, np.arange(100) >= 60
    >>> discovery_rates([spot, other], [spot], [False, False])
    (1.0, 0.5)
    """
    belongs = [[_share(spot, of=member) >= PURE for spot in spots] for member in members]
    found = 0
    for number, spot in enumerate(spots):
        mine = [member for member, home in zip(members, belongs, strict=True) if home[number]]
        found += bool(mine) and _share(np.logical_or.reduce(mine), of=spot) >= COVERED
    false = [not any(home) and not real for home, real in zip(belongs, is_real, strict=True)]
    return found / len(spots), float(np.mean(false)) if false else 0.0


def _share(mask: np.ndarray, *, of: np.ndarray) -> float:
    return float(mask[of].mean()) if of.any() else 0.0


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean over settings and its 95% bootstrap interval.

    Groups of one setting share a classifier, so settings are drawn, not groups. Give differences of two methods on the
    same settings for a paired interval.
    """
    values = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(0).integers(len(values), size=(N_DRAWS, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)
