"""Entropy penalties of Spotlight: their value, their gradient, and spotlights within few classes."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import entropy
from spotlight_cases import blobs

from failviz.discovery import Spotlight
from failviz.discovery.spotlight_entropy import EntropyPenalty, charged, discounted, objective
from failviz.discovery.spotlight_level import Cloud, Scaling, squared_distances
from failviz.discovery.spotlight_size import exact_tau
from failviz.evaluation import Evaluation


def some(n=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.exponential(size=n), rng.random(n), [rng.integers(0, 3, n), 7 * rng.integers(0, 2, n)]


def test_objective_loses_the_entropy_in_nats():
    losses, mass, columns = some()
    penalties = [EntropyPenalty.of(a, classes) for a, classes in zip((0.5, 2.0), columns, strict=True)]
    nats = [entropy(np.bincount(classes, mass)[np.unique(classes)]) for classes in columns]
    expected = np.average(losses, weights=mass) - 0.5 * nats[0] - 2.0 * nats[1]
    assert objective(losses, mass, penalties) == pytest.approx(expected)
    assert objective(losses, mass) == pytest.approx(np.average(losses, weights=mass))


def test_charged_losses_are_the_gradient_by_the_mass():
    losses, mass, columns = some()
    penalties = [EntropyPenalty.of(a, classes) for a, classes in zip((0.5, 2.0), columns, strict=True)]
    numeric = approx_fprime(mass, lambda one: objective(losses, one, penalties), 1e-7)
    exact = (charged(losses, mass[None], penalties)[0] - objective(losses, mass, penalties)) / mass.sum()
    np.testing.assert_allclose(exact, numeric, atol=1e-5)


def test_ascent_is_the_gradient_with_weights_and_penalties():
    x, losses, _ = blobs(200, 5)
    rng = np.random.default_rng(1)
    weights = rng.uniform(0.3, 2.0, 200)
    penalties = [EntropyPenalty.of(1.0, rng.integers(0, 4, 200)), EntropyPenalty.of(0.5, rng.integers(0, 2, 200))]
    cloud = Cloud(Scaling.fit(x, weights)(x), losses, weights=weights, penalties=penalties)

    def at(mu):
        distances = squared_distances(cloud.rows.astype(np.float64), mu)
        return objective(
            losses, weights * np.maximum(0, 1 - exact_tau(distances[None], 20.0, weights) * distances), penalties
        )

    mu = rng.normal(size=5) * 0.3
    distances = cloud.distances(mu[None])
    kernel = cloud.kernel(distances, cloud.tau(distances, 20.0)[0])
    assert cloud.mean_loss(kernel)[0] == pytest.approx(at(mu), rel=1e-4)
    ascent, numeric = cloud.ascent(mu[None], distances, kernel)[0], approx_fprime(mu, at, 1e-6)
    assert ascent @ numeric / np.linalg.norm(ascent) / np.linalg.norm(numeric) > 0.9999


def test_a_pull_leaves_the_losses_of_the_most_frequent_class():
    losses, mass, (classes, _) = some()
    pull = discounted(losses, mass[None], [EntropyPenalty.of(0.5, classes)])[0]
    totals = np.bincount(classes, mass)
    assert np.array_equal(pull[classes == totals.argmax()], losses[classes == totals.argmax()])
    others = classes != totals.argmax()
    expected = np.maximum(0, losses + 0.5 * np.log(totals / totals.max())[classes])
    np.testing.assert_allclose(pull[others], expected[others])
    assert (pull[others] < losses[others]).all()
    cloud = Cloud(np.ones((30, 1), np.float32), losses, penalties=[EntropyPenalty.of(0.5, classes)])
    np.testing.assert_allclose(cloud.pull(mass[None].astype(np.float32))[0], mass * pull, rtol=1e-4, atol=1e-6)


def mixed_and_pure(n=600, seed=0):
    """A cluster of two classes and high loss, one of a single class and a little less, and the rest of another."""
    rng = np.random.default_rng(seed)
    place = np.repeat([0, 1, 2], [n // 10, n // 10, n - 2 * (n // 10)])
    x = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 2.0]])[place] + 0.5 * rng.normal(size=(n, 2))
    losses = np.array([1.0, 0.8, 0.1])[place] * rng.uniform(0.9, 1.1, n)
    return x, losses, np.select([place == 0, place == 1], [np.arange(n) % 2, 0], 1), place


@pytest.mark.parametrize("solver", ["level", "adam"])
@pytest.mark.parametrize("column", ["label", "prediction"])
@pytest.mark.parametrize("kernel", ["spherical", "full"])
def test_penalty_prefers_spotlights_within_few_classes(column, solver, kernel, monkeypatch):
    monkeypatch.setattr("failviz.discovery.spotlight_search.STEPS", 3000 if kernel == "spherical" else 1200)
    x, losses, classes, place = mixed_and_pure()
    evaluation = Evaluation(x, losses=losses, **{f"{column}s": classes})
    other = "prediction" if column == "label" else "label"
    found = []
    for coefficient in (0.0, 1.0):
        finder = Spotlight(1, min_weight=0.06, solver=solver, kernel=kernel, random_state=0, progress=False)
        finder.set_params(**{f"{column}_entropy": coefficient}).fit(evaluation)
        kept = np.maximum(0, finder.decision_function(evaluation)[:, 0])
        found.append(np.bincount(place, kept).argmax())
        nats = entropy(np.bincount(classes, kept))
        assert finder.objectives_[0] == pytest.approx(kept @ losses / kept.sum() - coefficient * nats, abs=0.02)
    assert found[0] == 0  # the mixed cluster
    assert nats < 0.1
    assert found[1] == 1 or solver == "adam"  # which stays where it first finds a single class
    finder.set_params(**{f"{column}_entropy": 0.0, f"{other}_entropy": 1.0})
    with pytest.raises(ValueError, match=f"Spotlight needs {other}s"):
        finder.fit(evaluation)


@pytest.mark.parametrize("size", ["exact", "at_least"])
def test_held_out_objective_pays_the_penalty_too(size):
    x, losses, _, _ = mixed_and_pure()
    evaluation = Evaluation(x, losses=losses, labels=np.arange(len(x)) % 2)
    settings = {"min_weight": 0.06, "size": size, "random_state": 0, "progress": False}
    free, paying = (Spotlight(1, label_entropy=a, **settings).fit(evaluation) for a in (0.0, 0.5))
    assert free.held_out_[0] - paying.held_out_[0] == pytest.approx(0.5 * np.log(2), abs=0.1)


def test_at_least_grows_where_fewer_classes_lie_around():
    rng = np.random.default_rng(0)
    x = np.vstack([0.3 * rng.normal(size=(40, 3)), 2.0 * rng.normal(size=(400, 3))])
    losses = 2.0 - 0.02 * np.linalg.norm(x, axis=1)
    evaluation = Evaluation(x, losses=losses, labels=np.where(np.arange(440) < 40, np.arange(440) % 2, 0))
    at_the_heart = {"min_weight": 20, "n_starts": 1, "confine": 0.02, "random_state": 0, "progress": False}
    weights = []
    for coefficient in (0.0, 1.0):
        finder = Spotlight(1, size="at_least", label_entropy=coefficient, **at_the_heart).fit(evaluation)
        weights.append(np.maximum(0, finder.decision_function(evaluation)).sum())
    assert weights[0] == pytest.approx(20, rel=1e-6)
    assert weights[1] > 60


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"label_entropy": -0.1}, "label_entropy must be 0 or more"),
        ({"prediction_entropy": np.nan}, "prediction_entropy must be 0 or more"),
        ({"prediction_entropy": None}, "prediction_entropy must be 0 or more"),
        ({"label_entropy": "high"}, "label_entropy must be a number"),
        ({"label_entropy": 1.0, "group_by": "label"}, "label_entropy has nothing to tell apart"),
    ],
)
def test_wrong_penalties_are_refused(settings, words):
    x, losses, classes, _ = mixed_and_pure(100)
    with pytest.raises(ValueError, match=words):
        Spotlight(**settings).fit(Evaluation(x, losses=losses, labels=classes, predictions=classes))
