"""The precision of a spotlight at a given centre: exact size, at least that size, and rows that stand for several."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime, brentq
from spotlight_cases import blobs

from failviz.discovery import Spotlight
from failviz.discovery.spotlight_entropy import EntropyPenalty, objective
from failviz.discovery.spotlight_level import Cloud, Scaling, level_ascent, mean_shift, squared_distances
from failviz.discovery.spotlight_size import EXACT, at_least_tau, exact_tau
from failviz.discovery.spotlight_starts import first_centres
from failviz.evaluation import Evaluation


@pytest.mark.parametrize("size", [1.0, 3.7, 20.0, 49.5])
def test_exact_tau_solves_for_the_size(size):
    distances = np.random.default_rng(0).gamma(3.0, size=(4, 50))
    for d, tau in zip(distances, exact_tau(distances, size), strict=True):
        assert np.maximum(0, 1 - tau * d).sum() == pytest.approx(size, rel=1e-9)
        root = brentq(lambda t, d=d: np.maximum(0, 1 - t * d).sum() - size, 0, 1e3, xtol=1e-14)
        assert tau == pytest.approx(root, rel=1e-6)


def test_exact_tau_of_equal_distances_and_of_everything():
    assert exact_tau(np.full((1, 10), 2.0), 5.0)[0] == pytest.approx(0.25)
    assert exact_tau(np.random.default_rng(0).random((1, 10)) + 0.1, 10.0)[0] == 0.0


def drawn(seed, n=40, n_classes=4):
    """Distances, losses, weights, classes of a few rows."""
    rng = np.random.default_rng(seed)
    return rng.gamma(3.0, size=n), rng.exponential(size=n), rng.uniform(0.2, 3.0, n), rng.integers(0, n_classes, n)


@pytest.mark.parametrize("size", [1.0, 7.3, 25.0])
def test_exact_tau_counts_weights(size):
    distances, _, weights, _ = drawn(0)
    tau = exact_tau(distances[None], size, weights)[0]
    assert weights @ np.maximum(0, 1 - tau * distances) == pytest.approx(size, rel=1e-9)


@pytest.mark.parametrize("with_classes", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_at_least_is_the_best_of_all_radii(seed, with_classes):
    distances, losses, weights, classes = drawn(seed)
    if seed < 4:  # otherwise the heart of a slice is seldom worse than what lies around it
        losses = losses * np.exp(-((distances - 3) ** 2))
    size = 4.0
    penalties = [EntropyPenalty.of(0.4, classes), EntropyPenalty.of(0.2, classes % 2)] if with_classes else []

    def at(tau):
        return objective(losses, weights * np.maximum(0, 1 - tau * distances), penalties)

    (tau,), (rim,) = at_least_tau(distances[None], size, losses, weights, penalties)
    smallest = exact_tau(distances[None], size, weights)[0]
    every = np.r_[0.0, np.linspace(0, smallest, 4001), 1 / distances[1 / distances < smallest]]
    best = max(at(one) for one in every)
    assert weights @ np.maximum(0, 1 - tau * distances) >= size * (1 - 1e-9)
    assert at(tau) == pytest.approx(best, rel=1e-9)
    if seed < 4:
        assert rim != EXACT
        assert at(tau) > at(smallest) + 1e-3
        assert tau in (0.0, pytest.approx(1 / distances[rim]))


def test_at_least_of_a_slice_best_at_its_heart_is_exact():
    distances, _, weights, _ = drawn(0)
    (tau,), (rim,) = at_least_tau(distances[None], 4.0, np.exp(-distances), weights)
    assert (tau, rim) == (exact_tau(distances[None], 4.0, weights)[0], EXACT)


def test_at_least_of_equal_losses_is_the_smallest():
    distances = np.random.default_rng(0).gamma(3.0, size=(3, 50))
    tau, rims = at_least_tau(distances, 5.0, np.full(50, 0.7))
    assert np.array_equal(tau, exact_tau(distances, 5.0, np.ones(50)))
    assert (rims == EXACT).all()


@pytest.mark.parametrize("with_classes", [False, True])
def test_ascent_is_the_gradient_where_a_row_makes_the_rim(with_classes):
    x, _, _ = blobs(200, 5)
    rng = np.random.default_rng(1)
    losses = rng.exponential(size=200)
    penalties = [EntropyPenalty.of(0.3, rng.integers(0, 3, 200))] if with_classes else []
    weights = rng.uniform(0.5, 1.5, 200)
    cloud = Cloud(Scaling.fit(x)(x), losses, weights=weights, penalties=penalties, at_least=True)

    def best(mu):
        distances = squared_distances(cloud.rows.astype(np.float64), mu)
        tau = at_least_tau(distances[None], 20.0, losses, weights, penalties)[0][0]
        return objective(losses, weights * np.maximum(0, 1 - tau * distances), penalties)

    n_rims = 0
    for mu in 0.5 * rng.normal(size=(12, 5)):
        distances = cloud.distances(mu[None])
        tau, rims = cloud.tau(distances, 20.0)
        if rims[0] != EXACT and tau[0] > 0:
            n_rims += 1
            ascent = cloud.ascent(mu[None], distances, cloud.kernel(distances, tau), rims)[0]
            numeric = approx_fprime(mu, best, 1e-7)
            assert ascent @ numeric / np.linalg.norm(ascent) / np.linalg.norm(numeric) > 0.999
    assert n_rims >= 4


@pytest.mark.parametrize("at_least", [False, True])
def test_a_row_of_weight_three_is_the_row_three_times(at_least):
    x, losses, _ = blobs(300)
    rng = np.random.default_rng(0)
    weights, classes = rng.integers(1, 4, 300), rng.integers(0, 3, 300)
    scaled, again = Scaling.fit(x)(x), np.repeat(np.arange(300), weights)
    penalty = EntropyPenalty.of(0.2, classes)
    once = Cloud(scaled, losses, weights=weights.astype(float), penalties=[penalty], at_least=at_least)
    repeated = Cloud(scaled[again], losses[again], penalties=[penalty.take(again)], at_least=at_least)
    assert once.total == repeated.total
    centres = scaled[np.argsort(-losses)[:6]].astype(np.float64)
    distances, kernels = [], []
    for cloud in (once, repeated):
        distances.append(cloud.distances(centres))
        kernels.append(cloud.kernel(distances[-1], cloud.tau(distances[-1], 30.0)[0]))
    np.testing.assert_allclose(kernels[0][:, again], kernels[1], atol=1e-5)
    np.testing.assert_allclose(once.mean_loss(kernels[0]), repeated.mean_loss(kernels[1]), rtol=1e-5)
    np.testing.assert_allclose(once.mean_row(centres, 30.0), repeated.mean_row(centres, 30.0), atol=1e-5)
    if not at_least:
        np.testing.assert_allclose(
            once.ascent(centres, distances[0], kernels[0]),
            repeated.ascent(centres, distances[1], kernels[1]),
            atol=1e-4,
        )
    for climb in (level_ascent, mean_shift):
        ends = [climb(one, centres, 30.0, anchors=centres, confine=1.0, shrink=True) for one in (once, repeated)]
        reached = [cloud.mean_loss(cloud.kernel(cloud.distances(end), cloud.tau(cloud.distances(end), 30.0)[0]))
                   for cloud, end in zip((once, repeated), ends, strict=True)]  # fmt: skip
        np.testing.assert_allclose(ends[0], ends[1], atol=0.01)
        np.testing.assert_allclose(*reached, atol=1e-3)


def test_the_error_of_the_mean_counts_rows_and_not_what_they_stand_for():
    x, losses, _ = blobs(300)
    scaled = Scaling.fit(x)(x)
    weights = np.random.default_rng(0).uniform(0.2, 3.0, 300)
    once, tenfold = (Cloud(scaled, losses, weights=unit * weights) for unit in (1.0, 10.0))
    kernel = once.kernel(once.distances(scaled[:1]), np.full(1, 0.3))
    mass = weights * kernel[0].astype(np.float64)
    expected = np.sqrt((mass**2) @ (losses - mass @ losses / mass.sum()) ** 2) / mass.sum()
    for cloud in (once, tenfold):
        assert cloud.mean_loss_error(kernel)[0] == pytest.approx(expected, rel=1e-4)


def fitted(evaluation, **settings):
    return Spotlight(n_slices=1, random_state=0, progress=False, **settings).fit(evaluation)


def test_the_whole_fit_takes_weights_for_repeated_rows():
    x, losses, _ = blobs(800)
    weights = np.random.default_rng(0).integers(1, 4, 800)
    again = np.repeat(np.arange(800), weights)
    once = fitted(Evaluation(x, losses=losses, weights=weights), min_weight=0.04)
    repeated = fitted(Evaluation(x[again], losses=losses[again]), min_weight=0.04)
    unweighted = fitted(Evaluation(x, losses=losses), min_weight=0.04)
    apart = np.linalg.norm(once.centers_ - repeated.centers_)
    assert apart < 0.05
    assert np.linalg.norm(once.centers_ - unweighted.centers_) > 3 * apart
    np.testing.assert_allclose(once.precisions_, repeated.precisions_, rtol=0.02)
    np.testing.assert_allclose(once.objectives_, repeated.objectives_, rtol=0.01)
    everything = Evaluation(x, losses=losses, weights=weights)
    inside = weights @ np.maximum(0, once.decision_function(everything)[:, 0])
    assert inside == pytest.approx(0.04 * weights.sum(), rel=1e-6)
    assert once.slices(everything)[0].stats["fit_weight"] == pytest.approx(inside)


def test_rows_of_weight_zero_do_not_count():
    x, losses, _ = blobs(400)
    weights = np.ones(400)
    weights[np.argsort(-losses)[:40]] = 0
    counted = np.flatnonzero(weights)
    one = fitted(Evaluation(x, losses=losses, weights=weights))
    other = fitted(Evaluation(x[counted], losses=losses[counted]))
    assert np.array_equal(one.centers_, other.centers_)
    assert np.array_equal(one.precisions_, other.precisions_)


def test_losses_are_clipped_at_the_quantile_of_the_weights():
    x, losses, _ = blobs(1000)
    weights = np.where(losses < np.median(losses), 9.0, 1.0)
    clipped = fitted(Evaluation(x, losses=losses, weights=weights), min_weight=0.04, loss_clip=0.8)
    assert clipped.objectives_[0] <= losses[losses < np.median(losses)].max()


def test_scaling_and_starts_count_weights():
    x, losses, _ = blobs(600)
    weights = np.random.default_rng(0).integers(1, 4, 600) * np.where(x[:, 0] > 0, 3, 1)
    once, repeated = Scaling.fit(x, weights.astype(float)), Scaling.fit(np.repeat(x, weights, axis=0))
    np.testing.assert_allclose(once.centre, repeated.centre, atol=0.02)
    assert once.radius == pytest.approx(repeated.radius, rel=0.01)
    cloud = Cloud(once(x), losses, weights=weights.astype(float))
    ranked = np.argsort(-losses)
    top = ranked[: np.searchsorted(np.cumsum(weights[ranked]), weights.sum() / 5)]
    centre = first_centres(cloud, 1, np.random.RandomState(0))[0]
    expected = np.average(cloud.rows[top], axis=0, weights=(losses * weights)[top])
    np.testing.assert_allclose(centre, expected, atol=1e-4)


@pytest.mark.parametrize("unit", [1e-40, 1e-3, 1e6])
def test_weights_of_any_size_give_a_slice(unit):
    x, losses, hard = blobs(1000)
    evaluation = Evaluation(x, losses=losses, weights=unit * np.random.default_rng(0).uniform(0.5, 1.5, 1000))
    one = fitted(evaluation, min_weight=0.04).slices(evaluation)[0]
    assert hard[one.is_member].mean() > 0.9
    assert one.stats["fit_weight"] == pytest.approx(0.04 * evaluation.weights.sum())


def ring(n=600, seed=0):
    """Losses high in a ring around a small heart where they are low."""
    rng = np.random.default_rng(seed)
    x = np.vstack([0.2 * rng.normal(size=(n // 20, 2)), rng.uniform(-8, 8, size=(n, 2))])
    x[n // 20 : n // 5] = 1.5 * x[n // 20 : n // 5] / np.linalg.norm(x[n // 20 : n // 5], axis=1, keepdims=True)
    return x, np.where(np.arange(len(x)) < n // 20, 0.0, np.where(np.arange(len(x)) < n // 5, 2.0, 0.2))


def test_at_least_grows_where_more_is_worse():
    x, losses = ring()
    evaluation = Evaluation(x, losses=losses)
    at_the_heart = {"min_weight": 0.02, "n_starts": 1, "confine": 0.02}
    exact, larger = (fitted(evaluation, size=size, **at_the_heart) for size in ("exact", "at_least"))
    weights = [np.maximum(0, one.decision_function(evaluation)).sum() for one in (exact, larger)]
    assert weights[0] == pytest.approx(0.02 * len(x), rel=1e-6)
    assert weights[1] > 2 * weights[0]
    assert larger.objectives_[0] > exact.objectives_[0] + 0.5


def test_at_least_is_no_worse_where_little_is_best():
    x, losses = ring()
    exact, larger = (fitted(Evaluation(x, losses=losses), size=size) for size in ("exact", "at_least"))
    assert exact.objectives_[0] > 1.8
    assert larger.objectives_[0] > exact.objectives_[0] - 0.05
