"""Mutual information of features and classes: the formula, scikit-learn's numbers, and what is known beforehand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_classif

from failviz._parallel import one_thread
from failviz.discovery.information import (
    N_NEIGHBORS,
    distinct_columns,
    first_nearer,
    mutual_information,
    neighbour_distances,
)

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """As in a fit: scikit-learn's threads would wait for one another over a handful of rows."""
    with one_thread():
        yield


def features(n, rng):
    """Columns (n, 10) of all kinds: in any unit, far from 0, whole numbers, mostly 0, constant, one value far off."""
    x = rng.normal(size=(n, 10))
    x[:, 1] = 1e3 * x[:, 1] - 2e4
    x[:, 2] *= 1e-6
    x[:, 3] = np.round(x[:, 3])
    x[:, 4] = x[:, 4] > 1
    x[:, 5] = np.maximum(0.0, x[:, 5])
    x[:, 6] = 0.0
    x[:, 7] = -7.0
    x[:, 8] = x[rng.integers(0, n, n), 8]
    x[0, 9] = 6e4
    return x


def classes_with(n, n_errors):
    """n_errors of n are errors, in no particular order."""
    return np.random.default_rng(1).permutation(np.arange(n) < n_errors)


def in_loops(column, classes):
    """The estimate as the formula says it, an example at a time, for values that all differ."""
    n, terms = len(column), []
    for i in range(n):
        distances = np.abs(column - column[i])
        own = np.sort(distances[(classes == classes[i]) & (np.arange(n) != i)])
        k = min(N_NEIGHBORS, len(own))
        nearer = (distances < own[k - 1]).sum()
        terms.append(digamma(k) - digamma(len(own) + 1) - digamma(nearer))
    return max(0.0, digamma(n) + np.mean(terms))


def assert_same_as_scikit_learn(rows, classes, seed=0):
    expected = mutual_info_classif(rows, classes, random_state=seed)
    np.testing.assert_allclose(mutual_information(rows, classes, seed=seed), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_it_is_the_formula(n_classes):
    rng = np.random.default_rng(0)
    classes = rng.integers(0, n_classes, 90)
    rows = rng.normal(size=(90, 6)) + np.linspace(0, 2, 6) * classes[:, None]
    expected = [in_loops(column, classes) for column in rows.T]
    assert min(expected[2:]) > 0
    np.testing.assert_allclose(mutual_information(rows, classes, seed=0), expected, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(4, 150),
    rate=st.floats(0, 1),
    seed=st.integers(0, 2**31 - 1),
    dtype=st.sampled_from([np.float64, np.float32, np.float16]),
)
def test_same_numbers_as_scikit_learn(n, rate, seed, dtype):
    rng = np.random.default_rng(seed)
    rows = features(n, rng).astype(dtype)
    classes = rng.random(n) < rate
    classes[:2] = True  # else all may be alone
    assert_same_as_scikit_learn(rows, classes, seed)


@DTYPES
@pytest.mark.parametrize("n_errors", [1, 2, 3, 4, 6, 7, 8, 9, 30, 1500])
def test_same_numbers_with_few_errors_among_many(n_errors, dtype):
    rows = features(3000, np.random.default_rng(n_errors)).astype(dtype)
    assert_same_as_scikit_learn(rows, classes_with(3000, n_errors))


def test_same_numbers_where_noise_does_not_tell_all_values_apart():
    rows = np.full((6000, 2), 3.0)
    rows[:, 1] += np.arange(6000) % 2
    for column in distinct_columns(rows, 0):
        assert 3000 < len(np.unique(column)) < 6000
    assert_same_as_scikit_learn(rows, classes_with(6000, 900))


def test_same_numbers_for_several_classes_and_without_those_that_are_alone():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 5, 200)
    classes[[3, 50, 120]] = 7, 8, 9
    rows = features(200, rng)
    assert_same_as_scikit_learn(rows, classes)
    assert_same_as_scikit_learn(rows, np.array([f"kind {c}" for c in classes]))


def test_classes_that_lie_apart_tell_all_there_is():
    classes = np.repeat([0, 1], [30, 70])
    apart = classes * 100 + np.random.default_rng(0).normal(size=100)
    expected = digamma(100) - np.average(digamma([30, 70]), weights=[30, 70])  # no other class is ever nearer
    information = mutual_information(apart[:, None], classes, seed=0)
    assert information == pytest.approx([expected], abs=1e-12)
    assert information == pytest.approx([-0.3 * np.log(0.3) - 0.7 * np.log(0.7)], abs=0.01)  # the entropy of the class


def test_a_unit_changes_nothing_and_the_rows_stay_as_they_are():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 3)).astype(np.float32)
    classes = rows[:, 1] + rng.normal(size=400) > 0
    before = rows.copy()
    rows.flags.writeable = False
    information = mutual_information(rows, classes, seed=0)
    assert np.array_equal(rows, before)
    assert information.argmax() == 1
    np.testing.assert_allclose(mutual_information(1024 * rows, classes, seed=0), information, rtol=0, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.integers(-20, 20), min_size=2, max_size=40), k=st.integers(1, 39), offset=st.integers(0, 3))
def test_distances_and_places_are_those_of_all_pairs(values, k, offset):
    values, k = np.sort(values).astype(float) / 7 + 10.0**offset, min(k, len(values) - 1)
    gaps = np.abs(values[:, None] - values)
    distances = neighbour_distances(values, k)
    rounded = 1e-6 * 10.0**offset if k >= len(values) // 2 else 0  # the root of what cancellation leaves
    np.testing.assert_allclose(distances, np.sort(gaps, axis=1)[:, k], rtol=0, atol=rounded)
    distances = np.maximum(np.sort(gaps, axis=1)[:, k], 1e-300)
    below = values[:, None] - values < distances[:, None]
    assert np.array_equal(first_nearer(values, distances), below.argmax(axis=1))


def test_places_are_right_where_a_difference_rounds():
    values = 1.0 + np.arange(60) * 2.0**-52  # neighbouring numbers: sums and differences with others round
    for step in (0.4, 0.5, 1.0, 1.5, 2.5):
        distances = np.full(60, step * 2.0**-52)
        below = values[:, None] - values < distances[:, None]
        assert np.array_equal(first_nearer(values, distances), below.argmax(axis=1))
        falling = -values[::-1]
        below = falling[:, None] - falling < distances[:, None]
        assert np.array_equal(first_nearer(falling, distances), below.argmax(axis=1))
