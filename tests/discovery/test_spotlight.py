"""Spotlight: the climbs, and the obvious case."""

import numpy as np
import pytest
from discovery_cases import planted
from scipy.optimize import approx_fprime
from spotlight_cases import blobs

from failviz.discovery import Spotlight
from failviz.discovery.spotlight_level import (
    Cloud,
    Scaling,
    flags_of_product,
    level_ascent,
    mean_shift,
    squared_distances,
)
from failviz.discovery.spotlight_size import exact_tau
from failviz.evaluation import Evaluation


def test_ascent_is_the_gradient_at_exact_size():
    x, losses, _ = blobs(200, 5)
    cloud = Cloud(Scaling.fit(x)(x), losses)

    def objective(mu):
        distances = squared_distances(cloud.rows.astype(np.float64), mu)[None]
        kernel = np.maximum(0, 1 - exact_tau(distances, 20.0)[:, None] * distances)[0]
        return kernel @ losses / 20.0

    mu = np.random.default_rng(1).normal(size=5) * 0.3
    distances = cloud.distances(mu[None])
    ascent = cloud.ascent(mu[None], distances, cloud.kernel(distances, exact_tau(distances, 20.0)))[0]
    numeric = approx_fprime(mu, objective, 1e-6)
    assert ascent @ numeric / np.linalg.norm(ascent) / np.linalg.norm(numeric) > 0.9999


@pytest.mark.parametrize("climb", [level_ascent, mean_shift])
def test_centres_do_not_depend_on_their_batch(climb):
    x, losses, _ = blobs()
    cloud = Cloud(Scaling.fit(x)(x), losses)
    starts = cloud.rows[:5].astype(np.float64)
    together = climb(cloud, starts, 20.0, anchors=starts, confine=1.0, shrink=True)
    alone = climb(cloud, starts[2:3], 20.0, anchors=starts[2:3], confine=1.0, shrink=True)
    np.testing.assert_allclose(together[2:3], alone, atol=1e-3)


def test_level_ascent_never_ends_below_its_start():
    x, losses, _ = blobs()
    cloud = Cloud(Scaling.fit(x)(x), losses)
    starts = cloud.rows[:16].astype(np.float64)

    def objective(centres):
        distances = cloud.distances(centres)
        return cloud.mean_loss(cloud.kernel(distances, exact_tau(distances, 20.0)))

    ends = level_ascent(cloud, starts, 20.0, anchors=starts, confine=None, shrink=False)
    assert (objective(ends) >= objective(starts)).all()


@pytest.mark.parametrize("confine", [0.1, 0.5])
def test_confined_centres_stay_near_their_anchors(confine):
    x, losses, _ = blobs()
    cloud = Cloud(Scaling.fit(x)(x), losses)
    starts = cloud.rows[:8].astype(np.float64)
    for climb in (level_ascent, mean_shift):
        ends = climb(cloud, starts, 20.0, anchors=starts, confine=confine, shrink=True)
        assert (np.linalg.norm(ends - starts, axis=1) <= confine * (1 + 1e-9)).all()


@pytest.mark.parametrize("min_weight", [0.05, 30, 1])
def test_total_weight_is_exactly_what_was_asked(min_weight):
    x, losses, _ = blobs()
    evaluation = Evaluation(x, losses=losses)
    finder = Spotlight(n_slices=3, min_weight=min_weight, random_state=0, progress=False).fit(evaluation)
    weights = np.maximum(0, finder.decision_function(evaluation))
    np.testing.assert_allclose(weights.sum(axis=0), min_weight * 600 if min_weight < 1 else min_weight, rtol=1e-6)


def test_planted_cluster_is_found_on_unseen_rows():
    x, losses, hard = blobs(2000)
    train, test = Evaluation(x[:1000], losses=losses[:1000]), Evaluation(x[1000:], losses=losses[1000:])
    finder = Spotlight(n_slices=1, min_weight=0.04, random_state=0, progress=False).fit(train)
    one = finder.slices(test)[0]
    assert hard[1000:][np.argsort(-one.scores)[:25]].mean() > 0.9
    assert one.weights.max() <= 1
    assert hard[1000:][one.is_member].mean() > 0.9


def test_a_failure_cluster_far_from_the_rest_is_reached():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    x[:40] += 6
    finder = Spotlight(n_slices=1, min_weight=0.05, random_state=0, progress=False)
    finder.fit(Evaluation(x, losses=(np.arange(400) < 40) * 1.0))
    assert (finder.centers_[0] > 3).all()


def test_second_spotlight_looks_elsewhere():
    x, losses, hard = blobs(1500)
    elsewhere = squared_distances(x, x[~hard][0]) < np.quantile(squared_distances(x, x[~hard][0]), 0.06)
    losses = np.where(elsewhere, 2.0, losses)
    evaluation = Evaluation(x, losses=losses)
    first, second = (
        Spotlight(n_slices=2, min_weight=0.03, random_state=0, progress=False).fit(evaluation).slices(evaluation)
    )
    assert first.jaccard(second) < 0.5
    found = {bool(hard[one.is_member].mean() > 0.5) for one in (first, second)}
    assert found == {True, False}


def test_scale_and_place_of_the_embeddings_do_not_matter():
    x, losses, _ = blobs()
    weights = []
    for rows in (x, 100 * x, 0.01 * x + 3):
        evaluation = Evaluation(rows, losses=losses)
        finder = Spotlight(n_slices=1, random_state=0, progress=False).fit(evaluation)
        weights.append(finder.slices(evaluation)[0].weights)
    assert np.corrcoef(weights[0], weights[1])[0, 1] > 0.999
    assert np.corrcoef(weights[0], weights[2])[0, 1] > 0.999


def test_one_huge_loss_does_not_win():
    x, losses, hard = blobs(1000)
    losses = losses.copy()
    losses[np.flatnonzero(~hard)[0]] = 1e4
    evaluation = Evaluation(x, losses=losses)
    finder = Spotlight(n_slices=1, min_weight=0.03, random_state=0, progress=False).fit(evaluation)
    assert hard[finder.slices(evaluation)[0].is_member].mean() > 0.9


@pytest.mark.parametrize("value", [0.0, 1.5])
def test_equal_losses_give_a_slice_and_no_preference(value):
    evaluation = Evaluation(blobs(100)[0], losses=np.full(100, value))
    finder = Spotlight(n_slices=2, random_state=0, progress=False).fit(evaluation)
    assert np.isfinite(finder.decision_function(evaluation)).all()
    assert finder.objectives_[0] == pytest.approx(value)


def test_stats_separate_training_from_held_out():
    evaluation = planted()[0]
    finder = Spotlight(n_slices=1, random_state=0, progress=False).fit(evaluation)
    stats = finder.slices(evaluation)[0].stats
    assert stats["held_out_objective"] == finder.held_out_[0]
    assert stats["fit_weight"] == pytest.approx(12, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_slices": 0}, "n_slices must"),
        ({"min_weight": 0}, "min_weight must"),
        ({"min_weight": 601}, "more than the 600 examples"),
        ({"confine": -1.0}, "confine must"),
        ({"loss_clip": 2.0}, "loss_clip must"),
        ({"solver": "newton"}, "solver must"),
        ({"solver": "adam", "confine": 0.5}, "has no confine"),
        ({"solver": "adam", "n_starts": 3}, "solver='adam' has no n_starts: leave it out, or use solver='level'"),
        ({"barrier_scale": 10.0}, "solver='level' has no barrier_scale: leave it out, or use solver='adam'"),
        ({"solver": "adam", "barrier_scale": 0}, "barrier_scale must be above 0"),
    ],
)
def test_wrong_settings_are_refused_at_fit(settings, words):
    with pytest.raises(ValueError, match=words):
        Spotlight(**settings).fit(planted()[0])


def test_wrong_data_are_refused():
    x, losses, _ = blobs(100)
    with pytest.raises(ValueError, match="at least 4 examples"):
        Spotlight(min_weight=1).fit(Evaluation(x[:3], losses=losses[:3]))
    with pytest.raises(ValueError, match="0 or more"):
        Spotlight().fit(Evaluation(x, losses=losses - 5))
    with pytest.raises(ValueError, match="within reach of the published start"):
        Spotlight(solver="adam", progress=False).fit(Evaluation(x + 1000, losses=losses))


@pytest.mark.parametrize("settings", [{"min_weight": "a"}, {"min_weight": None}, {"confine": "x"}, {"confine": [1.0]}])
def test_settings_that_are_no_numbers_are_refused_in_a_sentence(settings):
    x, losses, _ = blobs()
    with pytest.raises(ValueError, match=next(iter(settings))):
        Spotlight(**settings).fit(Evaluation(x, losses=losses))


def test_losses_of_any_unit_give_the_same_spotlight():
    x, losses, _ = blobs()
    found = [
        Spotlight(n_slices=1, random_state=0, progress=False).fit(Evaluation(x, losses=losses * unit)).centers_
        for unit in (1.0, 2.0**100, 2.0**-60)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


def test_only_products_of_finite_rows_may_not_report_an_invalid_operation():
    finite, holes = np.ones(3, np.float32), np.array([1, np.inf, np.nan], np.float32)
    with np.errstate(invalid="raise"):
        with flags_of_product(finite, finite):
            assert np.geterr()["invalid"] == "ignore" != np.geterr()["over"]
        for lengths in ((finite, holes[:2]), (holes[1:], finite)):
            with flags_of_product(*lengths):
                assert np.geterr()["invalid"] == "raise"
        with pytest.raises(FloatingPointError, match="invalid"):
            Cloud(np.zeros((4, 5), np.float32), np.ones(4)).distances(np.full((1, 5), np.inf))
