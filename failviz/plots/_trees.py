"""The decision tree of one group of a FailureTree, with the rates of the fit and of held-out examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from failviz._statistics import percent
from failviz.discovery.tree import FailureTree
from failviz.discovery.tree_fit import GroupTree, between_floats, feature_name
from failviz.evaluation import Evaluation
from failviz.plots._canvas import WIDTH, across, empty, fitting_axes, inches_of, open_frame, title, wrapped
from failviz.plots._chosen import in_sample
from failviz.plots._ink import VERMILION, ground_of, ink_of, make_readable, mixed
from failviz.slices import Slice, scope_mask

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMN_INCHES, _LEAF_INCHES, _TEXT_SIZE = 1.9, 0.75, 8.5
_LONGEST_NAME = 24
_ELBOW = 0.33  # where on the way to a child its line turns


def tree(
    finder: FailureTree, group: int | str, ax: Axes | None = None, *, evaluation: Evaluation | None = None
) -> Axes:
    """Draw the decision tree of one group, to read under which feature values the model fails, and how surely.

    From the root on the left to the leaves on the right; high values go up. A box says which feature it splits on (by
    its name, or its number in the space), how many examples it holds, ER (error rate in the box) and EC (share of the
    group's errors that lie in it): of the fit, and behind a stroke of `evaluation`. Rates of the fit chose the splits,
    so they are too good to be true. A thick edge marks a slice, with its place in `finder.slices()`.

    Parameters
    ----------
    finder : fitted FailureTree
    group : int or str
        The class whose group (`finder.group_by`) is drawn: its number, or with `evaluation` its name.
    ax : matplotlib Axes, optional
        Where to draw; default a new figure that fits. In a small Axes the words become small, and more than a few
        boxes overlap.
    evaluation : Evaluation, optional
        With labels and predictions, and other examples than those of the fit; where it has seen them, the title says
        so.

    Returns
    -------
    matplotlib Axes
        Of a group without a tree, with the reason in words.

    Raises
    ------
    TypeError, ValueError, NotFittedError
        When it is no fitted FailureTree, there is no such class, or the Evaluation does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from failviz import Evaluation, FailureTree
    >>> x = np.random.default_rng(0).normal(size=(200, 8))
    >>> ev = Evaluation(x, labels=np.zeros(200), predictions=x[:, 5] > 1)
    >>> finder = FailureTree("label", random_state=0, progress=False).fit(ev)
    >>> print(tree(finder, 0, Figure().subplots()).texts[0].get_text().splitlines()[0])
    feature 5
    """
    if not isinstance(finder, FailureTree):
        raise TypeError(f"plots.tree takes a fitted FailureTree, not {type(finder).__name__}.")
    check_is_fitted(finder)
    number, name = _group_of(finder, group, evaluation)
    grown = finder.trees_.get(number)
    counts = None if grown is None or evaluation is None else _applied(finder, grown, evaluation)
    if grown is None:
        return empty(ax, f"{name}: no tree, as its status in the fit is {finder.status_[number]!r}")
    n_leaves, depth = len(grown.leaves), _depth(grown)
    size = _TEXT_SIZE if ax is None else _text_size(fitting_axes(ax, 0), n_leaves, depth)
    ax = fitting_axes(ax, 1.3 + _LEAF_INCHES * n_leaves, max(WIDTH, _COLUMN_INCHES * (depth + 1)))
    ranks = {int(leaf): rank for rank, (c, leaf) in enumerate(finder.leaves_) if c == number}
    _draw(ax, grown, finder.feature_names_in_, size, counts, ranks)
    doubt = "" if evaluation is None else in_sample(_everything(finder, evaluation), evaluation)
    told = f"in each box: of the fit | {f'in-sample ({doubt})' if doubt else 'held out'}"
    title(ax, name, f"features of {finder.space_!r}; {'rates of the fit, in-sample' if counts is None else told}")
    _set_axes(ax, n_leaves, depth)
    return ax


def node_counts(tree: GroupTree, rows: np.ndarray, is_error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Examples and errors in each node of a tree (m,), from the embeddings (n, d) of a group and its errors (n,)."""
    inside = np.zeros((len(tree.left), len(rows)), dtype=bool)
    inside[0] = True
    for node in np.flatnonzero(tree.left >= 0):  # a child has a higher number than its parent
        is_above = rows[:, tree.features[node]] > between_floats(tree.thresholds[node])
        inside[tree.left[node]] = inside[node] & ~is_above
        inside[tree.right[node]] = inside[node] & is_above
    return inside.sum(axis=1), (inside & is_error).sum(axis=1)


def _group_of(finder: FailureTree, group: Any, evaluation: Evaluation | None) -> tuple[int, str]:
    """Number of the class, and its group in words."""
    if evaluation is not None and not isinstance(evaluation, Evaluation):
        raise TypeError(f"plots.tree takes an Evaluation as evaluation, not {type(evaluation).__name__}.")
    names = [f"class {c}" for c in finder.classes_]
    if evaluation is not None:
        names = [evaluation.class_name(int(c)) if c < evaluation.n_classes else f"class {c}" for c in finder.classes_]
    if isinstance(group, str):
        if evaluation is None:
            raise ValueError(f"group {group!r} is a name, and only an Evaluation knows names: give it, or a number.")
        if group not in names:
            raise ValueError(f"group must be a class of the fit, and {group!r} is none of {', '.join(names)}.")
        group = names.index(group)
    elif isinstance(group, bool) or not isinstance(group, int | np.integer):
        raise TypeError(f"group must be the number or the name of a class, not {type(group).__name__}.")
    if not 0 <= group < len(names):
        raise ValueError(f"group must be a class from 0 to {len(names) - 1}, not {group}.")
    kind = finder.trees_[group].scope[0] if group in finder.trees_ else finder.group_by
    return int(group), f"examples {'predicted' if kind == 'prediction' else 'labelled'} {names[group]}"


def _applied(finder: FailureTree, grown: GroupTree, evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """Examples and errors of an Evaluation in each node (m,)."""
    evaluation.require("labels", "predictions", by="plots.tree")
    rows = np.flatnonzero(scope_mask(grown.scope, evaluation))
    embeddings = finder._embeddings(evaluation)[rows].astype(np.float64)
    return node_counts(grown, embeddings, evaluation.errors[rows])


def _everything(finder: FailureTree, evaluation: Evaluation) -> Slice:
    """A slice that knows what the finder has seen."""
    nothing = np.zeros(evaluation.n_examples)
    return finder._slice(evaluation, scores=nothing, weights=nothing, scope="all", name="", method="")


def _depth(tree: GroupTree) -> int:
    return max(len(tree.path(int(leaf))) for leaf in tree.leaves)


def _layout(tree: GroupTree) -> np.ndarray:
    """float64 (m, 2): level of each node, and its row: leaves one below another, others between their children."""
    places = np.zeros((len(tree.left), 2))
    row = 0

    def place(node: int, level: int) -> float:
        nonlocal row
        if tree.left[node] < 0:
            places[node], row = (level, row), row + 1
        else:
            children = [place(int(child), level + 1) for child in (tree.right[node], tree.left[node])]
            places[node] = level, np.mean(children)
        return float(places[node, 1])

    place(0, 0)
    return places


def _draw(
    ax: Axes,
    tree: GroupTree,
    names: Sequence[str] | None,
    size: float,
    counts: tuple[np.ndarray, np.ndarray] | None,
    ranks: dict[int, int],
) -> None:
    """Boxes, and lines to their children with the side of the threshold on them."""
    ink, ground = ink_of(ax), ground_of(ax)
    places = _layout(tree)
    for node, (level, row) in enumerate(places):
        is_slice = node in ranks
        edge = VERMILION if is_slice else ink
        words = _words(tree, names, node, ranks, counts)
        box = {
            "boxstyle": "round,pad=0.45",
            "facecolor": mixed(VERMILION, ground, 0.85) if is_slice else ground,
            "edgecolor": edge,
            "linewidth": 2.4 if is_slice else 0.9,
        }
        how: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size, "color": ink, "zorder": 3}
        ax.text(level, row, words, bbox=box, parse_math=False, **how)
        for child, side in ((tree.left[node], "≤"), (tree.right[node], ">")):
            if child >= 0:
                turn, end = level + _ELBOW, places[child, 1]
                ax.plot([level, turn, turn, level + 1], [row, row, end, end], color=ink, linewidth=1, zorder=1)
                words = f"{side} {tree.thresholds[node]:.3g}".replace("-", "−")
                ax.text(turn + 0.02, end, words, va="bottom", fontsize=size, color=ink, zorder=2)


def _text_size(ax: Axes, n_leaves: int, depth: int) -> float:
    """Of the words in an Axes that was given: smaller where the boxes would not fit."""
    width, height = inches_of(ax)
    room = min(0.8 * height / (_LEAF_INCHES * n_leaves), width / (_COLUMN_INCHES * (depth + 1)))
    return float(np.clip(_TEXT_SIZE * room, 4.0, _TEXT_SIZE))


def _words(
    tree: GroupTree,
    names: Sequence[str] | None,
    node: int,
    ranks: dict[int, int],
    counts: tuple[np.ndarray, np.ndarray] | None,
) -> str:
    """What a box says: of the fit, and of other examples behind a stroke."""
    if tree.left[node] >= 0:
        head = wrapped(feature_name(int(tree.features[node]), names), _LONGEST_NAME, lines=1)[0]
    else:
        head = f"slices()[{ranks[node]}]" if node in ranks else "leaf"
    columns = [_rates(tree.sizes, tree.fails, node)]
    if counts is not None:
        columns.append(_rates(*counts, node))
    numbers = (" | ".join(parts) for parts in zip(*columns, strict=True))
    return "\n".join([head, *(f"{what} {values}" for what, values in zip(("n", "ER", "EC"), numbers, strict=True))])


def _rates(sizes: np.ndarray, fails: np.ndarray, node: int) -> tuple[str, str, str]:
    """n, ER and EC of a node."""
    rate = percent(fails[node] / sizes[node]) if sizes[node] else "–"
    share = percent(fails[node] / fails[0]) if fails[0] else "–"
    return f"{sizes[node]:,}", rate, share


def _set_axes(ax: Axes, n_leaves: int, depth: int) -> None:
    ax.set_xlim(-0.35, depth + 0.35)
    ax.set_ylim(n_leaves - 0.4, -0.6)
    ax.set_xticks([])
    ax.set_yticks([])
    words = "n examples, ER error rate, EC share of the group's errors; thick edge = a slice"
    ax.set_xlabel(across(ax, words), fontsize="small")
    open_frame(ax, "top", "right", "bottom", "left")
    make_readable(ax)
