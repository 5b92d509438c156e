"""The Explorer: the Python half of the widget, its synced state and its public commands."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from failviz import _checks
from failviz.annotations import Annotations
from failviz.evaluation import Evaluation
from failviz.interventions.changes import Comparison
from failviz.interventions.plan import RetrainPlan
from failviz.slices import Slice
from failviz.verification import Verdicts
from failviz.widget import magic, wording
from failviz.widget.catalogue import Catalogue, has_outcome
from failviz.widget.channels import Channels
from failviz.widget.commands import Commands
from failviz.widget.dispatch import Dispatcher
from failviz.widget.examples import Direction
from failviz.widget.positions import Positions
from failviz.widget.protocol import N_STEPS, Refusal
from failviz.widget.remedies import Remedies
from failviz.widget.routes import Route
from failviz.widget.runs import Runs
from failviz.widget.thumbnails import Thumbnails, shown_by

logger = logging.getLogger(__name__)

_STATIC = Path(__file__).parent / "static"
_MOST_EXAMPLES = 1_900_000  # four bytes each in one message of at most 8 MB


def _static(name: str, missing: str) -> Path | str:
    path = _STATIC / name
    return path if path.is_file() else missing


def _kept_by_python(name: str) -> Any:
    """Metadata of a synced trait that the browser may read and not write."""
    return {"sync": True, "from_json": lambda _, widget: getattr(widget, name)}


class _Selection(traitlets.TraitType[list[str], Any]):
    """Ids that are read off the Explorer's mask when asked for, and may be set to all that says who is meant."""

    def get(self, obj: Any, cls: Any = None) -> list[str]:
        return obj._ids(obj._selected)

    def set(self, obj: Any, value: Any) -> None:
        obj._select(obj._mask(value))


class Explorer(Commands, anywidget.AnyWidget):
    """See where a classifier fails, slice by slice, and name what you see.

    Put it last in a cell to show it; it nests in ipywidgets' boxes, and `selection`, `active_slice`,
    `step` and `view` can be linked and observed. Every command of the screen is also a method here.

    Parameters
    ----------
    evaluation : Evaluation
    finders_or_slices : fitted finder, Slice, Verdicts, or sequence of these
        Slices whose finder has not seen these examples are verified together (at most 10% of
        those marked confirmed are expected to be chance); the others are measured and marked so.
    annotations : Annotations or path, optional
        What a person says goes there; default `.failviz/<hash>.sqlite` in the current folder.
    space : str, optional
        The embedding space of the map; default the one in which the slices were found, else the first.
    layout : "auto", "pca", "umap", "tsne" or array (n, 2)
        "auto" shows PCA at once and UMAP (or t-SNE) as soon as it is there.
    height : int, optional
        Height on the screen in pixels.
    pool : Evaluation, optional
        Examples with weak labels that could join the training set; what the Retrain view adds from.
    train : Evaluation, optional
        What the model was trained on; what the Retrain view may let count twice.

    Attributes
    ----------
    selection : list of str
        Ids of the selected examples; may be set to ids, a Slice, a boolean mask or None.
    active_slice : str or None
        Key of the slice in hand; may be set to a key, a name or a Slice, and reads as the key, which
        stays when the slice is renamed. `in_hand` is the Slice itself.
    step : int
        Place along the failure direction, 0 (easiest) to n_steps - 1 (hardest).
    selection_state, revisions : dict
        Grow when the selection, the slices or the layout change; read only.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz.evaluation import Evaluation
    >>> held_out = Evaluation(np.eye(4), labels=[0, 1, 1, 0], predictions=[0, 1, 0, 0], ids=list("abcd"))
    >>> explorer = Explorer(held_out, annotations=":memory:")
    >>> explorer.selection = held_out.errors
    >>> explorer.selection
    ['c']
    >>> explorer.close()
    """

    _esm = _static("explorer.js", "export default { render({ el }) { el.textContent = 'failviz was not built'; } };")
    _css = _static("explorer.css", "")

    view = traitlets.Enum(("map", "gallery", "retrain", "compare"), "map").tag(sync=True)
    selection = _Selection()
    active_slice = traitlets.Any(None, allow_none=True).tag(
        sync=True, from_json=lambda value, widget: widget._slice_from_browser(value)
    )
    step = traitlets.Int(N_STEPS // 2).tag(sync=True)
    n_steps = traitlets.Int(N_STEPS, read_only=True).tag(**_kept_by_python("n_steps"))
    selection_state = traitlets.Dict(default_value={"count": 0, "revision": 0}, read_only=True).tag(
        **_kept_by_python("selection_state")
    )
    revisions = traitlets.Dict(default_value={"slices": 0, "layout": 0, "runs": 0}, read_only=True).tag(
        **_kept_by_python("revisions")
    )

    def __init__(
        self,
        evaluation: Evaluation,
        finders_or_slices: Any = (),
        annotations: Annotations | str | Path | None = None,
        *,
        space: str | None = None,
        layout: Any = "auto",
        height: int | None = None,
        pool: Evaluation | None = None,
        train: Evaluation | None = None,
    ):
        if not isinstance(evaluation, Evaluation):
            raise TypeError(
                f"Explorer shows an Evaluation, not {type(evaluation).__name__}: give it first, then the finders."
            )
        n = evaluation.n_examples
        if n > _MOST_EXAMPLES:
            raise ValueError(
                f"Explorer draws at most {_MOST_EXAMPLES:,} examples, not {n:,}: pass evaluation.take(rows)."
            )
        if height is not None:
            height = _checks.whole_number(height, "height", least=1)
        if annotations is not None and not isinstance(annotations, Annotations | str | Path):
            raise TypeError(f"annotations must be Annotations or a path, not {type(annotations).__name__}.")
        self._guard = threading.RLock()
        self._evaluation = evaluation
        self._unit = wording.unit_of(evaluation)
        self._annotations = (
            annotations if isinstance(annotations, Annotations) else Annotations.shared(annotations, evaluation)
        )
        self._annotations.bind(evaluation)
        self._catalogue = Catalogue(evaluation, finders_or_slices, self._annotations)
        space = space or self._catalogue.space_searched() or evaluation.spaces[0]
        self._positions = Positions(
            evaluation.space(space),
            layout,
            lambda: self._bump("layout"),
            identity=f"{evaluation.hash} {space}",
            of=f" of {space}" if len(evaluation.spaces) > 1 else "",
        )
        self._channels = Channels(evaluation)
        self._thumbnails = Thumbnails(shown_by(evaluation), n)
        self._remedies = Remedies(evaluation, finders_or_slices, self._catalogue, pool, train)
        self._pool_thumbnails = Thumbnails(shown_by(pool), 0 if pool is None else pool.n_examples)
        self._runs = Runs.shared(evaluation, self._annotations)
        self._route: Route | None = None
        self._drawn: RetrainPlan | None = None
        self._compared: dict[tuple[Any, ...], Comparison] = {}
        self._directions: dict[str, Direction] = {}
        self._selected = np.zeros(n, dtype=bool)
        self._slices_before: deque[str | None] = deque(maxlen=100)
        self._dispatcher = Dispatcher(self.commands(), lambda content, buffers: self.send(content, buffers))
        state: dict[str, Any] = {"active_slice": next(iter(self._catalogue.known_keys()), None)}
        if height is not None:
            state["layout"] = {"height": f"{height}px"}
        super().__init__(**state)
        self._annotations.on_change(self._on_annotations)
        self._runs.on_change(self._on_runs)
        self.on_msg(self._answer)
        magic.offer(self)

    # -- what a notebook reads and sets ----------------------------------------------------

    @property
    def evaluation(self) -> Evaluation:
        return self._evaluation

    @property
    def annotations(self) -> Annotations:
        """What was said here: names, tags, notes, relabels; with undo, redo and `to_frame()`."""
        return self._annotations

    @property
    def slices(self) -> list[Slice]:
        """The slices on the screen, drawn ones included, under the names they have now."""
        return [item.slice for item in self._catalogue.items()]

    @property
    def verdicts(self) -> Verdicts:
        """What the data says about `slices`, by losses when right and wrong are not known; empty without either."""
        return Verdicts(item.verdict for item in self._catalogue.items() if item.verdict is not None)

    @property
    def in_hand(self) -> Slice | None:
        """The slice whose key `active_slice` is, under the name it has now."""
        return None if self.active_slice is None else self._catalogue.get(self.active_slice).slice

    def _ids(self, mask: np.ndarray) -> list[str]:
        return self._evaluation.ids[mask].tolist()

    def _mask(self, chosen: Iterable[str] | Slice | np.ndarray | None) -> np.ndarray:
        n = self._evaluation.n_examples
        mask = np.zeros(n, dtype=bool)
        if isinstance(chosen, Slice):
            if chosen.evaluation_hash != self._evaluation.hash:
                raise ValueError(f"slice {chosen.name!r} belongs to another Evaluation and cannot be selected here.")
            mask = chosen.is_member.copy()
        elif chosen is not None:
            if not isinstance(chosen, Iterable):
                raise TypeError(f"selection must be ids, a Slice, a boolean mask or None, not {type(chosen).__name__}.")
            given = chosen if isinstance(chosen, np.ndarray | str) else np.asarray(list(chosen))
            if isinstance(given, np.ndarray) and given.dtype == bool:
                mask[_checks.rows(given, n)] = True
            else:
                mask[self._evaluation.rows_of(given)] = True
        return mask

    def _tell_selection(self, old: np.ndarray, new: np.ndarray) -> None:
        """Who observes or links `selection` hears ids; they are only made when somebody listens."""
        listened = any(self._trait_notifiers.get(name) for name in ("selection", traitlets.All))
        if listened and not np.array_equal(old, new):
            change = {"old": self._ids(old), "new": self._ids(new), "owner": self, "type": "change"}
            self.notify_change(traitlets.Bunch(name="selection", **change))

    def wait_for_layout(self, timeout: float | None = None) -> bool:
        """Wait until the final layout is there (a script that saves the map does); False when time ran out."""
        return self._positions.wait(timeout)

    def close(self) -> None:
        """Stop background work and take the widget off the screen; annotations stay saved."""
        if "_dispatcher" in self.__dict__:  # else __init__ refused its arguments
            self._positions.stop()
            self._dispatcher.close()
            self._annotations.on_change(self._on_annotations, remove=True)
            self._runs.on_change(self._on_runs, remove=True)
        super().close()

    # -- state -----------------------------------------------------------------------------

    @traitlets.observe("comm")
    def _answer_where_asked(self, change: dict[str, Any]) -> None:
        """Let messages from the browser go to the subshell they name.

        ipykernel 7.4 sends them to the subshell of the last message that *we* sent instead: to the
        busy main thread after a cell has set a trait, and nowhere at all after the page was
        reloaded (that subshell is gone, and the kernel drops them). It asks the comm for this
        route, and uses the message's own where the comm has none.
        """
        if hasattr(change["new"], "_reply_subshell_for"):
            change["new"]._reply_subshell_for = None

    @traitlets.validate("active_slice")
    def _known_slice(self, proposal: dict[str, Any]) -> str | None:
        if proposal["value"] is None:
            return None
        try:
            return self._catalogue.get(proposal["value"]).key
        except Refusal as refusal:
            raise traitlets.TraitError(str(refusal)) from None

    @traitlets.observe("active_slice")
    def _remember_slice(self, change: dict[str, Any]) -> None:
        self._slices_before.append(change["old"])  # to return to when the one in hand is removed

    def _slice_from_browser(self, value: Any) -> str | None:
        """A view may still show a slice that another has removed: it is told which one is in hand."""
        if value is None or value in self._catalogue.known_keys():
            return value
        self.send_state("active_slice")
        return self.active_slice

    @traitlets.validate("step")
    def _step_in_range(self, proposal: dict[str, Any]) -> int:
        if isinstance(proposal["value"], bool):
            raise traitlets.TraitError(f"step must be a whole number, not {proposal['value']}.")
        if not 0 <= proposal["value"] < N_STEPS:
            raise traitlets.TraitError(f"step must lie between 0 and {N_STEPS - 1}, not {proposal['value']}.")
        return proposal["value"]

    def _answer(self, _: Any, content: Any, buffers: Any) -> None:
        try:
            self._annotations.catch_up()
        except Exception as error:  # the file is locked or closed: whoever asks for names is told so
            logger.debug("annotations were not read: %s", error)
        self._dispatcher.handle(content, buffers)

    def _on_annotations(self) -> None:
        with self._guard:
            keys = self._catalogue.known_keys()
            if self.active_slice not in keys:
                self.active_slice = next((key for key in (*reversed(self._slices_before), *keys) if key in keys), None)
        self._bump("slices")

    def _on_runs(self) -> None:
        self._bump("runs")

    def _bump(self, what: str) -> None:
        """Tell every view that the slices, the layout or a run changed; called from any thread."""
        with self._guard:
            self.set_trait("revisions", {**self.revisions, what: self.revisions[what] + 1})
        # Set while another thread held notifications back, the change might wait for ever: send it plainly too.
        self.send_state("revisions")

    def __repr__(self) -> str:
        if "_catalogue" not in self.__dict__:
            return "Explorer()"
        evaluation, items = self._evaluation, self._catalogue.items()
        lines = [f"Explorer: {evaluation.n_examples:,} {self._unit}"]
        if has_outcome(evaluation):
            lines[0] += f", {int(evaluation.errors.sum()):,} wrong"
        lines[0] += f"; {len(items)} slices"
        for item in items:
            verdict = item.verdict
            if verdict is None:
                rate = ""
            elif verdict.by_loss:
                rate = f": mean loss {verdict.mean_loss:.3g}"
            else:
                rate = f": {verdict.n_errors:,} of {verdict.n:,} wrong"
            badge = wording.judgement(item, evaluation, self._unit, 0.1)["badge"]
            lines.append(f"  {item.slice.name}{rate}, {badge}")
        return "\n".join(lines)
