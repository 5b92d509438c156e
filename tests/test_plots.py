"""What holds for every picture: it takes and returns an Axes, leaves settings alone, and can be read on any ground."""

import ast
import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from failviz import Evaluation, FailureDirections, FailureTree, Slice, plots, verify
from failviz.interventions.comparison import compare

WHITE, NIGHT = "#ffffff", "#101014"


def made(n, seed):
    """Two classes of points; the first fails where the first coordinate is high."""
    rng = np.random.default_rng(seed)
    points, labels = rng.normal(size=(n, 4)), np.arange(n) % 2
    wrong = rng.random(n) < np.where((labels == 0) & (points[:, 0] > 0.8), 0.7, 0.1)
    names = ["a class whose name is so long that no line can hold it", "$\\frac{_"]
    losses = wrong + rng.random(n)
    return Evaluation(points, labels=labels, predictions=labels ^ wrong, losses=losses, class_names=names)


SEEN, FRESH = made(300, 0), made(200, 1)
FINDER = FailureDirections(estimator="lda", random_state=0, progress=False).fit(SEEN)
TREE = FailureTree("label", max_depth=2, random_state=0, progress=False).fit(SEEN)
SLICES = [*FINDER.slices(FRESH), *TREE.slices(FRESH), Slice.drawn(FRESH, FRESH.ids[:9])]
VERDICTS, COMPARISON = verify(SLICES, FRESH), compare(FRESH, FRESH.labels, SLICES)
PICTURE = np.full((8, 8, 3), 128, np.uint8)
NONE = SLICES[0].renamed("nobody") - SLICES[0]
PICTURES = {
    "comparison": lambda ax: plots.comparison(COMPARISON, ax),
    "error_rates": lambda ax: plots.error_rates(VERDICTS, ax, shrunken=True),
    "direction": lambda ax: plots.direction(FINDER, FRESH, ax),
    "spotlight": lambda ax: plots.spotlight(FINDER, FRESH, ax),
    "overlap_matrix": lambda ax: plots.overlap_matrix(SLICES, ax),
    "precision_curve": lambda ax: plots.precision_curve(SLICES, FRESH, ax),
    "tree": lambda ax: plots.tree(TREE, 0, ax, evaluation=FRESH),
    "heat_map": lambda ax: plots.heat_map(PICTURE, np.linspace(0, 1, 64).reshape(8, 8), ax),
}
EMPTY = {
    "error_rates": (lambda ax: plots.error_rates([], ax), "no slices to judge"),
    "direction": (lambda ax: plots.direction([], FRESH, ax), "the finder found no slices"),
    "spotlight": (lambda ax: plots.spotlight([], FRESH, ax), "the finder found no slices"),
    "overlap_matrix": (lambda ax: plots.overlap_matrix([], ax), "no slices to compare"),
    "precision_curve": (lambda ax: plots.precision_curve([], FRESH, ax), "no slices to draw"),
}


def pixels(figure):
    """float (height, width, 3), as a person would save it; warnings are errors."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="rgba", facecolor=figure.get_facecolor())
    width, height = figure.canvas.get_width_height()
    return np.frombuffer(buffer.getvalue(), np.uint8).reshape(height, width, 4)[..., :3] / 255


def luminance(colour):
    rgb = np.array(mpl.colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]


def contrast(colour, ground):
    dim, bright = sorted((luminance(colour), luminance(ground)))
    return (bright + 0.05) / (dim + 0.05)


def test_every_public_function_is_pictured_here():
    functions = {name for name in plots.__all__ if callable(getattr(plots, name))}
    assert functions == set(PICTURES)


@pytest.mark.parametrize("name", PICTURES)
def test_it_draws_into_the_axes_given_and_leaves_settings_alone(name):
    settings = dict(mpl.rcParams)
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    assert PICTURES[name](right) is right
    pixels(figure)
    assert not left.lines and not left.texts and dict(mpl.rcParams) == settings


@pytest.mark.parametrize("name", PICTURES)
def test_without_axes_a_figure_is_made_that_can_be_seen_whole(name):
    import matplotlib.pyplot as plt

    with mpl.rc_context():
        plt.switch_backend("agg")
        ax = PICTURES[name](None)
        figure = ax.figure
        try:
            image = pixels(figure)
            assert figure.get_figwidth() <= 9
            for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
                assert (edge == 1).all()  # nothing is cut off at the border
        finally:
            plt.close(figure)


@pytest.mark.parametrize(("margin", "ground"), [(WHITE, WHITE), (NIGHT, NIGHT), (NIGHT, WHITE), (WHITE, NIGHT)])
@pytest.mark.parametrize("name", PICTURES)
def test_words_can_be_read_on_light_and_on_dark(name, margin, ground):
    figure = Figure(facecolor=margin, figsize=(9, 6))
    ax = figure.subplots()
    ax.set_facecolor(ground)
    PICTURES[name](ax)
    figure.draw_without_rendering()
    around = [ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
    around += [text for text in ax.findobj(mpl.text.Text) if text.get_text() == ax.get_title("left")]
    around = [text for text in around if text.get_text()]
    assert around or name == "heat_map"  # which has no words
    assert all(contrast(text.get_color(), margin) >= 4.5 for text in around)
    legend = ax.get_legend()
    if legend is not None:
        behind = ground if legend.get_frame_on() else margin
        assert all(contrast(text.get_color(), behind) >= 4.5 for text in legend.get_texts())


@pytest.mark.parametrize("name", EMPTY)
def test_nothing_to_draw_is_said(name):
    make, words = EMPTY[name]
    ax = make(Figure().subplots())
    assert len(ax.texts) == 1 and words in ax.texts[0].get_text()
    assert not ax.lines and not ax.collections and not ax.images and ax.get_legend() is None


def test_a_transparent_figure_keeps_the_inks_of_the_person():
    with mpl.rc_context({"axes.labelcolor": "white", "figure.facecolor": "none", "axes.facecolor": "none"}):
        ax = plots.direction(FINDER, FRESH, Figure().subplots())
    assert ax.xaxis.label.get_color() == "white"
    assert contrast(ax.get_legend().get_texts()[0].get_color(), "black") >= 4.5


@pytest.mark.parametrize("name", PICTURES)
def test_no_axes_is_refused(name):
    with pytest.raises(TypeError, match=r"ax must be one matplotlib Axes, not Figure: make one with plt.subplots\(\)"):
        PICTURES[name](Figure())


@pytest.mark.parametrize("picture", [plots.direction, plots.spotlight, plots.precision_curve])
def test_bad_input_of_the_pictures_of_slices_is_refused(picture):
    ax = Figure().subplots()
    with pytest.raises(TypeError, match=f"plots.{picture.__name__} takes an Evaluation, not int"):
        picture(FINDER, 3, ax)
    with pytest.raises(ValueError, match="belongs to another Evaluation"):
        picture(SLICES[0], SEEN, ax)
    with pytest.raises(TypeError, match="expected a fitted finder or slices, not int"):
        picture(3, FRESH, ax)
    bare = Evaluation(np.eye(3))
    with pytest.raises(ValueError, match=rf"plots.{picture.__name__}.* needs l"):
        picture(Slice.drawn(bare, ["0"]), bare, ax)


@pytest.mark.parametrize("picture", [plots.direction, plots.spotlight])
def test_one_slice_is_chosen_by_rank_or_name(picture):
    names = [one.name for one in FINDER.slices(FRESH)]
    for which in (1, names[1]):
        ax = picture(FINDER, FRESH, Figure(figsize=(20, 5)).subplots(), which=which)
        assert ax.get_title("left").startswith(names[1])
    for wrong, error, words in (
        (5, ValueError, r"a rank from 0 to 1, not 5"),
        (-1, ValueError, r"a rank from 0 to 1, not -1"),
        ("shoe", ValueError, r"'shoe' is none of 'a class"),
        (1.0, TypeError, r"from 0, or its name, not float"),
        (True, TypeError, r"from 0, or its name, not bool"),
    ):
        with pytest.raises(error, match=words):
            picture(FINDER, FRESH, Figure().subplots(), which=wrong)


@pytest.mark.parametrize("picture", [plots.direction, plots.spotlight])
def test_titles_say_when_these_data_chose_the_slice(picture):
    wide = Figure(figsize=(20, 5)).subplots
    assert "in-sample" not in picture(FINDER, FRESH, wide()).get_title("left")
    assert "(in-sample: seen while searching)" in picture(FINDER, SEEN, wide()).get_title("left")
    assert "(in-sample: drawn on these data)" in picture(SLICES[-1], FRESH, wide()).get_title("left")


@pytest.mark.parametrize("picture", [plots.direction, plots.spotlight])
def test_a_slice_of_nobody_and_an_empty_scope_are_drawn(picture):
    ax = picture(NONE, FRESH, Figure().subplots())
    pixels(ax.figure)
    assert ax.get_title("left").startswith("nobody")
    part = FRESH.take(np.flatnonzero(FRESH.labels == 1))
    ax = picture(
        FINDER, part, Figure().subplots(), which=[one.scope for one in FINDER.slices(part)].index(("label", 0))
    )
    assert "no examples in its scope" in ax.texts[0].get_text()


def test_matplotlib_is_imported_inside_functions_only():
    for path in Path(plots.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith("matplotlib")], path.name


def test_no_submodule_bears_the_name_of_a_function():
    assert not {path.stem for path in Path(plots.__file__).parent.glob("*.py")} & set(plots.__all__)
