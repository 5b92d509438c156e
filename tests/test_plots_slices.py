"""Pictures of slices on an Evaluation: direction, spotlight, precision_curve, overlap_matrix."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from failviz import Evaluation, Slice, Spotlight, overlap, plots
from failviz.plots._precision import precision_at
from failviz.plots._scores import membership_bound, ranked
from failviz.plots._spotlights import means_by_rank


@pytest.fixture(scope="module")
def ev():
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(600, 3)), np.arange(600) % 2
    wrong = rng.random(600) < 0.1 + 0.5 * (points[:, 0] > 1)
    losses = wrong * 1.0 + 0.1 * rng.random(600)
    return Evaluation(points, labels=labels, predictions=labels ^ wrong, losses=losses, class_names=["cat", "dog"])


def slice_of(ev, scores, above=1.0, scope="all", **facts):
    facts = {"name": "high", "method": "test", **facts}
    return Slice.of(ev, scores=scores, weights=(scores > above) * 1.0, scope=scope, **facts)


def said(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def axes():
    return Figure(figsize=(12, 5)).subplots()


# -- direction -----------------------------------------------------------------------------


def test_histograms_are_shares_of_right_and_wrong_within_the_scope(ev):
    one = slice_of(ev, ev.space()[:, 0], scope=("label", 1))
    ax = plots.direction(one, ev, axes(), bins=10)
    right, wrong = (patch.get_data() for patch in ax.patches)
    scores, errors = one.scores[one.in_scope], ev.errors[one.in_scope]
    edges = np.linspace(scores.min(), scores.max(), 11)
    for drawn, group in ((right, ~errors), (wrong, errors)):
        assert drawn.values == pytest.approx(np.histogram(scores[group], edges)[0] / group.sum())
        assert drawn.values.sum() == pytest.approx(1)
    assert said(ax)[:2] == [f"right (n = {(~errors).sum()})", f"wrong (n = {errors.sum()})"]
    assert ax.patches[0].get_fill() and not ax.patches[1].get_fill() and ax.patches[1].get_hatch()
    assert f"AUROC {roc_auc_score(errors, scores):.2f}" in ax.get_title("left")
    assert ax.get_xlabel().startswith("score of examples labelled dog")
    assert (
        "predicted cat"
        in plots.direction(slice_of(ev, scores=ev.space()[:, 0], scope=("prediction", 0)), ev, axes()).get_xlabel()
    )


def test_membership_begins_at_a_line_where_one_score_parts_it(ev):
    scores = ev.space()[:, 0]
    ax = plots.direction(slice_of(ev, scores), ev, axes())
    (line,) = ax.lines
    at = line.get_xdata()[0]
    assert (scores[scores > 1] > at).all() and (scores[scores <= 1] < at).all()
    assert said(ax)[-1] == f"member from here (n = {(scores > 1).sum()})"
    assert membership_bound(slice_of(ev, scores, above=0.0)) == 0.0
    mixed = Slice.of(ev, scores=scores, weights=(scores > 1) ^ (scores < -1), scope="all", name="two", method="test")
    assert membership_bound(mixed) is None and not plots.direction(mixed, ev, axes()).lines
    assert membership_bound(slice_of(ev, scores, above=99)) is None


def test_one_outcome_alone_and_equal_scores_are_drawn(ev):
    right = ev.take(np.flatnonzero(ev.correct))
    ax = plots.direction(slice_of(right, right.space()[:, 0]), right, axes())
    assert "no example is wrong" in ax.get_title("left") and said(ax)[1] == "wrong (n = 0)"
    wrong = ev.take(np.flatnonzero(ev.errors))
    assert "no example is right" in plots.direction(slice_of(wrong, np.zeros(len(wrong))), wrong, axes()).get_title(
        "left"
    )


def test_no_bins_are_refused(ev):
    with pytest.raises(ValueError, match="bins must be a whole number of at least 1, not 0"):
        plots.direction(slice_of(ev, ev.space()[:, 0]), ev, axes(), bins=0)


# -- spotlight -----------------------------------------------------------------------------


def test_the_line_is_high_where_the_light_falls(ev):
    finder = Spotlight(n_slices=2, min_weight=0.05, random_state=0, progress=False).fit(ev)
    one = finder.slices(ev)[0]
    ax = plots.spotlight(finder, ev, axes())
    line, mean = ax.lines
    assert mean.get_ydata()[0] == pytest.approx(ev.losses.mean()) and mean.get_linestyle() == "--"
    assert line.get_ydata()[0] > 2 * ev.losses.mean() > line.get_ydata()[-1]
    assert f"mean loss {np.average(ev.losses, weights=one.weights):.3g} by weight" in ax.get_title("left")
    assert ax.get_xscale() == "log" and ax.get_ylim()[0] == 0
    ranks, means, errors = means_by_rank(one.scores, ev.losses)
    assert np.array_equal(line.get_ydata(), means) and np.array_equal(line.get_xdata(), ranks)
    band = ax.collections[1].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx((means + 1.96 * errors).max())
    assert band.min() == pytest.approx((means - 1.96 * errors).min())
    light = ax.collections[0].get_paths()[0].vertices
    assert light[:, 1].max() == pytest.approx(0.97) and light[:, 1].min() == 0  # of the height of the picture
    assert ax.collections[0].get_hatch()


def test_means_by_rank_are_means_of_the_examples_around():
    losses = np.arange(100.0)
    ranks, means, errors = means_by_rank(-losses, losses)
    assert ranks[0] == 6 and ranks[-1] == 100
    assert means[0] == pytest.approx(np.arange(11).mean())
    assert errors[0] == pytest.approx(np.arange(11).std(ddof=1) / np.sqrt(11))
    at = int(np.flatnonzero(ranks == 40)[0])
    assert means[at] == pytest.approx(39)  # ranks 26 to 54
    for n in range(1, 14):
        ranks, means, errors = means_by_rank(np.arange(float(n)), np.full(n, 2.0))
        assert means == pytest.approx(2.0) and errors == pytest.approx(0.0, abs=1e-6) and ranks[-1] == n


def test_a_scope_has_its_own_mean(ev):
    one = slice_of(ev, ev.space()[:, 0], scope=("label", 1))
    ax = plots.spotlight(one, ev, axes())
    assert ax.lines[1].get_ydata()[0] == pytest.approx(ev.losses[ev.labels == 1].mean())
    assert "mean of its scope" in said(ax)
    nobody = slice_of(ev, ev.space()[:, 0], above=99)
    assert "no example has weight" in plots.spotlight(nobody, ev, axes()).get_title("left")


# -- precision_curve -----------------------------------------------------------------------


def test_precision_counts_the_highest_scores_and_ends_at_the_base_rate(ev):
    scores = ev.space()[:, 0]
    everyone, dogs = slice_of(ev, scores), slice_of(ev, scores, scope=("label", 1), name="dogs")
    ax = plots.precision_curve([everyone, dogs], ev, axes(), first_k=1)
    order = np.argsort(-scores)
    k, precision = ax.lines[0].get_data()
    assert precision == pytest.approx([ev.errors[order[:count]].mean() for count in k]) and k[0] == 1 and k[-1] == 600
    k, precision = ax.lines[1].get_data()
    assert k[-1] == 300 and precision[-1] == pytest.approx(ev.errors[ev.labels == 1].mean())
    base = ax.lines[2]
    assert base.get_ydata()[0] == pytest.approx(ev.errors.mean())
    assert said(ax) == ["high", "dogs", f"all examples ({100 * ev.errors.mean():.1f}%)"]
    looks = {(line.get_linestyle(), line.get_marker()) for line in ax.lines}
    assert len(looks) == 3 and ax.get_xscale() == "log"


def test_truth_replaces_the_errors_and_needs_no_labels(ev):
    bare, truth = Evaluation(ev.space()), ev.space()[:, 0] > 1.5
    ax = plots.precision_curve(slice_of(bare, bare.space()[:, 0]), bare, axes(), truth=truth)
    assert ax.lines[0].get_ydata()[0] == 1 and ax.lines[1].get_ydata()[0] == pytest.approx(truth.mean())
    with pytest.raises(TypeError, match="truth must be a boolean mask, one value per example, not of dtype int64"):
        plots.precision_curve([], ev, axes(), truth=np.arange(5))
    with pytest.raises(ValueError, match=r"truth must have shape \(600,\), one per example, not \(599,\)"):
        plots.precision_curve([], ev, axes(), truth=truth[1:])
    with pytest.raises(ValueError, match="first_k must be a whole number of at least 1"):
        plots.precision_curve([], ev, axes(), first_k=0)


def test_of_many_curves_the_highest_are_named(ev):
    rng = np.random.default_rng(1)
    noise = [slice_of(ev, rng.normal(size=600), name=f"noise {number}") for number in range(50)]
    ax = plots.precision_curve([*noise, slice_of(ev, ev.errors + 0.0, name="oracle", method="known")], ev, axes())
    words = said(ax)
    assert len(words) == 9 and words[6:8] == ["known: oracle", "44 lower ones"]
    assert words[0].startswith("test: noise") and len(ax.lines) == 52


def test_names_are_text_whatever_they_hold(ev):
    name = "_$\\frac{ to _ $"
    one = slice_of(ev, ev.space()[:, 0], name=name)
    for ax in (
        plots.precision_curve(one, ev, axes()),
        plots.direction(one, ev, axes()),
        plots.overlap_matrix([one], axes()),
    ):
        ax.figure.draw_without_rendering()
        texts = [*ax.get_yticklabels(), *(ax.get_legend().get_texts() if ax.get_legend() else [])]
        assert name in "".join([ax.get_title("left"), *(text.get_text() for text in texts)])


def test_curves_of_data_that_chose_them_say_so(ev):
    ax = plots.precision_curve([Slice.drawn(ev, ev.ids[:9], "lasso"), slice_of(ev, ev.space()[:, 0])], ev, axes())
    assert " ".join(said(ax)[0].split("\n")) == "drawn by hand: lasso (in-sample: drawn on these data)"
    assert said(ax)[1] == "test: high"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=1, max_size=12), st.randoms())
def test_ties_count_as_any_order_of_them_on_average(rows, random):
    scores, wanted = (np.array(column) for column in zip(*rows, strict=True))
    precision = precision_at(scores.astype(float), wanted)
    shuffled = random.sample(range(len(rows)), len(rows))
    assert np.array_equal(precision, precision_at(scores[shuffled].astype(float), wanted[shuffled]))
    for k in range(1, len(rows) + 1):
        edge = np.sort(scores)[::-1][k - 1]
        sure, tied = scores > edge, scores == edge
        expected = wanted[sure].sum() + (k - sure.sum()) * wanted[tied].mean()
        assert precision[k - 1] == pytest.approx(expected / k)


def test_ranked_keeps_the_total():
    values = np.array([3.0, 1.0, 2.0, 6.0])
    assert ranked(np.zeros(4), values) == pytest.approx([3.0] * 4)
    assert ranked(np.array([np.inf, 0, -1, 5]), values).tolist() == [3, 6, 1, 2]


# -- overlap_matrix ------------------------------------------------------------------------


def test_the_matrix_shows_the_jaccard_indices_and_parts_the_methods(ev):
    scores = ev.space()[:, 0]
    slices = [slice_of(ev, scores, above=at, name=f"$_{at}", method=m) for at, m in ((0, "a"), (1, "a"), (-1, "b"))]
    ax = plots.overlap_matrix(slices, axes())
    shares = overlap(slices).to_numpy()
    drawn = ax.images[0].get_array()
    assert drawn.filled(-1) == pytest.approx(np.where(np.eye(3, dtype=bool), -1, shares))
    numbers = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in ax.texts}
    assert numbers == {(i, j): f"{100 * shares[i, j]:.0f}" for i in range(3) for j in range(3) if i != j}
    names = [" ".join(label.get_text().split("\n")) for label in ax.get_yticklabels()]
    assert names == [f"{s.method}: {s.name}  (n = {len(s)})  {row + 1}" for row, s in enumerate(slices)]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "3"]
    parting = [line for line in ax.lines if set(line.get_xdata()) == {0, 1} or set(line.get_ydata()) == {0, 1}]
    assert [line.get_ydata()[0] for line in parting if line.get_ydata()[0] == line.get_ydata()[1]] == [1.5]


def test_numbers_are_left_out_where_cells_are_small(ev):
    rng = np.random.default_rng(0)
    many = [slice_of(ev, rng.normal(size=600), above=0, name="a long name " * 9) for _ in range(50)]
    ax = plots.overlap_matrix(many, Figure(figsize=(9, 9)).subplots())
    ax.figure.draw_without_rendering()
    assert not ax.texts and len(ax.get_yticklabels()) == 50
    assert [label.get_text() for label in ax.get_xticklabels()][:3] == ["5", "10", "15"]
    boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(boxes))
    assert plots.overlap_matrix(many[:20], axes()).texts


def test_slices_of_two_evaluations_are_refused(ev):
    other = ev.take(np.arange(599))
    two = [slice_of(ev, ev.space()[:, 0]), slice_of(other, other.space()[:, 0])]
    with pytest.raises(ValueError, match="belong to different Evaluations"):
        plots.overlap_matrix(two, axes())
    with pytest.raises(TypeError, match="expected slices, not int"):
        plots.overlap_matrix([1], axes())
