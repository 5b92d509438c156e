import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from failviz import Evaluation, Slice, plots
from failviz.interventions.comparison import compare


@pytest.fixture(scope="module")
def changed():
    """Three arms; a slice that one mends and one harms, an empty one with a name full of mathematics, a drawn one."""
    rng = np.random.default_rng(0)
    luck, labels = rng.random(900), np.arange(900) % 3
    hard = (labels == 0) & (np.arange(900) < 450)
    rate = 0.1 + 0.4 * hard

    def said(rate):
        return (labels + (luck < rate)) % 3

    before = Evaluation(luck[:, None], labels=labels, predictions=said(rate), class_names=["sandal", "bag", "boot"])

    def group(member, name):
        return Slice.of(before, scores=member * 1.0, weights=member * 1.0, scope="all", name=name, method="test")

    slices = [group(hard, "sandal in the dark"), group(hard & ~hard, "$\\frac{ to _ $"), Slice.drawn(before, ["0"])]
    arms = {"plan": said(rate - 0.3 * hard), "_$random": said(rate), "harm": said(rate + 0.4 * hard)}
    return compare(before, arms, slices)


def drawn(ax):
    """Save as a person would, so that everything is laid out; warnings are errors."""
    ax.figure.canvas.draw()
    return ax


def marks(ax):
    return [line for line in ax.lines if line.get_marker() not in ("None", None, "")]


def test_without_axes_a_figure_is_made_that_fits_the_rows(changed):
    plt = pytest.importorskip("matplotlib.pyplot")
    with mpl.rc_context():
        plt.switch_backend("agg")
        few, many = (plots.comparison(changed, groups=kinds) for kinds in ("overall", ("overall", "slice", "class")))
        assert few.figure.get_figheight() < many.figure.get_figheight()
        drawn(many)
        plt.close(few.figure)
        plt.close(many.figure)


def test_rows_follow_the_comparison_and_say_how_many(changed):
    ax = drawn(plots.comparison(changed, Figure().subplots()))
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels[0] == "all examples  (n = 900)" and ax.yaxis_inverted()
    assert "drawn slice  (n = 1, not held out)" in labels and "$\\frac{ to _ $  (n = 0)" in labels and len(labels) == 4
    assert "better  ←" in ax.get_xlabel() and "→  worse" in ax.get_xlabel()
    assert "no examples" in [text.get_text() for text in ax.texts]
    assert ax.get_xlim()[0] < 0 < ax.get_xlim()[1]
    ax = plots.comparison(changed, Figure().subplots(), groups="class")
    assert len(ax.get_yticklabels()) == 3


def test_marks_tell_arms_by_shape_and_verdicts_by_colour_and_fill(changed):
    ax = drawn(plots.comparison(changed, Figure().subplots(), groups="overall"))
    plan, random, harm = marks(ax)
    for mark, change in zip((plan, random, harm), changed[:3], strict=True):
        assert mark.get_xdata()[0] == pytest.approx(100 * change.change)
    assert [change.verdict for change in changed[:3]] == ["better", "no clear change", "worse"]
    assert len({mark.get_marker() for mark in (plan, random, harm)}) == 3
    assert same_color(plan.get_color(), "#0072B2") and same_color(plan.get_markerfacecolor(), "#0072B2")
    assert same_color(random.get_markerfacecolor(), "white")
    assert (np.array(harm.get_color()) >= mpl.colors.to_rgb("#D55E00")).all()  # vermilion, paler for a control
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["plan", "better", "_$random", "no clear change", "harm", "worse"]


def test_one_arm_and_one_arm_against_another(changed):
    ax = drawn(plots.comparison(changed.of("plan"), Figure().subplots()))
    assert "plan" not in [text.get_text() for text in ax.get_legend().get_texts()] and len(marks(ax)) == 3
    ax = drawn(plots.comparison(changed.between("_$random", "plan"), Figure().subplots()))
    assert "from _$random to plan" in ax.get_xlabel()


def test_nothing_to_draw_is_said(changed):
    ax = drawn(plots.comparison(changed[:3], Figure().subplots(), groups="slice"))
    assert [text.get_text() for text in ax.texts] == ["no groups of this kind"] and not marks(ax)


def test_refusals_are_sentences(changed):
    with pytest.raises(ValueError, match=r"among 'overall', 'slice', 'class', and 'classes' is not"):
        plots.comparison(changed, Figure().subplots(), groups="classes")
    with pytest.raises(TypeError, match="takes a Comparison, as compare gives it, not list"):
        plots.comparison([1], Figure().subplots())
