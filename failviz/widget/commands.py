"""The commands of the screen as plain methods: each answers one message of the protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from failviz.annotations import Annotations
from failviz.evaluation import Evaluation
from failviz.widget import examples
from failviz.widget.catalogue import Catalogue, has_outcome
from failviz.widget.channels import Channels
from failviz.widget.examples import Direction
from failviz.widget.positions import Positions
from failviz.widget.protocol import VERSION, Refusal, Reply
from failviz.widget.retraining import Retraining
from failviz.widget.thumbnails import Thumbnails


class Commands(Retraining):
    """What the Explorer can be asked, needing neither a browser nor a kernel.

    Methods take checked arguments and return the "result" of the reply, or (result, buffers).
    They may be called from any thread. "open", "layout", "slices" and "selection" answer under
    other names, because ipywidgets or the Explorer's own properties have these.
    """

    _guard: threading.RLock
    _evaluation: Evaluation
    _unit: str
    _positions: Positions
    _annotations: Annotations
    _catalogue: Catalogue
    _channels: Channels
    _thumbnails: Thumbnails
    _directions: dict[str, Direction]
    _selected: np.ndarray
    active_slice: Any
    selection_state: Any
    revisions: Any
    set_trait: Callable[[str, Any], None]

    def commands(self) -> dict[str, Callable[..., Any]]:
        """The method that answers each command of the protocol."""
        renamed = {"open": self.overview, "layout": self.map_positions, "slices": self.slice_table}
        renamed["selection"] = self.selected
        same = "channel gallery thumbnails example direction strip select members create_slice label_slice delete_slice"
        plain = {name: getattr(self, name) for name in [*same.split(), "undo", "redo"]}
        return {**renamed, **plain, **self.retraining_commands()}

    # -- commands: reading -----------------------------------------------------------------

    def overview(self) -> dict[str, Any]:
        """Command "open": size, accuracy, classes, what the map can be coloured by."""
        evaluation = self._evaluation
        n = evaluation.n_examples
        wrong = int(evaluation.errors.sum()) if has_outcome(evaluation) else None
        columns = (evaluation.labels, evaluation.predictions, evaluation.class_names)
        known = any(column is not None for column in columns)
        return {
            "protocol": VERSION,
            "n": n,
            "n_wrong": wrong,
            "accuracy": None if wrong is None else 1 - wrong / n,
            "unit": self._unit,
            "source": self._thumbnails.kind,
            "classes": [evaluation.class_name(number) for number in range(evaluation.n_classes)] if known else [],
            "channels": [channel.entry() for channel in self._channels.all.values()],
            "notice": self._notice(),
        }

    def _notice(self) -> str | None:
        if self._annotations.notice is not None:
            return self._annotations.notice[:1].upper() + self._annotations.notice[1:]
        if not self._annotations.saved:
            return "Labels are kept in memory only and will not be saved."
        return None

    def map_positions(self) -> Reply:
        """Command "layout": positions as uint16, x and y of each row."""
        points, facts = self._positions.current()
        return facts, [points.astype("<u2", copy=False).tobytes()]

    def channel(self, key: str, slice: str | None = None) -> Reply:
        """Command "channel": one byte per example to colour the map by."""
        wanted = slice if slice is not None else self.active_slice
        scored = self._catalogue.get(wanted).slice if key == "score" and wanted is not None else None
        return self._channels.reply(key, scored)

    def slice_table(self) -> dict[str, Any]:
        """Command "slices": the list with verdicts in words, and what undo and redo would do."""
        with self._guard:
            undo, redo = self._annotations.next_steps
            history = {
                "can_undo": undo is not None,
                "can_redo": redo is not None,
                "undo": undo,
                "redo": redo,
                "n_labels": len(self._annotations),
                "saved": self._annotations.saved,
                "place": self._annotations.place,
            }
            rows = self._catalogue.rows(self._unit)
            return {"slices": rows, "revision": self.revisions["slices"], "history": history}

    def gallery(
        self,
        of: str = "slice",
        slice: str | None = None,
        order: str = "score",
        only: str = "all",
        offset: int = 0,
        limit: int = 60,
    ) -> dict[str, Any]:
        """Command "gallery": a page of examples of a slice, of the selection or of everything, hardest first."""
        wanted = slice if slice is not None or of != "slice" else self.active_slice
        scored = None if wanted is None else self._catalogue.get(wanted).slice
        if of == "slice":
            if scored is None:
                raise Refusal("there is no slice to show: choose one, or draw one on the map.")
            chosen = scored.is_member
        else:
            with self._guard:
                chosen = self._selected if of == "selection" else np.ones_like(self._selected)
        return examples.gallery(self._evaluation, chosen, scored, order, only, offset, limit)

    def thumbnails(self, rows: Sequence[int], size: int = 64, should_stop: Callable[[], bool] = lambda: False) -> Reply:
        """Command "thumbnails": encoded pictures, or texts, of some rows."""
        return self._thumbnails.reply(rows, size, should_stop)

    def example(self, row: int) -> dict[str, Any]:
        """Command "example": everything known about one row."""
        return examples.in_full(self._evaluation, row)

    def direction(self, slice: str) -> dict[str, Any]:
        """Command "direction": histogram of the scores in a slice's scope, and its steps."""
        return self._direction(slice).reply()

    def strip(self, slice: str, step: int, count: int = 11) -> dict[str, Any]:
        """Command "strip": the examples around one step, easiest first."""
        return self._direction(slice).strip(step, count)

    def _direction(self, name: str) -> Direction:
        item = self._catalogue.get(name)
        with self._guard:
            if item.key not in self._directions:
                self._directions[item.key] = Direction(self._evaluation, item)
            return self._directions[item.key]

    def members(self, slice: str) -> Reply:
        """Command "members": the rows of a slice as a bitset."""
        item = self._catalogue.get(slice)
        member = item.slice.is_member
        return {"slice": item.key, "count": int(member.sum())}, [_bits(member)]

    # -- commands: selecting ---------------------------------------------------------------

    def select(self, how: str, slice: str | None = None, buffers: Sequence[Any] = ()) -> dict[str, Any]:
        """Command "select": by bitset (the first buffer), by slice, or clear."""
        n = self._evaluation.n_examples
        if how == "slice":
            mask = self._catalogue.get(slice if slice is not None else self.active_slice).slice.is_member.copy()
        elif how == "clear":
            mask = np.zeros(n, dtype=bool)
        else:
            size = (n + 7) // 8
            given = memoryview(buffers[0]).nbytes if len(buffers) else 0
            if given != size:
                raise Refusal(f"select: a bitset of {n:,} examples has {size:,} bytes, and {given:,} came.")
            mask = np.unpackbits(np.frombuffer(buffers[0], dtype=np.uint8), bitorder="little")[:n].astype(bool)
        return self._select(mask)

    def selected(self) -> Reply:
        """Command "selection": who is selected, as a bitset."""
        with self._guard:
            return self._selection_facts(), [_bits(self._selected)]

    def _select(self, mask: np.ndarray) -> dict[str, Any]:
        with self._guard:
            old, self._selected = self._selected, mask
            said = {"count": int(mask.sum()), "revision": self.selection_state["revision"] + 1}
            self.set_trait("selection_state", said)
            facts = self._selection_facts()
        self._tell_selection(old, mask)
        return facts

    def _tell_selection(self, old: np.ndarray, new: np.ndarray) -> None:
        """For whoever observes the selection; here so that commands stay free of the widget."""

    def _selection_facts(self) -> dict[str, Any]:
        known = has_outcome(self._evaluation)
        wrong = int((self._evaluation.errors & self._selected).sum()) if known else None
        return {**self.selection_state, "n_wrong": wrong}

    # -- commands: saying ------------------------------------------------------------------

    def create_slice(self, name: str, tags: Sequence[str] = (), note: str = "") -> dict[str, str]:
        """Command "create_slice": keep the selection as a drawn slice."""
        with self._guard:
            chosen = self._evaluation.ids[self._selected].tolist()
        if not chosen:
            raise Refusal("nothing is selected: draw around some examples on the map first.")
        return self._saved(self._annotations.draw(chosen, name, tags=tags, note=note))

    def label_slice(self, key: str, name: str, tags: Sequence[str] = (), note: str = "") -> dict[str, str]:
        """Command "label_slice": name, tag and annotate any slice of the list."""
        item = self._catalogue.get(key)
        target = item.key if item.key in self._annotations.entries else self._catalogue.as_found(item.key)
        return self._saved(self._annotations.label(target, name=name, tags=tags, note=note))

    def delete_slice(self, key: str) -> dict[str, str]:
        """Command "delete_slice": remove a drawn slice, or a name whose slice is found no more."""
        item = self._catalogue.get(key)
        if item.kind == "found" and not item.named_earlier:
            raise Refusal(
                f"{item.slice.name!r} was found, not drawn, so it stays: clear its name, tags or note instead."
            )
        self._annotations.remove(item.key)
        return {"key": item.key, "message": "removed"}

    def _saved(self, key: str) -> dict[str, str]:
        return {"key": key, "message": "saved" if self._annotations.saved else "kept in memory only, not saved"}

    def undo(self) -> dict[str, str]:
        """Command "undo": take back the last thing said."""
        what = self._annotations.undo()
        return {"message": "nothing to undo" if what is None else f"undid: {what}"}

    def redo(self) -> dict[str, str]:
        """Command "redo": say it again."""
        what = self._annotations.redo()
        return {"message": "nothing to redo" if what is None else f"redid: {what}"}


def _bits(mask: np.ndarray) -> bytes:
    """Bitset: row r is bit r & 7 of byte r >> 3."""
    return np.packbits(mask, bitorder="little").tobytes()
