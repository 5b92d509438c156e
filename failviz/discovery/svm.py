"""The balanced linear SVM behind failure directions, solved exactly and fast.

    minimise over w, b:   1/2 |w|^2 + C sum_i s_i max(0, 1 - y_i (w.x_i + b))

with y = +1 for errors (so w points toward failure), s_i = n / (2 n_side) and b not regularised:
scikit-learn's `SVC(kernel="linear", class_weight="balanced")`, the estimator of Jain et al. 2022
(arXiv 2206.14754). Three facts make it fast:

* For C up to `saturated_C` every dual variable sits at its bound, so w = C sum_i s_i y_i x_i exactly and
  b may lie anywhere in an interval: nothing is left to solve.
* Above it most variables still sit there. Started from that point instead of from zero, the solver has little
  to move, and its first gradient costs two matrix-vector products.
* Only as many variables as there are dimensions end strictly inside their bounds, so working on the worst
  few hundred at a time (decomposition; Osuna, Freund & Girosi 1997, Joachims 1999) needs no more than
  their small Gram matrix: the n x n matrix, the floor of every other exact method, is never formed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec

import numpy as np

COMPILED = find_spec("numba") is not None
"""Whether the compiled solver is at hand; libsvm gives the same answers without it."""

GRAM_ROWS = 8000
"""Largest class for which libsvm is given a whole Gram matrix (8 n^2 bytes)."""

WORKING_ROWS = 300
"""Variables freed at a time, or the dimensions and a fifth if that is more: fewer than end free converge slowly."""

TOLERANCE = 1e-3
_MAX_ITERATIONS = 10_000_000
_MAX_ROUNDS = 1000  # some ten are usual


@dataclass(frozen=True)
class Hyperplane:
    """w.x + b, positive on the side of failure."""

    coef: np.ndarray
    intercept: float

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return rows @ self.coef + self.intercept


@dataclass(frozen=True)
class BalancedSVM:
    """One SVM problem at every C.

    Attributes
    ----------
    rows : float64 (n, d)
    is_error : bool (n,), both values present
    """

    rows: np.ndarray
    is_error: np.ndarray

    @cached_property
    def signs(self) -> np.ndarray:
        return np.where(self.is_error, 1.0, -1.0)

    @cached_property
    def shares(self) -> np.ndarray:
        """s_i: upper bound of each dual variable per unit of C; both sides sum to n / 2."""
        n, n_errors = len(self.is_error), int(self.is_error.sum())
        return np.where(self.is_error, n / (2 * n_errors), n / (2 * (n - n_errors)))

    @cached_property
    def unit_coef(self) -> np.ndarray:
        """(n / 2)(mean of errors - mean of correct): w per unit of C while saturated."""
        return (self.signs * self.shares) @ self.rows

    @cached_property
    def unit_margins(self) -> np.ndarray:
        return self.rows @ self.unit_coef

    @cached_property
    def saturated_C(self) -> float:
        """Largest C at which all dual variables are at their bounds: 2 / (max over errors - min over correct)."""
        spread = self.unit_margins[self.is_error].max() - self.unit_margins[~self.is_error].min()
        return 2.0 / spread if spread > 0 else np.inf

    def is_saturated(self, C: float) -> bool:
        return bool(self.saturated_C >= C)

    def saturated(self, C: float) -> tuple[np.ndarray, float, float]:
        """w, and the ends of the interval of equally optimal intercepts, for C <= saturated_C."""
        margins = C * self.unit_margins
        return C * self.unit_coef, -1.0 - margins[~self.is_error].min(), 1.0 - margins[self.is_error].max()

    def solve(self, C: float, gram: SharedGram) -> Hyperplane:
        """The optimum at one C > saturated_C, by the fastest exact solver at hand.

        `gram`, of the same rows, is formed only when libsvm asks for it.
        """
        if COMPILED:
            return self.solve_in_parts(C)
        return self.solve_libsvm(C, gram) if len(self.rows) <= GRAM_ROWS else self._solve_liblinear(C)

    def solve_in_parts(self, C: float) -> Hyperplane:
        """Compiled: move the variables that violate optimality most, until none does by more than `TOLERANCE`."""
        from failviz.discovery.smo import minimise

        upper = C * self.shares
        alpha, coef = upper.copy(), C * self.unit_coef
        margins = C * self.unit_margins - self.signs
        stalled = False  # a guard against rounding at extreme C
        for round_number in range(_MAX_ROUNDS + 1):
            may_rise = np.where(self.is_error, alpha < upper, alpha > 0)
            may_fall = np.where(self.is_error, alpha > 0, alpha < upper)
            risers, fallers = np.where(may_rise, margins, np.inf), np.where(may_fall, -margins, np.inf)
            floor, ceiling = risers.min(), -fallers.min()
            if stalled or round_number == _MAX_ROUNDS or ceiling - floor < TOLERANCE:
                break
            work = _worst(risers, fallers, max(WORKING_ROWS, 6 * self.rows.shape[1] // 5))
            rows, part = self.rows[work], alpha[work]
            minimise(rows @ rows.T, self.signs[work], upper[work], part, margins[work], TOLERANCE / 2, _MAX_ITERATIONS)
            stalled = np.array_equal(part, alpha[work])
            coef = coef + (self.signs[work] * (part - alpha[work])) @ rows
            alpha[work] = part
            margins = self.rows @ coef - self.signs
        return Hyperplane(coef, _intercept(alpha, upper, margins, floor, ceiling))

    def solve_libsvm(self, C: float, gram: SharedGram) -> Hyperplane:
        """The optimum by libsvm; where the intercept is not unique, the one that libsvm happens to return."""
        from sklearn.svm import SVC

        small = len(self.rows) <= GRAM_ROWS
        # Correct is the positive class here, as in the paper's code: which end libsvm stops at depends on it.
        svc = SVC(
            kernel="precomputed" if small else "linear", C=C, class_weight="balanced", tol=TOLERANCE, random_state=0
        )
        svc.fit(gram.matrix if small else self.rows, ~self.is_error)
        return Hyperplane(-(svc.dual_coef_[0] @ self.rows[svc.support_]), -float(svc.intercept_[0]))

    def _solve_liblinear(self, C: float) -> Hyperplane:
        """An approximation for large problems without numba: liblinear, whose intercept is weakly regularised."""
        from sklearn.svm import LinearSVC

        # A scaling of 10 makes the penalty on the intercept a hundredth of that on a coefficient.
        svc = LinearSVC(
            loss="hinge", C=C, class_weight="balanced", intercept_scaling=10.0, max_iter=100_000, random_state=0
        )
        svc.fit(self.rows, self.is_error)
        return Hyperplane(svc.coef_[0], float(svc.intercept_[0]))


class SharedGram:
    """Inner products of all rows of a class, formed when libsvm first asks and shared by every C and fold."""

    def __init__(self, rows: np.ndarray):
        self._rows = rows

    @cached_property
    def matrix(self) -> np.ndarray:
        """float64 (n, n)."""
        return self._rows @ self._rows.T

    def of(self, part: np.ndarray) -> SharedGram:
        """The inner products of some of the rows, given by row number."""
        return _GramPart(self, part)


class _GramPart(SharedGram):
    def __init__(self, whole: SharedGram, part: np.ndarray):
        self._whole, self._part = whole, part

    @cached_property
    def matrix(self) -> np.ndarray:
        return self._whole.matrix[np.ix_(self._part, self._part)]


def _worst(risers: np.ndarray, fallers: np.ndarray, count: int) -> np.ndarray:
    """Row numbers of the `count` variables farthest from optimality, half from either side; all when fewer."""
    if len(risers) <= count:
        return np.arange(len(risers))
    half = count // 2
    return np.union1d(np.argpartition(risers, half)[:half], np.argpartition(fallers, half)[:half])


def _intercept(alpha: np.ndarray, upper: np.ndarray, margins: np.ndarray, floor: float, ceiling: float) -> float:
    """b from the variables strictly inside their bounds, as libsvm takes it; else the middle of what is allowed."""
    free = (alpha > 0) & (alpha < upper)
    return -float(margins[free].mean()) if free.any() else -(floor + ceiling) / 2
