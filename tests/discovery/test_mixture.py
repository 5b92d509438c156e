"""Error mixture: expectation and maximisation against their formulas and scikit-learn, and the obvious case."""

import warnings

import numpy as np
import pytest
from discovery_cases import one_class, planted
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.mixture import GaussianMixture

from failviz.discovery import mixture
from failviz.discovery.mixture import ErrorMixture, principal_axes
from failviz.discovery.mixture_em import (
    EPS,
    LARGEST_ODDS,
    Examples,
    Mixture,
    climb,
    first_mixture,
    iteration,
    log_odds,
    responsibilities,
    seats_of,
    shares_by_cell,
    with_squares,
)
from failviz.evaluation import Evaluation
from failviz.verification import verify

N_CLASSES = 3


def examples(n=300, k=5, seed=0, *, soft=True):
    """Rows in clusters with labels and predictions that depend on them."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 4, n)
    rows = (3 * rng.normal(size=(4, k)))[cluster] + rng.normal(size=(n, k))
    labels = np.where(rng.random(n) < 0.8, cluster % N_CLASSES, rng.integers(0, N_CLASSES, n))
    probs = rng.dirichlet(np.full(N_CLASSES, 0.4), n).astype(np.float32)
    return Examples(rows - rows.mean(axis=0), labels, probs if soft else probs.argmax(axis=1))


def any_shares(n=300, n_components=4, seed=1):
    return np.random.default_rng(seed).dirichlet(np.full(n_components, 0.5), n)


def in_loops(data, before, exponents, reg):
    """One iteration as the formulas say it, an example, a component and a class at a time."""
    n, n_components = len(data.rows), len(before.weights)
    soft = data.predictions if data.predictions.ndim == 2 else np.eye(N_CLASSES)[data.predictions]
    logs, q = np.empty((n, n_components)), np.empty((n, n_components, N_CLASSES))
    for i in range(n):
        for s in range(n_components):
            q[i, s] = soft[i] * (before.prediction_probs[s] + EPS)
            logs[i, s] = (
                np.log(before.weights[s])
                + norm.logpdf(data.rows[i], before.means[s], np.sqrt(before.variances[s])).sum()
                + exponents[0] * np.log(before.label_probs[s, data.labels[i]] + EPS)
                + exponents[1] * np.log(q[i, s].sum())
            )
            q[i, s] /= q[i, s].sum()
    shares = np.exp(logs - logsumexp(logs, axis=1, keepdims=True))
    after = []
    for s in range(n_components):
        share = shares[:, s]
        mean = np.average(data.rows, axis=0, weights=share)
        after.append(
            (
                share.mean(),
                mean,
                np.average((data.rows - mean) ** 2, axis=0, weights=share) + reg,
                np.average(np.eye(N_CLASSES)[data.labels], axis=0, weights=share),
                np.average(q[:, s], axis=0, weights=share),
            )
        )
    return Mixture(*map(np.array, zip(*after, strict=True))), logsumexp(logs, axis=1).mean()


def assert_same(one, other, tolerance):
    for name in ("weights", "means", "variances", "label_probs", "prediction_probs"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance)


def fitted(evaluation, **settings):
    return ErrorMixture(random_state=0, progress=False, **settings).fit(evaluation)


@pytest.fixture(scope="module")
def halves():
    return planted(1200)[0].split(0.5, random_state=0)


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("exponents", [(10.0, 10.0), (1.0, 0.5), (0.0, 0.0)])
def test_iteration_is_the_formula(soft, exponents):
    data = examples(soft=soft)
    before = first_mixture(data, any_shares(), N_CLASSES, 1e-3)
    for _ in range(3):
        (after, log_likelihood), (expected, expected_likelihood) = (
            iteration(data, before, exponents, 1e-3),
            in_loops(data, before, exponents, 1e-3),
        )
        assert_same(after, expected, 1e-9)
        assert log_likelihood == pytest.approx(expected_likelihood, abs=1e-9)
        before = after


def test_densities_far_from_the_centre_do_not_cancel():
    rng = np.random.default_rng(0)
    rows, means, variances = 30 * rng.normal(size=(50, 6)), 30 * rng.normal(size=(3, 6)), rng.gamma(0.2, size=(3, 6))
    alike = np.full((3, 2), 0.5)
    logs = Mixture(np.full(3, 1 / 3), means, variances, alike, alike).log_densities(with_squares(rows))
    direct = norm.logpdf(rows[:, None], means, np.sqrt(variances)).sum(axis=2) - np.log(3)
    np.testing.assert_allclose(logs, direct, rtol=1e-9, atol=1e-9)


def test_first_maximisation_is_the_weighted_mean_of_soft_predictions():
    data, shares = examples(), any_shares()
    first = first_mixture(data, shares, N_CLASSES, 1e-6)
    means = shares.T @ data.predictions / shares.sum(axis=0)[:, None]
    np.testing.assert_allclose(first.prediction_probs, means, rtol=1e-6)


@pytest.mark.parametrize("soft", [True, False])
@pytest.mark.parametrize("exponents", [(10.0, 10.0), (1.0, 1.0), (0.0, 3.0)])
@pytest.mark.parametrize("seed", range(3))
def test_log_likelihood_never_decreases(soft, exponents, seed):
    data = examples(seed=seed, soft=soft)
    first = first_mixture(data, any_shares(n_components=6, seed=seed), N_CLASSES, 1e-6)
    *_, (_, log_likelihoods) = climb(data, first, exponents, 1e-6, tol=0.0, max_iter=60)
    assert len(log_likelihoods) == 60
    assert np.diff(log_likelihoods).min() >= -1e-10


def test_without_classes_it_is_the_gaussian_mixture_of_scikit_learn():
    data, shares = examples(), any_shares()
    first = first_mixture(data, shares, N_CLASSES, 1e-6)
    theirs = GaussianMixture(
        4,
        covariance_type="diag",
        tol=0.0,
        max_iter=25,
        weights_init=first.weights,
        means_init=first.means,
        precisions_init=1 / first.variances,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged in 25 iterations, as is meant
        theirs.fit(data.rows)
    *_, (ours, log_likelihoods) = climb(data, first, (0.0, 0.0), 1e-6, tol=0.0, max_iter=25)
    np.testing.assert_allclose(ours.weights, theirs.weights_, atol=1e-6)
    np.testing.assert_allclose(ours.means, theirs.means_, atol=1e-6)
    np.testing.assert_allclose(ours.variances, theirs.covariances_, atol=1e-6)
    assert log_likelihoods[-1] == pytest.approx(theirs.lower_bound_, abs=1e-6)
    posterior = responsibilities(ours.log_densities(with_squares(data.rows)))[0]
    np.testing.assert_allclose(posterior, theirs.predict_proba(data.rows), atol=1e-6)


def test_log_odds_keep_their_order_where_probabilities_are_one():
    logs = np.array([[0.0, -1.0, -2.0], [0.0, -60.0, -70.0], [0.0, -900.0, -800.0], [-900.0, 0.0, -1.0]])
    odds = log_odds(logs, np.array([0, 2]))
    shares = responsibilities(logs)[0]
    np.testing.assert_allclose(odds[0], np.log(shares[0] / (1 - shares[0]))[[0, 2]])
    np.testing.assert_allclose(odds[1:, 0], [60.0, 800.0, -900.0 - np.log(1 + np.exp(-1.0))], rtol=1e-5)
    assert np.isfinite(odds).all()


def test_seats_go_to_every_cell_then_by_size():
    assert seats_of(np.array([60, 30, 9, 1]), np.array([60, 30, 9, 1]), 10).tolist() == [5, 3, 1, 1]
    assert seats_of(np.array([60, 30, 9, 1]), np.ones(4), 10).tolist() == [3, 3, 3, 1]
    assert seats_of(np.array([60, 30, 9, 1]), np.ones(4), 2).tolist() == [1, 1, 0, 0]
    assert seats_of(np.array([2, 1]), np.array([2, 1]), 3).tolist() == [2, 1]


@pytest.mark.parametrize("split", [True, False])
@pytest.mark.parametrize("n_components", [1, 5, 20])
def test_components_start_in_one_cell(split, n_components):
    data = examples(soft=False)
    cells = data.labels * N_CLASSES + data.predictions
    shares = shares_by_cell(data.rows, cells, n_components, np.random.RandomState(0), split=split)
    assert shares.shape == (300, n_components)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    numbers, sizes = np.unique(cells, return_counts=True)
    served = np.isin(cells, numbers[np.argsort(-sizes, kind="stable")[:n_components]])
    for column in shares[served].T:
        assert len(np.unique(cells[served][column > 0.01])) == 1
    np.testing.assert_allclose(shares[~served], 1 / n_components, atol=1e-3)


@pytest.mark.parametrize("init", ["confusion-kmeans", "confusion"])
def test_planted_slice_is_found_and_confirmed_on_unseen_rows(init):
    evaluation, hard = planted(3000)
    rows = np.arange(3000)
    train, test = evaluation.take(rows[:1500]), evaluation.take(rows[1500:])
    finder = fitted(train, init=init, n_slices=1, n_components=8)
    one = finder.slices(test)[0]
    assert finder.converged_
    assert hard[1500:][np.argsort(-one.scores)[:50]].mean() > 0.9
    assert one.name == "kind 1 taken for kind 2"
    assert len(verify(finder, test).confirmed) == 1


def test_axes_are_the_principal_ones():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(9000, 6)) * [5, 4, 3, 2, 1, 0] + 100).astype(np.float32)
    mean, axes, variances = principal_axes(x, rng.permutation(9000), 3)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64))
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(variances, np.linalg.eigvalsh(np.cov(x.T, bias=True))[:2:-1])
    np.testing.assert_allclose(((x - mean) @ axes).var(axis=0), variances)
    assert principal_axes(x, np.arange(9000), 128)[1].shape == (6, 5)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e8, -3e-20])
def test_rows_all_alike_have_one_axis_and_unit_variance(value):
    x = np.full((5000, 3), value, dtype=np.float32)
    _, axes, variances = principal_axes(x, np.arange(5000), 2)
    assert axes.shape == (3, 1)
    assert variances.tolist() == [1.0]


def test_sizes_are_capped_by_the_data():
    finder = fitted(planted(20)[0], n_components=50, n_pca=128)
    assert finder.means_.shape == (20, 12)
    assert fitted(planted(6)[0]).basis_.shape == (12, 5)
    assert fitted(planted()[0], n_pca=3).basis_.shape == (12, 3)
    np.testing.assert_allclose(finder.weights_.sum(), 1.0)


def test_membership_needs_nothing_but_embeddings(halves):
    finder = fitted(halves[0], n_slices=2, n_components=8)
    bare = Evaluation(halves[1].space())
    assert np.array_equal(finder.decision_function(bare), finder.decision_function(halves[1]))
    assert [one.name for one in finder.slices(bare)] == [one.name for one in finder.slices(halves[1])]


def test_weights_are_the_posterior_of_the_embedding(halves):
    finder = fitted(halves[0], n_components=8)
    coordinates = (halves[1].space().astype(np.float64) - finder.mean_) @ finder.basis_
    densities = norm.logpdf(coordinates[:, None], finder.means_, np.sqrt(finder.variances_)).sum(axis=2)
    joint = finder.weights_ * np.exp(densities)
    posterior = joint / joint.sum(axis=1, keepdims=True)
    for one, component in zip(finder.slices(halves[1]), finder.order_, strict=True):
        np.testing.assert_allclose(one.weights, posterior[:, component], rtol=1e-9, atol=1e-12)
        assert one.scope == "all"


def test_largest_gap_comes_first_and_the_heavier_of_two_alike(halves):
    finder = fitted(halves[0], n_slices=8, n_components=12)
    gaps, weights = np.round(finder.gaps_[finder.order_], 2), finder.weights_[finder.order_]
    assert len(gaps) > 1
    assert (np.diff(gaps) <= 0).all()
    assert (np.diff(weights)[np.diff(gaps) == 0] <= 0).all()
    np.testing.assert_allclose(finder.gaps_, np.abs(finder.prediction_probs_ - finder.label_probs_).max(axis=1))


def test_a_few_odd_examples_are_no_slice():
    evaluation, hard = planted(600, n_classes=5)
    finder = fitted(evaluation, n_slices=25)
    sizes = finder.weights_ * 600
    assert (sizes[finder.gaps_ > 0.99] < mixture.FEWEST).any()
    assert (sizes[finder.order_] >= mixture.FEWEST).all()
    assert hard[np.argsort(-finder.decision_function(evaluation)[:, 0])[:20]].mean() > 0.8


def test_names_say_what_was_taken_for_what_and_are_unique(halves):
    finder = fitted(halves[0], n_slices=10, n_components=25)
    names = [one.name for one in finder.slices(halves[0])]
    assert len(set(names)) == len(names) > 1
    assert names[0].startswith("kind ") and " taken for kind " in names[0]
    assert mixture._unique(["a", "b", "a", "a 2", "a"]) == ["a", "b", "a 2", "a 2 2", "a 3"]


def test_stats_are_those_of_the_posterior(halves):
    finder = fitted(halves[0], n_slices=2, n_components=8)
    for one, component in zip(finder.slices(halves[0]), finder.order_, strict=True):
        assert one.stats["component"] == component
        assert one.stats["fit_weight"] == pytest.approx(one.weights.sum())
        assert one.stats["fit_error_rate"] == pytest.approx(np.average(halves[0].errors, weights=one.weights))
        assert one.stats["fit_error_rate"] > one.stats["fit_error_rate_of_all"] == halves[0].errors.mean()
        assert one.stats["fit_mistake_gap"] == finder.gaps_[component]


def test_hard_predictions_are_probabilities_of_zero_and_one(halves):
    columns = {"labels": halves[0].labels, "class_names": halves[0].class_names}
    predictions = halves[0].predictions
    hard = Evaluation(halves[0].space(), predictions=predictions, **columns)
    as_probs = Evaluation(halves[0].space(), probs=np.eye(N_CLASSES)[predictions], **columns)
    decisions = [fitted(one, n_components=8).decision_function(halves[1]) for one in (hard, as_probs)]
    np.testing.assert_allclose(*decisions, rtol=1e-9, atol=1e-9)
    soft = fitted(halves[0], n_components=8)
    assert soft.log_likelihoods_[-1] != pytest.approx(fitted(hard, n_components=8).log_likelihoods_[-1], abs=0.1)


def test_one_label_weight_serves_both_unless_told_otherwise(halves):
    both, named, other = (
        fitted(halves[0], n_components=8, label_weight=2.0, prediction_weight=weight) for weight in (None, 2.0, 0.0)
    )
    assert np.array_equal(both.means_, named.means_)
    assert not np.array_equal(both.means_, other.means_)


@pytest.mark.parametrize("init", ["confusion-kmeans", "confusion"])
@pytest.mark.parametrize("n_errors", [0, 1, 30, 199, 200])
def test_one_class_alone(init, n_errors):
    evaluation = one_class(n_errors=n_errors)[2]
    finder = fitted(evaluation, init=init, n_components=4)
    assert np.isfinite(finder.decision_function(evaluation)).all()
    assert {one.name[:11] for one in finder.slices(evaluation)} <= {"a taken for"}
    assert bool(finder.slices(evaluation)) is (n_errors >= mixture.FEWEST)


def test_no_errors_give_no_slices():
    evaluation = Evaluation(np.random.default_rng(0).normal(size=(50, 3)), labels=[0, 1] * 25, predictions=[0, 1] * 25)
    finder = fitted(evaluation)
    assert finder.slices(evaluation) == []
    assert finder.decision_function(evaluation).shape == (50, 0)
    assert finder.score(evaluation) == 1.0


def test_one_component_has_everything():
    evaluation = one_class(n_errors=100)[2]
    finder = fitted(evaluation, n_components=1)
    assert (finder.decision_function(evaluation) == LARGEST_ODDS).all()
    assert finder.slices(evaluation) == []  # what holds everything is no group


def test_repeated_rows_leave_components_empty_and_nothing_nan():
    x, wrong = np.repeat(np.eye(3), 40, axis=0), np.arange(120) % 4 == 0
    finder = fitted(Evaluation(x, labels=np.zeros(120, int), predictions=wrong.astype(int)))
    assert (finder.weights_ == 0).any()
    for name in ("means_", "variances_", "label_probs_", "prediction_probs_", "gaps_", "log_likelihoods_"):
        assert np.isfinite(getattr(finder, name)).all()


def test_scale_and_place_of_the_embeddings_do_not_matter(halves):
    columns = {name: getattr(halves[0], name) for name in ("labels", "predictions", "probs", "class_names")}
    weights = []
    for scale, place in ((1, 0), (1000, 0), (0.001, 0.01)):
        evaluation = Evaluation(halves[0].space() * scale + place, **columns)
        weights.append(fitted(evaluation, n_components=8).slices(evaluation)[0].weights)
    assert np.corrcoef(weights[0], weights[1])[0, 1] > 0.999
    assert np.corrcoef(weights[0], weights[2])[0, 1] > 0.999


def test_rows_alike_but_for_their_probabilities_may_come_in_any_order():
    evaluation = planted(300)[0]
    surer = 0.5 * evaluation.probs + 0.5 * np.eye(N_CLASSES)[evaluation.predictions]
    one = Evaluation(
        np.tile(evaluation.space(), (2, 1)),
        labels=np.tile(evaluation.labels, 2),
        probs=np.concatenate([evaluation.probs, surer]),
        class_names=evaluation.class_names,
    )
    order = np.random.default_rng(0).permutation(600)
    decisions = [
        fitted(part, n_components=12, init="confusion", max_iter=5).decision_function(evaluation)
        for part in (one, one.take(order))
    ]
    np.testing.assert_allclose(*decisions, rtol=1e-6, atol=1e-6)


def test_the_fit_stops_where_it_was_told(halves):
    short = fitted(halves[0], n_components=8, max_iter=1)
    assert (short.n_iter_, short.converged_, len(short.log_likelihoods_)) == (1, False, 1)
    long = fitted(halves[0], n_components=8)
    assert long.converged_
    assert len(long.log_likelihoods_) == long.n_iter_ < 100
    assert abs(np.diff(long.log_likelihoods_)[-1]) < 1e-3
    assert np.diff(long.log_likelihoods_).min() > -1e-9


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_slices": 0}, "n_slices must"),
        ({"n_components": 2.5}, "n_components must"),
        ({"n_pca": True}, "n_pca must"),
        ({"max_iter": 0}, "max_iter must"),
        ({"label_weight": -1.0}, "label_weight must"),
        ({"label_weight": None}, "label_weight must"),
        ({"prediction_weight": "all"}, "prediction_weight must"),
        ({"prediction_weight": np.nan}, "prediction_weight must"),
        ({"reg": 0}, "reg must"),
        ({"reg": np.inf}, "reg must"),
        ({"tol": -1e-3}, "tol must"),
        ({"tol": [1.0]}, "tol must"),
        ({"init": "random"}, "init must"),
    ],
)
def test_wrong_settings_are_refused_at_fit(settings, words):
    with pytest.raises(ValueError, match=words) as refusal:
        ErrorMixture(**settings).fit(planted()[0])
    assert "\n" not in str(refusal.value)
