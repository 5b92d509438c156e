"""Exact search for the conjunctions of predicates with the highest SliceLine score.

Sagadeeva & Boehm 2021, *SliceLine: Fast, Linear-Algebra-based Slice Finding for ML Model Debugging*,
SIGMOD 2021. The lattice of conjunctions is searched level by level; a branch is left when no slice in it can be
large enough or score enough. Three departures, none of which changes the result:

* Members are kept as row numbers, and one count over the rows of a slice measures all its extensions at once; the
  paper multiplies sparse matrices. Work follows the sizes of the slices still alive, not the number of candidates.
* A candidate is bounded by the two parents it is joined from before the count, and by its own numbers after it,
  which are at least as tight as the bounds from all its parents.
* A conjunction with as many members as one of its parents *is* that parent, as is all that extends it: such branches
  are cut too, so a slice has fewer members than its parents, by one at least.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from failviz._progress import progress as progress_bar

DECIMALS = 9
"""Scores are rounded so far, below which float64 sees differences that are none: ties are ties."""

_SLACK = 10.0**-DECIMALS
_CELLS = 1 << 21


@dataclass(frozen=True)
class Score:
    """alpha (mean error in S / mean error - 1) - (1 - alpha) (n / |S| - 1), of slices of one data set.

    Attributes
    ----------
    n : int
        Number of rows; the score weighs a slice's size against it, not against the number of columns.
    total : float
        Sum of all errors, above 0.
    alpha : float
        In (0, 1]: how much the errors count against the size.
    min_support : int
        Fewest rows of a slice.
    """

    n: int
    total: float
    alpha: float
    min_support: int

    def __call__(self, size: np.ndarray, error: np.ndarray) -> np.ndarray:
        """Scores of slices with these numbers of rows and sums of errors."""
        raw = self.alpha * (self.n * error / (self.total * size) - 1) - (1 - self.alpha) * (self.n / size - 1)
        return np.round(raw, DECIMALS)

    def bound(self, size: np.ndarray, error: np.ndarray, largest: np.ndarray) -> np.ndarray:
        """What no slice with at most this size, sum of errors and error of one row can exceed; -inf if too small.

        At s rows it holds at most min(error, s largest): the score rises with s up to error / largest, and from
        there on to one side, so its maximum lies at that point or at an end.
        """
        bounds = np.full(np.shape(size), -np.inf)
        enough = size >= self.min_support
        size, error, largest = size[enough], error[enough], largest[enough]
        for rows in (self.min_support, error / largest, size):
            inside = np.minimum(np.maximum(rows, self.min_support), size)
            bounds[enough] = np.maximum(bounds[enough], self(inside, np.minimum(error, inside * largest)))
        return bounds


@dataclass(frozen=True, order=True)
class Conjunction:
    """A slice by the numbers of its predicates, ascending; the smallest is the best.

    Equal scores go by larger size, fewer predicates, and the rule in the order of the alphabet.
    """

    key: tuple[float, int, int, str]
    predicates: tuple[int, ...]

    @property
    def score(self) -> float:
        return -self.key[0]


@dataclass(frozen=True)
class _Frontier:
    """Slices (s, level) by predicates, in lexicographic order, with the numbers that bound what extends them (s,)."""

    predicates: np.ndarray
    size: np.ndarray
    error: np.ndarray
    largest: np.ndarray

    def take(self, which: np.ndarray | slice) -> _Frontier:
        return _Frontier(self.predicates[which], self.size[which], self.error[which], self.largest[which])

    @staticmethod
    def joined(parts: Sequence[_Frontier]) -> _Frontier:
        columns = zip(*((p.predicates, p.size, p.error, p.largest) for p in parts), strict=True)
        return _Frontier(*(np.concatenate(column) for column in columns))

    def families(self) -> list[tuple[int, int]]:
        """Start and stop of the slices that differ in the last predicate only, families of one left out."""
        is_new = (np.diff(self.predicates[:, :-1], axis=0) != 0).any(axis=1)
        cuts = np.concatenate([[0], np.flatnonzero(is_new) + 1, [len(self.size)]]).tolist()
        return [(start, stop) for start, stop in pairwise(cuts) if stop - start > 1]


def best_conjunctions(
    codes: np.ndarray,
    errors: np.ndarray,
    rules: Sequence[str],
    *,
    k: int,
    alpha: float,
    min_support: int,
    max_predicates: int,
    progress: bool = False,
) -> list[Conjunction]:
    """The k conjunctions with the highest score above 0, no two with the same rows.

    Parameters
    ----------
    codes : int (n, m)
        Number of the predicate that holds of each row in each of m columns. Numbers ascend with the column, and
        each occurs.
    errors : float (n,)
        Error of each row, >= 0. Rounded to 1 in 2^52 / n of the largest, so that their sums are exact and
        depend neither on the order of the rows nor on that of the counts.
    rules : sequence of str (p,)
        Every predicate in words, which decide between equals.
    k, min_support, max_predicates : int
    alpha : float

    Returns
    -------
    list of Conjunction
        Best first; of several with the same rows, the one with the fewest predicates.
    """
    n = len(errors)
    if min_support > n or not errors.any():
        return []
    errors = _exact(errors)
    lattice = _Lattice(codes, errors, rules, Score(n, float(errors.sum()), alpha, min_support), k)
    frontier = lattice.singles()
    for level in range(2, max_predicates + 1):
        frontier = lattice.alive(frontier)
        families = progress_bar(frontier.families(), desc=f"rules of {level} predicates", enabled=progress)
        parts = []
        for start, stop in families:
            children = lattice.children(frontier.take(slice(start, stop)))
            parts += [part for part in children if level < max_predicates]  # the last level is not extended
        if not parts:
            break
        frontier = _Frontier.joined(parts)
    return lattice.best


class _Lattice:
    """The rows, and the best conjunctions seen so far."""

    def __init__(self, codes: np.ndarray, errors: np.ndarray, rules: Sequence[str], score: Score, k: int):
        # By ascending error, so that of the rows of any slice the wrong ones are the last, and the worst the very last.
        order = np.argsort(errors, kind="stable")
        self._columns, self._errors = np.ascontiguousarray(codes[order].T), errors[order]
        self._rules, self._score, self._k = rules, score, k
        self._first_wrong = int(np.searchsorted(self._errors, 0.0, side="right"))
        self._column_of = np.empty(len(rules), dtype=np.int64)
        self._rows: list[np.ndarray] = []
        for column, held in enumerate(self._columns):
            first, last = int(held.min()), int(held.max())
            self._column_of[first : last + 1] = column
            ends = np.cumsum(np.bincount(held - first))[:-1]
            self._rows += np.split(np.argsort(held, kind="stable"), ends)
        self.best: list[Conjunction] = []

    @property
    def _threshold(self) -> float:
        return self.best[-1].score if len(self.best) == self._k else 0.0

    def alive(self, frontier: _Frontier) -> _Frontier:
        """The slices that something worth keeping may extend."""
        bounds = self._score.bound(frontier.size - 1, frontier.error, frontier.largest)
        return frontier.take(bounds >= self._threshold - _SLACK)

    def singles(self) -> _Frontier:
        """Every predicate alone, but for those that hold always or of too few rows."""
        size, error, largest = self._counts(np.arange(len(self._errors)), 0)
        kept = np.flatnonzero(size < len(self._errors))
        return self._measured(_Frontier(kept[:, None], size[kept], error[kept], largest[kept]))

    def children(self, family: _Frontier) -> Iterator[_Frontier]:
        """What joining each slice of a family with those after it gives, as far as it is worth extending."""
        rows = self._members(family.predicates[0, :-1])
        last = family.predicates[:, -1]
        columns = self._column_of[last]
        held, column = rows, -1
        for i in range(len(last) - 1):
            others = np.arange(np.searchsorted(columns, columns[i], side="right"), len(last))
            smaller = np.minimum(family.size[i], family.size[others])
            bounds = self._score.bound(
                smaller - 1,
                np.minimum(family.error[i], family.error[others]),
                np.minimum(family.largest[i], family.largest[others]),
            )
            promising = bounds >= self._threshold - _SLACK
            if not promising.any():
                continue
            others, smaller = others[promising], smaller[promising]
            if column != columns[i]:
                column = columns[i]
                held = self._columns[column][rows]
            counts = self._counts(rows[held == last[i]], columns[others[0]])
            size, error, largest = (counted[last[others]] for counted in counts)
            new = size < smaller
            predicates = np.column_stack([np.tile(family.predicates[i], (int(new.sum()), 1)), last[others[new]]])
            yield self.alive(self._measured(_Frontier(predicates, size[new], error[new], largest[new])))

    def _measured(self, found: _Frontier) -> _Frontier:
        """Offer slices as results; those left that have support and errors."""
        found = found.take((found.size >= self._score.min_support) & (found.error > 0))
        scores = self._score(found.size, found.error)
        for i in np.flatnonzero((scores > 0) & (scores >= self._threshold)):
            self._offer(float(scores[i]), int(found.size[i]), tuple(found.predicates[i].tolist()))
        return found

    def _offer(self, score: float, size: int, predicates: tuple[int, ...]) -> None:
        key = (-score, -size, len(predicates), " and ".join(self._rules[p] for p in predicates))
        candidate = Conjunction(key, predicates)
        if len(self.best) == self._k and candidate > self.best[-1]:
            return
        twin = next((one for one in self.best if one.key[:2] == key[:2] and self._have_same_rows(one, candidate)), None)
        if twin is not None:
            if twin < candidate:
                return
            self.best.remove(twin)
        insort(self.best, candidate)
        del self.best[self._k :]

    def _have_same_rows(self, one: Conjunction, other: Conjunction) -> bool:
        return np.array_equal(self._members(one.predicates), self._members(other.predicates))

    def _members(self, predicates: Sequence[int] | np.ndarray) -> np.ndarray:
        """Rows, ascending, of which all these predicates hold."""
        if len(predicates) == 0:
            return np.arange(len(self._errors))
        rows = self._rows[predicates[0]]
        for predicate in predicates[1:]:
            rows = rows[self._columns[self._column_of[predicate]][rows] == predicate]
        return rows

    def _counts(self, rows: np.ndarray, first_column: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of these rows (ascending), per predicate from a column on: number, sum of errors, largest error (p,)."""
        size, error, largest = np.zeros((3, len(self._rules)))
        columns = self._columns[first_column:]
        step = max(1, _CELLS // len(columns))
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            cells = columns.take(some, axis=1)
            size += np.bincount(cells.ravel(), minlength=len(size))
            n_correct = int(np.searchsorted(some, self._first_wrong))
            wrong, errors = cells[:, n_correct:].ravel(), np.tile(self._errors[some[n_correct:]], len(columns))
            error += np.bincount(wrong, weights=errors, minlength=len(size))
            largest[wrong] = errors  # where a predicate comes again, the later and larger error stays
        return size, error, largest


def _exact(errors: np.ndarray) -> np.ndarray:
    """Errors as shares of the largest, on so coarse a grid that float64 adds them without rounding."""
    grid = 2.0 ** (52 - int(np.ceil(np.log2(len(errors)))))
    return np.round(errors / errors.max() * grid) / grid
