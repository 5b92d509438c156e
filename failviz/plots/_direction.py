"""Right and wrong examples along the scores of one slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from failviz import _checks
from failviz.evaluation import Evaluation
from failviz.plots._canvas import across, empty, fitting_axes, in_percent, legend, open_frame, title
from failviz.plots._chosen import in_sample, one_slice, scope_words
from failviz.plots._ink import BLUE, VERMILION, ground_of, ink_of, make_readable, mixed
from failviz.plots._scores import membership_bound

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def direction(
    finder: Any, evaluation: Evaluation, ax: Axes | None = None, *, which: int | str = 0, bins: int = 25
) -> Axes:
    """Draw how far the decision values of a slice part wrong examples from right ones.

    Two histograms of the scores within the scope: right examples filled, wrong ones as a hatched outline, each as
    shares of its own group, so that few errors can be compared with many right examples. A dashed line is where
    membership begins. The title gives the area under the ROC curve (AUROC: the chance that a wrong example scores
    above a right one), and says so when these data chose the slice, which makes both look better than they are.

    Parameters
    ----------
    finder : fitted finder, Slice, or sequence of these
        What to draw; a finder's slices are taken on `evaluation`.
    evaluation : Evaluation
        With labels and predictions; other examples than the finder was fitted on.
    ax : matplotlib Axes, optional
        Where to draw; default a new figure.
    which : int or str, default 0
        The slice: its rank, from 0, or its name.
    bins : int, default 25
        Of equal width, shared by both histograms.

    Returns
    -------
    matplotlib Axes
        Horizontal axis: score, larger = more likely to fail. Vertical: share of the group, in [0, 1].

    Raises
    ------
    TypeError, ValueError
        When the slice belongs to another Evaluation or is not there, or when labels or predictions are missing.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from failviz import Evaluation, Slice
    >>> ev = Evaluation(np.eye(40), labels=np.zeros(40), predictions=np.arange(40) < 20)
    >>> ax = direction(Slice.drawn(ev, ev.ids[:10], "ten"), ev, Figure().subplots())
    >>> print(ax.get_title(loc="left"))
    ten
    AUROC 0.75, chance 0.50 (in-sample: drawn on these data)
    """
    _checks.whole_number(bins, "bins", least=1)
    one = one_slice(finder, evaluation, which, "direction")
    evaluation.require("labels", "predictions", by="plots.direction")
    if one is None:
        return empty(ax, "no direction to draw: the finder found no slices")
    scores, errors = one.scores[one.in_scope], evaluation.errors[one.in_scope]
    if not len(scores):
        return empty(ax, f"{one.name}: no examples in its scope")
    edges = np.histogram_bin_edges(scores, bins)
    ax = fitting_axes(ax, 4.0)
    entries = _draw(ax, scores, errors, edges)
    bound = membership_bound(one)
    if bound is not None:
        entries.append((f"member from here (n = {len(one):,})", ax.axvline(bound, color=ink_of(ax), linestyle="--")))
    _set_axes(ax, edges, scope_words(one.scope, evaluation))
    rows = legend(ax, entries, loc="lower left", bbox_to_anchor=(0, 1))
    title(ax, one.name, _remark(scores, errors, in_sample(one, evaluation)), rows)
    return ax


def _draw(ax: Axes, scores: np.ndarray, errors: np.ndarray, edges: np.ndarray) -> list[tuple[str, Any]]:
    """Both histograms, as shares; returns what the legend says of them."""
    right, wrong = (np.histogram(scores[group], edges)[0] / max(1, group.sum()) for group in (~errors, errors))
    pale = mixed(BLUE, ground_of(ax), 0.55)
    filled = ax.stairs(right, edges, fill=True, facecolor=pale, edgecolor=BLUE, linewidth=0.8)
    outlined = ax.stairs(wrong, edges, edgecolor=VERMILION, linewidth=2, hatch="///")
    return [
        (f"right (n = {(~errors).sum():,})", filled),
        (f"wrong (n = {errors.sum():,})", outlined),
    ]


def _set_axes(ax: Axes, edges: np.ndarray, scope: str) -> None:
    ax.margins(x=0.01)
    ax.set_ylim(bottom=0)
    in_percent(ax.yaxis)
    ax.set_ylabel("share of each group")
    ax.set_xlabel(across(ax, f"score of {scope}  →  more likely to fail"), parse_math=False)
    open_frame(ax, "top", "right")
    make_readable(ax)


def _remark(scores: np.ndarray, errors: np.ndarray, doubt: str) -> str:
    """How well the scores rank errors, and whether these data chose them."""
    from sklearn.metrics import roc_auc_score

    if errors.all() or not errors.any():
        ranking = "no example is wrong" if not errors.any() else "no example is right"
    else:
        ranking = f"AUROC {roc_auc_score(errors, scores):.2f}, chance 0.50"
    return f"{ranking} (in-sample: {doubt})" if doubt else ranking
