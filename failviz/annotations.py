"""What a person said about an Evaluation: drawn and named slices, tags, notes, relabels.

Every change is one row of a `ChangeLog`, committed before the call returns; `_annotation_state.py`
says what the rows add up to.
"""

from __future__ import annotations

import os
import secrets
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failviz._annotation_state import Entry, State, apply_change, as_name, as_tags, as_text, fingerprint
from failviz.changelog import ChangeLog
from failviz.slices import DRAWN, Slice

if TYPE_CHECKING:
    import pandas as pd

    from failviz.evaluation import Evaluation

__all__ = ["Annotations", "Entry", "fingerprint"]

_OPEN: weakref.WeakValueDictionary[tuple[str, int], Annotations] = weakref.WeakValueDictionary()
_SHARING = threading.Lock()


def _default_path(evaluation: Evaluation) -> Path:
    return Path(".failviz") / f"{evaluation.hash[:16]}.sqlite"


def _file_at(path: str | os.PathLike[str]) -> tuple[str, int] | None:
    """The file that lies at a path now: another one when it was replaced, None when there is none."""
    try:
        return os.path.realpath(path), os.stat(path).st_ino
    except OSError:
        return None


class Annotations:
    """Keep what you say about an Evaluation, safe against a killed kernel, with undo and redo.

    Safe to use from several threads, and from several kernels at once, which then share one
    history and one cursor.

    Parameters
    ----------
    path : path, optional
        The SQLite file; ":memory:" keeps nothing. Default `.failviz/<hash>.sqlite` in the current
        folder, or, with a warning, memory when that folder cannot be written.
    evaluation : Evaluation, optional
        What the annotations are about. Without it a file can be read, and ids are not checked.

    Raises
    ------
    ValueError
        The file is damaged, is not an annotations file, or belongs to another Evaluation. It is
        left as it is.
    OSError
        A change could not be written; then nothing of it was kept.

    Examples
    --------
    >>> notes = Annotations(":memory:")
    >>> key = notes.draw(["a", "b"], "on grass", tags=["background"])
    >>> notes.undo(), len(notes), notes.redo(), len(notes)
    ('draw a slice', 0, 'draw a slice', 1)
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, evaluation: Evaluation | None = None):
        if path is None and evaluation is None:
            raise ValueError("Annotations needs an Evaluation, a path, or ':memory:': it got none of them.")
        self.evaluation: Evaluation | None = None
        self.notice: str | None = None
        self._listeners: list[Callable[[], None]] = []
        if path is None:
            assert evaluation is not None
            path = _default_path(evaluation)
            try:
                self._log = _open(str(path))
            except OSError as error:
                self.notice = f"labels are kept in memory only and will not be saved: {error}"
                warnings.warn(self.notice, UserWarning, stacklevel=2)
                self._log = _open(":memory:")
        else:
            self._log = _open(os.fspath(path))
        self.saved, self.place = self._log.saved, self._log.place
        if evaluation is not None:
            try:
                self.bind(evaluation)
            except BaseException:
                self._log.close()
                raise
        self._told = self.revision

    def bind(self, evaluation: Evaluation) -> None:
        """Say which Evaluation these are about: ids are checked against it from now on.

        Raises
        ------
        ValueError
            When they are about another one, or speak of examples it does not have.
        """
        mine = evaluation.hash
        with self._log.writing() as state:
            theirs = self._log.owner
            if theirs not in ("", mine):
                raise ValueError(
                    f"{self.place} belongs to another Evaluation ({theirs[:8]}, this one is {mine[:8]}): "
                    "give another path, or the Evaluation it was made for."
                )
            if not theirs:
                evaluation.rows_of([*state.relabels, *(name for entry in state.entries.values() for name in entry.ids)])
                self._log.claim(mine)
            self.evaluation = evaluation

    # -- saying something ------------------------------------------------------------------

    def draw(self, ids: Iterable[str], name: str, *, tags: Sequence[str] = (), note: str = "") -> str:
        """Keep a group of examples under a name; returns its key."""
        members = self._known(ids)
        if not members:
            raise ValueError("a drawn slice needs at least one example: select some first.")
        key = "d" + secrets.token_hex(4)
        facts = {"key": key, "kind": "drawn", "ids": members, "method": DRAWN, "found_name": None}
        facts.update(name=as_name(name), tags=as_tags(tags), note=as_text(note, "note"))
        with self._log.writing():
            self._log.append("draw a slice", "put", facts)
        self._tell()
        return key

    def label(
        self,
        target: Slice | str,
        *,
        name: str | None = None,
        tags: Sequence[str] | None = None,
        note: str | None = None,
    ) -> str:
        """Name, tag or note a found slice (a Slice) or anything kept before (its key); None leaves a part as it is."""
        said: dict[str, Any] = {}
        if name is not None:
            said["name"] = as_name(name)
        if tags is not None:
            said["tags"] = as_tags(tags)
        if note is not None:
            said["note"] = as_text(note, "note")
        key = target if isinstance(target, str) else fingerprint(target)
        with self._log.writing() as state:
            if isinstance(target, str) or key in state.entries:
                entry = state.entry(key)
                old, action = {"name": entry.name, "tags": list(entry.tags), "note": entry.note}, "edit"
                base: dict[str, Any] = {"key": key}
            else:
                old, action = {"name": target.name, "tags": [], "note": ""}, "put"
                base = {"key": key, "kind": "found", "ids": self._known(target.members), "method": target.method}
                base.update(found_name=target.name, **old)
            said = {part: value for part, value in said.items() if value != old[part]}
            if said:
                what = "name a slice" if "name" in said else "tag a slice" if "tags" in said else "note on a slice"
                self._log.append(what, action, {**base, **said})
        if said:
            self._tell()
        return key

    def remove(self, key: str) -> None:
        """Take a drawn slice away, or what was said about a found one; undo brings it back."""
        with self._log.writing() as state:
            what = "remove a slice" if state.entry(key).kind == "drawn" else "clear the name of a slice"
            self._log.append(what, "drop", {"key": key})
        self._tell()

    def relabel(self, ids: Iterable[str] | str, label: object) -> None:
        """Say that these examples belong to another class (a class name or number); None takes it back."""
        members = self._known([ids] if isinstance(ids, str) else ids)
        if not members:
            raise ValueError("relabel got no ids: name at least one example.")
        wanted = None if label is None else self._class(label)
        with self._log.writing():
            noun = "an example" if len(members) == 1 else f"{len(members):,} examples"
            self._log.append(f"relabel {noun}", "relabel", {"ids": members, "label": wanted})
        self._tell()

    def undo(self) -> str | None:
        """Take back the last change; returns what it was, or None when there is none."""
        return self._step(forward=False)

    def redo(self) -> str | None:
        """Do again what undo took back; returns what it was, or None when there is nothing."""
        return self._step(forward=True)

    def _step(self, *, forward: bool) -> str | None:
        what = self._log.step(forward=forward)
        if what is not None:
            self._tell()
        return what

    # -- reading ---------------------------------------------------------------------------

    @property
    def entries(self) -> dict[str, Entry]:
        """Live slice annotations by key, oldest first."""
        with self._log.reading() as state:
            return dict(state.entries)

    @property
    def relabels(self) -> dict[str, str]:
        """id -> class name of every relabelled example."""
        with self._log.reading() as state:
            return {example: label for example, (label, _) in state.relabels.items()}

    @property
    def next_steps(self) -> tuple[str | None, str | None]:
        """What undo and redo would act on; None where there is nothing."""
        return self._log.next_steps

    @property
    def can_undo(self) -> bool:
        return self.next_steps[0] is not None

    @property
    def can_redo(self) -> bool:
        return self.next_steps[1] is not None

    @property
    def revision(self) -> tuple[int, int]:
        """Changes whenever what is live changes, in this kernel or another."""
        return self._log.revision

    def slices(self, evaluation: Evaluation | None = None) -> list[Slice]:
        """The drawn and the named slices, as Slices of the Evaluation (0/1 scores: members only)."""
        evaluation = evaluation if evaluation is not None else self.evaluation
        if evaluation is None:
            raise ValueError("slices needs the Evaluation the annotations are about: pass it.")
        return [replace(Slice.drawn(evaluation, e.ids, e.name), method=e.method) for e in self.entries.values()]

    def to_frame(self) -> pd.DataFrame:
        """One row per live annotation: kind, key, name, n, tags, note, created, changed."""
        import pandas as pd

        with self._log.reading() as state:
            rows: list[tuple[Any, ...]] = [
                (e.kind, e.key, e.name, len(e.ids), list(e.tags), e.note, e.created, e.changed)
                for e in state.entries.values()
            ]
            rows += [("relabel", key, label, 1, [], "", at, at) for key, (label, at) in state.relabels.items()]
        frame = pd.DataFrame(rows, columns=["kind", "key", "name", "n", "tags", "note", "created", "changed"])
        return frame.assign(**{name: pd.to_datetime(frame[name], utc=True) for name in ("created", "changed")})

    def history(self) -> pd.DataFrame:
        """Every change ever made; state is "live", "undone" (redo brings it back) or "replaced"."""
        import pandas as pd

        frame = pd.DataFrame(self._log.history(), columns=["seq", "at", "what", "action", "payload", "state"])
        return frame.assign(at=pd.to_datetime(frame["at"], utc=True))

    def on_change(self, callback: Callable[[], None], *, remove: bool = False) -> None:
        """Call `callback()` after every change made here, in the thread that made it."""
        if remove:
            self._listeners = [listener for listener in self._listeners if listener != callback]
        else:
            self._listeners.append(callback)

    def catch_up(self) -> None:
        """Call them too when another kernel has changed the file since they were last called."""
        if self.revision != self._told:
            self._tell()

    @classmethod
    def shared(cls, path: str | os.PathLike[str] | None, evaluation: Evaluation) -> Annotations:
        """The Annotations of this file that are open in this process, or new ones.

        Two Explorers of one Evaluation then hear of each other's changes.
        """
        place = _default_path(evaluation) if path is None else path
        with _SHARING:
            file = _file_at(place)
            found = None if file is None else _OPEN.get(file)
            if found is not None:
                found.bind(evaluation)
                return found
            found = cls(path, evaluation)
            file = _file_at(place) if found.saved else None
            if file is not None:
                _OPEN[file] = found
            return found

    def close(self) -> None:
        """Close the file; everything said is in it already."""
        with _SHARING:
            for file in [file for file, shared in _OPEN.items() if shared is self]:
                del _OPEN[file]
        self._log.close()

    def __len__(self) -> int:
        with self._log.reading() as state:
            return len(state.entries) + len(state.relabels)

    def __bool__(self) -> bool:
        return True  # no labels yet is not the same as no Annotations

    def __repr__(self) -> str:
        return f"Annotations({len(self)} labels, {self.place})"

    # -- checks ----------------------------------------------------------------------------

    def _tell(self) -> None:
        self._told = self.revision
        for listener in list(self._listeners):
            listener()

    def _known(self, ids: Iterable[object]) -> list[str]:
        """The ids as a list of distinct strings, refused where the Evaluation has no such example."""
        if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
            raise TypeError(f"ids must be a list of ids, not {type(ids).__name__}.")
        names = list(dict.fromkeys(str(value) for value in ids))
        if self.evaluation is not None:
            self.evaluation.rows_of(names)
        return names

    def _class(self, label: object) -> str:
        if isinstance(label, str):
            names = None if self.evaluation is None else self.evaluation.class_names
            if names is not None and label not in names:
                raise ValueError(f"there is no class {label!r}: the classes are {', '.join(names)}.")
            return label
        if isinstance(label, bool) or not hasattr(label, "__index__"):
            raise TypeError(f"label must be a class name or number, not {type(label).__name__}.")
        number = label.__index__()
        if self.evaluation is None:
            return str(number)
        if not 0 <= number < self.evaluation.n_classes:
            raise ValueError(f"there is no class {number}: they run from 0 to {self.evaluation.n_classes - 1}.")
        return self.evaluation.class_name(number)


def _open(path: str) -> ChangeLog[State]:
    return ChangeLog(path, start=State, apply=apply_change)
