import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from failviz import _statistics as s


def test_wilson_matches_a_published_interval():
    # Newcombe 1998, table I, 81 of 263: 0.2553 to 0.3662
    assert s.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert s.wilson(0, 0) == (0.0, 1.0)
    assert s.wilson(0, 5)[0] == 0.0 and s.wilson(5, 5)[1] == 1.0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.data())
def test_one_stratum_is_fishers_exact_test(n, data):
    wrong, drawn = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    both = data.draw(st.integers(max(0, drawn + wrong - n), min(drawn, wrong)))
    table = [[both, drawn - both], [wrong - both, n - drawn - wrong + both]]
    ours = s.stratified_hypergeometric(*(np.array([x]) for x in (both, drawn, wrong, n)))
    assert ours == pytest.approx(stats.fisher_exact(table, alternative="greater").pvalue, abs=1e-9)


def test_strata_agree_with_simulation():
    n_in, errors, n = np.array([5, 8, 0]), np.array([6, 3, 4]), np.array([20, 15, 9])
    rng = np.random.default_rng(0)
    total = sum(rng.hypergeometric(e, m - e, k, size=200_000) for e, m, k in zip(errors, n, n_in, strict=True) if k)
    for observed in range(9):
        split = np.array([observed, 0, 0])
        ours = s.stratified_hypergeometric(split, n_in, errors, n)
        assert ours == pytest.approx((total >= observed).mean(), abs=0.005)


def test_benjamini_hochberg_matches_scipy_and_skips_untested():
    p = np.array([0.001, 0.2, 0.03, 0.04, 0.5])
    assert s.benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    with_gap = s.benjamini_hochberg(np.insert(p, 2, np.nan))
    assert np.isnan(with_gap[2]) and np.delete(with_gap, 2) == pytest.approx(stats.false_discovery_control(p))
    assert len(s.benjamini_hochberg(np.array([]))) == 0


def test_benjamini_yekutieli_matches_scipy_and_skips_untested():
    p = np.array([0.001, 0.2, 0.003, 0.004, 0.5])
    assert s.benjamini_yekutieli(p) == pytest.approx(stats.false_discovery_control(p, method="by"))
    with_gap = s.benjamini_yekutieli(np.insert(p, 2, np.nan))
    assert np.isnan(with_gap[2])
    assert np.delete(with_gap, 2) == pytest.approx(stats.false_discovery_control(p, method="by"))
    assert len(s.benjamini_yekutieli(np.array([]))) == 0


def exact_tail(observed, drawn, wrong, size):
    counts = range(observed, min(drawn, wrong) + 1)
    ways = sum(math.comb(wrong, k) * math.comb(size - wrong, drawn - k) for k in counts)
    return float(Fraction(ways, math.comb(size, drawn)))


@pytest.mark.parametrize(
    ("observed", "drawn", "wrong", "size"),
    [(40, 50, 100, 300), (10, 10, 10, 1000), (150, 400, 900, 4000), (390, 400, 900, 4000), (1, 3, 2, 5)],
)
def test_tails_are_exact_however_small(observed, drawn, wrong, size):
    ours = s.stratified_hypergeometric(*(np.array([x]) for x in (observed, drawn, wrong, size)))
    assert ours == pytest.approx(exact_tail(observed, drawn, wrong, size), rel=1e-12, abs=0)


def test_large_strata_keep_only_what_does_not_underflow():
    first, law = s._hypergeometric(1_000_000, 100_000, 100_000)
    assert len(law) < 8_000 and first > 6_000
    assert law @ (first + np.arange(len(law))) == pytest.approx(10_000, rel=1e-12)


def test_data_grown_as_told_have_the_power_promised():
    alpha, rng = 0.05, np.random.default_rng(1)
    rates, rest_rates = np.array([0.4, 0.5, 0.15]), np.array([0.2, 0.3, 0.05])
    n_in, n_rest = np.array([6, 3, 8]), np.array([30, 6, 90])
    for strata in ([0], [0, 1, 2]):
        a, b, m, r = (column[strata] for column in (rates, rest_rates, n_in, n_rest))
        growth = s.growth_needed(a, b, m, r, alpha)
        m, r = np.ceil(m * growth).astype(int), np.ceil(r * growth).astype(int)
        inside, outside = rng.binomial(m, a, (1500, len(m))), rng.binomial(r, b, (1500, len(m)))
        p = [s.stratified_hypergeometric(i, m, i + o, m + r) for i, o in zip(inside, outside, strict=True)]
        assert 0.77 < np.mean(np.array(p) <= alpha) < 0.85
        assert s.growth_needed(a, b, m, r, alpha) == pytest.approx(1, abs=0.05)
    assert s.growth_needed(b, b, m, r, alpha) == np.inf
