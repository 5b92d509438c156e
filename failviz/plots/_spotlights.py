"""Where the light of one spotlight falls, and how high the loss is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from failviz.evaluation import Evaluation
from failviz.plots._canvas import count_along, empty, fitting_axes, legend, open_frame, title
from failviz.plots._chosen import in_sample, one_slice
from failviz.plots._ink import GREY, VERMILION, faint_of, ground_of, ink_of, make_readable, mixed
from failviz.plots._scores import ranked
from failviz.slices import Slice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 200
_REACH, _FEWEST = 0.35, 5  # a window holds ranks from r - reach to r + reach, the larger of a share of r and a number


def spotlight(finder: Any, evaluation: Evaluation, ax: Axes | None = None, *, which: int | str = 0) -> Axes:
    """Draw the loss from the heart of a spotlight outward, over the weights it gives: is it high where the light falls?

    Examples stand in the order of their scores, the nearest to the centre first, on a logarithmic axis. The line is
    the mean loss of the examples around each rank, with a 95% band of the mean; the hatched area is the weight of the
    spotlight, which reaches the top of the picture at its largest. Where a spotlight means something, the line is high
    over the area and falls to the dashed mean of all where the light ends. Any slice may be drawn so.

    Parameters
    ----------
    finder : fitted finder, Slice, or sequence of these
        What to draw; a finder's slices are taken on `evaluation`.
    evaluation : Evaluation
        With losses; other examples than the finder was fitted on, where the loss is higher than it is (the title says
        so).
    ax : matplotlib Axes, optional
        Where to draw; default a new figure.
    which : int or str, default 0
        The slice: its rank, from 0, or its name.

    Returns
    -------
    matplotlib Axes
        Horizontal axis: rank by score, 1 = largest, logarithmic. Vertical: loss.

    Raises
    ------
    TypeError, ValueError
        When the slice belongs to another Evaluation or is not there, or when losses are missing.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from failviz import Evaluation, Slice
    >>> ev = Evaluation(np.eye(40), losses=np.arange(40) < 10)
    >>> ax = spotlight(Slice.drawn(ev, ev.ids[:10], "ten"), ev, Figure().subplots())
    >>> [text.get_text() for text in ax.get_legend().get_texts()][0]
    'mean loss around each rank'
    """
    one = one_slice(finder, evaluation, which, "spotlight")
    evaluation.require("losses", by="plots.spotlight")
    assert evaluation.losses is not None
    if one is None:
        return empty(ax, "no spotlight to draw: the finder found no slices")
    if not one.in_scope.any():
        return empty(ax, f"{one.name}: no examples in its scope")
    losses = evaluation.losses[one.in_scope]
    ax = fitting_axes(ax, 4.0)
    entries = _draw(ax, one, losses)
    _set_axes(ax, losses)
    rows = legend(ax, entries, loc="lower left", bbox_to_anchor=(0, 1))
    doubt = in_sample(one, evaluation)
    remark = _remark(one.weights[one.in_scope], losses) + (f" (in-sample: {doubt})" if doubt else "")
    title(ax, f"{one.name}  (n = {len(one):,})", remark, rows)
    return ax


def means_by_rank(scores: np.ndarray, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean loss around ranks spread evenly on a logarithmic axis, and its standard error.

    Parameters
    ----------
    scores, losses : float arrays (n,)

    Returns
    -------
    ranks : int array (m,)
        From the first that has a whole window around it to n; 1 = largest score.
    means, errors : float64 arrays (m,)
        Of the examples whose rank is within a third of this one, but of 11 where there are as many.
    """
    n = len(scores)
    ranks = np.unique(np.geomspace(min(_FEWEST + 1, n), n, _POINTS).round().astype(int))
    reach = np.maximum(_FEWEST, np.floor(_REACH * ranks).astype(int))
    first = np.maximum(0, np.minimum(ranks - 1 - reach, n - 2 * _FEWEST - 1))
    last = np.minimum(n, np.maximum(ranks + reach, 2 * _FEWEST + 1))
    count = last - first
    mean, mean_square = (
        (sums[last] - sums[first]) / count
        for sums in (np.concatenate([[0.0], np.cumsum(ranked(scores, power))]) for power in (losses, losses**2))
    )
    variance = np.maximum(0.0, mean_square - mean**2) * count / np.maximum(1, count - 1)
    return ranks, mean, np.sqrt(variance / count)


def _draw(ax: Axes, one: Slice, losses: np.ndarray) -> list[tuple[str, Any]]:
    """Weights, band, mean, and the mean of all; returns what the legend says of them."""
    scores, weights = one.scores[one.in_scope], one.weights[one.in_scope]
    ranks, means, errors = means_by_rank(scores, losses)
    by_rank = ranked(scores, weights)
    shown = np.unique(np.geomspace(1, len(by_rank), _POINTS).round().astype(int))
    peak = max(1e-12, float(weights.max()))
    light = ax.fill_between(
        shown,
        0,
        0.97 * by_rank[shown - 1] / peak,
        transform=ax.get_xaxis_transform(),
        facecolor=mixed(GREY, ground_of(ax), 0.7),
        edgecolor=GREY,
        hatch="....",
        linewidth=0.8,
    )
    ax.fill_between(
        ranks, means - 1.96 * errors, means + 1.96 * errors, color=mixed(VERMILION, ground_of(ax), 0.6), alpha=0.6
    )
    (line,) = ax.plot(ranks, means, color=VERMILION, linewidth=2.4, marker="o" if len(ranks) == 1 else "")
    mean = ax.axhline(losses.mean(), color=ink_of(ax), linestyle="--", linewidth=1.2)
    where = "all examples" if one.scope == "all" else "its scope"
    return [("mean loss around each rank", line), (f"mean of {where}", mean), ("weight (top = largest)", light)]


def _set_axes(ax: Axes, losses: np.ndarray) -> None:
    count_along(ax, 1, max(2, len(losses)))
    if losses.min() >= 0:
        ax.set_ylim(bottom=0)
    ax.set_xlabel("rank by score, 1 = at the heart of the slice")
    ax.set_ylabel("loss")
    ax.grid(axis="y", color=faint_of(ax), linewidth=0.8)
    ax.set_axisbelow(True)
    open_frame(ax, "top", "right")
    make_readable(ax)


def _remark(weights: np.ndarray, losses: np.ndarray) -> str:
    """The mean loss in the light, and of all."""
    if not weights.any():
        return f"no example has weight; mean loss of all {losses.mean():.3g}"
    return f"mean loss {np.average(losses, weights=weights):.3g} by weight, {losses.mean():.3g} of all"
