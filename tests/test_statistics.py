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


def test_examples_needed_has_the_power_it_promises():
    rate, rest, alpha = 0.4, 0.2, 0.05
    n = int(np.ceil(s.examples_needed(rate, rest, 5.0, alpha)))
    rng = np.random.default_rng(1)
    inside, outside = rng.binomial(n, rate, 4000), rng.binomial(5 * n, rest, 4000)
    p = stats.hypergeom.sf(inside - 1, 6 * n, inside + outside, n)
    assert 0.72 < (p <= alpha).mean() < 0.88
    assert s.examples_needed(0.2, 0.2, 5.0, alpha) == np.inf
