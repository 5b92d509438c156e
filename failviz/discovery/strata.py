"""Errors among some examples beside those of their strata (classes, say): how many are expected, and what more says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from failviz._statistics import stratified_hypergeometric


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
        n, n_in, errors = (counts.astype(np.float64) for counts in (self.n, self.n_in, self.errors))  # no overflow
        spread = n_in * errors * (n - errors) * (n - n_in)
        variance = float((spread / (n**2 * np.maximum(n - 1, 1))).sum())
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
