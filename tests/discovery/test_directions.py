"""FailureDirections: parity with scikit-learn called as the paper does, closed forms, and the obvious case."""

import numpy as np
import pytest
from discovery_cases import one_class, planted
from scipy.stats import spearmanr
from sklearn.covariance import LedoitWolf
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.preprocessing import StandardScaler, normalize
from sklearn.svm import SVC

from failviz.discovery import FailureDirections, svm
from failviz.discovery.direction_fit import auroc, balanced_accuracy, best_threshold, fit_direction
from failviz.discovery.svm import BalancedSVM, SharedGram
from failviz.discovery.whitening import Whitening
from failviz.evaluation import Evaluation

C_GRID = np.logspace(-6, 0, 7)


def whitened(x):
    return Whitening.fit(x)(x)


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def primal(plane, rows, is_error, C):
    n, n_errors = len(rows), is_error.sum()
    share = np.where(is_error, n / (2 * n_errors), n / (2 * (n - n_errors)))
    slack = np.maximum(0, 1 - np.where(is_error, 1, -1) * plane(rows))
    return plane.coef @ plane.coef / 2 + C * share @ slack


@pytest.fixture(params=["whole", "in parts", "libsvm"])
def solver(request, monkeypatch):
    if request.param == "libsvm":
        monkeypatch.setattr(svm, "COMPILED", False)
    elif not svm.COMPILED:
        pytest.skip("needs numba")
    if request.param == "whole":
        monkeypatch.setattr(svm, "WORKING_ROWS", 1000)
    if request.param == "in parts":
        monkeypatch.setattr(svm, "WORKING_ROWS", 60)
    return request.param


def test_whitening_is_standard_scaler_with_ddof_1_then_unit_rows():
    x = np.random.default_rng(0).normal(3, 2, size=(50, 4)).astype(np.float32)
    sd = StandardScaler().fit(x.astype(float)).scale_ * np.sqrt(50 / 49)
    np.testing.assert_allclose(whitened(x), normalize((x - x.mean(0, dtype=float)) / sd), atol=1e-6)


def test_whitening_names_constant_dimensions():
    x = np.random.default_rng(0).normal(size=(50, 4))
    x[:, 2] = 0.1
    fit = Whitening.fit(x)
    assert fit.is_constant.tolist() == [False, False, True, False]
    assert fit.scale[2] == 1
    assert (fit(x)[:, 2] == 0).all()


def test_two_passes_repeat_the_first():
    x = np.random.default_rng(0).normal(1, 2, size=(50, 4))
    once, twice = Whitening.fit(x), Whitening.fit(x, passes=2)
    np.testing.assert_allclose(twice(x), once(once(x)))


@pytest.mark.parametrize("C", C_GRID)
@pytest.mark.parametrize(("n", "d"), [(200, 16), (300, 100)])
def test_same_hyperplane_as_svc_at_every_C(solver, C, n, d):
    x, is_error, _ = one_class(n, d)
    rows = whitened(x)
    reference = SVC(kernel="linear", C=C, class_weight="balanced").fit(rows, ~is_error)
    problem = BalancedSVM(rows, is_error)
    if problem.is_saturated(C):
        coef, low, high = problem.saturated(C)
        intercept = -float(reference.intercept_[0])
        assert low - 1e-3 <= intercept <= high + 1e-3
        plane = svm.Hyperplane(coef, (low + high) / 2)
    else:
        plane = problem.solve(C, SharedGram(rows))
        np.testing.assert_allclose(plane(rows), -reference.decision_function(rows), atol=0.02)
    assert cosine(plane.coef, -reference.coef_[0]) >= 0.999
    # On rows not trained on: support vectors tie at the margin, and their order there is rounding.
    others = whitened(np.random.default_rng(9).normal(size=(2000, d)))
    assert spearmanr(plane(others), -reference.decision_function(others)).statistic >= 0.999
    peer = svm.Hyperplane(-reference.coef_[0], -float(reference.intercept_[0]))
    assert primal(plane, rows, is_error, C) <= primal(peer, rows, is_error, C) * (1 + 1e-4)


def test_some_C_are_saturated_and_some_are_not():
    x, is_error, _ = one_class()
    problem = BalancedSVM(whitened(x), is_error)
    assert problem.is_saturated(C_GRID[0])
    assert not problem.is_saturated(C_GRID[-1])


def test_closed_form_of_a_saturated_fit():
    x, is_error, _ = one_class()
    rows = whitened(x)
    coef = BalancedSVM(rows, is_error).saturated(1e-4)[0]
    by_hand = 1e-4 * len(x) / 2 * (rows[is_error].mean(0) - rows[~is_error].mean(0))
    np.testing.assert_allclose(coef, by_hand, atol=1e-6 * np.abs(by_hand).max())
    reference = SVC(kernel="linear", C=1e-4, class_weight="balanced", tol=1e-8).fit(rows, ~is_error)
    np.testing.assert_allclose(coef, -reference.coef_[0], atol=1e-6 * np.abs(by_hand).max())


def test_every_intercept_of_the_interval_is_optimal():
    x, is_error, _ = one_class()
    rows = whitened(x)
    coef, low, high = BalancedSVM(rows, is_error).saturated(1e-2)
    values = [primal(svm.Hyperplane(coef, b), rows, is_error, 1e-2) for b in np.linspace(low, high, 5)]
    np.testing.assert_allclose(values, values[0], rtol=1e-12)
    assert primal(svm.Hyperplane(coef, high + 0.1), rows, is_error, 1e-2) > values[0]


def test_liblinear_stands_in_for_large_classes_without_numba(monkeypatch):
    x, is_error, _ = one_class(400, 16)
    rows = whitened(x)
    exact = BalancedSVM(rows, is_error).solve(1.0, SharedGram(rows))
    monkeypatch.setattr(svm, "COMPILED", False)
    monkeypatch.setattr(svm, "GRAM_ROWS", 50)
    close = BalancedSVM(rows, is_error).solve(1.0, SharedGram(rows))
    assert cosine(exact.coef, close.coef) >= 0.999


def test_parity_mode_on_a_large_class_needs_no_gram_matrix(monkeypatch):
    x, is_error, _ = one_class(120, 8)
    rows = whitened(x)
    gram = BalancedSVM(rows, is_error).solve_libsvm(1.0, SharedGram(rows))
    monkeypatch.setattr(svm, "GRAM_ROWS", 50)
    none = BalancedSVM(rows, is_error).solve_libsvm(1.0, None)
    np.testing.assert_allclose(gram(rows), none(rows), atol=5e-3)


def test_balanced_accuracy_mode_repeats_the_paper(solver):
    x, is_error, evaluation = one_class(300, 32)
    rows, correct = whitened(x), (~is_error).astype(int)
    scores = np.array(
        [
            cross_val_score(
                SVC(kernel="linear", C=C, class_weight="balanced"), rows, correct, cv=2, scoring="balanced_accuracy"
            ).mean()
            for C in C_GRID
        ]
    )
    ours = FailureDirections(selection="balanced_accuracy", shuffle=False, progress=False).fit(evaluation)
    np.testing.assert_allclose(ours.cv_scores_[0], scores, atol=1e-3)
    assert ours.C_[0] == pytest.approx(C_GRID[scores.argmax()])
    reference = SVC(kernel="linear", C=ours.C_[0], class_weight="balanced").fit(rows, correct)
    assert cosine(ours.coef_[0], -reference.coef_[0]) >= 0.999
    np.testing.assert_allclose(ours.decision_function(evaluation)[:, 0], -reference.decision_function(rows), atol=0.02)


def test_engines_agree_on_the_whole_fit(monkeypatch):
    evaluation = planted()[0]
    compiled = FailureDirections(random_state=0, progress=False).fit(evaluation)
    monkeypatch.setattr(svm, "COMPILED", False)
    fallback = FailureDirections(random_state=0, progress=False).fit(evaluation)
    assert np.array_equal(compiled.C_, fallback.C_)
    np.testing.assert_allclose(compiled.cv_scores_, fallback.cv_scores_, atol=2e-3)
    np.testing.assert_allclose(
        compiled.decision_function(evaluation), fallback.decision_function(evaluation), atol=0.02
    )


def test_number_of_folds_only_matters_to_the_choice():
    x, is_error, _ = one_class(120, 8)
    rows = whitened(x)
    for cv in (2, 3, 5):
        fit = fit_direction(
            rows, is_error, C_grid=np.array([1.0]), cv=cv, selection="auroc", rng=np.random.RandomState(0)
        )
        direct = BalancedSVM(rows, is_error).solve(1.0, SharedGram(rows))
        np.testing.assert_allclose(fit.plane(rows), direct(rows), atol=5e-3)


def test_auroc_and_balanced_accuracy_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores, is_error = rng.integers(-3, 4, 60).astype(float), rng.random(60) < 0.3
    assert auroc(scores, is_error) == pytest.approx(roc_auc_score(is_error, scores))
    assert balanced_accuracy(scores, is_error) == pytest.approx(balanced_accuracy_score(is_error, scores > 0))


def test_best_threshold_beats_every_other_in_its_interval():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, is_error = rng.integers(0, 12, 40) / 4, rng.random(40) < 0.4
        folds = rng.permutation(40) % 2
        if min(is_error[folds == 0].sum(), is_error[folds == 1].sum()) == 0:
            continue

        def mean_accuracy(threshold, scores=scores, is_error=is_error, folds=folds):
            return np.mean([balanced_accuracy(scores[folds == f] - threshold, is_error[folds == f]) for f in range(2)])

        best = best_threshold(scores, is_error, folds, 0.3, 2.1)
        assert 0.3 <= best <= 2.1
        assert mean_accuracy(best) >= max(map(mean_accuracy, np.linspace(0.3, 2.1, 181))) - 1e-12


def test_tied_C_gives_the_largest_that_is_not_saturated():
    x, is_error, _ = one_class(60, 1)  # one dimension: every C ranks alike
    fit = fit_direction(whitened(x), is_error, C_grid=C_GRID, cv=2, selection="auroc", rng=np.random.RandomState(0))
    assert np.ptp(fit.cv_scores) < 1e-12
    assert fit.C == 1.0
    assert not fit.is_saturated


def test_larger_score_means_more_likely_to_fail():
    evaluation, hard = planted()
    finder = FailureDirections(random_state=0, progress=False).fit(evaluation)
    score = finder.decision_function(evaluation)[:, list(finder.order_).index(1)]
    assert roc_auc_score(hard[evaluation.labels == 1], score[evaluation.labels == 1]) > 0.8
    assert finder.order_[0] == 1
    assert finder.slices(evaluation)[0].name == "kind 1: hardest"
    assert (score[evaluation.labels != 1] == -np.inf).all()


@pytest.mark.parametrize(
    ("n_errors", "status"),
    [(0, "too_few_errors"), (1, "too_few_errors"), (2, "fitted"), (199, "too_few_correct"), (200, "too_few_correct")],
)
def test_status_says_why_a_class_has_no_direction(n_errors, status):
    evaluation = one_class(n_errors=n_errors)[2]
    finder = FailureDirections(random_state=0, progress=False).fit(evaluation)
    assert finder.status_ == [status, "empty"]
    assert len(finder.slices(evaluation)) == (status == "fitted")
    assert np.isnan(finder.coef_[1]).all()
    assert np.isfinite(finder.coef_[0]).all() == (status == "fitted")


def test_reference_gives_the_whitening_statistics():
    evaluation = planted()[0]
    other = np.random.default_rng(5).normal(2, 3, size=(400, 12))
    finder = FailureDirections(random_state=0, progress=False).fit(evaluation, reference=other)
    np.testing.assert_allclose(finder.mean_, other.mean(0), atol=1e-5)
    np.testing.assert_allclose(finder.scale_, other.std(0, ddof=1), rtol=1e-5)
    same = FailureDirections(random_state=0, progress=False).fit(evaluation, reference=Evaluation(other))
    assert np.array_equal(finder.coef_, same.coef_)
    with pytest.raises(ValueError, match="reference must have 12 dimensions"):
        finder.fit(evaluation, reference=np.ones((4, 3)))


@pytest.mark.parametrize(
    "settings",
    [
        {"C_grid": [1, 0.1]},
        {"C_grid": [0.0]},
        {"C_grid": [1e6]},
        {"C_grid": "abc"},
        {"cv": 1},
        {"selection": "loss"},
        {"passes": 3},
        {"passes": True},
        {"C_grid": [0.1], "estimator": "mlp"},
        {"estimator": "tree"},
        {"n_directions": 0},
        {"n_directions": 5},
        {"selection": "balanced_accuracy", "estimator": "lda"},
    ],
)
def test_wrong_settings_are_refused_at_fit(settings):
    with pytest.raises(ValueError, match=f"^{next(iter(settings))}(=| must| is)"):
        FailureDirections(**settings).fit(planted()[0])


def test_the_discriminant_is_its_closed_form():
    x, is_error, _ = one_class(300, 8)
    rows = whitened(x)
    fit = fit_direction(
        rows, is_error, C_grid=C_GRID, cv=2, selection="auroc", estimator="lda", rng=np.random.RandomState(0)
    )
    sides = [rows[is_error], rows[~is_error]]
    centred = np.concatenate([side - side.mean(axis=0) for side in sides])
    covariance = LedoitWolf(assume_centered=True).fit(centred).covariance_
    by_hand = np.linalg.solve(covariance, sides[0].mean(axis=0) - sides[1].mean(axis=0))
    np.testing.assert_allclose(fit.plane.coef, by_hand / np.linalg.norm(by_hand), atol=1e-6)
    assert np.isnan(fit.C)
    assert roc_auc_score(is_error, fit.plane(rows)) > 0.8
    assert 0.5 < fit.cv_scores[0] < 1
    assert balanced_accuracy(fit.plane(rows), is_error) > 0.7


@pytest.mark.parametrize("estimator", ["svm", "lda", "mlp"])
def test_every_estimator_finds_the_planted_failure(estimator):
    evaluation, hard = planted(900)
    first, second = evaluation.split(0.5, random_state=0)
    finder = FailureDirections(estimator=estimator, random_state=0, progress=False).fit(first)
    one = next(one for one in finder.slices(second) if one.scope == ("label", 1))
    rows = [evaluation.ids.tolist().index(name) for name in second.ids]
    in_class = second.labels == 1
    assert roc_auc_score(hard[rows][in_class], one.scores[in_class]) > 0.8
    assert (one.direction is None) == (estimator == "mlp")
    assert np.isnan(finder.coef_[1]).all() == (estimator == "mlp")
    assert finder.coef_.shape == (3, 12)
    assert finder.cv_scores_.shape == (3, 7 if estimator == "svm" else 1)


def test_a_class_that_fails_in_two_ways_has_two_directions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 10))
    way = rng.choice(3, 900, p=[0.7, 0.15, 0.15])  # 0 = no failure
    x[way == 1, 0] += 4
    x[way == 2, 1] += 4
    is_error = np.where(way > 0, rng.random(900) < 0.8, rng.random(900) < 0.05)
    evaluation = Evaluation(x, labels=np.zeros(900, int), predictions=is_error.astype(int), class_names=["a", "b"])
    finder = FailureDirections(n_directions=2, random_state=0, progress=False).fit(evaluation)
    assert [one.name for one in finder.slices(evaluation)] == ["a: hardest, 1", "a: hardest, 2"]
    assert finder.coef_.shape == (2, 10)
    assert sorted(int(np.abs(row).argmax()) for row in finder.coef_) == [0, 1]
    scores = finder.decision_function(evaluation)
    for row, column in zip(finder.coef_, scores.T, strict=True):
        own = way == 1 + int(np.abs(row).argmax())
        assert own[np.argsort(-column)[:50]].mean() > 0.9
    stats = [one.stats for one in finder.slices(evaluation)]
    assert sum(one["fit_errors"] for one in stats) == is_error.sum()


@pytest.mark.parametrize("n_errors", [2, 3, 5])
def test_more_directions_than_errors_allow_are_given_up(n_errors):
    evaluation = one_class(n_errors=n_errors)[2]
    finder = FailureDirections(n_directions=4, random_state=0, progress=False).fit(evaluation)
    assert 1 <= len(finder.slices(evaluation)) <= n_errors // 2
    assert np.isfinite(finder.coef_).all()
