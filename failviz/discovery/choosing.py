"""Which candidates are worth having together: taken one by one, as what those taken explain no longer counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np

from failviz.discovery.cross_fit import FEWEST_MEMBERS, Judged
from failviz.discovery.strata import Counts, Stratified
from failviz.slices import Scope

SAME, SAME_TOP = 0.8, 0.5
"""Jaccard index of the members, and of the tops, above which two candidates of one scope are one."""
CLEAR = 0.9
"""Agreement (kappa) from which the members of a hidden group are clear: searches of other data name the same ones."""
AS_WRONG, IN_COMMON = 0.5, 0.3
"""Shares of the error rate and of the errors of a candidate that a clear group has at least, to be its border."""
CLEARNESS = 4
"""Power of the agreement by which the worth of a group is multiplied, where several may be the border."""
DEPENDENT = 2.0
"""What a p-value is multiplied by, as searches have seen each other's parts: without it, lists of nothing but chance
were not empty almost twice as often as their level says."""
WITHIN_CLASSES = 3
"""Slices within a class that come before each slice over all classes."""
SHOWN = 0.75
"""Share of the failures of a slice over all classes above which, shown already, it comes last: it says little new."""


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
        All of them over all classes, or all within classes.
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
        del scopes[one.scope]
        known = {j: counts for j, counts in known.items() if judged[j].scope != one.scope}
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
    if one.cut is None:
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
    return _alike(one.own, other.own, SAME) or _alike(one.top, other.top, SAME_TOP)


def _alike(a: np.ndarray, b: np.ndarray, above: float) -> bool:
    """By their Jaccard index."""
    return int((a & b).sum()) > above * int((a | b).sum())


@dataclass(frozen=True, eq=False)
class _Members:
    """Bool (n,) over all the data: members as the fit has them, and as searches that have not seen them do."""

    own: np.ndarray
    found: np.ndarray

    @classmethod
    def of(cls, one: Judged, n: int) -> _Members:
        own, found = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
        own[one.rows], found[one.rows] = one.own, one.is_member
        return cls(own, found)


def listed(
    within: Sequence[Choice], over_all: Sequence[Choice], judged: Sequence[Judged], errors: np.ndarray
) -> list[Choice]:
    """One list of two: three within classes, one over all of them, and so on.

    Of those over all classes come last whose failures are mostly shown by then (`SHOWN`), unless they are as many as
    all that are shown: a slice over all classes may be the whole of which others are parts. What shows the same members
    as one before it, in whatever scope, is left out and takes no place.

    Parameters
    ----------
    within, over_all : lists of Choice
    judged : list of Judged
        What their numbers count.
    errors : bool (n,)
    """
    chosen: list[Choice] = []
    late: list[Choice] = []
    masks = {one: _Members.of(judged[one.shown], len(errors)) for one in (*within, *over_all)}

    def is_new(one: Choice) -> bool:
        return not any(_alike(masks[one].own, masks[other].own, SAME) for other in chosen)

    def is_late(one: Choice) -> bool:
        wrong, already = (mask & errors for mask in (masks[one].found, _any(masks[other].found for other in chosen)))
        return bool((wrong & already).sum() > SHOWN * wrong.sum() and wrong.sum() < already.sum())

    def in_time(one: Choice) -> bool:
        if chosen and is_late(one):
            late.append(one)
        return one not in late

    # Each is looked at when its turn comes, beside what is chosen by then.
    of_classes, of_all = filter(is_new, within), filter(in_time, filter(is_new, over_all))
    n_before = -1
    while len(chosen) > n_before:
        n_before = len(chosen)
        for one in chain(islice(of_classes, WITHIN_CLASSES), islice(of_all, 1)):
            chosen.append(one)
    for one in filter(is_new, late):
        chosen.append(one)
    return chosen


def _any(masks: Iterable[np.ndarray]) -> np.ndarray:
    return np.logical_or.reduce(list(masks))
