"""FailureDirections beside the recipe of Jain et al. 2022 (arXiv 2206.14754), from raw features to decision values.

The recipe is what its authors call: whitening by the training features of all classes together, per class an
`SVC(kernel="linear", class_weight="balanced")` for each C, two stratified folds in the order of the rows. Its sign is
the opposite of ours: positive = looks correct.

Where a fit is saturated (see `svm.py`) its intercept is arbitrary: libsvm gives the middle of the interval of equally
good ones, or, when the last digits of a sum leave one dual variable just inside its bound, an end. No two computations
of the same inner products agree on which, so that the score of such a C is one of few and not the same on two machines.
"""

from itertools import product

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import normalize
from sklearn.svm import SVC

from failviz.discovery import FailureDirections
from failviz.discovery.direction_fit import fit_direction
from failviz.discovery.svm import BalancedSVM
from failviz.evaluation import Evaluation

C_GRID = np.logspace(-6, 0, 7)
PAPER = {"selection": "balanced_accuracy", "shuffle": False, "progress": False}


def features(n, d, seed):
    """Rows as encoders give them: a common offset, dimensions of unequal spread that go together, of any length."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(d, d)) * np.geomspace(2, 0.1, d)
    return (rng.normal(size=(n, d)) @ mixing + 3 * np.sin(np.arange(d))).astype(np.float32)


def world(n=800, d=24, seed=0, rates=(0.1, 0.25, 0.5, 0.8)):
    """Training features, and an Evaluation of classes that fail, at these rates, where a feature is high."""
    rng = np.random.default_rng(1000 + seed)
    x, labels = features(n, d, seed), rng.integers(0, len(rates), n)
    x[:, 0] += 4 * labels
    wrong = np.zeros(n, dtype=bool)
    for c, rate in enumerate(rates):
        rows = np.flatnonzero(labels == c)
        height = x[rows, c] / x[rows, c].std() + 0.8 * rng.normal(size=len(rows))
        wrong[rows[np.argsort(-height)[: round(rate * len(rows))]]] = True
    predictions = np.where(wrong, (labels + 1) % max(2, len(rates)), labels)
    return features(1500, d, seed + 500), Evaluation(x, labels=labels, predictions=predictions)


def as_in_the_paper(x, training, passes=1):
    """Whitened unit rows, by the statistics of the training features."""
    training = training.astype(np.float64)
    for _ in range(passes):
        x = normalize((x - training.mean(axis=0)) / training.std(axis=0, ddof=1))
    return x


def published(C):
    return SVC(kernel="linear", C=C, class_weight="balanced")


def published_scores(rows, is_error, scoring="balanced_accuracy", cv=2):
    return np.array([cross_val_score(published(C), rows, ~is_error, cv=cv, scoring=scoring).mean() for C in C_GRID])


def assert_scores_of_the_recipe(ours, rows, is_error):
    """Of each C, up to the one thing that is arbitrary in them, and up to one example that lies on the boundary."""
    theirs = published_scores(rows, is_error)
    folds = list(StratifiedKFold(2).split(rows, ~is_error))
    problems = [BalancedSVM(rows[part], is_error[part]) for part, _ in folds]
    one_example = 1 / min((is_error[held_out] == side).sum() for _, held_out in folds for side in (False, True)) / 4
    for k, C in enumerate(C_GRID):
        possible = []
        for problem, (_, held_out) in zip(problems, folds, strict=True):
            if problem.is_saturated(C):
                coef, low, high = problem.saturated(C)
                heights = rows[held_out] @ coef
                possible.append(
                    [
                        balanced_accuracy_score(is_error[held_out], heights + b > 0)
                        for b in (low, (low + high) / 2, high)
                    ]
                )
        if len(possible) == len(folds):
            means = np.array([np.mean(one) for one in product(*possible)])
            for scores in (ours, theirs):
                assert np.abs(means - scores[k]).min() < 1e-9, C
        elif not possible:
            assert abs(ours[k] - theirs[k]) < max(1e-3, 1.01 * one_example), C
    assert ours.argmax() == theirs.argmax() or abs(ours.max() - theirs.max()) < 1e-3


def primal(coef, intercept, rows, is_error, C):
    n, n_errors = len(rows), is_error.sum()
    share = np.where(is_error, n / (2 * n_errors), n / (2 * (n - n_errors)))
    return coef @ coef / 2 + C * share @ np.maximum(0, 1 - np.where(is_error, 1, -1) * (rows @ coef + intercept))


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


@pytest.mark.parametrize(
    ("n", "d", "seed", "passes"), [(800, 24, 0, 1), (800, 24, 0, 2), (500, 96, 1, 1), (900, 6, 2, 1)]
)
def test_the_recipe_from_features_to_decision_values(n, d, seed, passes):
    training, evaluation = world(n, d, seed)
    ours = FailureDirections(passes=passes, **PAPER).fit(evaluation, reference=training)
    decision = ours.decision_function(evaluation)
    unseen = as_in_the_paper(features(2000, d, seed + 900), training, passes)
    for c in range(4):
        members = np.flatnonzero(evaluation.labels == c)
        rows, is_error = as_in_the_paper(evaluation.space()[members], training, passes), evaluation.errors[members]
        assert_scores_of_the_recipe(ours.cv_scores_[c], rows, is_error)
        C, coef, intercept = ours.C_[c], ours.coef_[c], ours.intercept_[c]
        assert pytest.approx(C_GRID[ours.cv_scores_[c].argmax()]) == C
        svc = published(C).fit(rows, ~is_error)
        assert cosine(coef, -svc.coef_[0]) >= 0.999
        assert spearmanr(unseen @ coef, -svc.decision_function(unseen)).statistic >= 0.999
        reference = primal(-svc.coef_[0], -svc.intercept_[0], rows, is_error, C)
        assert primal(coef, intercept, rows, is_error, C) <= reference * (1 + 1e-4)
        found = decision[members, list(ours.order_).index(c)]
        np.testing.assert_allclose(found, rows @ coef + intercept, atol=1e-6)
        if not BalancedSVM(rows, is_error).is_saturated(C):
            np.testing.assert_allclose(found, -svc.decision_function(rows), atol=0.02)


def test_the_hardest_of_the_paper_is_the_first_of_ours():
    training, evaluation = world()
    for one in FailureDirections(**PAPER).fit(evaluation, reference=training).slices(evaluation):
        members = np.flatnonzero(one.in_scope)
        rows, is_error = as_in_the_paper(evaluation.space()[members], training), evaluation.errors[members]
        theirs = published(one.stats["C"]).fit(rows, ~is_error).decision_function(rows)
        hardest = np.argsort(theirs)[:20]  # the paper's sign: lowest
        assert is_error[hardest].mean() > is_error.mean()
        assert len(np.intersect1d(np.argsort(-one.scores[members])[:20], hardest)) >= 19


def test_whitening_takes_all_classes_together():
    training, evaluation = world()
    finder = FailureDirections(random_state=0, progress=False).fit(evaluation)
    members = np.flatnonzero(evaluation.labels == 3)
    found = finder.decision_function(evaluation)[members, list(finder.order_).index(3)]
    pooled, of_the_class, of_training = (
        as_in_the_paper(evaluation.space()[members], rows) @ finder.coef_[3] + finder.intercept_[3]
        for rows in (evaluation.space(), evaluation.space()[members], training)
    )
    np.testing.assert_allclose(found, pooled, atol=1e-6)
    assert np.abs(found - of_the_class).max() > 0.1
    assert np.abs(found - of_training).max() > 0.1
    finder.fit(evaluation, reference=training)
    found = finder.decision_function(evaluation)[members, list(finder.order_).index(3)]
    expected = as_in_the_paper(evaluation.space()[members], training) @ finder.coef_[3] + finder.intercept_[3]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("d", [6, 96])
def test_held_out_errors_rank_as_by_svc_at_every_C(d):
    training, evaluation = world(500, d, 3)
    finder = FailureDirections(shuffle=False, progress=False).fit(evaluation, reference=training)
    for c in range(4):
        members = evaluation.labels == c
        rows = as_in_the_paper(evaluation.space()[members], training)
        theirs = published_scores(rows, evaluation.errors[members], scoring="roc_auc")
        np.testing.assert_allclose(finder.cv_scores_[c], theirs, atol=1e-3)
        tied = np.flatnonzero(finder.cv_scores_[c] >= finder.cv_scores_[c].max() - 1e-12)
        assert finder.C_[c] in C_GRID[tied]


def test_shuffled_folds_are_those_of_scikit_learn():
    training, evaluation = world(600, 12, 4, rates=(0.3,))
    rows, is_error = as_in_the_paper(evaluation.space(), training), evaluation.errors
    fits = [
        fit_direction(rows, is_error, C_grid=C_GRID, cv=3, selection="auroc", rng=np.random.RandomState(seed))
        for seed in (5, 6)
    ]
    folds = list(StratifiedKFold(3, shuffle=True, random_state=5).split(rows, ~is_error))
    theirs = published_scores(rows, is_error, scoring="roc_auc", cv=folds)
    np.testing.assert_allclose(fits[0].cv_scores, theirs, atol=1e-3)
    assert np.abs(fits[1].cv_scores - theirs).max() > 2e-3


@pytest.mark.parametrize("rate", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("d", [4, 64])
def test_a_fit_is_saturated_exactly_where_every_dual_variable_is_at_its_bound(rate, d):
    training, evaluation = world(300, d, 7, rates=(rate,))
    rows, is_error = as_in_the_paper(evaluation.space(), training), evaluation.errors
    problem = BalancedSVM(rows, is_error)
    toward_correct = len(rows) / 2 * (rows[~is_error].mean(axis=0) - rows[is_error].mean(axis=0))
    for C in problem.saturated_C * np.array([0.01, 0.5, 0.98, 1.02, 2.0, 50.0]):
        svc = SVC(kernel="linear", C=C, class_weight="balanced", tol=1e-10).fit(rows, ~is_error)
        duals = np.zeros(len(rows))
        duals[svc.support_] = np.abs(svc.dual_coef_[0])
        is_at_bound = np.allclose(duals, C * problem.shares, rtol=1e-6)
        heights = C * rows @ toward_correct
        assert problem.is_saturated(C) == is_at_bound
        assert problem.is_saturated(C) == (heights[~is_error].max() - heights[is_error].min() <= 2)
        if is_at_bound:
            np.testing.assert_allclose(C * toward_correct, svc.coef_[0], atol=1e-6 * np.abs(svc.coef_).max())


def test_classes_with_no_one_two_and_many_errors_beside_one_another():
    training, whole = world(400, 8, 6, rates=(0.0, 0.0, 0.0, 0.3))
    predictions = whole.predictions.copy()
    for c in (1, 2):
        predictions[np.flatnonzero(whole.labels == c)[[20, 70][:c]]] = 3
    evaluation = Evaluation(whole.space(), labels=whole.labels, predictions=predictions)
    finder = FailureDirections(**PAPER).fit(evaluation, reference=training)
    assert np.bincount(evaluation.labels, evaluation.errors)[:3].tolist() == [0, 1, 2]
    assert finder.status_ == ["too_few_errors", "too_few_errors", "fitted", "fitted"]
    slices = finder.slices(evaluation)
    assert {one.scope[1] for one in slices} == {2, 3}
    for one in slices:
        c, members = one.scope[1], np.flatnonzero(one.in_scope)
        assert not one.is_member[
            evaluation.labels < 2
        ].any()  # where one error leaves no classifier, not all are errors
        rows, is_error = as_in_the_paper(evaluation.space()[members], training), evaluation.errors[members]
        assert_scores_of_the_recipe(finder.cv_scores_[c], rows, is_error)
        theirs = published(finder.C_[c]).fit(rows, ~is_error)
        assert cosine(finder.coef_[c], -theirs.coef_[0]) >= 0.999
        assert spearmanr(one.scores[members], -theirs.decision_function(rows)).statistic >= 0.999


def test_the_network_is_that_of_scikit_learn_with_the_layers_of_the_paper_and_our_sign():
    training, evaluation = world(300, 6, 8, rates=(0.3,))
    rows, is_error = as_in_the_paper(evaluation.space(), training), evaluation.errors
    settings = {"C_grid": C_GRID, "cv": 2, "selection": "auroc", "estimator": "mlp", "shuffle": False}
    fit = fit_direction(rows, is_error, rng=np.random.RandomState(0), **settings)
    theirs = MLPClassifier(hidden_layer_sizes=(6, 100), random_state=np.random.RandomState(0).randint(2**31 - 1))
    with pytest.warns(UserWarning, match="Maximum iterations"):
        probabilities = theirs.fit(rows, is_error).predict_proba(rows)
    odds = np.log(probabilities[:, 1]) - np.log(probabilities[:, 0])
    np.testing.assert_allclose(fit.plane(rows) - fit.plane.intercept, odds, atol=1e-6)
    assert roc_auc_score(is_error, fit.plane(rows)) > 0.8
