"""How far slices share their members, as a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from failviz.agreement import overlap
from failviz.plots._canvas import empty, fitting_axes, in_percent, inches_of, wrapped
from failviz.plots._ink import BLUE, DARK, GREY, make_readable, margin_ink_of
from failviz.slices import Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NUMBERED = 20
"""Slices above which the cells are too small for numbers."""

_NAME_INCHES = 2.4


def overlap_matrix(slices: Sequence[Slice], ax: Axes | None = None) -> Axes:
    """Draw how far each two slices share their members, to see which finders found the same failure.

    The darker a cell, the larger the Jaccard index (members in common over members in either); its number is the index
    in percent, left out above 20 slices. Columns go by the number of the slice in the rows, the diagonal (always 1)
    is struck out, and lines part the methods.

    Parameters
    ----------
    slices : sequence of Slice
        Of one Evaluation, from any finders, in the order of the rows; those of one method together read best.
    ax : matplotlib Axes, optional
        Where to draw; default a new figure that fits.

    Returns
    -------
    matplotlib Axes
        With the matrix as its image; a bar beside it explains the shades.

    Raises
    ------
    TypeError, ValueError
        When these are no slices, or belong to different Evaluations.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from failviz import Evaluation
    >>> ev = Evaluation(np.eye(4))
    >>> two = [Slice.drawn(ev, ["0", "1"], "a"), Slice.drawn(ev, ["1", "2"], "b")]
    >>> ax = overlap_matrix(two, Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['33', '33']
    """
    shares = overlap(slices)
    k = len(shares)
    if not k:
        return empty(ax, "no slices to compare")
    planned = 0.32 if k <= MOST_NUMBERED else 0.15
    row = planned if ax is None else min(planned, inches_of(fitting_axes(ax, 1))[1] / k)
    ax = fitting_axes(ax, 0.7 + row * max(5, k))
    values = shares.to_numpy()
    _draw(ax, values)
    _part_methods(ax, [one.method for one in slices])
    _name(ax, list(shares.index), [len(one) for one in slices], row)
    make_readable(ax)
    return ax


def _draw(ax: Axes, values: np.ndarray) -> None:
    """Shades, numbers, the diagonal struck out, and the bar that explains the shades."""
    from matplotlib.colors import LinearSegmentedColormap

    steps = ["#FFFFFF", "#8FBFDD", BLUE, "#00304C"]
    shades = LinearSegmentedColormap.from_list("overlap", steps).with_extremes(bad="#E4E4E4")
    k = len(values)
    image = ax.imshow(np.where(np.eye(k, dtype=bool), np.nan, values), cmap=shades, vmin=0, vmax=1, aspect="auto")
    ax.plot([-0.5, k - 0.5], [-0.5, k - 0.5], color=GREY, linewidth=1)
    if k <= MOST_NUMBERED:
        for row, column in np.argwhere((values >= 0.005) & ~np.eye(k, dtype=bool)):
            value = values[row, column]
            ink = DARK if value < 0.45 else "white"
            ax.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=ink, size="small")
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.04, pad=0.03)
    ink = margin_ink_of(ax)
    bar.set_label("Jaccard index", color=ink)
    in_percent(bar.ax.yaxis)
    bar.ax.tick_params(color=ink, labelcolor=ink)
    bar.outline.set_visible(False)


def _part_methods(ax: Axes, methods: list[str]) -> None:
    """Lines where the method changes."""
    for place in np.flatnonzero([a != b for a, b in pairwise(methods)]):
        ax.axhline(place + 0.5, color=DARK, linewidth=1.2)
        ax.axvline(place + 0.5, color=DARK, linewidth=1.2)


def _name(ax: Axes, names: list[str], sizes: list[int], inches: float) -> None:
    """Rows by number, name and size, columns by number: every fifth where all would not fit."""
    k = len(names)
    points = min(9.0, 72 * inches * 0.7)
    length = int(_NAME_INCHES * 72 / (0.5 * points))
    lines = 2 if inches > 0.3 else 1
    labels = ["\n".join(wrapped(name, length, lines)) for name in names]
    rows = [f"{label}  (n = {size:,})  {row + 1}" for row, (label, size) in enumerate(zip(labels, sizes, strict=True))]
    ax.set_yticks(range(k), rows, parse_math=False, fontsize=points)
    shown = range(k) if k <= MOST_NUMBERED else range(4, k, 5)
    ax.set_xticks(shown, [str(column + 1) for column in shown], fontsize=points)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    for spine in ax.spines.values():
        spine.set_edgecolor(GREY)
