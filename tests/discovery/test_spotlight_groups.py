"""Spotlights within classes, and spotlights on low losses."""

import numpy as np
import pytest
from discovery_cases import planted
from sklearn.base import clone
from spotlight_cases import blobs

from failviz.discovery import Spotlight
from failviz.evaluation import Evaluation
from failviz.slices import scope_mask
from failviz.verification import verify


def by(group_by, n_slices=3, **settings):
    settings = {"min_weight": 0.1, "random_state": 0, "progress": False, **settings}
    return Spotlight(n_slices=n_slices, group_by=group_by, **settings)


@pytest.fixture(scope="module")
def halves():
    return planted(1200)[0].split(0.5, random_state=0)


@pytest.mark.parametrize("group_by", ["label", "prediction"])
def test_each_class_is_searched_as_if_it_were_all(group_by, halves):
    grouped = by(group_by, n_slices=6).fit(halves[0])
    for c in range(3):
        part = halves[0].take(scope_mask((group_by, c), halves[0]))
        alone = by(None, n_slices=6).fit(part)
        columns = [j for j, scope in enumerate(grouped.scopes_) if scope == (group_by, c)]
        for j in columns:
            same = np.flatnonzero((alone.centers_ == grouped.centers_[j]).all(axis=1))
            assert len(same) == 1
            assert alone.precisions_[same[0]] == grouped.precisions_[j]
            assert alone.held_out_[same[0]] == grouped.held_out_[j]


@pytest.mark.parametrize("group_by", ["label", "prediction"])
def test_slices_lie_within_their_class_and_find_what_fails_there(group_by, halves):
    finder = by(group_by).fit(halves[0])
    slices = finder.slices(halves[1])
    assert len(slices) == len(finder.scopes_) == 3
    assert [one.scope for one in slices] == finder.scopes_
    for one in slices:
        inside = scope_mask(one.scope, halves[1])
        assert np.array_equal(np.isfinite(one.scores), inside)
        assert not one.weights[~inside].any()
    if group_by == "label":
        assert slices[0].scope == ("label", 1)
        assert slices[0].name == "kind 1: spotlight 1"
        assert verify(finder, halves[1]).confirmed
    else:
        assert slices[0].name.startswith("predicted kind ")
    assert len({one.name for one in slices}) == 3


def test_spotlights_of_all_classes_are_ranked_by_what_they_add(halves):
    every, few = by("label", n_slices=4).fit(halves[0]), by("label", n_slices=4, kernel="full").fit(halves[0])
    losses, labels = halves[0].losses, halves[0].labels
    for finder in (every, few):
        clipped = [
            np.minimum(one, np.quantile(one, 0.999, method="lower")) for one in (losses[labels == c] for c in range(3))
        ]
        gains = [
            one.stats["fit_weight"] * (one.stats["held_out_objective"] - clipped[one.scope[1]].mean())
            for one in finder.slices(halves[0])
        ]
        assert (np.diff(gains) <= 1e-9).all()
        assert gains[0] > 0
    assert by("label", n_slices=1).fit(halves[0]).scopes_ == every.scopes_[:1]


def test_a_large_class_outranks_a_small_one_that_fails_a_little_more():
    x = blobs(1000, 4)[0]
    labels = np.where(np.arange(1000) < 200, 0, 1)
    fails = (x[:, 0] > np.quantile(x[:, 0], 0.8)) * np.where(labels == 0, 1.3, 1.0)
    finder = by("label", n_slices=1).fit(Evaluation(x, losses=fails, labels=labels))
    assert finder.scopes_ == [("label", 1)]
    assert finder.status_ == ["outranked", "fitted"]


def test_status_says_which_classes_have_none():
    x, losses, _ = blobs(400, 4)
    labels = np.repeat([0, 1, 3], [200, 197, 3])
    losses = np.where(labels == 0, losses + (x[:, 0] > 2), 0.1)
    evaluation = Evaluation(x, losses=losses, labels=labels, class_names=list("abcde"))
    finder = by("label", n_slices=1).fit(evaluation)
    assert finder.status_ == ["fitted", "outranked", "empty", "too_few_examples", "empty"]
    assert finder.scopes_ == [("label", 0)]
    assert by("label", min_weight=198).fit(evaluation).status_[:2] == ["fitted", "too_few_examples"]
    assert by(None).fit(evaluation).status_ == []


@pytest.mark.parametrize("kernel", ["spherical", "full"])
def test_no_class_large_enough_gives_no_slices(kernel):
    evaluation = Evaluation(np.eye(6), losses=np.ones(6), labels=np.arange(6) // 2)
    finder = by("label", kernel=kernel).fit(evaluation)
    assert finder.slices(evaluation) == []
    assert finder.decision_function(evaluation).shape == (6, 0)
    assert finder.precisions_.shape == ((0,) if kernel == "spherical" else (0, 6, 6))
    assert finder.status_ == ["too_few_examples"] * 3


def test_weights_decide_how_large_a_class_is():
    x, losses, _ = blobs(400, 4)
    labels, weights = np.arange(400) % 2, np.where(np.arange(400) % 2, 3.0, 0.1)
    finder = by("label", min_weight=30).fit(Evaluation(x, losses=losses, labels=labels, weights=weights))
    assert finder.status_ == ["too_few_examples", "fitted"]


def test_the_class_is_needed_to_fit_and_to_apply(halves):
    bare = Evaluation(halves[1].space(), losses=halves[1].losses, predictions=halves[1].predictions)
    finder = by("label")
    with pytest.raises(ValueError, match="Spotlight needs labels"):
        finder.fit(bare)
    finder.fit(halves[0])
    with pytest.raises(ValueError, match="Spotlight needs labels"):
        finder.decision_function(bare)
    finder.set_params(group_by="prediction")  # what counts is the fit
    with pytest.raises(ValueError, match="Spotlight needs labels"):
        finder.decision_function(bare)
    assert len(finder.fit(halves[0]).slices(bare)) == 3
    assert len(by(None).fit(bare).slices(Evaluation(bare.space()))) == 3


@pytest.mark.parametrize(
    "settings", [{}, {"group_by": "label", "prediction_entropy": 0.2}, {"label_entropy": 0.2, "kernel": "full"}]
)
def test_rows_of_equal_content_may_stand_in_any_order(settings):
    x, losses, _ = blobs(150, 3)
    rng = np.random.default_rng(0)
    x, losses = np.repeat(x, 4, axis=0), np.repeat(losses, 4)  # told apart by what else is read
    columns = {"labels": rng.integers(0, 2, 600), "predictions": rng.integers(0, 3, 600), "weights": rng.random(600)}
    evaluation = Evaluation(x, losses=losses, **columns)
    finder = Spotlight(2, min_weight=0.05, random_state=0, progress=False, **settings)
    first = clone(finder).fit(evaluation).decision_function(evaluation)
    second = clone(finder).fit(evaluation.take(rng.permutation(600))).decision_function(evaluation)
    np.testing.assert_allclose(first, second, rtol=1e-9)


def low_and_high(n=1200, seed=0):
    """Rows in six clusters: one of high losses, two of the lowest."""
    rng = np.random.default_rng(seed)
    place = np.arange(n) % 6
    x = (4 * np.random.default_rng(3).normal(size=(6, 4)))[place] + rng.normal(size=(n, 4))
    return x, np.array([2.0, 0.0, 0.0, 0.5, 0.5, 0.5])[place] + rng.gamma(1.0, 0.05, n), place


@pytest.mark.parametrize("kernel", ["spherical", "full"])
@pytest.mark.parametrize("size", ["exact", "at_least"])
def test_flipped_spotlights_find_where_losses_are_low_and_look_elsewhere(kernel, size):
    x, losses, place = low_and_high()
    evaluation = Evaluation(x, losses=losses)
    settings = {"min_weight": 0.1, "kernel": kernel, "size": size, "random_state": 0, "progress": False}
    worst = Spotlight(1, **settings).fit(evaluation).slices(evaluation)[0]
    finder = Spotlight(2, flip=True, **settings).fit(evaluation)
    best = finder.slices(evaluation)
    assert (place[worst.is_member] == 0).all()
    assert sorted(np.bincount(place[one.is_member]).argmax() for one in best) == [1, 2]
    assert worst.name == "spotlight 1"
    assert best[0].name == "low-loss spotlight 1"
    assert {one.method for one in best} == {"low-loss spotlight"}
    assert finder.objectives_[0] == pytest.approx(-best[0].stats["fit_mean_loss"], abs=0.01)
    assert finder.held_out_[0] == pytest.approx(finder.objectives_[0], abs=0.1)
    if size == "exact":
        assert best[0].stats["fit_weight"] == pytest.approx(0.1 * len(x))


def test_a_flipped_spotlight_is_not_confirmed_as_a_failure(halves):
    finder = Spotlight(2, min_weight=0.2, flip=True, random_state=0, progress=False).fit(halves[0])
    assert not verify(finder, halves[1]).confirmed
    assert finder.score(halves[1]) < 1


def test_one_huge_loss_does_not_hide_where_losses_are_low():
    x, losses, place = low_and_high()
    losses[0] = 1e6
    finder = Spotlight(1, min_weight=0.1, flip=True, random_state=0, progress=False)
    assert np.isin(place[finder.fit(Evaluation(x, losses=losses)).slices(Evaluation(x))[0].is_member], (1, 2)).all()


@pytest.mark.parametrize("setting", [{"group_by": "class"}, {"flip": 1}, {"flip": None}, {"size": "most"}, {"size": 3}])
def test_other_choices_are_refused(setting, halves):
    name = next(iter(setting))
    with pytest.raises(ValueError, match=f"{name} must be .* or .*, not "):
        clone(Spotlight(progress=False)).set_params(**setting).fit(halves[0])


def test_the_published_optimiser_has_no_size(halves):
    with pytest.raises(ValueError, match="has no size"):
        Spotlight(solver="adam", size="at_least").fit(halves[0])


def test_the_published_optimiser_works_within_classes(halves, monkeypatch):
    monkeypatch.setattr("failviz.discovery.spotlight_search.STEPS", 300)
    finder = by("label", solver="adam").fit(halves[0])
    assert len(finder.scopes_) == 3
    assert np.isnan(finder.held_out_).all()
    c = finder.scopes_[0][1]
    part = halves[0].take(halves[0].labels == c)
    alone = by(None, n_slices=1, solver="adam").fit(part).decision_function(part)[:, 0]
    np.testing.assert_allclose(finder.decision_function(part)[:, 0], alone)
