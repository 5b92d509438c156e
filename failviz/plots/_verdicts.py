"""How often each slice is wrong, beside the rest of its scope: a forest plot of verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from failviz.plots._canvas import beside_row, empty, fitting_axes, in_percent, legend, name_rows, note
from failviz.plots._ink import GREY, VERMILION, ground_of, ink_of, make_readable, margin_ink_of
from failviz.verdicts import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCHES = 0.38
_BELOW = 0.26  # of a row, so that the cross does not hide the mark
_CONFIRMED, _OPEN, _IN_SAMPLE = "confirmed", "not confirmed", "in-sample: no test"
_REST, _SHRUNKEN = "rest of its scope", "shrunken rate"
_LOOKS: dict[str, dict[str, Any]] = {
    _CONFIRMED: {"colour": VERMILION, "marker": "o", "is_filled": True, "line": "-"},
    _OPEN: {"colour": GREY, "marker": "o", "is_filled": False, "line": "-"},
    _IN_SAMPLE: {"colour": GREY, "marker": "s", "is_filled": False, "line": ":"},
}


def error_rates(verdicts: Sequence[Verdict], ax: Axes | None = None, *, shrunken: bool = False) -> Axes:
    """Draw how often each slice is wrong and how often the rest of its scope is, to see which stand out and how surely.

    A round mark is an error rate with its 95% Wilson interval: filled = confirmed by `verify`, hollow = not. A square
    on a dotted line was measured on data that chose the slice, or reads the outcome: no test stands behind it. An
    upright stroke is the rest of the scope. Words on the right say what a mark cannot.

    Parameters
    ----------
    verdicts : Verdicts, or sequence of Verdict
        Of `verify` or `measure`. Drawn from the top, in their order.
    ax : matplotlib Axes, optional
        Where to draw; default a new figure whose height fits the rows.
    shrunken : bool, default False
        Add the rates drawn toward the rest (a cross): the better guess of the rate on yet other data. Verdicts
        without a test have none.

    Returns
    -------
    matplotlib Axes
        Horizontal axis: error rate in [0, 1], shown as a percentage.

    Raises
    ------
    TypeError
        When these are no verdicts.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from failviz import Evaluation, Slice
    >>> from failviz.verification import measure
    >>> ev = Evaluation(np.eye(40), labels=np.zeros(40), predictions=np.arange(40) < 20)
    >>> ax = error_rates(measure([Slice.drawn(ev, ev.ids[:10], "ten")], ev), Figure().subplots())
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['ten  (n = 10)']
    """
    rows = _checked(verdicts)
    if not rows:
        return empty(ax, "no slices to judge")
    ax = fitting_axes(ax, 1.1 + _ROW_INCHES * len(rows))
    for y, verdict in enumerate(rows):
        _draw(ax, verdict, y, shrunken)
    name_rows(ax, [beside_row(name, f"(n = {one.n:,})") for name, one in zip(_names(rows), rows, strict=True)])
    _set_rate_axis(ax, rows)
    make_readable(ax)
    _add_words(ax, rows)
    _add_legend(ax, rows, shrunken)
    return ax


def _checked(verdicts: Any) -> list[Verdict]:
    came = type(verdicts).__name__
    if isinstance(verdicts, Sequence) and not isinstance(verdicts, str):
        wrong = [type(one).__name__ for one in verdicts if not isinstance(one, Verdict)]
        if not wrong:
            if any(one.by_loss for one in verdicts):
                raise ValueError(
                    "plots.error_rates draws error rates, and these verdicts are on losses: see to_frame()."
                )
            return list(verdicts)
        came = f"a {came} of {wrong[0]}"
    raise TypeError(f"plots.error_rates takes Verdicts, as verify gives them, not {came}.")


def _names(rows: list[Verdict]) -> list[str]:
    """What the slices are called; those called alike with the method, and if that is one too, with their place."""
    methods: dict[str, list[str]] = {}
    for one in rows:
        methods.setdefault(one.slice.name, []).append(one.slice.method)
    names = []
    for place, one in enumerate(rows, start=1):
        alike, name = methods[one.slice.name], one.slice.name
        if len(set(alike)) > 1:
            name = f"{name}, {one.slice.method}"
        names.append(name if alike.count(one.slice.method) == 1 else f"{name}, row {place}")
    return names


def _kind(verdict: Verdict) -> str:
    if verdict.in_sample or verdict.drawn or verdict.slice.uses_outcome:
        return _IN_SAMPLE
    return _CONFIRMED if verdict.confirmed else _OPEN


def _mark(ax: Axes, kind: str) -> dict[str, Any]:
    """The look of a mark of this kind."""
    look = _LOOKS[kind]
    face = look["colour"] if look["is_filled"] else ground_of(ax)
    return {
        "marker": look["marker"],
        "markersize": 7.5,
        "color": look["colour"],
        "markerfacecolor": face,
        "markeredgewidth": 1.4,
        "linestyle": "none",
    }


def _stroke(ax: Axes, ink: Any) -> dict[str, Any]:
    return {"marker": "|", "markersize": 13, "markeredgewidth": 2, "color": ink, "linestyle": "none"}


def _cross(ax: Axes, ink: Any) -> dict[str, Any]:
    return {"marker": "x", "markersize": 6, "markeredgewidth": 1.6, "color": ink, "linestyle": "none"}


def _draw(ax: Axes, verdict: Verdict, y: float, shrunken: bool) -> None:
    if not verdict.n:
        note(ax, "no members", y)
        return
    look = _LOOKS[_kind(verdict)]
    ax.plot([verdict.low, verdict.high], [y, y], color=look["colour"], linewidth=2.2, linestyle=look["line"], zorder=2)
    ax.plot([verdict.error_rate], [y], zorder=3, **_mark(ax, _kind(verdict)))
    if not math.isnan(verdict.class_error_rate):
        ax.plot([verdict.class_error_rate], [y], zorder=4, **_stroke(ax, ink_of(ax)))
    if shrunken and not math.isnan(verdict.shrunken_rate):
        ax.plot([verdict.shrunken_rate], [y + _BELOW], zorder=5, **_cross(ax, ink_of(ax)))


def _set_rate_axis(ax: Axes, rows: list[Verdict]) -> None:
    """From zero to the farthest interval, in percent."""
    ends = [edge for one in rows if one.n for edge in (one.high, one.class_error_rate) if not math.isnan(edge)]
    end = max([0.1, *ends])
    ax.set_xlim(-0.015 * end, min(1.0, 1.04 * end) * 1.015)
    in_percent(ax.xaxis)
    ax.set_xlabel("error rate, with 95% interval")


def _add_words(ax: Axes, rows: list[Verdict]) -> None:
    """Beyond the right end: each verdict as a person reads it."""
    ink, beyond = margin_ink_of(ax), ax.get_yaxis_transform()
    for y, verdict in enumerate(rows):
        ax.annotate(
            verdict.words,
            (1, y),
            (8, 0),
            xycoords=beyond,
            textcoords="offset points",
            va="center",
            color=ink,
            size="small",
            annotation_clip=False,
        )


def _add_legend(ax: Axes, rows: list[Verdict], shrunken: bool) -> None:
    """The marks that occur, above the rows."""
    from matplotlib.lines import Line2D

    drawn = [one for one in rows if one.n]
    kinds = {_kind(one) for one in drawn}
    ink = ink_of(ax)
    entries = [(kind, Line2D([], [], **_mark(ax, kind))) for kind in _LOOKS if kind in kinds]
    if any(not math.isnan(one.class_error_rate) for one in drawn):
        entries.append((_REST, Line2D([], [], **_stroke(ax, ink))))
    if shrunken and any(not math.isnan(one.shrunken_rate) for one in drawn):
        entries.append((_SHRUNKEN, Line2D([], [], **_cross(ax, ink))))
    legend(ax, entries, handlelength=1)
