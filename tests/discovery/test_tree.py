"""FailureTree: parity with scikit-learn called as the paper does, identities of leaves, and the obvious case."""

import numpy as np
import pytest
from discovery_cases import one_class, planted
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from failviz.discovery.base import canonical_order
from failviz.discovery.tree import FailureTree
from failviz.discovery.tree_fit import Condition, between_floats, most_informative, rule_of, words_of
from failviz.evaluation import Evaluation
from failviz.verification import verify

DEPTHS = pytest.mark.parametrize("max_depth", [1, 2, 3, 4])
GROUPS = pytest.mark.parametrize("group_by", ["prediction", "label"])


def blurred(n=900, d=24, seed=0, dtype=np.float32):
    """Three classes in which errors depend on several features, so that deep trees find something to split."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    x = rng.normal(size=(n, d)) + 0.3 * labels[:, None]
    odds = 1.5 * x[:, 3] - 1.5 * x[:, 11] + 1.2 * np.abs(x[:, 17]) + x[:, 20] - 2.5
    wrong = rng.random(n) < 1 / (1 + np.exp(-odds))
    predictions = np.where(wrong, (labels + rng.integers(1, 3, n)) % 3, labels)
    return Evaluation(x.astype(dtype), labels=labels, predictions=predictions, class_names=["bag", "boot", "coat"])


def rows_of_group(evaluation, group_by, c):
    order = canonical_order(evaluation.space(), evaluation.row_hashes(), evaluation.errors)
    column = getattr(evaluation, f"{group_by}s")
    return order[column[order] == c]


def as_in_the_paper(x, f, n_features, max_depth):
    """The published recipe, seed 0: the columns of the tree by their numbers in x, and the tree."""
    information = mutual_info_classif(x, f, random_state=0)
    columns = np.argsort(information)[-n_features:]
    assert information[columns[0]] > 0  # else ties decide, and the published code leaves them to the sort
    weights = {0: 1, 1: np.sum(~f) / np.sum(f)}
    tree = DecisionTreeClassifier(max_depth=max_depth, criterion="entropy", class_weight=weights, random_state=0)
    return columns, tree.fit(x[:, columns], f)


@pytest.fixture(scope="module")
def deep():
    """A fit with internal nodes of every kind, and its Evaluation."""
    evaluation = blurred()
    return FailureTree(n_features=6, max_depth=4, random_state=0, progress=False).fit(evaluation), evaluation


@DEPTHS
@GROUPS
def test_same_tree_as_scikit_learn_called_as_in_the_paper(group_by, max_depth):
    evaluation = blurred()
    finder = FailureTree(group_by, 6, max_depth, random_state=0, progress=False).fit(evaluation)
    assert finder.status_ == ["fitted"] * 3
    for c, ours in finder.trees_.items():
        rows = rows_of_group(evaluation, group_by, c)
        x, f = evaluation.space()[rows], evaluation.errors[rows]
        columns, theirs = as_in_the_paper(x, f, 6, max_depth)
        nodes = theirs.tree_
        is_leaf = nodes.children_left < 0
        assert ours.selected.tolist() == columns[::-1].tolist()
        assert np.array_equal(ours.features[~is_leaf], columns[nodes.feature[~is_leaf]])
        assert np.array_equal(ours.thresholds[~is_leaf], nodes.threshold[~is_leaf])
        assert np.array_equal(ours.left, nodes.children_left)
        assert np.array_equal(ours.right, nodes.children_right)
        visits = theirs.decision_path(x[:, columns]).toarray().astype(bool)
        assert np.array_equal(ours.sizes, visits.sum(axis=0))
        assert np.array_equal(ours.fails, visits[f].sum(axis=0))
        predicted_to_fail = theirs.predict(x[:, columns]) == 1
        assert set(ours.true_leaves) == set(theirs.apply(x[:, columns])[predicted_to_fail])


@DEPTHS
@GROUPS
def test_members_are_those_that_scikit_learn_sends_to_the_leaf(group_by, max_depth):
    finder = FailureTree(group_by, 6, max_depth, random_state=0, progress=False).fit(blurred())
    # Values on the threshold itself, its float32 neighbours, and values that float16 rounded onto a grid.
    others = np.random.default_rng(5).normal(size=(300, 24)).astype(np.float16).astype(np.float32)
    step = 0
    for tree in finder.trees_.values():
        for node in np.flatnonzero(tree.left >= 0):
            cut = np.float32(tree.thresholds[node])
            others[step : step + 3, tree.features[node]] = [np.nextafter(cut, -9), cut, np.nextafter(cut, 9)]
            step += 3
    column = np.arange(300) % 3
    other = Evaluation(others, **{f"{group_by}s": column}, class_names=["bag", "boot", "coat"])
    fitted_on = blurred()
    applied = {}
    for c in finder.trees_:
        rows = rows_of_group(fitted_on, group_by, c)
        columns, theirs = as_in_the_paper(fitted_on.space()[rows], fitted_on.errors[rows], 6, max_depth)
        applied[c] = theirs.apply(others[:, columns])
    for (c, leaf), one in zip(finder.leaves_, finder.slices(other), strict=True):
        assert np.array_equal(one.is_member, (applied[c] == leaf) & (column == c))
        assert np.array_equal(one.in_scope, column == c)


@pytest.mark.parametrize("threshold", [0.1, 0.5, -0.3, 0.0, 1e-30, -1.0, 3.0000001, 2.0**-149 / 2])
def test_no_float_lies_on_the_cut_and_each_keeps_its_side(threshold):
    near = np.float32(threshold)
    values = [np.nextafter(near, np.float32(-9)), near, np.nextafter(near, np.float32(9))]
    for value in map(float, values):
        assert (value <= threshold) == (value < between_floats(threshold))
        assert (value > threshold) == (value > between_floats(threshold))


def test_rates_of_leaves_add_up(deep):
    for tree in deep[0].trees_.values():
        leaves, rates, coverages = tree.leaves, tree.error_rates, tree.error_coverages
        assert len(leaves) > 4
        assert coverages[leaves].sum() == pytest.approx(1, abs=1e-12)
        assert tree.aler == pytest.approx((coverages * rates)[leaves].sum(), abs=1e-12)
        assert tree.aler == pytest.approx(tree.importances[leaves].sum(), abs=1e-12)
        assert tree.mean_leaf_er[0] == pytest.approx(tree.aler, abs=1e-12)
        assert np.average(rates[leaves], weights=tree.sizes[leaves]) == pytest.approx(tree.ber, abs=1e-12)
        assert tree.aler > tree.ber == rates[0]


def test_nodes_add_up_their_children(deep):
    for tree in deep[0].trees_.values():
        inner = np.flatnonzero(tree.left >= 0)
        left, right = tree.left[inner], tree.right[inner]
        for counts in (tree.sizes, tree.fails, tree.error_coverages, tree.importances):
            np.testing.assert_allclose(counts[inner], counts[left] + counts[right], rtol=0, atol=1e-12)
        weights = np.array([tree.error_coverages[left], tree.error_coverages[right]])
        rates = np.array([tree.mean_leaf_er[left], tree.mean_leaf_er[right]])
        np.testing.assert_allclose(tree.mean_leaf_er[inner] * weights.sum(0), (weights * rates).sum(0), atol=1e-12)
        assert (np.abs(tree.mean_leaf_er - tree.error_rates)[inner] > 1e-3).any()  # not a node's own rate


def test_true_leaves_fail_more_than_their_group_and_are_ranked_by_importance(deep):
    finder, evaluation = deep
    for tree in finder.trees_.values():
        assert set(tree.true_leaves) == set(tree.leaves[tree.error_rates[tree.leaves] > tree.ber])
    slices = finder.slices(evaluation)
    importances = [one.stats["fit_error_rate"] * one.stats["fit_errors"] for one in slices]
    assert len(slices) == sum(len(tree.true_leaves) for tree in finder.trees_.values())
    assert importances == sorted(importances, reverse=True)
    assert len({one.scope for one in slices}) == 3
    assert len({one.name for one in slices}) == len(slices)
    for one in slices:
        stats, inside = one.stats, evaluation.errors[one.is_member]
        assert (stats["fit_n"], stats["fit_errors"]) == (len(inside), inside.sum())
        assert stats["fit_importance"] == pytest.approx(stats["fit_error_rate"] * stats["fit_error_coverage"])
        assert stats["fit_error_rate"] > stats["fit_base_error_rate"]
        assert stats["fit_base_error_rate"] == evaluation.errors[evaluation.predictions == one.scope[1]].mean()


def test_scores_are_distances_to_the_nearest_side_of_the_box(deep):
    finder, evaluation = deep
    x = evaluation.space().astype(np.float64)
    for one in finder.slices(evaluation):
        group = evaluation.predictions == one.scope[1]
        depth = np.full(len(x), np.inf)
        for feature, threshold, side in one.stats["path"]:
            away = (x[:, feature] - threshold) / x[group, feature].std()
            depth = np.minimum(depth, away if side == ">" else -away)
        np.testing.assert_allclose(one.scores[group], depth[group], atol=1e-6)
        assert 1 <= len(one.stats["path"]) <= 4


def test_planted_failure_is_found_by_name_and_confirmed():
    first, second = planted(1800)[0].split(0.5, random_state=0)
    finder = FailureTree("label", random_state=0, progress=False).fit(first)
    best = finder.slices(second)[0]
    assert best.name == "kind 1: feature 0 high"
    assert best.scope == ("label", 1)
    verdict = next(iter(verify([best], second)))
    assert verdict.confirmed
    assert verdict.lift > 4
    assert verdict.error_rate == pytest.approx(best.stats["fit_error_rate"], abs=0.15)


def test_larger_score_means_more_likely_to_fail():
    evaluation, hard = planted()
    finder = FailureTree("label", random_state=0, progress=False).fit(evaluation)
    score = finder.slices(evaluation)[0].scores
    assert roc_auc_score(hard[evaluation.labels == 1], score[evaluation.labels == 1]) > 0.95
    assert (score[evaluation.labels != 1] == -np.inf).all()


def test_rules_use_the_numbers_of_the_space_not_of_the_selection():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 60))
    wrong = (x[:, 57] > 0.8) ^ (rng.random(400) < 0.03)
    evaluation = Evaluation(
        {"clip": np.ones((400, 1)), "hidden": x},
        labels=np.zeros(400, int),
        predictions=wrong.astype(int),
        class_names=["sneaker", "boot"],
    )
    finder = FailureTree("label", 3, space="hidden", random_state=0, progress=False).fit(evaluation)
    tree, one = finder.trees_[0], finder.slices(evaluation)[0]
    assert len(tree.selected) == 3
    assert tree.selected[0] == 57
    assert one.name == "sneaker: feature 57 high"
    assert one.rule == f"hidden[57] > {tree.thresholds[0]:.4g}"
    assert one.stats["path"] == tree.path(int(finder.leaves_[0, 1])) == [(57, tree.thresholds[0], ">")]
    assert np.array_equal(one.is_member, x.astype(np.float32)[:, 57] > tree.thresholds[0])


def test_names_of_dimensions_stand_in_rules():
    rng = np.random.default_rng(0)
    x, names = rng.normal(size=(400, 3)), ["age", "dose in mg", "weight"]
    wrong = (x[:, 1] > 0.8) ^ (rng.random(400) < 0.03)
    columns = {"labels": np.zeros(400, int), "predictions": wrong.astype(int), "class_names": ["ill", "well"]}
    first, second = Evaluation(x, **columns, feature_names=names).split(0.5, random_state=0)
    finder = FailureTree("label", random_state=0, progress=False).fit(first)
    one = finder.slices(second)[0]
    assert one.name == "ill: dose in mg high"
    assert one.rule == f"embedding[dose in mg] > {finder.trees_[0].thresholds[0]:.4g}"
    unnamed = finder.slices(Evaluation(x, **columns))[0]  # whoever says nothing is believed
    assert (unnamed.name, unnamed.rule) == (one.name, one.rule)
    with pytest.raises(ValueError, match="whose dimension 1 is 'dose in mg', and in this Evaluation it is 'weight'"):
        finder.slices(Evaluation(x, **columns, feature_names=["age", "weight", "dose in mg"]))


def test_groups_by_prediction_say_so():
    evaluation = planted()[0]
    one = FailureTree(random_state=0, progress=False).fit(evaluation).slices(evaluation)[0]
    assert one.scope[0] == "prediction"
    assert one.name.startswith(f"predicted kind {one.scope[1]}: feature ")


def test_words_and_rule_keep_the_last_condition_of_each_side():
    path = [Condition(12, 0.1, ">"), Condition(3, 0.5, "<="), Condition(12, 0.83, "<="), Condition(3, 0.25, "<=")]
    assert words_of(path) == "feature 12 between 0.1 and 0.83, feature 3 low"
    assert words_of(path, [f"f{k}" for k in range(13)]) == "f12 between 0.1 and 0.83, f3 low"
    assert rule_of(path, "hidden") == "hidden[12] > 0.1 and hidden[12] <= 0.83 and hidden[3] <= 0.25"


@DEPTHS
def test_without_a_number_of_features_the_tree_is_that_of_all_of_them_and_none_is_ranked(max_depth):
    evaluation = blurred()
    finder = FailureTree(n_features=None, max_depth=max_depth, random_state=0, progress=False).fit(evaluation)
    for c, ours in finder.trees_.items():
        rows = rows_of_group(evaluation, "prediction", c)
        x, f = evaluation.space()[rows], evaluation.errors[rows]
        weights = {0: 1, 1: np.sum(~f) / np.sum(f)}
        theirs = DecisionTreeClassifier(
            max_depth=max_depth, criterion="entropy", class_weight=weights, random_state=0
        ).fit(x, f)
        assert ours.selected.tolist() == list(range(24))
        assert np.isnan(ours.information).all() and ours.information.shape == (24,)
        assert np.array_equal(ours.features, np.maximum(theirs.tree_.feature, -1))
        is_leaf = theirs.tree_.children_left < 0
        assert np.array_equal(ours.thresholds[~is_leaf], theirs.tree_.threshold[~is_leaf])


def test_features_that_tell_nothing_are_kept_in_order():
    rows = np.tile(np.linspace(0, 1, 40, dtype=np.float32)[:, None], 6)
    order, information = most_informative(rows, np.arange(40) % 2 == 0, 4, seed=0)
    assert information.tolist() == [0, 0, 0, 0]
    assert order.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("n_errors", "status"),
    [(0, "too_few_errors"), (1, "too_few_errors"), (2, "fitted"), (199, "too_few_correct"), (200, "too_few_correct")],
)
def test_status_says_why_a_group_has_no_tree(n_errors, status):
    evaluation = one_class(n_errors=n_errors)[2]
    finder = FailureTree("label", random_state=0, progress=False).fit(evaluation)
    assert finder.status_ == [status, "empty"]
    assert len(finder.slices(evaluation)) == (status == "fitted") == len(finder.trees_)
    assert finder.decision_function(evaluation).shape == (200, len(finder.leaves_))


def test_groups_that_are_all_right_or_all_wrong_have_no_tree():
    evaluation = one_class()[2]  # all that is predicted "a" is right, all that is predicted "b" is wrong
    finder = FailureTree(random_state=0, progress=False).fit(evaluation)
    assert finder.status_ == ["too_few_errors", "too_few_correct"]
    assert finder.slices(evaluation) == []


@pytest.mark.parametrize("values", [[0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 0.0, 1.0]])
def test_a_group_that_no_feature_parts_has_no_slice(values):
    x = np.tile(values, 10)[:, None]
    evaluation = Evaluation(x, labels=np.zeros(40, int), predictions=np.tile([0, 0, 1, 1], 10), class_names=["a", "b"])
    finder = FailureTree("label", max_depth=3, random_state=0, progress=False).fit(evaluation)
    assert finder.status_ == ["no_split", "empty"]
    assert finder.trees_[0].aler == pytest.approx(finder.trees_[0].ber) == 0.5
    assert finder.slices(evaluation) == []


def test_half_precision_gives_the_tree_of_the_same_numbers():
    half = blurred(dtype=np.float16)
    single = Evaluation(half.space().astype(np.float32), labels=half.labels, predictions=half.predictions)
    fits = [FailureTree(max_depth=3, random_state=0, progress=False).fit(one) for one in (half, single)]
    assert np.array_equal(fits[0].leaves_, fits[1].leaves_)
    assert np.array_equal(fits[0].decision_function(half), fits[1].decision_function(single))


@GROUPS
def test_only_the_column_of_the_groups_is_needed_to_apply(group_by):
    evaluation = blurred()
    finder = FailureTree(group_by, random_state=0, progress=False).fit(evaluation)
    column = {f"{group_by}s": getattr(evaluation, f"{group_by}s")}
    bare = Evaluation(evaluation.space(), **column, class_names=evaluation.class_names)
    assert finder.requires_to_apply == tuple(column)
    assert np.array_equal(finder.decision_function(bare), finder.decision_function(evaluation))
    with pytest.raises(ValueError, match=f"FailureTree needs {group_by}s, and this Evaluation has none: give it"):
        finder.slices(Evaluation(evaluation.space()))


def test_a_seed_is_used_as_it_is_and_a_generator_once():
    evaluation = blurred()
    fits = [FailureTree(random_state=seed, progress=False).fit(evaluation) for seed in (0, np.int64(0))]
    assert np.array_equal(fits[0].trees_[0].information, fits[1].trees_[0].information)
    drawn = np.random.RandomState(3).randint(2**31 - 1)
    fits = [FailureTree(random_state=s, progress=False).fit(evaluation) for s in (drawn, np.random.RandomState(3))]
    assert np.array_equal(fits[0].trees_[0].information, fits[1].trees_[0].information)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"group_by": "class"}, 'group_by must be "prediction" or "label", not \'class\'.'),
        ({"group_by": ["label"]}, "group_by must be "),
        ({"n_features": 0}, "n_features must be a whole number of at least 1, not 0."),
        ({"n_features": False}, "n_features must be a whole number of at least 1, not False."),
        ({"n_features": 2.5}, "n_features must be a whole number of at least 1, not 2.5."),
        ({"max_depth": 0}, "max_depth must be a whole number of at least 1, not 0."),
        ({"max_depth": None}, "max_depth must be a whole number of at least 1, not None."),
        ({"max_depth": True}, "max_depth must be a whole number of at least 1, not True."),
        ({"random_state": "today"}, "'today' cannot be used to seed"),
    ],
)
def test_wrong_settings_are_refused_at_fit(settings, sentence):
    finder = FailureTree(**settings)
    with pytest.raises(ValueError) as refusal:
        finder.fit(planted()[0])
    assert str(refusal.value).startswith(sentence)
    assert "\n" not in str(refusal.value)
