"""What a candidate is worth where its search did not look, and which candidates are worth having together.

Each candidate is looked for again without a part of the data, and the part is placed by what was found there: examples
are judged by searches that have not seen them. (These searches have seen each other's parts, and which of their
findings is the same candidate is told by a search that has seen all: tests on what they say are nearly exact, not
quite: p-values are doubled.) Candidates are then taken one by one; what those taken already explain no longer counts
for the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.stats import rankdata

from failviz._statistics import stratified_hypergeometric
from failviz.slices import Scope

SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.5)
"""Sizes that a candidate without a border of its own may have, as shares of its scope."""
FEWEST_MEMBERS = 8
SAME, SAME_TOP = 0.8, 0.5
"""Jaccard index of the members, and of the tops, above which two candidates of one scope are one."""
TOP = 0.1
"""Share of a scope that ranks highest."""
FOUND_AGAIN = 0.5
"""Rank correlation below which a search has not found a candidate again."""
CLEAR = 0.9
"""Agreement (kappa) from which the members of a hidden group are clear: searches of other data name the same ones."""
AS_WRONG, IN_COMMON = 0.5, 0.3
"""Shares of the error rate and of the errors of a candidate that a clear group has at least, to be its border."""
CLEARNESS = 4
"""Power of the agreement by which the worth of a group is multiplied, where several may be the border."""
DEPENDENT = 2.0
"""What a p-value is multiplied by, as searches have seen each other's parts: without it, lists of nothing but chance
were not empty almost twice as often as their level says."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Where a search puts the examples of one scope.

    Attributes
    ----------
    kind : str
        Who proposed it; only the same kind is the same candidate.
    scores : float64 (m,)
    is_member : bool (m,) or None
        None = it ranks and has no border of its own.
    is_group : bool
        It was fitted as a cloud of its own.
    """

    kind: str
    scores: np.ndarray
    is_member: np.ndarray | None
    is_group: bool = False


@dataclass(frozen=True, eq=False)
class Judged:
    """A candidate as other searches find it again.

    Attributes
    ----------
    scope : Scope
    rows : int64 (m,)
        Its scope, as rows of the data.
    is_member : bool (m,)
        Members, each by the search that has not seen it; none where such a search has not found the candidate.
    own : bool (m,)
        Members in-sample.
    top : bool (m,)
        The tenth of the scope that ranks highest in-sample, of a candidate with a border its members at most; all that
        rank the same as the last of them too.
    size : float or None
        Share of the scope that they are to be; None = the candidate has its own border.
    is_group : bool
        It was fitted as a cloud of its own.
    """

    scope: Scope
    rows: np.ndarray
    is_member: np.ndarray
    own: np.ndarray
    top: np.ndarray
    size: float | None
    is_group: bool = False

    @cached_property
    def agreement(self) -> float:
        """Cohen's kappa (1960) of both kinds of membership: 1 = the same examples, 0 = as by chance."""
        a, b = self.own.mean(), self.is_member.mean()
        by_chance = a * b + (1 - a) * (1 - b)
        if by_chance == 1:
            return 0.0
        return float(((self.own == self.is_member).mean() - by_chance) / (1 - by_chance))


@dataclass(frozen=True)
class Choice:
    """A candidate that was taken.

    Attributes
    ----------
    number : int
    border : int or None
        Number of the hidden group whose members are the slice; None = its own.
    n, n_errors : int
        Cross-fitted members, and errors among them.
    expected : float
        Errors expected among as many.
    p : float
        Doubled.
    """

    number: int
    border: int | None
    n: int
    n_errors: int
    expected: float
    p: float

    @property
    def shown(self) -> int:
        """Number of that whose members are shown."""
        return self.number if self.border is None else self.border

    def among(self, numbers: Sequence[int]) -> Choice:
        """The same under the numbers that its list was drawn from."""
        border = None if self.border is None else numbers[self.border]
        return replace(self, number=numbers[self.number], border=border)


class Stratified:
    """Rows (m,) of the data, in strata, and which of them are errors."""

    def __init__(self, rows: np.ndarray, errors: np.ndarray, strata: np.ndarray):
        self._stratum = np.unique(strata[rows], return_inverse=True)[1]
        self._error = errors[rows]
        self._width = int(self._stratum.max()) + 1
        self.n, self.errors = self._counted(np.ones(len(rows), dtype=bool)), self._counted(self._error)

    def counts(self, is_member: np.ndarray) -> Counts:
        """Of members (m,)."""
        return Counts(self._counted(is_member & self._error), self._counted(is_member), self.errors, self.n)

    def _counted(self, mask: np.ndarray) -> np.ndarray:
        return np.bincount(self._stratum[mask], minlength=self._width)


@dataclass(frozen=True, eq=False)
class Counts:
    """Errors among members and among all, each int64 (s,) per stratum."""

    errors_in: np.ndarray
    n_in: np.ndarray
    errors: np.ndarray
    n: np.ndarray

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
    def error_rate(self) -> float:
        return int(self.errors_in.sum()) / max(1, int(self.n_in.sum()))

    @property
    def worth(self) -> float:
        """How sure it is and how bad it is: z x root of the error rate."""
        return float(self.z * np.sqrt(self.error_rate))

    @cached_property
    def p(self) -> float:
        return stratified_hypergeometric(self.errors_in, self.n_in, self.errors, self.n)

    @property
    def deviance(self) -> float:
        """How much likelier the errors are with a rate of their own inside, in nats; 0 where they are not in excess."""
        if self.errors_in.sum() <= self.expected:
            return 0.0
        outside = _log_likelihood(self.errors - self.errors_in, self.n - self.n_in)
        gained = _log_likelihood(self.errors_in, self.n_in) + outside - _log_likelihood(self.errors, self.n)
        return float(gained.sum())


def _log_likelihood(wrong: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Of counts, at their own rate."""
    right, all_of = n - wrong, np.maximum(n, 1)
    return wrong * np.log(np.maximum(wrong, 1) / all_of) + right * np.log(np.maximum(right, 1) / all_of)


def judge(
    scope: Scope,
    rows: np.ndarray,
    whole: Sequence[Placed],
    again: Sequence[Sequence[Placed]],
    parts: np.ndarray,
    errors: np.ndarray,
    strata: np.ndarray,
) -> list[Judged]:
    """Judge candidates of one scope.

    A candidate is the same as that of its kind which ranks the examples outside the part most alike. One without a
    border gets the size at which errors change most from inside to outside, by cross-fitted ranks.

    Parameters
    ----------
    scope : Scope
    rows : int64 (m,)
        The scope, as rows of the data.
    whole : list of Placed
        Candidates of the search that saw everything.
    again : list of lists of Placed
        Per part, those of the search that did not see it.
    parts : int64 (m,)
        The part in which each example is.
    errors, strata : arrays (n,)
        Of all the data.
    """
    heights = np.full((len(whole), len(rows)), -1.0)  # share of the part that lies lower
    member = np.zeros((len(whole), len(rows)), dtype=bool)
    for part, others in enumerate(again):
        if not others:
            continue
        held_out = parts == part
        their_ranks = [_standardised(rankdata(other.scores[~held_out])) for other in others]
        for j, one in enumerate(whole):
            ranks = _standardised(rankdata(one.scores[~held_out]))
            alike = [
                float(ranks @ theirs) if other.kind == one.kind else -1.0
                for other, theirs in zip(others, their_ranks, strict=True)
            ]
            if max(alike) >= FOUND_AGAIN:
                found = others[int(np.argmax(alike))]
                heights[j, held_out] = (rankdata(found.scores[held_out]) - 0.5) / max(1, held_out.sum())
                if found.is_member is not None:
                    member[j, held_out] = found.is_member[held_out]
    stratified = Stratified(rows, errors, strata)
    judged = []
    for j, one in enumerate(whole):
        top = one.scores >= np.quantile(one.scores, 1 - TOP)
        if one.is_member is not None:
            judged.append(Judged(scope, rows, member[j], one.is_member, top & one.is_member, None, one.is_group))
            continue
        tops = {share: heights[j] >= 1 - share for share in SHARES}
        owns = {share: one.scores > np.quantile(one.scores, 1 - share) for share in SHARES}
        # Where scores are tied, a cut may leave next to nothing above.
        large = [s for s in SHARES if tops[s].sum() >= FEWEST_MEMBERS and owns[s].mean() > s / 2] or [SHARES[-1]]
        size = max(large, key=lambda share: stratified.counts(tops[share]).deviance)
        judged.append(Judged(scope, rows, tops[size], owns[size], top, size))
    return judged


def _standardised(ranks: np.ndarray) -> np.ndarray:
    """Of mean 0 and unit length, so that a product of two is their correlation; zeros where all are alike."""
    ranks = ranks - ranks.mean()
    return ranks / (np.linalg.norm(ranks) or 1.0)


def select(
    judged: Sequence[Judged], errors: np.ndarray, strata: np.ndarray, *, q: float, most: int, n_tests: int
) -> list[Choice]:
    """Take candidates one by one, that of most worth first, beside those already taken.

    The worth of another of a scope from which n were taken is divided by the root of n + 1: a class of which much is
    shown leaves room for the others.

    What only ranks may be given the border of a clear hidden group (`_border_of`), and is then tested as that group.
    Among the members of a taken candidate, those of its border, and the others, errors are compared separately from
    then on. The j-th is taken if its test passes q j / n_tests, the levels of Benjamini & Hochberg
    (1995) in a step-down manner.

    Parameters
    ----------
    judged : list of Judged
    errors : bool (n,)
    strata : int64 (n,)
        Within which errors are compared, classes to begin with.
    q : float in (0, 1]
        1 = take up to `most` with errors in excess, whatever the tests say.
    most : int
    n_tests : int
        How many are tested, here and elsewhere.

    Returns
    -------
    list of Choice
    """
    strata = strata.astype(np.int64)
    left = {j for j, one in enumerate(judged) if min(one.is_member.sum(), one.own.sum()) >= FEWEST_MEMBERS}
    known: dict[int, Counts] = {}
    scopes: dict[Scope, Stratified] = {}
    n_taken: Counter[Scope] = Counter()
    chosen: list[Choice] = []
    while left and len(chosen) < most:
        level = 1.0 if q == 1 else q * (len(chosen) + 1) / n_tests
        for j in left - known.keys():
            one = judged[j]
            if one.scope not in scopes:
                scopes[one.scope] = Stratified(one.rows, errors, strata)
            known[j] = scopes[one.scope].counts(one.is_member)
        again = {j: np.sqrt(1 + n_taken[judged[j].scope]) for j in left}
        ranked = sorted((j for j in left if known[j].z > 0), key=lambda j: (-known[j].worth / again[j], j))
        allowed = [j for j in ranked if q == 1 or _p_value(known[j]) <= level]
        if not allowed:
            break
        taken = allowed[0]
        border = _border_of(taken, allowed, judged, known, errors)
        one, shown = judged[taken], taken if border is None else border
        counts = known[shown]
        n, n_errors = int(counts.n_in.sum()), int(counts.errors_in.sum())
        chosen.append(Choice(taken, border, n, n_errors, counts.expected, _p_value(counts)))
        n_taken[one.scope] += 1
        inside = np.zeros(len(errors), dtype=np.int64)
        inside[one.rows] = 2 * one.is_member + judged[shown].is_member
        strata = np.unique(4 * strata + inside, return_inverse=True)[1]
        left -= {j for j in left if any(j == k or _is_same(judged[j], judged[k]) for k in (taken, shown))}
        if one.scope == "all":
            scopes.clear()
        scopes.pop(one.scope, None)
        known = {j: counts for j, counts in known.items() if judged[j].scope in scopes}
    return chosen


def _p_value(counts: Counts) -> float:
    return min(1.0, DEPENDENT * counts.p)


def _border_of(
    taken: int, allowed: Sequence[int], judged: Sequence[Judged], known: dict[int, Counts], errors: np.ndarray
) -> int | None:
    """The group whose members are those of a candidate that only ranks; None where none is clear enough.

    What seeks errors aims between a group and whatever else is wrong: it ranks well and ends badly. Of the clear groups
    that hold a good part of its errors (`IN_COMMON`) and are not much less bad (`AS_WRONG`), that of most worth, the
    clearer the better (`CLEARNESS`).
    """
    one, error_rate = judged[taken], known[taken].error_rate
    if one.size is None:
        return None
    wrong = one.is_member & errors[one.rows]
    groups = [
        j
        for j in allowed
        if judged[j].is_group
        and judged[j].scope == one.scope
        and judged[j].agreement >= CLEAR
        and known[j].error_rate >= AS_WRONG * error_rate
        and (judged[j].is_member & wrong).sum() >= IN_COMMON * wrong.sum()
    ]
    return max(groups, key=lambda j: known[j].worth * judged[j].agreement ** CLEARNESS, default=None)


def _is_same(one: Judged, other: Judged) -> bool:
    if one.scope != other.scope:
        return False
    pairs = ((one.own, other.own, SAME), (one.top, other.top, SAME_TOP))
    return any(int((a & b).sum()) > share * int((a | b).sum()) for a, b, share in pairs)
