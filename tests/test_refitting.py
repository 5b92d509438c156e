"""Stability, cross-fitting and the one answer for all slices, as `verify` gives them."""

import math
from itertools import permutations

import numpy as np
import pytest
from discovery_cases import planted
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from failviz import _statistics
from failviz._slice_counts import counted
from failviz.discovery import ConfidenceRank, FailureDirections, Spotlight
from failviz.evaluation import Evaluation
from failviz.permutation import any_failure
from failviz.refitting import cross_fitted, stability
from failviz.slices import Slice
from failviz.verification import verify

LDA = FailureDirections(estimator="lda", random_state=0, progress=False)


def null(seed, n=300, d=6):
    """Errors that have nothing to do with the embeddings."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    wrong = rng.random(n) < 0.25
    predictions = np.where(wrong, (labels + 1) % 3, labels)
    return Evaluation(rng.normal(size=(n, d)), labels=labels, predictions=predictions)


@pytest.fixture(scope="module")
def halves():
    return planted(1200)[0].split(0.5, random_state=0)


def test_a_planted_failure_is_found_again_and_noise_is_not(halves):
    fitted = clone(LDA).fit(halves[0])
    verdicts = verify(fitted, halves[1], refit_on=halves[0], progress=False)
    by_class = {one.slice.scope[1]: one.stability for one in verdicts}
    assert by_class[1] > 0.6
    assert by_class[1] > max(by_class[0], by_class[2])
    assert all(0 <= one.stability <= 1 for one in verdicts)
    assert "found again" in repr(verdicts)
    again = stability(fitted, halves[0], halves[1], progress=False)
    assert np.array_equal(again, [one.stability for one in verdicts])


def test_slices_without_their_finder_have_no_stability(halves):
    fitted = clone(LDA).fit(halves[0])
    one = fitted.slices(halves[1])[0]
    mixed = verify([one, fitted], halves[1], refit_on=halves[0], progress=False)
    assert math.isnan(mixed[0].stability)
    assert not math.isnan(mixed[1].stability)
    assert math.isnan(verify(fitted, halves[1])[0].stability)
    assert "found again" not in repr(verify(fitted, halves[1]))


def test_cross_fitting_places_each_example_by_a_fit_that_did_not_see_it(halves):
    ev = halves[0]
    fitted = clone(LDA).fit(ev)
    crossed = cross_fitted(fitted, ev, 3, progress=False)
    assert [one.name for one in crossed] == [one.name for one in fitted.slices(ev)]
    for _, held_out in StratifiedKFold(3, shuffle=True, random_state=0).split(ev.labels, ev.labels):
        without = clone(LDA).fit(ev.take(np.setdiff1d(np.arange(ev.n_examples), held_out)))
        scores = {one.scope: one.scores for one in without.slices(ev)}
        for one in crossed:
            assert np.array_equal(one.scores[held_out], scores[one.scope][held_out])


@pytest.mark.parametrize("finder", [LDA, Spotlight(n_slices=2, min_weight=0.05, random_state=0, progress=False)])
def test_data_that_the_search_saw_can_be_judged_by_cross_fitting(finder, halves):
    fitted = clone(finder).fit(halves[0])
    with pytest.raises(ValueError, match="used to find"):
        verify(fitted, halves[0])
    verdicts = verify(fitted, halves[0], cross_fit=5, progress=False)
    assert verdicts.confirmed
    assert "did not see it" in verdicts[0].caution


def test_cross_fitting_confirms_little_where_nothing_is():
    n_wrong = sum(
        bool(verify(clone(LDA).fit(ev), ev, cross_fit=4, progress=False).confirmed) for ev in map(null, range(60))
    )
    assert n_wrong <= 12  # 6 expected at most, standard deviation 2.3


def test_what_reads_the_outcome_is_not_confirmed_by_cross_fitting_either(halves):
    fitted = ConfidenceRank().fit(halves[0])
    assert not verify(fitted, halves[0], cross_fit=3, progress=False).confirmed


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"cross_fit": 1}, ValueError, "cross_fit must be a whole number of at least 2"),
        ({"cross_fit": 2.5}, ValueError, "cross_fit must be a whole number of at least 2"),
        ({"n_permutations": -1}, ValueError, "n_permutations must be a whole number of at least 0"),
    ],
)
def test_bad_settings_are_refused(settings, error, said, halves):
    with pytest.raises(error, match=said):
        verify(clone(LDA).fit(halves[0]), halves[1], **settings)


def test_slices_alone_cannot_be_cross_fitted(halves):
    one = clone(LDA).fit(halves[0]).slices(halves[0])[0]
    with pytest.raises(TypeError, match="cross_fit needs fitted finders, not Slice"):
        verify([one], halves[0], cross_fit=3)


# -- one answer for all slices ---------------------------------------------------------------


def group(evaluation, members, scope="all"):
    weights = np.asarray(members, dtype=float)
    return Slice.of(evaluation, scores=weights, weights=weights, scope=scope, name="g", method="test")


def test_permutation_test_is_the_share_of_all_permutations():
    wrong = np.array([1, 1, 0, 0, 0, 1], dtype=bool)
    members = np.array([[1, 1, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0]], dtype=bool)
    ev = Evaluation(np.eye(6), labels=np.zeros(6, int), predictions=wrong.astype(int))

    def clearest(errors):
        n_in = members.sum(axis=1)
        spread = np.sqrt(n_in * 0.5 * 0.5 * (6 - n_in) / 5)
        return ((members @ errors - n_in * 0.5) / spread).max()

    every = [clearest(np.array(dealt)) for dealt in permutations(wrong.astype(float))]
    exact = np.mean(np.array(every) >= clearest(wrong.astype(float)) - 1e-9)
    ours = any_failure([counted(group(ev, m), ev) for m in members], ev, 20_000)
    assert ours == pytest.approx(exact, abs=0.015)


def test_there_is_a_failure_where_one_was_planted_and_none_in_noise(halves):
    fitted = clone(LDA).fit(halves[0])
    verdicts = verify(fitted, halves[1], n_permutations=499)
    assert verdicts.p_any == pytest.approx(1 / 500)
    assert "any systematic failure at all: p = 0.002" in repr(verdicts)
    assert math.isnan(verify(fitted, halves[1]).p_any)


@pytest.mark.parametrize("scope", ["label", "prediction"])
def test_p_is_uniform_where_nothing_is(scope):
    p = []
    for seed in range(150):
        ev = null(seed)
        x = ev.space()
        found = [group(ev, x[:, j] > 0.8, (scope, c) if j else "all") for j in range(3) for c in range(2)]
        p.append(verify(found, ev, n_permutations=99).p_any)
    rate = np.mean(np.array(p) <= 0.1)
    assert rate <= 0.18  # at most 0.1 expected; three standard errors above
    if scope == "label":  # of two kinds the smaller p is doubled, which costs power
        assert rate >= 0.03


def test_examples_that_a_finder_saw_are_left_out_of_the_answer(halves):
    ev = halves[1]
    judged = np.arange(ev.n_examples) >= 300
    one = group(ev, ev.errors)  # every member wrong
    alone = any_failure([counted(one, ev, judged)], ev, 99)
    assert alone == any_failure([counted(one, ev, judged), counted(group(ev, ~ev.errors), ev)], ev, 99)
    assert math.isnan(any_failure([], ev, 99))


# -- shrunken rates --------------------------------------------------------------------------


def test_shrunken_rates_lie_between_the_rate_and_the_rest_and_trust_large_slices_more(halves):
    verdicts = verify(clone(LDA).fit(halves[0]), halves[1])
    for one in verdicts:
        low, high = sorted([one.error_rate, one.class_error_rate])
        assert low - 1e-12 <= one.shrunken_rate <= high + 1e-12
    rates = _statistics.shrunken_rates(np.array([4, 400]), np.array([8, 800]), np.array([0.1, 0.1]))
    assert 0.1 < rates[0] < rates[1] < 0.5


def test_a_rate_without_members_or_centre_is_left_as_it_is():
    rates = _statistics.shrunken_rates(np.array([0, 3, 3]), np.array([0, 4, 4]), np.array([0.1, math.nan, 0.1]))
    assert math.isnan(rates[0])
    assert rates[1] == 0.75
    assert rates[2] < 0.75
