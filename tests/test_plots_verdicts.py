import itertools
import math
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import same_color
from matplotlib.figure import Figure

from failviz import Evaluation, Slice, plots, verify
from failviz.verification import measure


@pytest.fixture(scope="module")
def judged():
    """One slice that is confirmed, one too small to tell, one no worse than the rest, an empty and a drawn one."""
    labels = np.zeros(400, dtype=int)
    wrong = (np.arange(400) < 60) | (np.arange(400) % 20 == 0)
    ev = Evaluation(np.random.default_rng(0).normal(size=(400, 2)), labels=labels, predictions=wrong)

    def of(rows, name):
        member = np.isin(np.arange(400), rows) * 1.0
        return Slice.of(ev, scores=member, weights=member, scope="all", name=name, method="test")

    slices = [of(range(50), "bad"), of([50, 51, 396, 397, 398, 399], "small"), of(range(300, 400), "fine")]
    return ev, [*slices, of([], "nobody"), Slice.drawn(ev, ev.ids[:30], "lasso")]


def points(ax, marker):
    """(x, y, line) of every mark of one shape."""
    lines = [line for line in ax.lines if line.get_marker() == marker]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0]), line) for line in lines]


def words_beside(ax, row):
    return [text.get_text() for text in ax.texts if text.xy == (1, row)]


def test_rows_hold_rates_intervals_and_the_rest(judged):
    ev, slices = judged
    verdicts = verify(slices, ev)
    ax = plots.error_rates(verdicts, Figure().subplots())
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [f"{one.slice.name}  (n = {one.n})" for one in verdicts] and ax.yaxis_inverted()
    marks = {y: x for marker in "os" for x, y, _ in points(ax, marker)}
    rests = {y: x for x, y, _ in points(ax, "|")}
    intervals = {float(line.get_ydata()[0]): list(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2}
    for row, one in enumerate(verdicts):
        if one.n:
            assert marks[row] == one.error_rate and intervals[row] == [one.low, one.high]
            assert rests[row] == one.class_error_rate
    assert [text.get_text() for text in ax.texts if text.xy == (0, 3)] == ["no members"] and 3 not in marks
    low, high = ax.get_xlim()
    assert low < 0 and max(one.high for one in verdicts if one.n) < high <= 1.02


def test_marks_tell_verdicts_by_shape_fill_line_and_words(judged):
    ev, slices = judged
    verdicts = verify(slices, ev)
    assert [one.words for one in verdicts][:1] == ["confirmed"] and verdicts[1].needs
    ax = plots.error_rates(verdicts, Figure().subplots())
    round_marks, square_marks = points(ax, "o"), points(ax, "s")
    assert [y for _, y, _ in round_marks] == [0, 1, 2] and [y for _, y, _ in square_marks] == [4]
    assert same_color(round_marks[0][2].get_markerfacecolor(), plots.VERMILION)
    assert all(same_color(mark.get_markerfacecolor(), "white") for _, _, mark in (*round_marks[1:], *square_marks))
    dotted = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == ":"]
    assert dotted == [4]
    assert [words_beside(ax, row) for row in range(5)] == [[one.words] for one in verdicts]
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["confirmed", "not confirmed", "in-sample: no test", "rest of its scope"]


def test_rates_that_chose_or_read_the_outcome_are_marked(judged):
    ev, slices = judged
    reads = replace(slices[0], uses_outcome=True)
    for verdicts in (measure(slices[:1], ev), verify(reads, ev)):
        ax = plots.error_rates(verdicts, Figure().subplots())
        assert len(points(ax, "s")) == 1 and not points(ax, "o")
        assert words_beside(ax, 0) == [verdicts[0].words] != ["confirmed"]


def test_shrunken_rates_on_request(judged):
    ev, slices = judged
    verdicts = verify(slices, ev)
    ax = plots.error_rates(verdicts, Figure().subplots(), shrunken=True)
    expected = [one.shrunken_rate for one in verdicts if one.n and not math.isnan(one.shrunken_rate)]
    assert [x for x, _, _ in points(ax, "x")] == expected and len(expected) == 3
    assert ax.get_legend().get_texts()[-1].get_text() == "shrunken rate"
    assert not points(plots.error_rates(verdicts, Figure().subplots()), "x")
    ax = plots.error_rates(measure(slices, ev), Figure().subplots(), shrunken=True)
    assert "shrunken rate" not in [text.get_text() for text in ax.get_legend().get_texts()]


def test_fifty_slices_with_long_names_do_not_run_into_one_another(judged):
    ev, slices = judged
    import matplotlib.pyplot as plt

    long = [one.renamed(f"{place} " + "a name that goes on and on " * 6) for place, one in enumerate(slices[:3] * 17)]
    with mpl.rc_context():
        plt.switch_backend("agg")
        ax = plots.error_rates(measure(long[:50], ev))
        ax.figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in ax.get_yticklabels()]
        plt.close(ax.figure)
    assert len(boxes) == 50
    assert all(upper.y0 >= lower.y1 - 1 for upper, lower in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0


def test_other_things_are_refused(judged):
    _, slices = judged
    for wrong, came in ((slices, "a list of Slice"), (slices[0], "Slice"), ("bad", "str"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"takes Verdicts, as verify gives them, not {came}"):
            plots.error_rates(wrong, Figure().subplots())


def test_slices_that_two_methods_call_alike_are_told_apart(judged):
    ev, slices = judged
    twin = replace(slices[2], name="bad", method="another")
    ax = plots.error_rates(verify([slices[0], twin, slices[1]], ev), Figure().subplots())
    names = [label.get_text().split("  (")[0] for label in ax.get_yticklabels()]
    assert names == ["bad, test", "bad, another", "small"]
    ax = plots.error_rates(verify([slices[0], slices[1], slices[0]], ev), Figure().subplots())
    names = [label.get_text().split("  (")[0] for label in ax.get_yticklabels()]
    assert names == ["bad, row 1", "small", "bad, row 3"]
