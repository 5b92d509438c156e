"""Exact tests and intervals for error rates: hypergeometric, Benjamini-Hochberg, Wilson.

Pure functions on numbers and arrays; counts in, probabilities out.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from scipy.special import gammaln


def wilson(count: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927); (0, 1) when n is zero.

    >>> [round(x, 3) for x in wilson(5, 10)]
    [0.237, 0.763]
    """
    if n <= 0:
        return 0.0, 1.0
    z = float(stats.norm.isf((1 - level) / 2))
    rate = count / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def stratified_hypergeometric(errors_in: np.ndarray, n_in: np.ndarray, errors: np.ndarray, n: np.ndarray) -> float:
    """P(at least as many errors in the slice), were membership independent of error within each stratum.

    Each stratum draws `n_in` of its `n` examples, `errors` of which are wrong; the total over
    strata is the convolution of the hypergeometric laws, exact up to rounding. One stratum is
    Fisher's one-sided test.

    Parameters
    ----------
    errors_in, n_in : int arrays (s,)
        Wrong examples and all examples of the slice, per stratum.
    errors, n : int arrays (s,)
        The same for the whole scope, slice included.

    Returns
    -------
    float
        The one-sided p-value, in [0, 1].
    """
    observed = int(np.sum(errors_in))
    law, lowest = np.ones(1), 0
    for drawn, wrong, size in zip(n_in, errors, n, strict=True):
        if drawn == 0:
            continue
        first, stratum = _hypergeometric(int(size), int(wrong), int(drawn))
        law = np.convolve(law, stratum)
        lowest += first
    tail = law[max(0, observed - lowest) :]
    return float(min(1.0, max(0.0, tail.sum())))


def _hypergeometric(size: int, wrong: int, drawn: int) -> tuple[int, np.ndarray]:
    """The lowest possible count of errors in the draw, and the probabilities of it and all above it.

    Through log-gamma functions and normalised: scipy's own pmf agrees to 1e-9 and is a thousand times slower.
    """
    first, last = max(0, drawn + wrong - size), min(drawn, wrong)
    k = np.arange(first, last + 1, dtype=np.float64)
    log = -(gammaln(k + 1) + gammaln(wrong - k + 1) + gammaln(drawn - k + 1) + gammaln(size - wrong - drawn + k + 1))
    law = np.exp(log - log.max())
    return first, law / law.sum()


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values (q-values) of Benjamini & Hochberg 1995; NaN stays NaN and is not counted.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p, dtype=np.float64)
    q = np.full_like(p, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    if len(tested):
        order = tested[np.argsort(p[tested], kind="stable")]
        raw = p[order] * len(order) / np.arange(1, len(order) + 1)
        q[order] = np.minimum(1.0, np.minimum.accumulate(raw[::-1])[::-1])
    return q


def examples_needed(rate: float, rest_rate: float, rest_per_member: float, alpha: float, power: float = 0.8) -> float:
    """Slice size at which a one-sided two-proportion test finds `rate` above `rest_rate` with this power.

    The usual normal approximation (Fleiss, Levin & Paik 2003, eq. 4.14 without continuity
    correction), with `rest_per_member` comparison examples for each one in the slice.

    Returns
    -------
    float
        Examples in the slice; infinity when `rate` is not above `rest_rate`.
    """
    gap = rate - rest_rate
    if not gap > 0 or not rest_per_member > 0:
        return math.inf
    pooled = (rate + rest_per_member * rest_rate) / (1 + rest_per_member)
    z_alpha, z_beta = stats.norm.isf(alpha), stats.norm.ppf(power)
    spread = z_alpha * math.sqrt(pooled * (1 - pooled) * (1 + 1 / rest_per_member))
    spread += z_beta * math.sqrt(rate * (1 - rate) + rest_rate * (1 - rest_rate) / rest_per_member)
    return float((spread / gap) ** 2)
