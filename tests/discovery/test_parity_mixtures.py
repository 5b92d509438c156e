"""ErrorMixture and PlaneSpot beside scikit-learn, called as Domino and PlaneSpot call it.

Domino (Eyuboglu et al. 2022, arXiv 2203.14960): its Gaussian part is `GaussianMixture`, by the steps of its own `fit`;
labels and predictions enter as one row of probabilities per example, and both are averaged by responsibility. PlaneSpot
(Plumb et al. 2023, arXiv 2207.04104): of the mixtures of 1 to 33 components the one with the lowest BIC.
"""

import numpy as np
import pytest
from discovery_cases import planted
from scipy.special import logsumexp
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import minmax_scale

from failviz._parallel import one_thread
from failviz.discovery import ErrorMixture, PlaneSpot
from failviz.discovery.mixture import principal_axes
from failviz.discovery.mixture_em import EPS, Examples, Mixture, climb, first_mixture, iteration
from failviz.discovery.plane_fit import PATIENCE, best_mixture
from failviz.evaluation import Evaluation

N_CLASSES = 3


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """As in a fit: several threads would wait for one another over a handful of rows."""
    with one_thread():
        yield


def examples(n=400, k=4, seed=0, *, soft):
    """Rows in clusters, with labels and predictions that depend on them."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 5, n)
    rows = (2.5 * rng.normal(size=(5, k)))[cluster] + rng.normal(size=(n, k))
    labels = np.where(rng.random(n) < 0.8, cluster % N_CLASSES, rng.integers(0, N_CLASSES, n))
    probs = rng.dirichlet(np.full(N_CLASSES, 0.4), n)
    return Examples(rows - rows.mean(axis=0), labels, probs if soft else probs.argmax(axis=1))


def in_rows(classes):
    return classes if classes.ndim == 2 else np.eye(N_CLASSES)[classes]


def published_step(data, before, exponents, reg):
    """The mixture after one expectation and one maximisation, and the mean log-likelihood before them."""
    gaussian = GaussianMixture(len(before.weights), covariance_type="diag", reg_covar=reg)
    gaussian.weights_, gaussian.means_, gaussian.covariances_ = before.weights, before.means, before.variances
    gaussian.precisions_cholesky_ = 1 / np.sqrt(before.variances)
    logs = gaussian._estimate_weighted_log_prob(data.rows)
    outcomes = in_rows(data.labels), in_rows(data.predictions)
    for exponent, probs, of_component in zip(
        exponents, outcomes, (before.label_probs, before.prediction_probs), strict=True
    ):
        logs += exponent * np.log(probs @ of_component.T + EPS)
    norms = logsumexp(logs, axis=1, keepdims=True)
    gaussian._m_step(data.rows, logs - norms)
    shares = np.exp(logs - norms)
    averages = [shares.T @ probs / shares.sum(axis=0)[:, None] for probs in outcomes]
    return Mixture(gaussian.weights_, gaussian.means_, gaussian.covariances_, *averages), norms.mean()


def assert_same(one, other, tolerance, *, but=()):
    for name in ("weights", "means", "variances", "label_probs", "prediction_probs"):
        if name not in but:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance)


def start(data, n_components=5, seed=1):
    shares = np.random.default_rng(seed).dirichlet(np.full(n_components, 0.5), len(data.rows))
    return first_mixture(data, shares, N_CLASSES, 1e-6)


@pytest.mark.parametrize("exponents", [(10.0, 10.0), (1.0, 1.0), (2.0, 0.5)])
def test_every_iteration_on_hard_predictions_is_the_published_one(exponents):
    data = examples(soft=False)
    theirs = first = start(data)
    likelihoods = []
    for number, (ours, log_likelihoods) in enumerate(climb(data, first, exponents, 1e-6, tol=0.0, max_iter=30)):
        theirs, likelihood = published_step(data, theirs, exponents, 1e-6)
        likelihoods.append(likelihood)
        np.testing.assert_allclose(log_likelihoods, likelihoods, atol=1e-7)
        if number in (0, 9, 29):
            assert_same(ours, theirs, 1e-6)
    assert likelihoods[-1] > likelihoods[0] + 0.5


@pytest.mark.parametrize("exponents", [(10.0, 10.0), (1.0, 1.0)])
def test_on_soft_predictions_all_but_their_own_average_is_the_published_iteration(exponents):
    data = examples(soft=True)
    before = start(data)
    for _ in range(5):
        theirs, likelihood = published_step(data, before, exponents, 1e-6)
        ours, log_likelihood = iteration(data, before, exponents, 1e-6)
        assert log_likelihood == pytest.approx(likelihood, abs=1e-9)
        assert_same(ours, theirs, 1e-7, but=("prediction_probs",))
        assert np.abs(ours.prediction_probs - theirs.prediction_probs).max() > 1e-3
        before = ours


def test_the_published_average_of_soft_predictions_lowers_the_likelihood_and_ours_does_not():
    data, exponents = examples(soft=True), (1.0, 10.0)
    theirs = start(data)
    published = []
    for _ in range(40):
        theirs, likelihood = published_step(data, theirs, exponents, 1e-6)
        published.append(likelihood)
    *_, (_, ours) = climb(data, start(data), exponents, 1e-6, tol=0.0, max_iter=40)
    assert np.diff(published).min() < -1e-4
    assert np.diff(ours).min() >= -1e-10
    assert ours[-1] > published[-1]


def log_likelihood_of(finder, evaluation):
    """The paper's formula on what a finder has learned, an example at a time."""
    coordinates = (evaluation.space().astype(np.float64) - finder.mean_) @ finder.basis_
    gamma = finder.label_weight
    total = 0.0
    for z, label, chances in zip(coordinates, evaluation.labels, evaluation.probs.astype(np.float64), strict=True):
        logs = np.log(finder.weights_) + norm.logpdf(z, finder.means_, np.sqrt(finder.variances_)).sum(axis=1)
        logs += gamma * np.log(finder.label_probs_[:, label] + EPS)
        logs += gamma * np.log((finder.prediction_probs_ + EPS) @ chances)
        total += logsumexp(logs)
    return total / len(coordinates)


@pytest.mark.parametrize("label_weight", [1.0, 10.0])
def test_the_log_likelihood_of_a_fit_is_the_formula(label_weight):
    evaluation = planted(400)[0]
    settings = {"n_components": 6, "label_weight": label_weight, "tol": 0.0, "random_state": 0, "progress": False}
    for n_iterations in (1, 4):
        before, after = (ErrorMixture(max_iter=n, **settings).fit(evaluation) for n in (n_iterations, n_iterations + 1))
        assert after.log_likelihoods_[-1] == pytest.approx(log_likelihood_of(before, evaluation), abs=1e-8)
        np.testing.assert_array_equal(after.log_likelihoods_[:-1], before.log_likelihoods_)


@pytest.mark.parametrize(("n", "d", "n_axes"), [(500, 20, 8), (60, 200, 128), (300, 12, 128)])
def test_principal_axes_are_those_of_scikit_learn(n, d, n_axes):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(n, d)) * np.geomspace(3, 0.2, d) + 50).astype(np.float32)
    mean, axes, variances = principal_axes(x, rng.permutation(n), n_axes)
    theirs = PCA(min(n_axes, n - 1, d), svd_solver="full").fit(x.astype(np.float64))
    assert axes.shape[1] == len(theirs.components_)
    np.testing.assert_allclose(mean, theirs.mean_, atol=1e-9)
    np.testing.assert_allclose(variances * n / (n - 1), theirs.explained_variance_, rtol=1e-6)
    leading = np.abs(np.einsum("dk,kd->k", axes, theirs.components_))  # an axis may point either way
    np.testing.assert_allclose(leading, 1, atol=1e-6)


def test_slices_are_the_components_with_the_largest_absolute_gap():
    """Where a class is taken for many others its largest difference is negative, and the published order misses it."""
    rng = np.random.default_rng(0)
    labels, group = rng.integers(0, 8, 900), np.zeros(900, int)
    group[:120], group[120:300] = 1, 2
    labels[group == 1], labels[group == 2] = 0, 1
    predictions = labels.copy()
    predictions[group == 1] = 1 + np.arange(120) % 7  # class 0 is taken for all the others
    predictions[group == 2] = np.where(np.arange(180) % 2 == 0, 2, 1)  # class 1 for one of them, half of the time
    x = rng.normal(size=(900, 4)) + 8 * np.eye(4)[group]
    finder = ErrorMixture(2, n_components=12, label_weight=0.0, random_state=0, progress=False)
    finder.fit(Evaluation(x, labels=labels, predictions=predictions))
    differences = finder.prediction_probs_ - finder.label_probs_
    np.testing.assert_array_equal(finder.gaps_, np.abs(differences).max(axis=1))
    heavy = np.flatnonzero(finder.weights_ * 900 >= 15)
    assert finder.gaps_[finder.order_[0]] >= finder.gaps_[heavy].max() - 0.005  # equal to two decimals is a tie
    assert finder.label_probs_[finder.order_[0]].argmax() == 0
    assert differences[finder.order_[0]].max() < differences[heavy].max() - 0.1


def test_the_defaults_are_those_of_the_papers():
    mixture = ErrorMixture()
    assert (mixture.n_pca, mixture.n_components, mixture.label_weight) == (128, 25, 10.0)
    assert (mixture.reg, mixture.tol, mixture.max_iter) == (1e-6, 1e-3, 100)
    assert mixture.prediction_weight is None  # the same as that of labels
    assert (PlaneSpot().n_components, PlaneSpot().confidence_weight) == (33, 0.025)


# -- PlaneSpot -------------------------------------------------------------------------------


def maps(seed):
    """Places in [0, 1] in a few clusters that overlap, and 0.025 times a confidence that differs between them."""
    rng = np.random.default_rng(seed)
    cluster = rng.integers(0, 4 + 2 * seed, 500)
    places = minmax_scale(rng.normal(size=(4 + 2 * seed, 2))[cluster] + 0.15 * rng.normal(size=(500, 2)))
    return np.column_stack([places, 0.025 * rng.beta(2 + cluster, 2)])


@pytest.mark.parametrize("seed", range(3))
def test_the_search_ends_early_with_the_best_of_all_thirty_three(seed, monkeypatch):
    points, counted = maps(seed), []
    tried = [GaussianMixture(k, covariance_type="full", random_state=3).fit(points) for k in range(1, 34)]
    bics = np.array([one.bic(points) for one in tried])

    class Counted(GaussianMixture):
        def fit(self, rows):
            counted.append(self.n_components)
            return super().fit(rows)

    monkeypatch.setattr("sklearn.mixture.GaussianMixture", Counted)
    ours, theirs = best_mixture(points, 33, 3), tried[int(bics.argmin())]
    assert ours.n_components == theirs.n_components > 1
    np.testing.assert_array_equal(ours.means_, theirs.means_)
    assert counted == list(range(1, theirs.n_components + PATIENCE + 1))


@pytest.mark.parametrize("group_by", ["label", "all"])
def test_spots_are_the_components_with_most_errors_times_error_rate(group_by):
    rng = np.random.default_rng(0)
    place, labels = rng.integers(0, 6, 1200), rng.integers(0, 2, 1200)
    x = 3 * rng.normal(size=(6, 2))[place] + 0.4 * rng.normal(size=(1200, 2))
    wrong = rng.random(1200) < np.array([0.05, 0.6, 0.05, 0.3, 0.4, 0.1])[place]
    evaluation = Evaluation(x, labels=labels, predictions=labels ^ wrong)
    finder = PlaneSpot(3, 10, group_by=group_by, embedding="principal", random_state=0, progress=False).fit(evaluation)
    importance = {}
    for scope, plane in finder.planes_.items():
        rows = np.arange(1200) if scope == "all" else np.flatnonzero(labels == scope[1])
        places = minmax_scale(plane.embedding.transform((x[rows] - finder.mean_) @ finder.basis_))
        unseen = GaussianMixture(plane.mixture.n_components)  # without the column of confidence
        unseen.weights_, unseen.means_ = plane.mixture.weights_, plane.mixture.means_[:, :2]
        unseen.covariances_ = plane.mixture.covariances_[:, :2, :2]
        unseen.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(unseen.covariances_))
        posterior = unseen.predict_proba(places)
        fails, sizes = wrong[rows] @ posterior, posterior.sum(axis=0)
        is_spot = ((posterior >= 0.5).sum(axis=0) >= 5) & (fails / sizes > wrong[rows].mean())
        importance |= {(scope, s): fails[s] * fails[s] / sizes[s] for s in np.flatnonzero(is_spot)}
    assert len(importance) >= 3
    assert finder.spots_ == sorted(importance, key=lambda spot: -importance[spot])[:3]
