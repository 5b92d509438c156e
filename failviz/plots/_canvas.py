"""What all pictures share: an Axes that fits, names and legends as plain text, axes of rates and of counts."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from failviz.plots._ink import faint_of, ground_of, ink_of, make_readable, margin_ink_of, margin_of, own_ink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

WIDTH = 7.5
"""Of a figure made here, in inches."""

_LETTER_INCHES = 0.077  # of the usual letter at 10 points
_SPILL = 1.12  # words may be so much wider than the Axes, which layout mostly widens
_LEGEND_POINTS = 17  # height of a row
_LINE_LENGTH = 30  # of the names beside rows, on two lines at most


def fitting_axes(ax: Axes | None, height: float, width: float = WIDTH) -> Axes:
    """The Axes given, or that of a new figure of this size in inches; anything else is refused."""
    from matplotlib.axes import Axes as Real

    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(width, height), layout="constrained")[1]
    if not isinstance(ax, Real):
        raise TypeError(f"ax must be one matplotlib Axes, not {type(ax).__name__}: make one with plt.subplots()[1].")
    return ax


def inches_of(ax: Axes) -> tuple[float, float]:
    """Width and height of an Axes, as it stands before the figure is laid out."""
    box, dpi = ax.get_window_extent(), ax.figure.dpi
    return box.width / dpi, box.height / dpi


def wrapped(name: str, length: int = _LINE_LENGTH, lines: int = 2) -> list[str]:
    """A name on so many lines at most; what does not fit is cut with an ellipsis."""
    return textwrap.wrap(name, length, max_lines=lines, placeholder="…") or [""]


def beside_row(name: str, size: str) -> str:
    """A name with a size behind its last line."""
    *lines, last = wrapped(name)
    return "\n".join([*lines, f"{last}  {size}"])


def note(ax: Axes, words: str, y: float) -> None:
    """Words at the start of a row that has no mark."""
    ax.annotate(words, (0, y), (6, 0), textcoords="offset points", va="center", color=ink_of(ax), size="small")


def name_rows(ax: Axes, names: Sequence[str]) -> None:
    """Rows from the top, each with its name on the left, and no frame but the axis below."""
    ax.set_yticks(range(len(names)), list(names), parse_math=False)
    ax.set_ylim(max(1, len(names)) - 0.4, -0.6)
    ax.grid(axis="x", color=faint_of(ax), linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    open_frame(ax, "top", "right", "left")


def in_percent(axis: Axis) -> None:
    """Rates in [0, 1] as percentages, with as many digits as the ticks need."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g}%")


def count_along(ax: Axes, first: float, last: float) -> None:
    """A logarithmic horizontal axis of whole numbers; where there is room, 20 and 50 are named as 10 and 100 are."""
    ax.set_xscale("log")
    ax.set_xlim(first, last)
    named = "25" if inches_of(ax)[0] >= math.log10(last / first) else ""
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    ax.xaxis.set_minor_formatter(lambda value, _: f"{value:,.0f}" if f"{value:e}"[0] in named else "")


def open_frame(ax: Axes, *sides: str) -> None:
    for side in sides:
        ax.spines[side].set_visible(False)


def across(ax: Axes, words: str) -> str:
    """Words broken so that they are hardly wider than the Axes."""
    letters = int(_SPILL * inches_of(ax)[0] / _LETTER_INCHES)
    return "\n".join(wrapped(words, max(20, letters), 3))


def title(ax: Axes, name: str, remark: str, legend_rows: int = 0) -> None:
    """A name over the picture and over the rows of its legend, as plain text, and a remark below the name."""
    words = f"{across(ax, name)}\n{across(ax, remark)}"
    pad = 6 + _LEGEND_POINTS * legend_rows
    ax.set_title(words, fontsize="medium", loc="left", pad=pad, color=margin_ink_of(ax), parse_math=False)


def empty(ax: Axes | None, words: str) -> Axes:
    """An Axes with nothing but a sentence that says why nothing is drawn."""
    ax = fitting_axes(ax, 1.2)
    ax.set_xticks([])
    ax.set_yticks([])
    open_frame(ax, "top", "right", "bottom", "left")
    words = "\n".join(wrapped(words, 60, 4))
    place = {"transform": ax.transAxes, "ha": "center", "va": "center"}
    ax.text(0.5, 0.5, words, color=ink_of(ax), parse_math=False, **place)  # type: ignore[arg-type]
    make_readable(ax)
    return ax


def legend(ax: Axes, entries: Sequence[tuple[str, Any]], **place: Any) -> int:
    """(Words, handle) pairs as a legend beside the picture, default above it on the right; returns its rows.

    It is hardly wider than the picture, unless the place says how many columns it has, and has the ground of the
    picture, or its marks could not be read. The words are text: "_" and "$" mean nothing in them.
    """
    if not entries:
        return 0
    ground = ground_of(ax)
    style: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": _columns(ax, entries)} | place
    made = ax.legend(
        [handle for _, handle in entries],
        [str(number) for number in range(len(entries))],
        frameon=ground != margin_of(ax),
        facecolor=ground,
        edgecolor=ground,
        framealpha=1,
        fontsize="small",
        handletextpad=0.4,
        columnspacing=1.4,
        **style,
    )
    for text, (words, _) in zip(made.get_texts(), entries, strict=True):
        text.set_parse_math(False)
        text.set_text(words)
        text.set_color(own_ink(ax, ground))
    return math.ceil(len(entries) / style["ncols"])


def _columns(ax: Axes, entries: Sequence[tuple[str, Any]]) -> int:
    """How many entries stand side by side."""
    letters = [max(map(len, words.split("\n"))) for words, _ in entries]
    widths = [0.6 + 0.83 * _LETTER_INCHES * n for n in letters]  # of a handle and small letters
    room = _SPILL * inches_of(ax)[0]
    return len(entries) if sum(widths) <= room else max(1, min(len(entries), int(room / max(widths))))
