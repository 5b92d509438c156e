"""What retraining changed, group by group and arm by arm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from failviz.interventions.changes import BEFORE, BETTER, UNCLEAR, WORSE, Change, Comparison, signed_points
from failviz.interventions.comparison import GROUPS
from failviz.plots._canvas import beside_row, fitting_axes, legend, name_rows, note
from failviz.plots._ink import BLUE, GREY, VERMILION, ground_of, ink_of, make_readable, mixed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {BETTER: BLUE, UNCLEAR: GREY, WORSE: VERMILION}
_MARKERS = "oD^vPX"  # one per arm; squares are verdicts
_PALE = 0.45  # how far the controls are mixed with the ground
_ROW_INCHES, _ARM_INCHES = 0.2, 0.17
_LEAST_SPAN = 0.1  # of the axis, so that a tenth of a point does not look like a cliff


def comparison(
    comparison: Comparison, ax: Axes | None = None, *, groups: str | Iterable[str] = ("overall", "slice")
) -> Axes:
    """Draw what retraining changed: one row per group, left of zero = fewer errors, with 95% intervals.

    Filled marks are clear changes, hollow ones are not. The first arm is strong, the others (controls) are paler and
    have marks of another shape.

    Parameters
    ----------
    comparison : Comparison
        Of `failviz.compare`. Its rows are drawn from the top, in its order.
    ax : matplotlib Axes, optional
        Where to draw; default a new figure whose height fits the rows.
    groups : "overall", "slice", "class", or some of these
        Which rows to draw.

    Returns
    -------
    matplotlib Axes
        Horizontal axis: change of the error rate, in percentage points, negative = better.

    Raises
    ------
    TypeError, ValueError
        When it is no Comparison, or there is no such kind of group.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from failviz import Evaluation
    >>> from failviz.interventions.comparison import compare
    >>> before = Evaluation(np.eye(40), labels=np.zeros(40), predictions=np.arange(40) < 20)
    >>> ax = comparison(compare(before, np.zeros(40)), Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['all examples  (n = 40)']
    """
    if not isinstance(comparison, Comparison):
        raise TypeError(f"plots.comparison takes a Comparison, as compare gives it, not {type(comparison).__name__}.")
    kinds = (groups,) if isinstance(groups, str) else tuple(groups)
    for kind in kinds:
        if kind not in GROUPS:
            raise ValueError(f"groups must be among {', '.join(map(repr, GROUPS))}, and {kind!r} is not.")
    arms = comparison.arms
    rows = [arm_to_change for arm_to_change in comparison.by_group() if _first(arm_to_change).group in kinds]
    ax = fitting_axes(ax, 1.1 + max(1, len(rows)) * (_ROW_INCHES + _ARM_INCHES * len(arms)))
    step = _ARM_INCHES / (_ROW_INCHES + _ARM_INCHES * len(arms))
    for y, row in enumerate(rows):
        if not _first(row).n:
            note(ax, "no examples", y)
        for place, arm in enumerate(arms):
            if arm in row and row[arm].n:
                _draw(ax, row[arm], y + step * (place - (len(arms) - 1) / 2), place)
        if y and _first(row).group != _first(rows[y - 1]).group:
            ax.axhline(y - 0.5, color=mixed(ink_of(ax), ground_of(ax), 0.833), linewidth=0.8, zorder=0)
    since = "" if comparison.baseline == BEFORE else f" from {comparison.baseline} to {arms[0]}"
    _set_axes(ax, [_first(row) for row in rows], f"change of the error rate{since}")
    _add_legend(ax, arms, {change.verdict for row in rows for change in row.values() if change.n})
    return ax


def _first(row: dict[str, Change]) -> Change:
    return next(iter(row.values()))


def _paler(ax: Axes, colour: str, place: int) -> Any:
    """The colour of an arm: the first as it is, controls mixed with the ground."""
    return mixed(colour, ground_of(ax), _PALE if place else 0.0)


def _face(ax: Axes, verdict: str, colour: Any) -> Any:
    """Marks of no clear change are hollow."""
    return ground_of(ax) if verdict == UNCLEAR else colour


def _draw(ax: Axes, change: Change, y: float, place: int) -> None:
    """One mark with its interval, in points."""
    colour = _paler(ax, _COLOURS[change.verdict], place)
    ax.plot([100 * change.low, 100 * change.high], [y, y], color=colour, linewidth=1.4 if place else 2.2, zorder=2)
    ax.plot(
        [100 * change.change],
        [y],
        marker=_MARKERS[place % len(_MARKERS)],
        markersize=5.5 if place else 7.5,
        color=colour,
        markerfacecolor=_face(ax, change.verdict, colour),
        markeredgewidth=1.4,
        linestyle="none",
        zorder=3,
    )


def _label(change: Change) -> str:
    """Name and size of a group, and whether these examples chose it."""
    return beside_row(change.name, f"(n = {change.n:,})" if change.held_out else f"(n = {change.n:,}, not held out)")


def _set_axes(ax: Axes, rows: list[Change], measured: str) -> None:
    """Zero line, names and sizes beside the rows, directions in words."""
    ax.axvline(0, color=ink_of(ax), linewidth=0.9, zorder=1)
    name_rows(ax, [_label(row) for row in rows])
    if not rows:
        note(ax, "no groups of this kind", 0)
    low, high = ax.dataLim.intervalx if math.isfinite(ax.dataLim.width) and rows else (0.0, 0.0)
    low, high = min(low, 0.0), max(high, 0.0)
    room = max(0.0, 100 * _LEAST_SPAN - (high - low)) / 2 + 0.04 * (high - low)
    ax.set_xlim(low - room, high + room)
    ax.xaxis.set_major_formatter(lambda value, _: signed_points(value / 100, 0 if value == round(value) else 1))
    ax.set_xlabel(f"better  ←  {measured}, points  →  worse", parse_math=False)
    make_readable(ax)


def _add_legend(ax: Axes, arms: tuple[str, ...], verdicts: set[str]) -> None:
    """A line of shapes for the arms over a line of colours for the verdicts, above the rows."""
    from matplotlib.lines import Line2D

    def mark(marker: str, **colours: Any) -> Line2D:
        return Line2D([], [], marker=marker, linestyle="none", **colours)

    ink = ink_of(ax)
    shapes = [
        (arm, mark(_MARKERS[place % len(_MARKERS)], color=_paler(ax, ink, place)))
        for place, arm in enumerate(arms if len(arms) > 1 else ())
    ]
    colours = [
        (word, mark("s", color=hue, markerfacecolor=_face(ax, word, hue)))
        for word, hue in _COLOURS.items()
        if word in verdicts
    ]
    lines = [line for line in (shapes, colours) if line]
    entries = [entry for column in zip_longest(*lines, fillvalue=("", mark(""))) for entry in column]
    if entries:
        legend(ax, entries, ncols=len(entries) // len(lines), handlelength=1)
