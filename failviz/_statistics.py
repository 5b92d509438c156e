"""Exact tests and intervals for error rates: hypergeometric, false-discovery control, Wilson, power.

Pure functions on numbers and arrays; counts in, probabilities out.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats
from scipy.special import betaln


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


def percent(rate: float, digits: int = 0) -> str:
    """A rate as people round it, halves up, as the screen does too.

    >>> percent(0.225), percent(0.1845, 1)
    ('23%', '18.5%')
    """
    scale = 10**digits
    return f"{math.floor(round(100 * rate * scale, 6) + 0.5) / scale:.{digits}f}%"


def stratified_hypergeometric(errors_in: np.ndarray, n_in: np.ndarray, errors: np.ndarray, n: np.ndarray) -> float:
    """P(at least as many errors in the slice), were membership independent of error within each stratum.

    Each stratum draws `n_in` of its `n` examples, `errors` of which are wrong; the total over
    strata is the convolution of the hypergeometric laws, exact up to rounding (relative to the
    p-value, down to 1e-290). One stratum is Fisher's one-sided test.

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
    lowest, law = _stratified_law(n_in, errors, n)
    tail = law[max(0, int(np.sum(errors_in)) - lowest) :]
    return float(min(1.0, max(0.0, tail.sum())))


def stratified_tails(n_in: np.ndarray, errors: np.ndarray, n: np.ndarray) -> np.ndarray:
    """`stratified_hypergeometric` of every possible number of errors in the slice: float (sum of n_in + 1,)."""
    lowest, law = _stratified_law(n_in, errors, n)
    tails = np.zeros(int(np.sum(n_in)) + 1)
    tails[: lowest + 1] = 1.0
    tails[lowest : lowest + len(law)] = np.minimum(1.0, np.cumsum(law[::-1])[::-1])
    return tails


def _stratified_law(n_in: np.ndarray, errors: np.ndarray, n: np.ndarray) -> tuple[int, np.ndarray]:
    """The smallest number of errors in the slice that has a chance, and the chances from it on."""
    law, lowest = np.ones(1), 0
    for drawn, wrong, size in zip(n_in, errors, n, strict=True):
        if drawn == 0:
            continue
        first, stratum = _hypergeometric(int(size), int(wrong), int(drawn))
        law = np.convolve(law, stratum)
        lowest += first
    return lowest, law


def _hypergeometric(size: int, wrong: int, drawn: int) -> tuple[int, np.ndarray]:
    """The lowest count of errors in the draw with a probability above e^-700, and those of it and all above it.

    Summed up from the mode in ratios of neighbours, which keeps every probability to 1e-12 of itself; what is
    dropped at the ends would underflow, and makes the convolution of large strata many times shorter.
    """
    first, last = max(0, drawn + wrong - size), min(drawn, wrong)
    k = np.arange(first, last, dtype=np.float64)
    steps = np.log((wrong - k) * (drawn - k)) - np.log((k + 1) * (size - wrong - drawn + k + 1))
    mode = int((steps > 0).sum())
    log = np.concatenate([-np.cumsum(steps[:mode][::-1])[::-1], [0.0], np.cumsum(steps[mode:])])
    kept = np.flatnonzero(log > -700)
    law = np.exp(log[kept[0] : kept[-1] + 1])
    return first + int(kept[0]), law / law.sum()


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


def benjamini_yekutieli(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values of Benjamini & Yekutieli 2001, right under any dependence; NaN as in `benjamini_hochberg`.

    >>> benjamini_yekutieli(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.055, 0.073, 0.073]
    """
    return np.minimum(1.0, harmonic(int((~np.isnan(np.asarray(p))).sum())) * benjamini_hochberg(p))


def harmonic(n: int) -> float:
    """1 + 1/2 + ... + 1/n: the price of any dependence in `benjamini_yekutieli`."""
    return float((1 / np.arange(1, n + 1)).sum())


def shrunken_rates(wrong: np.ndarray, sizes: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Rates drawn toward their centres, by empirical Bayes with a beta-binomial model (Morris 1983, section 1).

    wrong_i ~ Binomial(size_i, rate_i), rate_i ~ Beta(m c_i, m (1 - c_i)); the strength m, in examples, is the one in
    [1, 1000] under which the counts are likeliest, and the result is the mean of the posterior.

    Parameters
    ----------
    wrong, sizes : int arrays (k,)
    centres : float array (k,)
        NaN where there is none; such a rate is not drawn anywhere.

    Returns
    -------
    float array (k,)
        NaN where size is 0.

    >>> shrunken_rates(np.array([3, 30]), np.array([4, 40]), np.array([0.1, 0.1])).round(2).tolist()
    [0.62, 0.73]
    """
    rates = np.divide(wrong, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0)
    known = (sizes > 0) & ~np.isnan(centres)
    if not known.any():
        return rates
    wrong, sizes, centres = wrong[known], sizes[known], np.clip(centres[known], 1e-3, 1 - 1e-3)
    strengths = np.geomspace(1, 1000, 61)[:, None]
    prior = strengths * centres, strengths * (1 - centres)
    likelihood = (betaln(prior[0] + wrong, prior[1] + sizes - wrong) - betaln(*prior)).sum(axis=1)
    strength = float(strengths[int(likelihood.argmax()), 0])
    rates[known] = (wrong + strength * centres) / (sizes + strength)
    return rates


def growth_needed(
    rates: np.ndarray, rest_rates: np.ndarray, n_in: np.ndarray, n_rest: np.ndarray, alpha: float, power: float = 0.8
) -> float:
    """How many times larger the data must be for the stratified test to find `rates` above `rest_rates`.

    The normal approximation of the one-sided test with continuity correction (for one stratum,
    Fleiss, Levin & Paik 2003, eq. 4.19), every stratum growing in proportion.

    Parameters
    ----------
    rates, rest_rates : float arrays (s,)
        Error rates in the slice and in the rest of its scope, per stratum.
    n_in, n_rest : int arrays (s,)
        Their sizes, all at least one.
    alpha, power : float
        Level of the test; probability of finding the difference.

    Returns
    -------
    float
        Below one when the data are large enough; infinity when `rates` are not above `rest_rates`.
    """
    weight = n_in * n_rest / (n_in + n_rest)
    shift = float(np.sum(weight * (rates - rest_rates)))
    if not shift > 0:
        return math.inf
    pooled = (n_in * rates + n_rest * rest_rates) / (n_in + n_rest)
    null = np.sum(weight * pooled * (1 - pooled))
    spread = np.sum(weight**2 * (rates * (1 - rates) / n_in + rest_rates * (1 - rest_rates) / n_rest))
    b = stats.norm.isf(alpha) * math.sqrt(null) + stats.norm.ppf(power) * math.sqrt(spread)
    # With growth g, the errors in excess g * shift must pass sqrt(g) * b by half an error.
    return float(((b + math.sqrt(b * b + 2 * shift)) / (2 * shift)) ** 2)
