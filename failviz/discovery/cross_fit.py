"""What a candidate is worth where its search did not look, and which candidates are worth having together.

Each candidate is looked for again without a part of the data, and the part is placed by what was found there. So every
example is judged by a search that has not seen it. Candidates are then taken one by one; what those taken already
explain no longer counts for the others. Everything here is arrays: rows of one scope, errors, members.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from failviz._statistics import stratified_hypergeometric
from failviz.slices import Scope

SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.5)
"""Sizes that a candidate without a border of its own may have, as shares of its scope."""
FEWEST = 8
"""Examples that a size must hold."""
ALIKE = 0.8
"""Jaccard index from which two candidates of one scope are one."""
MATCH = 0.5
"""Rank correlation below which a search has not found a candidate again."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Where a search puts the examples of one scope.

    Attributes
    ----------
    kind : str
        Who proposed it; only the same kind is the same candidate.
    scores : float64 (m,)
    is_member : bool (m,)
    """

    kind: str
    scores: np.ndarray
    is_member: np.ndarray


@dataclass(frozen=True, eq=False)
class Judged:
    """A candidate as other searches find it again.

    Attributes
    ----------
    scope : Scope
    rows : int64 (m,)
        Its scope, as rows of the data.
    own : bool (m,)
        Its members, in-sample.
    heights : float64 (m,)
        Where searches that have not seen an example place it, as a share of the scope that lies lower; -1 where such a
        search has not found the candidate.
    is_member : bool (m,)
        Members by these searches.
    sizes : tuple of float or None
        Shares of the scope that its top may hold; None = its own members.
    """

    scope: Scope
    rows: np.ndarray
    own: np.ndarray
    heights: np.ndarray
    is_member: np.ndarray
    sizes: tuple[float | None, ...]

    def members(self, size: float | None) -> np.ndarray:
        """Rows of the data in a candidate of this size."""
        return self.rows[self.is_member if size is None else self.heights >= 1 - size]


@dataclass(frozen=True)
class Choice:
    """A candidate that was taken: its number, its size, and its cross-fitted members, errors and p-value."""

    number: int
    size: float | None
    n: int
    n_errors: int
    expected: float
    p: float


def judge(
    scope: Scope,
    rows: np.ndarray,
    whole: Sequence[Placed],
    again: Sequence[Sequence[Placed]],
    folds: np.ndarray,
    sizes: Sequence[tuple[float | None, ...]],
) -> list[Judged]:
    """Judge candidates of one scope.

    Parameters
    ----------
    scope : Scope
    rows : int64 (m,)
        The scope, as rows of the data.
    whole : list of Placed
        Candidates of the search that saw everything.
    again : list of lists of Placed
        Per part, those of the search that did not see it. A candidate is matched with the one of its kind that ranks
        the examples outside the part most alike, so that the part has no say in it.
    folds : int64 (m,)
        The part in which each example is.
    sizes : list of tuples
        Of each candidate.
    """
    heights, is_member = np.full((len(whole), len(rows)), -1.0), np.zeros((len(whole), len(rows)), dtype=bool)
    for part, others in enumerate(again):
        held_out = folds == part
        seen_ranks = [_standardised(rankdata(other.scores[~held_out])) for other in others]
        for j, one in enumerate(whole):
            mine = _standardised(rankdata(one.scores[~held_out]))
            alike = [
                float(mine @ ranks) if other.kind == one.kind else -1.0
                for other, ranks in zip(others, seen_ranks, strict=True)
            ]
            if alike and max(alike) >= MATCH:
                found = others[int(np.argmax(alike))]
                heights[j, held_out] = ((rankdata(found.scores) - 0.5) / len(rows))[held_out]
                is_member[j, held_out] = found.is_member[held_out]
    return [Judged(scope, rows, one.is_member, heights[j], is_member[j], sizes[j]) for j, one in enumerate(whole)]


def _standardised(ranks: np.ndarray) -> np.ndarray:
    """Of mean 0 and unit length, so that a product of two is their correlation; zeros where all are alike."""
    ranks = ranks - ranks.mean()
    return ranks / (np.linalg.norm(ranks) or 1.0)


class Counts:
    """Errors among members (s,) and among all, per stratum, and what they say."""

    def __init__(self, members: np.ndarray, rows: np.ndarray, errors: np.ndarray, strata: np.ndarray):
        _, stratum = np.unique(strata[rows], return_inverse=True)
        width, place = int(stratum.max()) + 1, np.empty(len(errors), dtype=np.int64)
        place[rows] = stratum
        inside = place[members]
        self.n_in, self.n = np.bincount(inside, minlength=width), np.bincount(stratum, minlength=width)
        self.errors_in = np.bincount(inside[errors[members]], minlength=width)
        self.errors = np.bincount(stratum[errors[rows]], minlength=width)

    @property
    def expected(self) -> float:
        return float((self.n_in * self.errors / self.n).sum())

    @property
    def z(self) -> float:
        """Errors in excess, in standard deviations of the test, continuity corrected."""
        spread = self.n_in * self.errors * (self.n - self.errors) * (self.n - self.n_in)
        variance = float((spread / (self.n**2 * np.maximum(self.n - 1, 1))).sum())
        return (int(self.errors_in.sum()) - self.expected - 0.5) / np.sqrt(max(variance, 1e-9))

    @property
    def worth(self) -> float:
        """How sure it is times how bad it is: z x error rate."""
        return self.z * int(self.errors_in.sum()) / max(1, int(self.n_in.sum()))

    @property
    def p(self) -> float:
        return stratified_hypergeometric(self.errors_in, self.n_in, self.errors, self.n)

    @property
    def deviance(self) -> float:
        """How much likelier the errors are with a rate of their own inside, in nats."""
        outside = self.errors - self.errors_in, self.n - self.n_in
        return float((_log_likelihood(self.errors_in, self.n_in) + _log_likelihood(*outside)).sum()) - float(
            _log_likelihood(self.errors, self.n).sum()
        )


def _log_likelihood(wrong: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Of counts, at their own rate."""
    right, all_of = n - wrong, np.maximum(n, 1)
    return wrong * np.log(np.maximum(wrong, 1) / all_of) + right * np.log(np.maximum(right, 1) / all_of)


def select(
    judged: Sequence[Judged], errors: np.ndarray, strata: np.ndarray, *, q: float, most: int, n_tests: int
) -> list[Choice]:
    """Take candidates one by one, that of most worth first, beside those already taken.

    Among the members of a taken candidate, and among the others, errors are compared separately from then on. The
    j-th is taken if its exact test passes q j / n_tests, the levels of Benjamini & Hochberg (1995) in a step-down
    manner, which accepts no more than theirs.

    Parameters
    ----------
    judged : list of Judged
    errors : bool (n,)
    strata : int64 (n,)
        Within which errors are compared, classes to begin with.
    q : float in (0, 1]
        1 = take `most`, whatever the tests say.
    most : int
    n_tests : int
        Number of candidates and sizes tested, here and elsewhere.

    Returns
    -------
    list of Choice
    """
    strata = strata.astype(np.int64)
    options = [
        (j, size, members)
        for j, one in enumerate(judged)
        for size in one.sizes
        if len(members := one.members(size)) >= FEWEST
    ]
    left, chosen = set(range(len(judged))), list[Choice]()
    known: dict[int, Counts] = {}
    while len(chosen) < most:
        level = 1.0 if q == 1 else q * (len(chosen) + 1) / n_tests
        for option, (j, _, members) in enumerate(options):
            if j in left and option not in known:
                known[option] = Counts(members, judged[j].rows, errors, strata)
        promising = [option for option, counts in known.items() if counts.z > 0 and norm.sf(counts.z) <= 3 * level]
        promising.sort(key=lambda option: -known[option].worth)
        taken = next((option for option in promising if q == 1 or known[option].p <= level), None)
        if taken is None:
            break
        j, size, members = options[taken]
        one, counts = judged[j], known[taken]
        n, n_errors = int(counts.n_in.sum()), int(counts.errors_in.sum())
        chosen.append(Choice(j, size, n, n_errors, counts.expected, counts.p))
        inside = np.zeros(len(errors), dtype=np.int64)
        inside[members] = 1
        _, strata = np.unique(2 * strata + inside, return_inverse=True)
        left -= {other for other in left if other == j or _is_same(judged[other], one)}
        known = {o: c for o, c in known.items() if options[o][0] in left and judged[options[o][0]].scope != one.scope}
    return chosen


def _is_same(one: Judged, other: Judged) -> bool:
    if one.scope != other.scope:
        return False
    either = int((one.own | other.own).sum())
    return either > 0 and int((one.own & other.own).sum()) > ALIKE * either


def best_size(one: Judged, errors: np.ndarray, strata: np.ndarray) -> float | None:
    """The size at which errors change most from inside to outside; its own members where it has some."""
    if None in one.sizes:
        return None
    sizes = [size for size in one.sizes if len(one.members(size)) >= FEWEST]
    return max(sizes, key=lambda size: Counts(one.members(size), one.rows, errors, strata).deviance)
