"""Ellipsoids: the shrunken covariance, its frame, and when a shape of its own is kept."""

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from spotlight_cases import blobs, kernel_of

from failviz.discovery import Spotlight
from failviz.discovery.spotlight_ellipsoid import Frame, quadratic_distances, shrunken_covariance
from failviz.discovery.spotlight_level import Cloud, Scaling, squared_distances
from failviz.evaluation import Evaluation


@pytest.mark.parametrize(("n", "d"), [(20, 4), (60, 30), (200, 3)])
def test_covariance_of_equal_weights_is_that_of_ledoit_and_wolf(n, d):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(n, d)) * rng.uniform(0.3, 2, d) + 5
    expected, shrinkage = ledoit_wolf(rows)
    assert shrinkage > 0.01
    np.testing.assert_allclose(shrunken_covariance(rows, np.full(n, 0.3)), expected, atol=1e-10)


def test_covariance_counts_weights_and_shrinks_more_for_fewer_rows():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2000, 3)) * [1, 1, 4]
    weights = np.where(np.arange(2000) < 1000, 1e-9, 1.0)
    np.testing.assert_allclose(
        shrunken_covariance(rows, weights), shrunken_covariance(rows[1000:], np.ones(1000)), rtol=1e-5, atol=1e-5
    )
    ratios = []
    for n in (6, 100):
        values = np.linalg.eigvalsh(shrunken_covariance(rows, np.where(np.arange(2000) < n, 1.0, 0.0)))
        ratios.append(values[-1] / values[0])
    assert ratios[0] < 0.6 * ratios[1]


def test_rows_without_extent_have_no_frame():
    same = np.repeat([[1.0, 2.0]], 8, axis=0).astype(np.float32)
    assert not shrunken_covariance(same, np.ones(8)).any()
    assert Frame.of(Cloud(same, np.ones(8)), np.ones(8)) is None
    assert Frame.of(Cloud(same, np.ones(8)), np.zeros(8)) is None


def test_a_frame_makes_the_ellipsoid_a_sphere():
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    rows = (rng.normal(size=(1000, 5)) * [0.5, 1.0, 1.0, 2.0, 3.0] @ turn).astype(np.float32)
    scaled = Scaling.fit(rows)(rows)
    frame = Frame.of(Cloud(scaled, np.ones(1000)), np.ones(1000))
    upright = frame(scaled)
    spread = np.linalg.eigvalsh(np.cov(upright.T))
    assert spread[-1] < 1.2 * spread[0]
    assert np.linalg.cond(np.cov(scaled.T)) > 20
    centre = upright[3].astype(np.float64)
    np.testing.assert_allclose(frame.undo(centre[None])[0], scaled[3], atol=1e-4)
    distances = quadratic_distances(scaled, frame.undo(centre[None])[0], frame.precision)
    np.testing.assert_allclose(distances, squared_distances(upright, centre), rtol=1e-3, atol=1e-3)


def long_clusters(n, d, seed):
    """Clusters stretched along an eighth of the directions, each along others; losses high in one."""
    rng = np.random.default_rng(seed)
    cluster = rng.choice(10, n, p=np.r_[0.06, np.full(9, 0.94 / 9)])
    spread = np.where(np.arange(d) < d // 8, 2.5, 0.4)
    x = np.empty((n, d))
    for c in range(10):
        rows = cluster == c
        turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
        x[rows] = 5 * rng.normal(size=d) / np.sqrt(d) + (rng.normal(size=(rows.sum(), d)) * spread) @ turn
    wrong = rng.random(n) < np.where(cluster == 0, 0.7, 0.1)
    return x.astype(np.float32), np.where(wrong, rng.gamma(4.0, 0.5, n), rng.gamma(1.0, 0.1, n))


def fitted(evaluation, **settings):
    return Spotlight(n_slices=1, min_weight=0.04, random_state=0, progress=False, **settings).fit(evaluation)


@pytest.mark.parametrize("seed", [0, 1])
def test_an_ellipsoid_is_better_on_unseen_losses_where_failures_are_long(seed):
    x, losses = long_clusters(4000, 32, seed)
    train, unseen = Evaluation(x[:2000], losses=losses[:2000]), Evaluation(x[2000:], losses=losses[2000:])
    means = []
    for kernel in ("spherical", "full"):
        finder = fitted(train, kernel=kernel)
        weights = np.maximum(0, finder.decision_function(unseen)[:, 0])
        means.append(weights @ unseen.losses / weights.sum())
    assert means[1] > means[0] + 0.1
    assert finder.methods_[0].endswith(", ellipsoid")
    assert finder.precisions_.shape == (1, 32, 32)
    values = np.linalg.eigvalsh(finder.precisions_[0])
    assert 0 < values[0] < 0.2 * values[-1]
    inside = kernel_of(train.space().astype(np.float64), finder.centers_[0], finder.precisions_[0])
    assert inside.sum() == pytest.approx(0.04 * 2000, rel=1e-6)
    np.testing.assert_allclose(np.maximum(0, finder.decision_function(train)[:, 0]), inside, atol=1e-9)


def test_the_shape_is_taken_anew_as_long_as_unseen_losses_gain(monkeypatch):
    x, losses = long_clusters(2000, 32, 0)
    evaluation, found = Evaluation(x, losses=losses), []
    for n_rounds in (1, 3):
        monkeypatch.setattr("failviz.discovery.spotlight_search.N_ROUNDS", n_rounds)
        found.append(fitted(evaluation, kernel="full"))
    assert found[1].held_out_[0] > found[0].held_out_[0] + 0.001
    assert np.abs(found[1].precisions_ / found[0].precisions_ - 1).max() > 0.1


def test_the_sphere_is_kept_where_nothing_speaks_for_a_shape():
    x, losses, _ = blobs(800, 64)
    evaluation = Evaluation(x, losses=losses)
    sphere, full = (fitted(evaluation, kernel=kernel) for kernel in ("spherical", "full"))
    assert full.methods_ == sphere.methods_
    np.testing.assert_allclose(full.precisions_[0], sphere.precisions_[0] * np.eye(64), rtol=1e-12)
    decisions = [one.decision_function(evaluation) for one in (sphere, full)]
    np.testing.assert_allclose(*decisions, atol=1e-9)


@pytest.mark.parametrize("size", ["exact", "at_least"])
def test_an_ellipsoid_does_not_depend_on_scale_and_place(size):
    x, losses = long_clusters(1000, 16, 0)
    weights = []
    for rows in (x, 100 * x + 30):
        finder = fitted(Evaluation(rows, losses=losses), kernel="full", size=size)
        assert finder.methods_[0].endswith(", ellipsoid")
        weights.append(finder.slices(Evaluation(rows, losses=losses))[0].weights)
    assert np.corrcoef(*weights)[0, 1] > 0.999


def test_equal_rows_give_a_slice():
    evaluation = Evaluation(np.repeat([[1.0, 2.0, 3.0]], 20, axis=0), losses=np.arange(20.0))
    finder = fitted(evaluation, kernel="full")
    assert finder.precisions_.shape == (1, 3, 3)
    assert np.isfinite(finder.decision_function(evaluation)).all()


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match='kernel must be "spherical" or "full", not \'diagonal\''):
        Spotlight(kernel="diagonal").fit(Evaluation(np.eye(8), losses=np.ones(8)))
