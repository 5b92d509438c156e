import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError

from failviz import Evaluation, FailureDirections, FailureTree, plots
from failviz.plots._trees import node_counts


def made(n, seed):
    rng = np.random.default_rng(seed)
    points, labels = rng.normal(size=(n, 6)), np.arange(n) % 3
    wrong = rng.random(n) < np.where((points[:, 4] > 0.5) & (points[:, 1] < 0.5) & (labels == 0), 0.8, 0.1)
    wrong &= labels != 2
    names = ["cat", "$dog_", "fox"]
    return Evaluation(points, labels=labels, predictions=(labels + wrong) % 3, class_names=names)


@pytest.fixture(scope="module")
def seen():
    return made(900, 0)


@pytest.fixture(scope="module")
def fresh():
    return made(600, 1)


@pytest.fixture(scope="module")
def finder(seen):
    return FailureTree("label", max_depth=2, random_state=0, progress=False).fit(seen)


def axes():
    return Figure(figsize=(20, 8)).subplots()


def boxes(ax):
    """{first line: [lines, ...]} of every box."""
    found = {}
    for text in ax.texts:
        if text.get_bbox_patch() is not None:
            head, *lines = text.get_text().split("\n")
            found.setdefault(head, []).append((lines, text))
    return found


def test_boxes_hold_features_and_rates_of_the_fit(finder):
    ax = plots.tree(finder, 0, axes())
    grown, drawn = finder.trees_[0], boxes(ax)
    assert sum(len(found) for found in drawn.values()) == len(grown.sizes)
    (root,) = (lines for lines, text in drawn["feature 4"] if text.get_position()[0] == 0)
    assert root == [f"n {grown.sizes[0]}", f"ER {100 * grown.ber:.0f}%", "EC 100%"]
    c, leaf = finder.leaves_[0]
    ((lines, text),) = drawn["slices()[0]"]
    assert c == 0 and lines[0] == f"n {grown.sizes[leaf]}"
    assert lines[1] == f"ER {100 * grown.error_rates[leaf]:.0f}%"
    assert lines[2] == f"EC {100 * grown.error_coverages[leaf]:.0f}%"
    plain = drawn["leaf"][0][1].get_bbox_patch()
    assert text.get_bbox_patch().get_linewidth() > 2 * plain.get_linewidth()
    assert same_color(text.get_bbox_patch().get_edgecolor(), plots.VERMILION)
    assert ax.get_title("left") == "examples labelled class 0\nfeatures of 'embedding'; rates of the fit, in-sample"


def test_boxes_hold_names_of_features_where_there_are_some(seen):
    names = ["age", "$dose_1$ per kilogram of body weight", "b", "c", "$c_1$", "d"]
    columns = {name: getattr(seen, name) for name in ("labels", "predictions", "class_names")}
    named = Evaluation(seen.space(), **columns, feature_names=names)
    finder = FailureTree("label", max_depth=2, random_state=0, progress=False).fit(named)
    drawn = boxes(plots.tree(finder, 0, axes()))
    assert {"$c_1$", "$dose_1$ per kilogram…"} <= set(drawn)
    assert not any(text.get_parse_math() for found in drawn.values() for _, text in found)


def test_edges_say_the_side_of_the_threshold_and_high_values_go_up(finder):
    ax = plots.tree(finder, 0, axes())
    grown = finder.trees_[0]
    edges = [text for text in ax.texts if text.get_bbox_patch() is None]
    assert len(edges) == len(grown.sizes) - 1
    for node in np.flatnonzero(grown.left >= 0):
        value = f"{grown.thresholds[node]:.3g}".replace("-", "−")
        (above,) = (text for text in edges if text.get_text() == f"> {value}")
        (below,) = (text for text in edges if text.get_text() == f"≤ {value}")
        assert above.get_position()[1] < below.get_position()[1] and ax.yaxis_inverted()


def test_held_out_rates_stand_behind_those_of_the_fit(finder, fresh):
    ax = plots.tree(finder, "cat", axes(), evaluation=fresh)
    ((lines, _),) = boxes(ax)["slices()[0]"]
    one = finder.slices(fresh)[0]
    wrong, cats = fresh.errors & one.is_member, fresh.errors & (fresh.labels == 0)
    behind = [line.split(" | ")[1] for line in lines]
    assert behind == [f"{len(one)}", f"{100 * wrong.sum() / len(one):.0f}%", f"{100 * wrong.sum() / cats.sum():.0f}%"]
    assert ax.get_title("left").startswith("examples labelled cat\n") and "held out" in ax.get_title("left")


def test_examples_of_the_fit_are_called_in_sample_and_give_its_counts(finder, seen):
    ax = plots.tree(finder, 0, axes(), evaluation=seen)
    assert "in-sample (seen while searching)" in ax.get_title("left")
    grown, rows = finder.trees_[0], seen.labels == 0
    counts = node_counts(grown, seen.space()[rows].astype(float), seen.errors[rows])
    assert np.array_equal(counts[0], grown.sizes) and np.array_equal(counts[1], grown.fails)


def test_groups_by_prediction_are_named_so(seen, fresh):
    finder = FailureTree(random_state=0, progress=False).fit(seen)
    ax = plots.tree(finder, "$dog_", axes(), evaluation=fresh)
    assert ax.get_title("left").startswith("examples predicted $dog_")
    n = (fresh.predictions == 1).sum()
    assert any(f"| {n}" in lines[0] for found in boxes(ax).values() for lines, _ in found)


def test_a_group_without_a_tree_says_why(finder, fresh):
    ax = plots.tree(finder, 2, axes(), evaluation=fresh)
    assert [text.get_text() for text in ax.texts] == [
        "examples labelled fox: no tree, as its status in the fit is\n'too_few_errors'"
    ]


def test_a_group_without_held_out_examples_has_no_rates(finder, fresh):
    others = fresh.take(np.flatnonzero(fresh.labels != 0))
    ((lines, _),) = boxes(plots.tree(finder, 0, axes(), evaluation=others))["slices()[0]"]
    assert [line.split(" | ")[1] for line in lines] == ["0", "–", "–"]


def test_words_shrink_in_a_small_axes(finder):
    sizes = [
        plots.tree(finder, 0, Figure(figsize=size).subplots()).texts[0].get_fontsize() for size in ((20, 8), (4, 3))
    ]
    assert sizes[0] == 8.5 and 4 <= sizes[1] < 8.5


def test_what_is_no_tree_and_no_group_is_refused(finder, fresh):
    def refused(error, words, finder=finder, group=0, **more):
        with pytest.raises(error, match=words):
            plots.tree(finder, group, axes(), **more)

    refused(TypeError, "takes a fitted FailureTree, not FailureDirections", finder=FailureDirections())
    refused(NotFittedError, "not fitted", finder=FailureTree())
    refused(ValueError, "a class from 0 to 2, not 3", group=3)
    refused(ValueError, "a class from 0 to 2, not -1", group=-1)
    refused(TypeError, "the number or the name of a class, not float", group=1.0)
    refused(TypeError, "the number or the name of a class, not bool", group=True)
    refused(ValueError, "'cat' is a name, and only an Evaluation knows names", group="cat")
    refused(ValueError, "'cow' is none of cat", group="cow", evaluation=fresh)
    refused(TypeError, "takes an Evaluation as evaluation, not int", evaluation=3)
    refused(ValueError, "plots.tree needs predictions", evaluation=Evaluation(fresh.space(), labels=fresh.labels))
    refused(
        ValueError,
        "fitted on 6 dimensions",
        evaluation=Evaluation(np.eye(5), labels=np.zeros(5), predictions=np.ones(5)),
    )
