"""FailureFinder: hidden groups, judging where the search did not look, and taking candidates one by one."""

import dataclasses
import pickle
import threading

import joblib
import numpy as np
import pytest
from discovery_cases import planted
from scipy.stats import hypergeom

from failviz.discovery import ErrorMixture, FailureDirections, FailureFinder, Spotlight
from failviz.discovery.base import dealt
from failviz.discovery.borders import Bordered, drawn
from failviz.discovery.candidates import HIDDEN_GROUP, Candidate, _thinned, placed, propose, svm_divisions
from failviz.discovery.choosing import Choice, listed, select
from failviz.discovery.cross_fit import Judged, Placed, cut_at, judge
from failviz.discovery.hidden_groups import Whitened, _heights, find_groups
from failviz.discovery.strata import Stratified
from failviz.discovery.svm import Hyperplane
from failviz.evaluation import Evaluation
from failviz.verification import verify


def cloud(n=1500, d=24, seed=0, share=0.12, inside=0.6, outside=0.05, shift=3.5):
    """Rows (n, d) correlated, errors (n,) frequent in a hidden group, and the group."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)) @ (np.eye(d) + 0.3 * rng.normal(size=(d, d)))
    hidden = rng.random(n) < share
    direction = rng.normal(size=d)
    rows[hidden] += shift * direction / np.linalg.norm(direction)
    return rows, rng.random(n) < np.where(hidden, inside, outside), hidden


def evaluation_of(rows, wrong, *, n_classes=2, labels=None, **columns):
    labels = np.zeros(len(rows), int) if labels is None else labels
    predictions = np.where(wrong, (labels + 1) % n_classes, labels)
    names = [f"kind {c}" for c in range(n_classes)]
    return Evaluation(rows, labels=labels, predictions=predictions, class_names=names, **columns)


# -- hidden groups -----------------------------------------------------------------------------------------------------


def test_whitened_rows_are_uncorrelated_and_planes_go_back():
    rows, _, _ = cloud(20_000, 6)
    whitened = Whitened.of(rows)
    np.testing.assert_allclose(np.cov(whitened.rows.T), np.eye(6), atol=0.03)  # but for the shrinkage
    coef = np.arange(6.0)
    plane = whitened.plane(coef, 2.0)
    np.testing.assert_allclose(plane(rows), whitened.rows @ coef + 2.0, rtol=1e-9)


def test_heights_leave_each_row_out_of_both_means():
    rows, _, _ = cloud(40, 5)
    shares = np.random.default_rng(0).uniform(0.1, 0.9, size=(40, 2))
    heights = _heights(rows, shares)
    for i in (0, 7, 39):
        others = np.arange(40) != i
        for j in range(2):
            inside = np.average(rows[others], axis=0, weights=shares[others, j])
            outside = np.average(rows[others], axis=0, weights=1 - shares[others, j])
            assert heights[i, j] == pytest.approx(rows[i] @ (inside - outside), rel=1e-9)


def test_a_rough_start_settles_on_the_hidden_group_better_than_errors_show_it():
    rows, wrong, hidden = cloud()
    start = np.where(wrong, 0.8, 0.03)[:, None]
    plane, *_ = find_groups(Whitened.of(rows), wrong, np.zeros(len(rows), int), start)
    member = plane(rows) > 0
    assert (member & hidden).sum() / (member | hidden).sum() > 0.8
    errors_only = FailureDirections(estimator="lda", random_state=0, progress=False).fit(evaluation_of(rows, wrong))
    top = np.argsort(-errors_only.decision_function(evaluation_of(rows, wrong))[:, 0])[: hidden.sum()]
    ours = np.argsort(-plane(rows))[: hidden.sum()]
    assert hidden[ours].mean() > hidden[top].mean()


def test_starts_that_settle_alike_are_one_group_and_groups_that_are_right_more_often_none():
    rows, wrong, hidden = cloud()
    strata = np.zeros(len(rows), int)
    starts = np.stack([np.where(wrong, 0.8, 0.03), np.where(hidden, 0.9, 0.02)], axis=1)
    assert len(find_groups(Whitened.of(rows), wrong, strata, starts)) == 1
    assert find_groups(Whitened.of(rows), ~wrong, strata, starts[:, 1:]) == []
    assert find_groups(Whitened.of(rows), wrong, strata, starts[:, :0]) == []
    assert find_groups(Whitened.of(np.zeros((50, 3))), wrong[:50], strata[:50], starts[:50]) == []


def test_the_evidence_of_an_error_is_counted_within_strata():
    """Where one class is always wrong, being wrong there says nothing of a group that spans both."""
    rng = np.random.default_rng(0)
    rows, _, hidden = cloud(2000, 8, shift=5.0)
    strata = rng.integers(2, size=2000)
    wrong = np.where(strata == 1, True, rng.random(2000) < np.where(hidden, 0.7, 0.05))
    start = np.where(wrong & (strata == 0), 0.8, 0.05)[:, None]
    plane, *_ = find_groups(Whitened.of(rows), wrong, strata, start)
    member = plane(rows) > 0
    assert (member & hidden).sum() / (member | hidden).sum() > 0.85
    assert member[strata == 1].mean() == pytest.approx(member[strata == 0].mean(), abs=0.05)


# -- judging and taking ------------------------------------------------------------------------------------------------


def judged_of(rows, is_member, *, scope="all", top=None, is_group=False):
    return Judged(scope, rows, is_member, is_member, is_member if top is None else top, None, is_group)


def judged(whole, again, parts, errors=None):
    n = len(parts)
    errors = np.zeros(n, bool) if errors is None else errors
    return judge("all", np.arange(n), whole, again, parts, errors, np.zeros(n, int))


def test_an_example_is_placed_by_the_search_that_did_not_see_it():
    parts = np.arange(30) % 3
    up, down = np.arange(30.0), -np.arange(30.0)
    again = [[Placed("a", up + 100 * part, up > part), Placed("a", down, down > -3)] for part in range(3)]
    [one] = judged([Placed("a", up, up > 20)], again, parts)
    for part in range(3):
        assert np.array_equal(one.is_member[parts == part], (up > part)[parts == part])
    assert np.array_equal(one.own, up > 20)


def test_a_candidate_that_is_not_found_again_has_no_members_there():
    parts, up = np.arange(30) % 3, np.arange(30.0)
    noise = np.random.default_rng(0).normal(size=30)
    again = [[Placed("b", up, up > 5)], [Placed("a", noise, noise > 0)], []]  # another kind, another order, nothing
    [one] = judged([Placed("a", up, up > 5)], again, parts)
    assert not one.is_member.any()


def test_the_match_does_not_look_at_scores_of_the_part_that_it_judges():
    rng = np.random.default_rng(0)
    parts, up = np.arange(90) % 3, np.arange(90.0)
    wild = 1e6 * rng.normal(size=90)
    again = [[Placed("a", np.where(parts == 0, wild, up), up > 50), Placed("a", np.roll(up, 45), up < 0)], [], []]
    for whole in (up, np.where(parts == 0, wild[::-1], up)):
        [one] = judged([Placed("a", whole, up > 50)], again, parts)
        assert np.array_equal(one.is_member, (up > 50) & (parts == 0))


def test_what_only_ranks_is_cut_where_the_errors_end_by_share_of_each_part():
    n = 3000
    parts, height = np.arange(n) % 3, (np.arange(n) + 0.5) / n
    errors = np.random.default_rng(0).random(n) < np.where(height > 0.86, 0.7, 0.05)
    # Scores of a refit are lower where it has not looked: no more of the part are left out for that.
    again = [[Placed("a", np.where(parts == part, height - 0.3, height), None)] for part in range(3)]
    [one] = judged([Placed("a", height, None)], again, parts, errors)
    # What the whole search has seen lies 0.3 higher than what it has not: so it is cut 0.3 lower.
    assert one.cut == pytest.approx(0.56, abs=1e-2)
    for part in range(3):
        assert one.is_member[parts == part].mean() == pytest.approx(0.14, abs=0.002)
    assert one.own.mean() == pytest.approx(0.44, abs=1e-2)


def test_counts_are_the_hypergeometric_moments_and_the_likelihood_ratio():
    rng = np.random.default_rng(3)
    strata, errors = rng.integers(2, size=200), rng.random(200) < 0.3
    members = rng.random(200) < np.where(errors, 0.4, 0.2)
    counts = Stratified(np.arange(200), errors, strata).counts(members)
    mean = variance = deviance = 0.0
    for s in (0, 1):
        scope, inside = errors[strata == s], errors[members & (strata == s)]
        n, k, w = len(scope), len(inside), scope.sum()
        mean += k * w / n
        variance += k * w * (n - w) * (n - k) / (n * n * (n - 1))
        rest = w - inside.sum(), n - k
        for wrong, of, sign in ((inside.sum(), k, 1), (*rest, 1), (w, n, -1)):
            deviance += sign * (wrong * np.log(wrong / of) + (of - wrong) * np.log(1 - wrong / of))
    assert counts.expected == pytest.approx(mean)
    assert counts.z == pytest.approx((errors[members].sum() - mean - 0.5) / np.sqrt(variance))
    assert counts.deviance == pytest.approx(deviance)
    assert Stratified(np.arange(200), ~errors, strata).counts(members).deviance == 0


def test_the_cut_is_of_the_size_where_a_search_parts_what_it_has_seen():
    """Errors that were seen lie at 1, the others at -1, and new examples between: no share of those seen says where."""
    rng = np.random.default_rng(0)
    n, parts = 3000, np.arange(3000) % 3
    errors = rng.random(n) < 0.15
    new = rng.normal(size=n) / 10 + 0.2 * errors
    seen = np.where(errors, 1.0, -1.0) + 0.01 * rng.normal(size=n)

    def placed(unseen):
        return Placed("a", np.where(unseen, new, seen), None)

    [one] = judged([placed(parts < 0)], [[placed(parts == part)] for part in range(3)], parts, errors)
    share = one.is_member.mean()
    assert 0.01 <= share <= 0.2
    fresh = rng.normal(size=20_000) / 10 + 0.2 * (rng.random(20_000) < 0.15)
    assert (fresh > one.cut).mean() == pytest.approx(share, rel=0.2)


def test_counts_of_large_data_do_not_overflow():
    n = 400_000
    errors, members = np.arange(n) % 10 == 0, np.arange(n) % 2 == 0
    counts = Stratified(np.arange(n), errors, np.zeros(n, int)).counts(members)
    mean, variance = hypergeom.stats(n, n // 10, n // 2)
    assert counts.z == pytest.approx((n // 10 - mean - 0.5) / np.sqrt(variance))
    assert counts.worth > 0


def test_a_cut_lies_between_two_examples():
    rng = np.random.default_rng(0)
    rounded = rng.integers(0, 3, 200) + 1e-15 * rng.random(200)
    for share in (0.01, 0.1, 0.28, 0.5):
        for scores in (rng.normal(size=200), rng.integers(0, 9, 200) / 7, np.repeat([0.0, 1.0], [190, 10]), rounded):
            cut = cut_at(scores, share)
            assert np.abs(scores - cut).min() > 1e-10
            assert (scores > cut).mean() <= share + 1e-12
    assert not (np.ones(50) > cut_at(np.ones(50), 0.3)).any()


def test_what_is_taken_no_longer_counts_for_the_others():
    rng = np.random.default_rng(0)
    n = 2000
    rows, place = np.arange(n), np.arange(n)
    one, same, other = place < 150, (place >= 20) & (place < 190), (place >= 1000) & (place < 1100)
    errors = rng.random(n) < np.where(one | other, 0.6, 0.05)
    candidates = [judged_of(rows, mask) for mask in (same, other, one)]
    chosen = select(candidates, errors, np.zeros(n, int), q=0.1, most=10, n_tests=3)
    assert {choice.number for choice in chosen} == {1, 2}
    first = next(choice for choice in chosen if choice.number == 2)
    assert (first.n, first.n_errors) == (150, errors[:150].sum())
    assert select(candidates, errors, np.zeros(n, int), q=1, most=2, n_tests=3) == chosen


def test_of_two_that_are_nearly_the_same_the_better_is_kept():
    rng = np.random.default_rng(0)
    rows, place = np.arange(1000), np.arange(1000)
    errors = rng.random(1000) < np.where(place < 100, 0.6, 0.05)
    candidates = [judged_of(rows, place < size) for size in (112, 100)]
    assert [one.number for one in select(candidates, errors, np.zeros(1000, int), q=1, most=5, n_tests=2)] == [1]


def taken_of(candidates, errors):
    strata = np.zeros(len(errors), int)
    return [one.number for one in select(candidates, errors, strata, q=1, most=5, n_tests=len(candidates))]


def test_of_two_with_the_same_top_the_better_is_kept():
    rng = np.random.default_rng(0)
    rows = place = np.arange(3000)
    errors = rng.random(3000) < np.where(place < 100, 0.9, np.where(place < 600, 0.25, 0.05))
    assert taken_of([judged_of(rows, place < n, top=place < 80) for n in (600, 100)], errors) == [1]
    apart = [judged_of(rows, place < n, top=(place >= n - 80) & (place < n)) for n in (600, 100)]
    assert taken_of(apart, errors) == [1, 0]


def test_a_group_is_not_hidden_by_a_worse_part_of_it():
    rng = np.random.default_rng(0)
    rows = place = np.arange(3000)
    errors = rng.random(3000) < np.where(place < 100, 0.95, np.where(place < 600, 0.35, 0.05))
    assert taken_of([judged_of(rows, place < n) for n in (600, 100)], errors) == [1, 0]


def blurred_and_clear(n=4000, seed=0):
    """Rows, errors, a group that is wrong more often, and what seeks errors: most of it, and what else is wrong."""
    rng = np.random.default_rng(seed)
    rows = np.arange(n)
    group = rows < 400
    errors = rng.random(n) < np.where(group, 0.5, 0.1)
    seeker = (group & (errors | (rng.random(n) < 0.9))) | (errors & (rng.random(n) < 0.08))
    blurred = Judged("all", rows, seeker, np.roll(seeker, 20), np.roll(seeker, 20), 0.1)  # elsewhere in-sample
    assert 0 < blurred.agreement < 0.9
    return rows, errors, group, seeker, blurred


def border_of(candidates, errors):
    """Of the first that is taken, which must be the first candidate: the number of its border."""
    choice, *_ = select(candidates, errors, np.zeros(len(errors), int), q=0.1, most=5, n_tests=len(candidates))
    assert choice.number == 0
    return choice.border


def test_a_clear_group_draws_the_border_of_what_only_ranks():
    rows, errors, group, seeker, blurred = blurred_and_clear()
    assert border_of([blurred, judged_of(rows, group, is_group=True)], errors) == 1
    assert border_of([blurred, judged_of(rows, group)], errors) is None  # no cloud of its own
    unclear = Judged("all", rows, group, np.roll(group, 60), group, None, is_group=True)
    assert border_of([blurred, unclear], errors) is None
    bordered = Judged("all", rows, seeker, np.roll(seeker, 20), seeker, None)
    assert border_of([bordered, judged_of(rows, group, is_group=True)], errors) is None
    elsewhere = Judged(("label", 0), rows, group, group, group, None, is_group=True)
    assert border_of([blurred, elsewhere], errors) is None


def test_what_has_the_border_of_a_group_is_tested_as_the_group_and_the_group_is_not_taken_again():
    rows, errors, group, _, blurred = blurred_and_clear()
    candidates = [blurred, judged_of(rows, group, is_group=True)]
    [choice] = select(candidates, errors, np.zeros(4000, int), q=0.1, most=5, n_tests=2)
    assert (choice.n, choice.n_errors) == (400, errors[:400].sum())
    assert choice.p == pytest.approx(2 * hypergeom.sf(errors[:400].sum() - 1, 4000, errors.sum(), 400))


@pytest.mark.parametrize("what", ["twin", "part"])
def test_what_a_border_holds_is_not_taken_beside_it(what):
    rng = np.random.default_rng(0)
    rows = np.arange(4000)
    rates = np.select([rows < 200, rows < 400, rows < 600], [0.85, 0.3, 0.15], 0.05)
    errors = rng.random(4000) < rates
    seeker = (rows < 220) | ((rows >= 400) & (rows < 440))
    direction = Judged("all", rows, seeker, np.roll(seeker, 20), np.roll(seeker, 20), 0.1)
    beside = {"twin": rows < 400, "part": (rows >= 220) & (rows < 400)}[what]  # the part is explained by the border
    candidates = [direction, judged_of(rows, rows < 400, is_group=True), judged_of(rows, beside)]
    choices = select(candidates, errors, np.zeros(4000, int), q=0.1, most=5, n_tests=3)
    assert [(one.number, one.border) for one in choices] == [(0, 1)]


def test_a_group_that_fails_its_own_test_draws_no_border():
    rng = np.random.default_rng(0)
    rows = np.arange(4000)
    errors = rng.random(4000) < np.where(rows < 200, 0.6, 0.3)
    seeker = rows < 200
    blurred = Judged("all", rows, seeker, np.roll(seeker, 20), np.roll(seeker, 20), 0.1)
    large = rows % 2 == 0
    large[:200] = True
    candidates = [blurred, judged_of(rows, large, is_group=True)]
    pure = Stratified(rows, errors, np.zeros(4000, int)).counts(large)
    levels = {n: select(candidates, errors, np.zeros(4000, int), q=0.1, most=1, n_tests=n)[0] for n in (1, 10**9)}
    assert pure.p < 0.05 / 2 and levels[1].border == 1
    assert levels[10**9].border is None and 2 * pure.p > 0.1 / 10**9


def test_of_two_groups_the_clearer_draws_the_border_though_it_is_worth_a_little_less():
    rows, errors, group, _, blurred = blurred_and_clear()
    clear = judged_of(rows, group & (rows % 20 > 0), is_group=True)
    vague = Judged("all", rows, group, np.roll(group, 30), group, None, is_group=True)
    assert 0.9 < vague.agreement < clear.agreement == 1
    assert border_of([blurred, vague, clear], errors) == 2
    assert border_of([blurred, judged_of(rows, group, is_group=True), clear], errors) == 1


@pytest.mark.parametrize("condition", ["AS_WRONG", "IN_COMMON"])
def test_a_clear_group_must_hold_up_in_each_way(condition, monkeypatch):
    rows = np.arange(4000)
    errors = rows % 10 == 0
    errors[:160], errors[160:200] = True, False  # 80% of 200
    errors[2000:2150], errors[2150:2200] = True, False  # 75% of another 200
    seeker = rows < 200
    blurred = Judged("all", rows, seeker, np.roll(seeker, 20), np.roll(seeker, 20), 0.1)
    stand_in = {
        "AS_WRONG": rows < 600,  # holds them all, wrong less often
        "IN_COMMON": (rows >= 2000) & (rows < 2200),  # others
    }[condition]
    candidates = [blurred, judged_of(rows, stand_in, is_group=True)]
    assert border_of(candidates, errors) is None
    monkeypatch.setattr(f"failviz.discovery.choosing.{condition}", 0.0)
    assert border_of(candidates, errors) == 1


def test_a_direction_ranks_the_members_of_the_hidden_group_that_it_aims_at(monkeypatch):
    rng = np.random.default_rng(6)
    rows, group = rng.normal(size=(2400, 10)), rng.random(2400) < 0.15
    rows[group, 0] += 7
    at = np.where(group, 0.5 + 0.2 * np.tanh(rows[:, 1]), 0.04 + 0.3 * (rows[:, 1] > 1.3))
    evaluation = evaluation_of(rows, rng.random(2400) < at)
    fit, test = evaluation.take(np.arange(1200)), evaluation.take(np.arange(1200, 2400))

    def first():
        finder = FailureFinder(random_state=0, progress=False).fit(fit)
        one = finder.slices(test)[0]
        assert one.stats["found_by"] == "failure direction"
        shared = (one.is_member & group[1200:]).sum() / (one.is_member | group[1200:]).sum()
        return finder, one, shared

    finder, one, share = first()
    assert share > 0.95
    assert one.stats["border_of"] == finder.borders_[0].method == HIDDEN_GROUP
    assert (one.scores[one.is_member] > 0).all() and (one.scores[~one.is_member] < 0).all()
    [(heights, _)] = placed(finder.candidates_[:1], test, "embedding")
    for part in (one.is_member, ~one.is_member):
        assert np.array_equal(np.argsort(one.scores[part]), np.argsort(heights[part]))
    monkeypatch.setattr("failviz.discovery.choosing.CLEAR", 2.0)
    finder, one, share = first()
    assert share < 0.8
    assert finder.borders_[0] is None and "border_of" not in one.stats


def test_scores_of_both_sides_of_a_border_fill_a_unit_in_the_fit():
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=3000), 40 + 3 * rng.normal(size=300)])[:, None]
    direction = Candidate("all", "failure direction", Hyperplane(np.array([1.0]), 0.0))
    group = Candidate("all", HIDDEN_GROUP, Hyperplane(np.array([1.0]), -20.0))
    view = Evaluation(rows)
    [(scores, weights)] = drawn([Bordered.of(direction, group, view, "embedding")], view, "embedding")
    assert np.median(scores[weights < 0.5]) == pytest.approx(-0.5) and scores[weights < 0.5].std() > 0.15
    assert np.median(scores[weights >= 0.5]) == pytest.approx(0.5) and scores[weights >= 0.5].std() > 0.15


def test_members_that_are_all_alike_but_for_rounding_stay_above_zero():
    rows = np.r_[np.zeros(300), np.full(7, 0.1 + 0.2)][:, None]
    rows[::2] += 1e-17
    direction = Candidate("all", "failure direction", Hyperplane(np.array([1.0]), 0.0))
    group = Candidate("all", HIDDEN_GROUP, Hyperplane(np.array([10.0]), -2.0))
    one = Bordered.of(direction, group, Evaluation(rows), "embedding")
    [(scores, weights)] = drawn([one], Evaluation(np.array([[0.3], [0.3000001], [0.31], [0.0]])), "embedding")
    assert ((scores > 0) == (weights >= 0.5)).all() and (scores < 1).all()
    assert scores[0] < scores[1] < scores[2]


def test_scores_inside_a_border_keep_their_order_however_far_they_are():
    far = Candidate("all", "failure direction", Hyperplane(np.array([1.0]), 0.0))
    group = Candidate("all", HIDDEN_GROUP, Hyperplane(np.array([0.0]), 1.0))
    view = Evaluation(np.array([[-1e12], [-1.0], [0.0], [1.0], [1e6], [1e12]]))
    [(scores, weights)] = drawn([Bordered(far, group)], view, "embedding")
    assert (np.diff(scores) > 0).all() and scores[0] > 0 and scores[-1] < 1
    assert (weights > 0.5).all()


def test_worth_is_how_sure_and_how_bad():
    errors = np.arange(500) < 100
    members = (np.arange(500) >= 80) & (np.arange(500) < 130)
    counts = Stratified(np.arange(500), errors, np.zeros(500, int)).counts(members)
    assert counts.error_rate == 0.4
    assert counts.worth == pytest.approx(counts.z * np.sqrt(0.4))


@pytest.mark.parametrize("scope", [("label", 0), "all"])
def test_errors_are_divided_for_directions_of_the_svm_and_for_discriminants(scope):
    rows, wrong, _ = cloud(600, 8)
    found = propose(evaluation_of(rows, wrong), np.arange(600), scope, "embedding", 0)
    directions = [one.place for one in found if one.method == "failure direction"]
    assert sum(isinstance(place, tuple) for place in directions) == 1 + 2 + 3
    assert sum(not isinstance(place, tuple) for place in directions) == 1 + 2 + 3 + 4


@pytest.mark.parametrize(
    ("n", "n_errors", "most"),
    [(2000, 739, 3), (2000, 899, 3), (2000, 900, 4), (20_000, 2000, 3), (20_000, 3000, 4), (100_000, 1500, 3)],
)
def test_the_svm_divides_errors_into_four_where_a_search_shows_it_many(n, n_errors, most):
    assert svm_divisions(np.arange(n) < n_errors, 2 / 3) == most


@pytest.mark.parametrize(("n_errors", "most"), [(880, 3), (920, 4)])
def test_every_search_of_a_scope_divides_errors_alike(n_errors, most, monkeypatch):
    rng = np.random.default_rng(0)
    rows, wrong = rng.normal(size=(1500, 6)), np.arange(1500) < n_errors
    rows[wrong, :4] += 2 * np.eye(4)[np.arange(n_errors) % 4]
    divided = []

    def recorded(evaluation, members, scope, *settings):
        found = propose(evaluation, members, scope, *settings)
        of_svm = [one.place[0] for one in found if isinstance(one.place, tuple) and "direction" in one.method]
        divided.append({finder.n_directions for finder in of_svm})
        return found

    monkeypatch.setattr("failviz.discovery.finder.propose", recorded)
    with joblib.parallel_config(n_jobs=1):
        FailureFinder(random_state=0, progress=False).fit(evaluation_of(rows, wrong))
    assert divided == [set(range(1, most + 1))] * 8  # two scopes: all rows, and two of three thirds, three times


@pytest.mark.parametrize("n_errors, n_proposed", [(0, 0), (1, 1), (4, 1), (296, 1), (299, 1), (300, 0)])
def test_a_scope_of_few_errors_or_few_correct_examples_proposes_one_direction_toward_them(n_errors, n_proposed):
    rng = np.random.default_rng(0)
    wrong = np.arange(300) < n_errors
    rows = rng.normal(size=(300, 6)) + 4.0 * wrong[:, None]
    found = propose(evaluation_of(rows, wrong), np.arange(300), ("label", 0), "embedding", 0)
    assert len(found) == n_proposed
    for one in found:
        scores = one.place(rows)
        assert scores[wrong].min() > scores[~wrong].max()


def test_large_scopes_are_thinned_and_rare_errors_are_kept():
    is_error = np.arange(60_000) % 5000 == 7
    rows = _thinned(np.arange(60_000), is_error, 20_000)
    assert len(np.unique(rows)) == 18_012 and is_error[rows].sum() == 12
    assert (np.diff(rows) > 0).all() and np.diff(rows).max() <= 4
    often = np.arange(60_000) % 5 == 0
    assert often[_thinned(np.arange(60_000), often, 20_000)].mean() == 0.2
    assert len(_thinned(np.arange(60_000), ~is_error, 20_000)) == 18_012
    assert np.array_equal(_thinned(np.arange(100), often[:100], 100), np.arange(100))


def test_what_searches_all_classes_knows_them(monkeypatch):
    rows, wrong, _ = cloud(600, 6)
    labels, known = np.arange(600) % 3, []
    monkeypatch.setattr("failviz.discovery.candidates.find_groups", lambda *given: known.append(given[2]) or [])
    monkeypatch.setattr(
        ErrorMixture, "fit", lambda self, e, fit=ErrorMixture.fit: known.append(e.labels) or fit(self, e)
    )
    assert propose(evaluation_of(rows, wrong, n_classes=3, labels=labels), np.arange(600), "all", "embedding", 0)
    assert len(known) == 2 and all(np.array_equal(one, labels) for one in known)


def test_rules_name_the_dimensions_that_have_names():
    rows = np.random.default_rng(0).normal(size=(800, 4))
    wrong = ((np.abs(rows[:, 2] - 1) < 0.5) & (rows[:, 0] > 0)) ^ (np.random.default_rng(1).random(800) < 0.03)
    evaluation = evaluation_of(rows, wrong, feature_names=["age", "height", "dose in mg", "weight"])
    (one,) = FailureFinder(random_state=0, progress=False).fit(evaluation).slices(evaluation)
    assert one.name == "kind 0: dose in mg high, age high"
    assert "[dose in mg] > 0." in one.rule and "[age] > " in one.rule


def test_directions_of_the_svm_look_at_a_part_of_a_large_scope(monkeypatch):
    rows, wrong, _ = cloud(1500, 6)
    evaluation = evaluation_of(rows, wrong)
    monkeypatch.setattr("failviz.discovery.candidates.MOST_SVM_ROWS", 300)
    found = propose(evaluation, np.arange(1500), ("label", 0), "embedding", 0)
    finders = [one.place[0] for one in found if isinstance(one.place, tuple)]
    svms = [finder for finder in finders if isinstance(finder, FailureDirections)]
    assert {len(finder.seen_rows_) for finder in svms} == {300}
    assert {len(finder.seen_rows_) for finder in finders if finder not in svms} == {1500}


def test_a_class_of_few_errors_is_found_where_they_lie_together():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 600)
    rows = rng.normal(size=(1200, 6))
    rows[600:615] += 6.0
    wrong = np.where(labels == 0, rng.random(1200) < 0.2, np.isin(np.arange(1200), [600, 604, 608, 612]))
    evaluation = evaluation_of(rows, wrong, labels=labels)
    finder = FailureFinder(random_state=0, progress=False).fit(evaluation)
    assert finder.status_ == ["searched", "one_direction"]
    [one] = [one for one in finder.slices(evaluation) if one.scope == ("label", 1)]
    assert one.is_member[600:615].mean() > 0.9 and len(one) < 30


def test_sizes_at_which_tied_scores_leave_nothing_are_not_chosen():
    rng = np.random.default_rng(0)
    height = (np.arange(3000) % 5 == 0).astype(float)
    parts = np.arange(3000) // 5 % 3
    errors = rng.random(3000) < np.where(height > 0, 0.6, 0.05)
    [one] = judged([Placed("a", height, None)], [[Placed("a", height, None)]] * 3, parts, errors)
    assert one.own.sum() == one.is_member.sum() == 600
    nothing = Judged("all", np.arange(3000), height > 0, np.zeros(3000, bool), height > 0, 0.14)
    assert taken_of([nothing], errors) == []


def test_a_class_of_which_much_is_shown_leaves_room_for_others():
    rows, errors = np.arange(3000), np.zeros(3000, bool)
    errors[:100] = errors[500:590] = errors[1000:1080] = True  # three groups in one class, each entirely wrong
    errors[2000:2070] = True  # one in another, less often
    scopes = [("label", 0)] * 3 + [("label", 1)]
    starts = (0, 500, 1000, 2000)
    candidates = []
    for scope, start in zip(scopes, starts, strict=True):
        inside = rows[:2000] if scope[1] == 0 else rows[2000:]
        member = (inside >= start) & (inside < start + 100)
        candidates.append(Judged(scope, inside, member, member, member, None))
    strata = (rows >= 2000).astype(int)
    order = [one.number for one in select(candidates, errors, strata, q=1, most=4, n_tests=4)]
    assert order.index(3) == 1


def test_agreement_is_kappa():
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    own, again = rng.random(300) < 0.2, rng.random(300) < 0.3
    one = Judged("all", np.arange(300), again, own, own, None)
    assert one.agreement == pytest.approx(cohen_kappa_score(own, again))
    nothing = np.zeros(300, bool)
    assert Judged("all", np.arange(300), nothing, nothing, nothing, None).agreement == 0


def test_all_wrong_members_are_taken_by_the_exact_test():
    """700 of 1000 are wrong, and all 26 members: p = 8e-5, which a normal tail takes for ten times as much; doubled."""
    errors = np.arange(1000) < 700
    one = judged_of(np.arange(1000), np.arange(1000) < 26)
    [choice] = select([one], errors, np.zeros(1000, int), q=0.1, most=5, n_tests=400)
    assert choice.p == pytest.approx(2 * hypergeom.sf(25, 1000, 700, 26))


def test_nothing_is_taken_where_there_is_nothing_and_something_when_told_not_to_stop():
    rng = np.random.default_rng(1)
    errors = rng.random(1000) < 0.2
    candidates = [judged_of(np.arange(1000), rng.random(1000) < 0.1) for _ in range(20)]
    assert select(candidates, errors, np.zeros(1000, int), q=0.1, most=5, n_tests=20) == []
    assert len(select(candidates, errors, np.zeros(1000, int), q=1, most=5, n_tests=20)) == 5


# -- the finder --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_failures():
    """Two classes that fail in a group each, and the groups; halves for the fit and for the test."""
    rows, wrong, hidden = cloud(4000, 16, seed=5)
    labels = np.random.default_rng(0).integers(2, size=4000)
    rows[labels == 1] += 1.0
    other = np.random.default_rng(1).random(4000) < 0.15
    rows[other & (labels == 1), 3] += 6.0
    wrong = np.where(labels == 1, np.random.default_rng(2).random(4000) < np.where(other, 0.7, 0.04), wrong)
    evaluation = evaluation_of(rows, wrong, labels=labels, losses=wrong * 2.0 + 0.1)
    groups = [hidden & (labels == 0), other & (labels == 1)]
    return evaluation.take(np.arange(2000)), evaluation.take(np.arange(2000, 4000)), [g[2000:] for g in groups]


@pytest.fixture(scope="module")
def fitted(two_failures):
    return FailureFinder(random_state=0, progress=False).fit(two_failures[0])


def test_both_groups_come_first_whole_and_confirmed(fitted, two_failures):
    _, test, groups = two_failures
    slices = fitted.slices(test)
    for group in groups:
        overlaps = [(one.is_member & group).sum() / (one.is_member | group).sum() for one in slices[:3]]
        assert max(overlaps) > 0.75
    assert all(verdict.confirmed for verdict in verify(slices[:2], test))


def test_facts_are_cross_fitted_and_near_what_other_data_say(fitted, two_failures):
    _, test, _ = two_failures
    for one, p in zip(fitted.slices(test)[:2], fitted.p_values_, strict=False):
        assert one.stats["cross_fitted_p"] == p < 1e-4
        rate = test.errors[one.is_member].mean()
        assert one.stats["cross_fitted_error_rate"] == pytest.approx(rate, abs=0.15)
        assert one.stats["cross_fitted_errors"] > one.stats["cross_fitted_errors_expected"]
        assert one.stats["found_by"] in {
            "hidden group",
            "failure direction",
            "failure tree",
            "spotlight",
            "error mixture",
        }


def test_slices_with_a_plane_can_be_stepped_along(fitted, two_failures):
    test = two_failures[1]
    for one, candidate in zip(fitted.slices(test), fitted.candidates_, strict=True):
        assert (one.direction is not None) == (candidate.method in ("hidden group", "failure direction"))
    hidden = next(j for j, one in enumerate(fitted.candidates_) if one.method == HIDDEN_GROUP)
    one = fitted.slices(test)[hidden]
    np.testing.assert_allclose(
        one.scores[one.in_scope],
        test.space()[one.in_scope] @ one.direction + fitted.candidates_[hidden].place.intercept,
    )


def test_nothing_is_found_where_errors_are_chance():
    """Hardly ever: the tests that end the list are not quite exact."""
    n_found = []
    for seed in range(16):
        rng = np.random.default_rng(seed)
        rows, wrong = rng.normal(size=(600, 8)), rng.random(600) < 0.2
        evaluation = evaluation_of(rows, wrong, labels=rng.integers(2, size=600))
        n_found.append(len(FailureFinder(random_state=0, progress=False).fit(evaluation).candidates_))
    assert sum(n > 0 for n in n_found) <= 4 and max(n_found) <= 1


def test_q_of_one_returns_as_many_as_asked_and_a_smaller_q_fewer(two_failures, fitted):
    fit, test, _ = two_failures
    ranked = FailureFinder(q=1, max_slices=6, random_state=0, progress=False).fit(fit)
    assert len(ranked.slices(test)) == 6
    assert len(fitted.candidates_) < 20
    assert [one.name for one in ranked.slices(test)][:2] == [one.name for one in fitted.slices(test)][:2]


def test_metadata_rules_are_found_within_a_class_and_then_needed():
    rng = np.random.default_rng(0)
    labels, ground = rng.integers(2, size=2000), rng.choice(["grass", "sand", "snow"], 2000)
    wrong = rng.random(2000) < np.where((labels == 1) & (ground == "grass"), 0.6, 0.05)
    rows = rng.normal(size=(2000, 6))
    evaluation = evaluation_of(rows, wrong, labels=labels, metadata={"ground": ground})
    finder = FailureFinder(random_state=0, progress=False).fit(evaluation)
    first = finder.slices(evaluation)[0]
    assert (first.name, first.rule) == ("kind 1: ground is grass", "ground == 'grass'")
    assert np.array_equal(first.is_member, (labels == 1) & (ground == "grass"))
    assert finder.requires_to_apply == ("labels", "metadata")
    with pytest.raises(ValueError, match="FailureFinder needs metadata"):
        finder.slices(evaluation_of(rows, wrong, labels=labels))


def test_it_can_be_told_which_metadata_to_read():
    rng = np.random.default_rng(0)
    labels, ground = rng.integers(2, size=2000), rng.choice(["grass", "sand", "snow"], 2000)
    wrong = rng.random(2000) < np.where((labels == 1) & (ground == "grass"), 0.6, 0.05)
    said = np.where(wrong, 1 - labels, labels).astype(str)  # gives the outcome away
    rows, metadata = rng.normal(size=(2000, 6)), {"said": said, "ground": ground}
    evaluation = evaluation_of(rows, wrong, labels=labels, metadata=metadata)

    def rules(columns):
        finder = FailureFinder(columns=columns, random_state=0, progress=False).fit(evaluation)
        return [one.rule for one in finder.slices(evaluation) if one.rule and "feature" not in one.rule]

    assert any("said" in rule for rule in rules(None))
    assert rules(["ground"])[0] == "ground == 'grass'" and not any("said" in rule for rule in rules(["ground"]))
    assert rules([]) == []
    with pytest.raises(ValueError, match="columns names 'light', and the metadata columns are 'said', 'ground'"):
        rules(["light"])
    many = evaluation_of(rows, wrong, labels=labels, metadata={"word": np.arange(2000).astype(str)})
    with pytest.raises(ValueError, match="no rule can be made of: 'word' holds 2,000 different values"):
        FailureFinder(columns=["word"]).fit(many)


def test_pairs_stay_together_in_small_data():
    for n, n_parts in ((20, 3), (24, 5)):
        contents = np.arange(n) // 2
        parts = dealt(np.random.default_rng(0).permutation(n), contents, n_parts)
        assert np.array_equal(parts[::2], parts[1::2])


@pytest.mark.filterwarnings("error")
def test_a_class_of_two_copies_of_which_one_is_wrong_is_fitted_in_silence():
    rng = np.random.default_rng(0)
    labels = np.r_[np.zeros(300, int), 1, 1]
    rows = rng.normal(size=(302, 4))
    rows[300:] = 1.0
    wrong = np.r_[rng.random(300) < 0.2, True, False]
    finder = FailureFinder(random_state=0, progress=False).fit(evaluation_of(rows, wrong, labels=labels))
    assert finder.status_ == ["searched", "one_direction"]


def test_copies_are_dealt_to_one_part_and_discrete_rows_one_by_one():
    contents = np.repeat(np.arange(100), 3)
    parts = dealt(np.random.default_rng(0).permutation(300), contents, 3)
    assert all(len(set(parts[contents == one])) == 1 for one in range(100))
    assert sorted(np.bincount(parts).tolist()) == [99, 99, 102]
    heavy = np.where(np.arange(300) < 150, 0, np.arange(300) // 2)  # half of them blank, the others in pairs
    parts = dealt(np.random.default_rng(0).permutation(300), heavy, 3)
    assert np.ptp(np.bincount(parts)) <= 2 and np.ptp(np.bincount(parts[:150])) <= 25
    assert all(parts[i] == parts[i + 1] for i in range(150, 300, 2))
    discrete = np.arange(300) % 4
    assert np.bincount(dealt(np.random.default_rng(0).permutation(300), discrete, 3)).tolist() == [100, 100, 100]


def test_losses_alone_are_sent_to_the_spotlight_and_arrays_to_evaluate():
    with pytest.raises(ValueError, match="has losses only: give it labels, or look for high losses with Spotlight"):
        FailureFinder().fit(Evaluation(np.eye(4), losses=np.ones(4)))
    with pytest.raises(TypeError, match=r"takes an Evaluation, not ndarray: make one with failviz\.evaluate"):
        FailureFinder().fit(np.eye(4))


def test_a_bad_q_is_refused():
    evaluation, _ = planted(300)
    for q in (0, -1, 1.5, True, "a", float("nan")):
        with pytest.raises(ValueError, match="q must lie above 0 and be at most 1"):
            FailureFinder(q=q).fit(evaluation)


def test_losses_and_metadata_are_read_and_not_needed(monkeypatch):
    evaluation, _ = planted(900, shift=5.0)
    read = []
    monkeypatch.setattr(Spotlight, "fit", lambda self, e, fit=Spotlight.fit: read.append(e.losses) or fit(self, e))
    FailureFinder(random_state=0, progress=False).fit(evaluation)
    assert len(read) == 4 and np.array_equal(np.sort(read[0]), np.sort(evaluation.losses))
    bare = Evaluation(evaluation.space(), labels=evaluation.labels, predictions=evaluation.predictions)
    finder = FailureFinder(random_state=0, progress=False).fit(bare)
    assert {one.method for one in finder.candidates_}.isdisjoint({"spotlight", "metadata rule"})
    assert finder.candidates_


def test_status_says_which_classes_were_searched():
    rng = np.random.default_rng(0)
    n_errors, sizes = [60, 8, 7, 43, 0, 50], [200, 200, 200, 50, 50, 50]
    labels = np.repeat(np.arange(6), sizes)
    wrong = np.concatenate([np.arange(size) < n for n, size in zip(n_errors, sizes, strict=True)])
    finder = FailureFinder(random_state=0, progress=False)
    finder.fit(evaluation_of(rng.normal(size=(750, 5)), wrong, n_classes=7, labels=labels))
    assert finder.status_[:4] == ["searched", "searched", "one_direction", "one_direction"]
    assert finder.status_[4:] == ["too_few_errors", "too_few_correct", "empty"]


def test_rows_of_equal_embedding_may_come_in_any_order():
    rng = np.random.default_rng(0)
    kinds, labels = rng.integers(40, size=900), rng.integers(2, size=900)
    wrong = rng.random(900) < np.where(kinds < 6, 0.5, 0.1)
    evaluation = evaluation_of(rng.normal(size=(40, 4))[kinds], wrong, labels=labels, losses=rng.random(900) + wrong)
    order = rng.permutation(900)
    first, second = (
        FailureFinder(q=1, random_state=0, progress=False).fit(one) for one in (evaluation, evaluation.take(order))
    )
    assert np.array_equal(first.p_values_, second.p_values_)
    np.testing.assert_allclose(first.decision_function(evaluation), second.decision_function(evaluation), rtol=1e-6)


def test_slices_over_all_classes_take_every_fourth_place_unless_they_say_nothing_new():
    rows = np.arange(100)
    members = {f"w{n}": rows // 10 == n for n in range(5)}  # ten failures each
    members |= {
        "new": rows >= 60,
        "old": rows < 20,
        "whole": rows < 31,  # all that is shown, and one more
        "half": (rows < 15) | (rows >= 90),
        "w0 again": rows < 9,
        "w1 again": (rows >= 10) & (rows < 19),
        "w4 again": (rows >= 40) & (rows < 49),
        "nothing": rows < 0,
    }
    names = list(members)
    judged = [judged_of(rows, mask) for mask in members.values()]

    def order(within, *over_all):
        those = [[Choice(names.index(name), None, 1, 1, 0.0, 0.0) for name in group] for group in (within, over_all)]
        return [names[one.number] for one in listed(*those, judged, rows >= 0)]

    within = [f"w{n}" for n in range(5)]
    assert order(within, "new") == ["w0", "w1", "w2", "new", "w3", "w4"]
    assert order(within, "old", "new") == ["w0", "w1", "w2", "new", "w3", "w4", "old"]
    assert order(within, "whole") == ["w0", "w1", "w2", "whole", "w3", "w4"]
    assert order(within, "half") == ["w0", "w1", "w2", "half", "w3", "w4"]
    assert order(within, "new", "old") == ["w0", "w1", "w2", "new", "w3", "w4", "old"]
    assert order([], "old", "new") == ["old", "new"]
    assert order(within[:3], "old", "new") == [*within[:3], "new", "old"]
    assert order(within) == within
    assert order(within[:1], "w0 again", "new") == ["w0", "new"]
    assert order(within, "w4 again") == ["w0", "w1", "w2", "w4 again", "w3"]
    assert order(within, "w1 again", "new") == ["w0", "w1", "w2", "new", "w3", "w4"]
    assert order(within[:1], "nothing") == ["w0", "nothing"]
    judged[names.index("old")] = dataclasses.replace(
        judged[names.index("old")], own=members["w0"]
    )  # but as it is shown
    assert order(within, "old") == within


def test_the_same_members_are_listed_once_in_whatever_scope():
    rng = np.random.default_rng(0)
    rows, hard = rng.normal(size=(900, 8)), np.arange(900) < 120
    rows[hard] += 2
    wrong = rng.random(900) < np.where(hard, 0.6, 0.05)
    evaluation = evaluation_of(rows, wrong)  # one class: within it and over all is the same
    slices = FailureFinder(random_state=0, progress=False).fit(evaluation).slices(evaluation)
    assert slices and all(one.jaccard(other) <= 0.8 for k, one in enumerate(slices) for other in slices[:k])


def test_what_is_tested_is_what_is_returned(fitted, two_failures):
    """Facts of a slice are those of members of the size that it has."""
    fit = two_failures[0]
    for one in fitted.slices(fit):
        assert one.stats["cross_fitted_n"] == pytest.approx(len(one), rel=0.5, abs=15)


def test_a_cut_is_of_the_size_that_was_tested_on_other_data_too(monkeypatch):
    """In many dimensions a direction holds on to the errors that it has seen; they lie further out than any others."""
    monkeypatch.setattr("failviz.discovery.choosing.CLEAR", 2.0)  # no borders of groups
    ratios = []
    for seed in range(4):
        rows, wrong, _ = cloud(2400, 256, seed=seed, share=0.15, shift=6.0)
        both = evaluation_of(rows, wrong)
        fit, test = both.take(np.arange(400)), both.take(np.arange(400, 2400))
        finder = FailureFinder(q=1, max_slices=6, random_state=0, progress=False).fit(fit)
        for one, candidate in zip(finder.slices(test), finder.candidates_, strict=True):
            if candidate.method == "failure direction":
                ratios.append((len(one) / 2000 + 0.002) / (one.stats["cross_fitted_n"] / 400 + 0.002))
    assert len(ratios) >= 12
    assert np.abs(np.log(ratios)).mean() < 0.35  # cut at a quantile of scores in-sample: 0.57, and some are empty


def test_rows_alike_belong_or_not_in_whatever_company():
    rng = np.random.default_rng(0)
    distinct = rng.normal(size=(12, 6))
    for seed in range(3):
        kinds = np.random.default_rng(seed).integers(12, size=900)
        wrong = np.random.default_rng(seed).random(900) < np.where(kinds < 3, 0.5, 0.1)
        evaluation = evaluation_of(distinct[kinds], wrong)
        finder = FailureFinder(q=1, max_slices=6, random_state=0, progress=False).fit(evaluation)
        whole = finder.slices(evaluation)
        for i in range(12):
            row = int(np.flatnonzero(kinds == i)[0])
            for one, alone in zip(whole, finder.slices(evaluation.take([row])), strict=True):
                assert set(one.is_member[kinds == i]) == set(alone.is_member)


def test_classes_that_are_wrong_at_rates_of_their_own_are_no_failure():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=3000)
    rows = rng.normal(size=(3000, 8)) + 2.0 * labels[:, None]
    wrong = rng.random(3000) < np.array([0.05, 0.15, 0.45])[labels]
    evaluation = evaluation_of(rows, wrong, n_classes=3, labels=labels, losses=wrong + 0.1)
    assert FailureFinder(random_state=0, progress=False).fit(evaluation).candidates_ == []


def test_copies_are_judged_by_no_search_that_has_seen_them(monkeypatch):
    rows, wrong, _ = cloud(300, 8)
    twice, parts = np.repeat(np.arange(300), 2), []
    monkeypatch.setattr(
        "failviz.discovery.finder.judge", lambda *given, judge=judge: parts.append(given[4]) or judge(*given)
    )
    evaluation = evaluation_of(rows[twice], wrong[twice])
    FailureFinder(random_state=0, progress=False).fit(evaluation)
    for folds in parts:  # in the order of the fit, where copies stand side by side
        assert np.array_equal(folds[::2], folds[1::2])


def test_borders_of_rare_groups_hold_where_a_part_of_the_others_was_looked_at(monkeypatch):
    rows, wrong, hidden = cloud(24_000, 8, share=0.02, inside=0.4, outside=0.002)

    def precision():
        groups = propose(evaluation_of(rows, wrong), np.arange(24_000), "all", "embedding", 0)
        best = max(
            (one for one in groups if one.method == HIDDEN_GROUP), key=lambda one: hidden[one.place(rows) > 0].sum()
        )
        return hidden[best.place(rows) > 0].mean(), (best.place(rows) > 0).sum()

    whole = precision()
    monkeypatch.setattr("failviz.discovery.candidates.MOST_ROWS", 3000)
    part = precision()
    assert part[0] > whole[0] - 0.05 and part[1] == pytest.approx(whole[1], rel=0.2)


class Locked:
    """Pictures that cannot be sent to another process."""

    def __init__(self):
        self.lock = threading.Lock()

    def __len__(self):
        return 600

    def __getitem__(self, i):
        return np.zeros((4, 4, 3), dtype=np.uint8)


def test_pictures_stay_at_home():
    rows, wrong, _ = cloud(600, 8)
    evaluation = evaluation_of(rows, wrong, source=Locked())
    with pytest.raises(TypeError, match="lock"):
        pickle.dumps(evaluation)
    alone = FailureFinder(random_state=0, progress=False).fit(evaluation)
    with joblib.parallel_config(backend="loky", n_jobs=2):
        elsewhere = FailureFinder(random_state=0, progress=False).fit(evaluation)
    assert np.array_equal(alone.decision_function(evaluation), elsewhere.decision_function(evaluation))


def test_a_name_is_numbered_when_it_comes_again_and_not_when_it_begins_another():
    finder = FailureFinder(random_state=0, progress=False)
    words = ["ground is grass, wet", "ground is grass", None, "ground is grass", None, "hardest, 2", None]
    finder.candidates_ = [Candidate(("label", 0), "m", None, name=name) for name in words]
    names = finder._names(evaluation_of(np.eye(4), np.zeros(4, bool)))
    assert names == [
        "kind 0: ground is grass, wet",
        "kind 0: ground is grass",
        "kind 0: hardest",
        "kind 0: ground is grass, 2",
        "kind 0: hardest, 2",
        "kind 0: hardest, 2, 2",
        "kind 0: hardest, 3",
    ]


def test_names_speak_of_the_class_and_of_the_rule(two_failures):
    ranked = FailureFinder(q=1, max_slices=20, random_state=0, progress=False).fit(two_failures[0])
    names = [one.name for one in ranked.slices(two_failures[1])]
    assert all(name.startswith(("kind 0: ", "kind 1: ", "all classes: ")) for name in names)
    assert not any("right" in name for name in names)
    assert len(set(names)) == len(names)


def test_what_was_found_can_be_sent_to_another_process(fitted, two_failures):
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.decision_function(two_failures[1]), fitted.decision_function(two_failures[1]))


def test_a_large_scope_is_searched_in_part(monkeypatch):
    rows, wrong, _ = cloud(1500, 6)
    looked_at = []
    monkeypatch.setattr("failviz.discovery.candidates.MOST_ROWS", 400)
    monkeypatch.setattr(Whitened, "of", classmethod(lambda cls, e, of=Whitened.of: looked_at.append(len(e)) or of(e)))
    assert propose(evaluation_of(rows, wrong), np.arange(1500), "all", "embedding", 0)
    assert looked_at == [400]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"q": 0}, "q must"),
        ({"q": 1.5}, "q must"),
        ({"q": "all"}, "q must"),
        ({"q": True}, "q must"),
        ({"max_slices": 0}, "max_slices must"),
        ({"max_slices": 2.5}, "max_slices must"),
    ],
)
def test_wrong_settings_are_refused_at_fit(settings, words):
    with pytest.raises((ValueError, TypeError), match=words):
        FailureFinder(**settings, progress=False).fit(planted(200)[0])
