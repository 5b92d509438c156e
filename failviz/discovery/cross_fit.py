"""What a candidate is worth where its search did not look.

Each candidate is looked for again without a part of the data, and the part is placed by what was found there: examples
are judged by searches that have not seen them. (These searches have seen each other's parts, and which of their
findings is the same candidate is told by a search that has seen all: tests on what they say are nearly exact, not
quite.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.stats import rankdata

from failviz.discovery.strata import Stratified
from failviz.slices import Scope

SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.5)
"""Sizes that a candidate without a border of its own may have, as shares of its scope."""
FEWEST_MEMBERS = 8
TOP = 0.1
"""Share of a scope that ranks highest."""
FOUND_AGAIN = 0.5
"""Rank correlation below which a search has not found a candidate again."""
_ROUNDING = 1e-9  # of the range of scores: what lies nearer is the same score


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
    cut : float or None
        The score beyond which members in-sample begin; None = the candidate has its own border.
    is_group : bool
        It was fitted as a cloud of its own.
    """

    scope: Scope
    rows: np.ndarray
    is_member: np.ndarray
    own: np.ndarray
    top: np.ndarray
    cut: float | None
    is_group: bool = False

    @cached_property
    def agreement(self) -> float:
        """Cohen's kappa (1960) of both kinds of membership: 1 = the same examples, 0 = as by chance."""
        a, b = self.own.mean(), self.is_member.mean()
        by_chance = a * b + (1 - a) * (1 - b)
        if by_chance == 1:
            return 0.0
        return float(((self.own == self.is_member).mean() - by_chance) / (1 - by_chance))


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
    border gets the size at which errors change most from inside to outside, by cross-fitted ranks. A search scores what
    it has seen by its errors too, so the cut is not taken from those scores: it lies where, on average, the searches
    without a part have to be cut for as many of the part, in standard deviations of what each has seen.

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
    stratified = Stratified(rows, errors, strata)
    judged = []
    for one, found in zip(whole, _found_again(whole, again, parts), strict=True):
        top = one.scores >= np.quantile(one.scores, 1 - TOP)
        if one.is_member is not None:
            judged.append(Judged(scope, rows, found.is_member, one.is_member, top & one.is_member, None, one.is_group))
            continue
        tops = [found.heights >= 1 - share for share in SHARES]
        cuts = found.cuts(one.scores)
        # Where scores are tied, a cut may leave next to nothing above.
        large = [
            k
            for k, share in enumerate(SHARES)
            if tops[k].sum() >= FEWEST_MEMBERS and (one.scores > cuts[k]).mean() > share / 2
        ]
        size = max(large or [len(SHARES) - 1], key=lambda k: stratified.counts(tops[k]).deviance)
        judged.append(Judged(scope, rows, tops[size], one.scores > cuts[size], top, cuts[size]))
    return judged


@dataclass(frozen=True, eq=False)
class _Again:
    """Where the searches that have not seen an example put it, by one candidate.

    Attributes
    ----------
    heights : float64 (m,)
        Share of the part of the example that lies lower; -1 where the candidate was not found again.
    is_member : bool (m,)
        None where it was not found, or has no border.
    places : float64 (k,) or None
        Of the scores that leave each of `SHARES` of a part beyond them, in standard deviations from the mean of what
        the search has seen; mean over parts. None where it was not found, or has a border.
    """

    heights: np.ndarray
    is_member: np.ndarray
    places: np.ndarray | None

    def cuts(self, scores: np.ndarray) -> list[float]:
        """Where to cut the scores of a search that has seen everything, for each of `SHARES`."""
        if self.places is None:
            return [cut_at(scores, share) for share in SHARES]
        return [between(scores, level) for level in scores.mean() + self.places * spread_of(scores)]


def _found_again(whole: Sequence[Placed], again: Sequence[Sequence[Placed]], parts: np.ndarray) -> list[_Again]:
    """Of each candidate."""
    ranked = {
        part: [_standardised(rankdata(one.scores[parts != part])) for one in again[part]]
        for part in np.unique(parts).tolist()
        if again[part]
    }
    return [_of_one(one, again, ranked, parts) for one in whole]


def _of_one(
    one: Placed, again: Sequence[Sequence[Placed]], ranked: dict[int, list[np.ndarray]], parts: np.ndarray
) -> _Again:
    heights, is_member = np.full(len(parts), -1.0), np.zeros(len(parts), dtype=bool)
    places = []
    for part, their_ranks in ranked.items():
        held_out = parts == part
        ranks = _standardised(rankdata(one.scores[~held_out]))
        alike = [
            float(ranks @ theirs) if other.kind == one.kind else -1.0
            for other, theirs in zip(again[part], their_ranks, strict=True)
        ]
        if max(alike, default=-1.0) < FOUND_AGAIN:
            continue
        found = again[part][int(np.argmax(alike))]
        scores = found.scores[held_out]
        heights[held_out] = (rankdata(scores) - 0.5) / len(scores)
        if found.is_member is not None:
            is_member[held_out] = found.is_member[held_out]
        else:
            cuts, seen = np.array([cut_at(scores, share) for share in SHARES]), found.scores[~held_out]
            places.append((cuts - seen.mean()) / spread_of(seen))
    return _Again(heights, is_member, np.mean(places, axis=0) if places else None)


def cut_at(scores: np.ndarray, share: float) -> float:
    """A score with at most this share beyond it, on which no example lies."""
    return between(scores, float(np.quantile(scores, 1 - share)))


def between(scores: np.ndarray, level: float) -> float:
    """The level itself, or where examples lie on it halfway to the next beyond: by rounding they would change sides."""
    rounding = _ROUNDING * float(np.ptp(scores))
    if not (np.abs(scores - level) <= rounding).any():
        return float(level)
    beyond = scores[scores > level + rounding]
    return float((level + beyond.min()) / 2) if len(beyond) else float(level + 2 * rounding)


def spread_of(scores: np.ndarray) -> float:
    """Their standard deviation; 1 where it is but rounding."""
    spread = float(scores.std())
    return spread if spread > _ROUNDING * float(np.abs(scores).max()) else 1.0


def _standardised(ranks: np.ndarray) -> np.ndarray:
    """Of mean 0 and unit length, so that a product of two is their correlation; zeros where all are alike."""
    ranks = ranks - ranks.mean()
    return ranks / (np.linalg.norm(ranks) or 1.0)
