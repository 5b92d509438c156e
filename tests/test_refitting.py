"""Stability, cross-fitting and the one answer for all slices, as `verify` gives them."""

import math
from itertools import permutations

import numpy as np
import pytest
from discovery_cases import planted
from scipy.stats import hypergeom
from sklearn.base import clone

from failviz import _statistics
from failviz._slice_counts import counted
from failviz.discovery import ConfidenceRank, FailureDirections, SliceLine, Spotlight
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


def test_each_part_is_judged_by_a_fit_that_did_not_see_it(halves):
    ev = halves[0]
    fitted = clone(LDA).fit(ev)
    parts_of_each = cross_fitted(fitted, ev, 3, progress=False)
    for one, parts in zip(fitted.slices(ev), parts_of_each, strict=True):
        assert np.array_equal(np.sum([part for part, _ in parts], axis=0), np.ones(ev.n_examples))
        for part, match in parts:
            assert abs(ev.errors[part].mean() - ev.error_rate) < 0.01
            without = clone(LDA).fit(ev.take(np.flatnonzero(~part)))
            again = next(other for other in without.slices(ev) if other.scope == one.scope)
            assert np.array_equal(match.scores, again.scores)
    shown = verify(fitted, ev, cross_fit=3, progress=False)
    for verdict, parts in zip(shown, parts_of_each, strict=True):
        assert verdict.n == sum((part & match.is_member).sum() for part, match in parts)


def test_cross_fitting_does_not_depend_on_row_order(halves):
    order = np.random.default_rng(0).permutation(halves[0].n_examples)
    first, second = (
        verify(clone(LDA).fit(ev), ev, cross_fit=4, progress=False).to_frame()
        for ev in (halves[0], halves[0].take(order))
    )
    assert np.array_equal(first["n"], second["n"])
    np.testing.assert_allclose(first["p"], second["p"])


def test_a_reference_for_whitening_is_kept_in_refits(halves):
    reference = halves[1].space() * 3 + 1
    fitted = clone(LDA).fit(halves[0], reference=reference)
    again = fitted._refitted(halves[0].take(np.arange(300)))
    assert np.array_equal(again.mean_, fitted.mean_)


def test_a_cross_fitted_verdict_is_no_licence_to_judge_again(halves):
    fitted = clone(LDA).fit(halves[0])
    verdicts = verify(fitted, halves[0], cross_fit=4, progress=False)
    with pytest.raises(ValueError, match="used to find"):
        verify(verdicts, halves[0])


def test_examples_that_no_fit_places_are_left_out_and_counted():
    ev = null(3, n=90)
    few = np.flatnonzero((ev.labels == 0) & ev.errors)[2:]
    predictions = ev.predictions.copy()
    predictions[few] = 0  # two errors are left in class 0: some parts leave one, which is too few to search
    ev = Evaluation(ev.space(), labels=ev.labels, predictions=predictions)
    verdict = next(
        one for one in verify(clone(LDA).fit(ev), ev, cross_fit=5, progress=False) if one.slice.scope == ("label", 0)
    )
    assert "examples are left out, for which the search found no such slice" in verdict.caution
    assert verdict.n + verdict.rest_n < 30


@pytest.mark.parametrize("finder", [LDA, Spotlight(n_slices=2, min_weight=0.05, random_state=0, progress=False)])
def test_data_that_the_search_saw_can_be_judged_by_cross_fitting(finder, halves):
    fitted = clone(finder).fit(halves[0])
    with pytest.raises(ValueError, match="used to find"):
        verify(fitted, halves[0])
    verdicts = verify(fitted, halves[0], cross_fit=3, progress=False)
    assert verdicts.confirmed
    assert "did not see it" in verdicts[0].caution


def null_with_metadata(seed, n=600):
    rng = np.random.default_rng(seed)
    labels = np.zeros(n, dtype=int)
    columns = {f"c{j}": rng.choice(list("abc"), n) for j in range(6)}
    wrong = rng.random(n) < 0.25
    return Evaluation(rng.normal(size=(n, 3)), labels=labels, predictions=wrong.astype(int), metadata=columns)


RULES = SliceLine(max_predicates=2, min_support=15, progress=False)


@pytest.mark.parametrize(("finder", "world"), [(LDA, null), (RULES, null_with_metadata)], ids=["LDA", "rules"])
def test_cross_fitting_confirms_little_where_nothing_is(finder, world):
    judged = (verify(clone(finder).fit(ev), ev, cross_fit=4, progress=False) for ev in map(world, range(50)))
    assert sum(bool(verdicts.confirmed) for verdicts in judged) <= 11  # 5 expected at most, standard deviation 2.1


def test_what_reads_the_outcome_is_not_confirmed_by_cross_fitting_either(halves):
    fitted = ConfidenceRank().fit(halves[0])
    assert not verify(fitted, halves[0], cross_fit=3, progress=False).confirmed


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"cross_fit": 1}, ValueError, "cross_fit must be a whole number of at least 2"),
        ({"cross_fit": 2.5}, ValueError, "cross_fit must be a whole number of at least 2"),
        ({"n_permutations": -1}, ValueError, "n_permutations must be a whole number of at least 0"),
        ({"cross_fit": 3}, ValueError, "cross_fit takes the Evaluation that FailureDirections was fitted on"),
        ({"refit_on": null(0)}, ValueError, "there is no space|was fitted on, and this is another"),
        ({"cross_fit": 3, "n_permutations": 9}, ValueError, "cross_fit goes with neither"),
        ({"refit_on": 3}, TypeError, "refit_on takes the Evaluation that the finder was fitted on, not int"),
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
        return -min(hypergeom.sf(m @ errors - 1, 6, 3, m.sum()) for m in members)

    every = [clearest(np.array(dealt)) for dealt in permutations(wrong.astype(float))]
    exact = np.mean(np.array(every) >= clearest(wrong.astype(float)) - 1e-9)
    ours = any_failure([counted(group(ev, m), ev) for m in members], ev, 20_000)
    assert ours == pytest.approx(exact, abs=0.015)


def test_there_is_a_failure_where_one_was_planted_and_none_in_noise(halves):
    fitted = clone(LDA).fit(halves[0])
    verdicts = verify(fitted, halves[1], n_permutations=499)
    assert verdicts.p_any == pytest.approx(1 / 500)
    assert repr(verdicts).startswith("Any systematic failure at all: p = 0.002")
    assert verdicts._repr_html_().startswith("<p>Any systematic failure at all: p = 0.002")
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


def test_many_tiny_slices_do_not_drown_a_clear_one():
    rng = np.random.default_rng(0)
    wrong = rng.random(2000) < 0.01
    wrong[:100] = np.arange(100) < 8
    ev = Evaluation(rng.normal(size=(2000, 2)), labels=np.zeros(2000, int), predictions=wrong.astype(int))
    clear = group(ev, np.arange(2000) < 100)
    tiny = [group(ev, np.isin(np.arange(2000), np.arange(5) + 200 + 5 * k)) for k in range(20)]
    verdicts = verify([clear, *tiny], ev, n_permutations=299)
    assert verdicts[0].confirmed
    assert verdicts.p_any <= 0.01


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
    drawn = Slice.drawn(halves[1], halves[1].ids[:20].tolist())
    assert math.isnan(verify(drawn, halves[1])[0].shrunken_rate)
    rates = _statistics.shrunken_rates(np.array([4, 400]), np.array([8, 800]), np.array([0.1, 0.1]))
    assert 0.1 < rates[0] < rates[1] < 0.5


def test_a_rate_without_members_or_centre_is_left_as_it_is():
    rates = _statistics.shrunken_rates(np.array([0, 3, 3]), np.array([0, 4, 4]), np.array([0.1, math.nan, 0.1]))
    assert math.isnan(rates[0])
    assert rates[1] == 0.75
    assert rates[2] < 0.75
