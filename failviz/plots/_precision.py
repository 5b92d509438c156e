"""How many of the highest scored examples are what one looks for: precision at k, slice by slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from failviz import _checks
from failviz._statistics import percent
from failviz.evaluation import Evaluation
from failviz.plots._canvas import count_along, empty, fitting_axes, in_percent, legend, open_frame, wrapped
from failviz.plots._chosen import all_slices, in_sample
from failviz.plots._ink import BLUE, GREY, VERMILION, faint_of, ground_of, ink_of, make_readable
from failviz.plots._scores import ranked
from failviz.slices import Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "ink"
_LOOKS = [
    (BLUE, "-", "o"),
    (VERMILION, "--", "s"),
    (_INK, "-.", "^"),
    (GREY, "-", "D"),
    (BLUE, ":", "v"),
    (VERMILION, "-", "P"),
    (_INK, "--", "X"),
]
"""Colour, line and mark of the highest curves; others are thin and grey."""
_FAINT = 0.35  # opacity of the others where they are many
_POINTS = 400


def precision_curve(
    slices: Any, evaluation: Evaluation, ax: Axes | None = None, *, truth: np.ndarray | None = None, first_k: int = 5
) -> Axes:
    """Draw precision at k of slices: the share of errors among the k examples that each scores highest.

    A useful score starts high and falls late. A curve ends where all examples of its scope are taken, so at the base
    rate of that scope; the dashed line is the base rate of all examples. Of examples with equal scores, as many count
    as any order of them gives on average. At most seven curves, the highest ones, have a look of their own; others are
    thin and grey.

    Parameters
    ----------
    slices : fitted finders, Slices, or sequence of these
        A finder's slices are taken on `evaluation`, all of them.
    evaluation : Evaluation
        Other examples than the finders were fitted on; where they are not, the legend says "in-sample".
    ax : matplotlib Axes, optional
        Where to draw; default a new figure.
    truth : bool array (n,), optional
        Which examples one looks for, a planted blind spot for instance; default the wrong ones.
    first_k : int, default 5
        Where the curves begin: the precision of very few examples is all chance.

    Returns
    -------
    matplotlib Axes
        Horizontal axis: k, logarithmic. Vertical: precision in [0, 1], shown as a percentage.

    Raises
    ------
    TypeError, ValueError
        When a slice belongs to another Evaluation, `truth` is no mask of it, or labels or predictions are missing.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from failviz import Evaluation
    >>> ev = Evaluation(np.eye(40), labels=np.zeros(40), predictions=np.arange(40) < 20)
    >>> ax = precision_curve(Slice.drawn(ev, ev.ids[:10], "ten"), ev, Figure().subplots())
    >>> ax.lines[0].get_ydata()[[0, -1]].round(2).tolist()
    [1.0, 0.5]
    """
    _checks.whole_number(first_k, "first_k", least=1)
    found = all_slices(slices, evaluation, "precision_curve")
    wanted = _wanted(truth, evaluation)
    if not found:
        return empty(ax, "no slices to draw")
    ax = fitting_axes(ax, 4.6)
    curves = [_curve(one, wanted, first_k) for one in found]
    entries = _draw(ax, found, curves, evaluation)
    base = ax.axhline(wanted.mean(), color=ink_of(ax), linestyle=(0, (6, 4)), linewidth=1, zorder=1)
    entries.append((f"all examples ({percent(wanted.mean(), 1)})", base))
    _set_axes(ax, first_k, evaluation.n_examples, "wrong" if truth is None else "true")
    legend(ax, entries, loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=5, handlelength=4)
    return ax


def _wanted(truth: Any, evaluation: Evaluation) -> np.ndarray:
    if truth is None:
        evaluation.require("labels", "predictions", by="plots.precision_curve without truth")
        return evaluation.errors
    mask = np.asarray(truth)
    if mask.dtype != bool:
        raise TypeError(f"truth must be a boolean mask, one value per example, not of dtype {mask.dtype}.")
    if mask.shape != (evaluation.n_examples,):
        raise ValueError(f"truth must have shape ({evaluation.n_examples},), one per example, not {mask.shape}.")
    return mask


def precision_at(scores: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Share of `wanted`, bool (n,), among the k highest `scores` (n,), for k = 1 ... n: float64 (n,).

    >>> precision_at(np.array([3.0, 2.0, 1.0, 1.0]), np.array([True, False, True, False])).tolist()
    [1.0, 0.5, 0.5, 0.5]
    """
    return np.cumsum(ranked(scores, wanted)) / np.arange(1, len(scores) + 1)


def _curve(one: Slice, wanted: np.ndarray, first_k: int) -> tuple[np.ndarray, np.ndarray]:
    """Some k, evenly on a logarithmic axis from the first to the size of the scope, and the precision at each."""
    precision = precision_at(one.scores[one.in_scope], wanted[one.in_scope])
    n = len(precision)
    k = np.unique(np.geomspace(min(first_k, n), n, _POINTS).round().astype(int)) if n else np.empty(0, dtype=int)
    return k, precision[k - 1]


def _draw(
    ax: Axes, found: list[Slice], curves: list[tuple[np.ndarray, np.ndarray]], evaluation: Evaluation
) -> list[tuple[str, Any]]:
    """A curve per slice; returns what the legend says of them."""
    heights = [float(precision.mean()) if len(precision) else -1.0 for _, precision in curves]
    highest = sorted(np.argsort(-np.array(heights), kind="stable")[: len(_LOOKS)])
    several = len({one.method for one in found}) > 1
    entries: list[tuple[str, Any]] = []
    cache: dict[Any, Any] = {}
    for place, row in enumerate(highest):
        one, (colour, line, marker) = found[row], _LOOKS[place]
        (curve,) = ax.plot(
            *curves[row],
            color=ink_of(ax) if colour == _INK else colour,
            linestyle=line,
            marker=marker,
            markevery=(0.02 * place, 0.14) if len(curves[row][0]) > 1 else None,
            markerfacecolor=ground_of(ax),
            linewidth=1.8,
            zorder=3,
        )
        doubt = in_sample(one, evaluation, cache)
        words = (f"{one.method}: " if several else "") + one.name + (f" (in-sample: {doubt})" if doubt else "")
        entries.append(("\n".join(wrapped(words, 38)), curve))
    others = [row for row in range(len(found)) if row not in highest]
    opacity = _FAINT if len(others) > len(_LOOKS) else 1
    for row in others:
        (curve,) = ax.plot(*curves[row], color=GREY, linewidth=0.6, alpha=opacity, zorder=2)
    if others:
        entries.append((f"{len(others):,} lower {'one' if len(others) == 1 else 'ones'}", curve))
    return entries


def _set_axes(ax: Axes, first_k: int, n: int, sought: str) -> None:
    count_along(ax, 0.94 * min(first_k, n), 1.06 * max(2, n))
    ax.set_ylim(-0.02, 1.02)
    in_percent(ax.yaxis)
    ax.set_xlabel("k, examples with the highest scores")
    ax.set_ylabel(f"precision at k: share {sought}")
    ax.grid(color=faint_of(ax), linewidth=0.8)
    ax.set_axisbelow(True)
    open_frame(ax, "top", "right")
    make_readable(ax)
