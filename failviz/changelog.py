"""A log of changes in one SQLite file: each is on disk before the call returns, none is ever deleted.

Rollback journal and `synchronous=FULL`: safe on network home directories. A row names the row it
was made on top of, so the rows form a tree and one cursor (`head`) points into it: undo moves the
cursor to the parent, redo to the latest child. A change made after an undo starts a new branch;
the rows it leaves behind stay, `history()` calls them "replaced". What a change means is the
caller's business. People know the file as "the annotations file", and so the messages call it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import Any, Generic, TypeVar

State = TypeVar("State")

FORMAT = 1
_APPLICATION = 0x6661696C  # "fail": tells our file from another program's SQLite file before anything is written
_SCHEMA = (
    "CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, parent INTEGER NOT NULL, at TEXT NOT NULL, "
    "what TEXT NOT NULL, action TEXT NOT NULL, payload TEXT NOT NULL)",
)
_LIVE = """WITH RECURSIVE path(seq) AS (
    SELECT ? UNION ALL SELECT parent FROM changes JOIN path USING (seq) WHERE parent > 0
) """


class ChangeLog(Generic[State]):
    """Keep changes safe against a killed kernel, with undo and redo, and the state they add up to.

    Safe to use from several threads, and from several kernels at once, which then share one
    history and one cursor.

    Parameters
    ----------
    path : str
        The SQLite file, made when missing; ":memory:" keeps nothing.
    start : callable
        `start()` is the state before any change.
    apply : callable
        `apply(state, action, payload, at)` brings a state forward, in place, by one change.

    Raises
    ------
    ValueError
        The file is damaged, or is not one of ours. It is left as it is.
    OSError
        The file cannot be opened, or, later, a change could not be written: nothing of it was kept.

    Examples
    --------
    >>> log = ChangeLog(":memory:", start=list, apply=lambda state, action, payload, at: state.append(payload))
    >>> with log.writing():
    ...     log.append("add a number", "add", {"number": 3})
    >>> log.step(forward=False), log.next_steps, log.step(forward=True)
    ('add a number', (None, 'add a number'), 'add a number')
    """

    def __init__(
        self, path: str, *, start: Callable[[], State], apply: Callable[[State, str, dict[str, Any], str], None]
    ):
        self._start, self._apply = start, apply
        self._lock = threading.RLock()
        self._state: State | None = None
        self._head = self._version = 0
        self.saved = path != ":memory:"
        self.place = path if self.saved else "memory, not saved"
        if self.saved:
            _prepare(Path(path))
            self._file = Path(path).absolute()
        try:
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise OSError(f"cannot open the annotations file {path}: {error}.") from error
        try:
            self._db.execute("PRAGMA journal_mode=DELETE")
            self._db.execute("PRAGMA synchronous=FULL")
            self._create_or_check()
        except sqlite3.OperationalError as error:
            self._db.close()
            raise OSError(f"cannot use the annotations file {path}: {error}.") from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise ValueError(
                f"{path} is damaged ({error}) and was left as it is: move it to start a new one."
            ) from error
        except BaseException:
            self._db.close()
            raise

    def _create_or_check(self) -> None:
        """One transaction, so that two kernels that start together make one file."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            application = self._db.execute("PRAGMA application_id").fetchone()[0]
            if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                self._db.execute(f"PRAGMA application_id={_APPLICATION}")
                for statement in _SCHEMA:
                    self._db.execute(statement)
                about = {"format": FORMAT, "evaluation": "", "head": 0}
                self._db.executemany("INSERT INTO about VALUES (?, ?)", [(key, str(v)) for key, v in about.items()])
            elif application != _APPLICATION:
                raise ValueError(f"{self.place} is another program's database: give another path.")
            else:
                self._check_contents()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _check_contents(self) -> None:
        health = self._db.execute("PRAGMA quick_check").fetchone()[0]
        if health != "ok":
            raise sqlite3.DatabaseError(health)
        (number,) = self._db.execute("SELECT value FROM about WHERE key='format'").fetchone()
        if number != str(FORMAT):
            raise ValueError(f"{self.place} has format {number}, and this failviz reads {FORMAT}: update failviz.")

    # -- writing ---------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[State]:
        """The live state, for a block whose changes are kept all together, or not at all when it raises."""
        with self._lock:
            if self.saved and not self._file.exists():
                raise OSError(f"nothing was saved: {self.place} was removed; make a new Annotations to go on.")
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._refresh()
                self._db.execute("COMMIT")
            except BaseException as error:
                self._state = None  # it may hold a change that the file does not
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise OSError(f"nothing was saved to {self.place}: {error}.") from error
                raise

    def append(self, what: str, action: str, payload: dict[str, Any]) -> None:
        """Make a change on top of the cursor, in a `writing()` block; `what` is its name for people."""
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        cursor = self._db.execute(
            "INSERT INTO changes (parent, at, what, action, payload) VALUES (?, ?, ?, ?, ?)",
            (self._head, at, what, action, json.dumps(payload, ensure_ascii=False)),
        )
        assert self._state is not None and cursor.lastrowid is not None
        self._apply(self._state, action, payload, at)
        self._move_to(cursor.lastrowid)

    def step(self, *, forward: bool) -> str | None:
        """Undo, or forward, redo one change; returns what it was, or None when there is none."""
        with self.writing():
            seq, what = self._neighbours()[forward]
            if what is not None:
                self._move_to(seq)
                self._state = None
        return what

    def claim(self, owner: str) -> None:
        """Write down, in a `writing()` block, the hash of what the log is about."""
        self._db.execute("UPDATE about SET value=? WHERE key='evaluation'", (owner,))

    def _move_to(self, head: int) -> None:
        self._db.execute("UPDATE about SET value=? WHERE key='head'", (str(head),))
        self._head = head

    # -- reading ---------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[State]:
        """The live state, for a block in which no thread of this kernel changes it."""
        with self._lock:
            yield self._refresh()

    @property
    def owner(self) -> str:
        """The hash of what the log is about; empty before anyone has claimed it."""
        return self._db.execute("SELECT value FROM about WHERE key='evaluation'").fetchone()[0]

    @property
    def revision(self) -> tuple[int, int]:
        """Changes whenever the live state changes, in this kernel or another."""
        with self.reading():
            return self._version, self._head

    @property
    def next_steps(self) -> tuple[str | None, str | None]:
        """What undo and redo would act on; None where there is nothing."""
        with self.reading():
            (_, back), (_, forth) = self._neighbours()
            return back, forth

    def history(self) -> list[tuple[int, str, str, str, str, str]]:
        """Every change ever made: seq, at, what, action, payload and "live", "undone" or "replaced"."""
        with self.reading():
            rows = list(self._db.execute("SELECT seq, at, what, action, payload, parent FROM changes ORDER BY seq"))
            live = {seq for (seq,) in self._db.execute(_LIVE + "SELECT seq FROM path", (self._head,))}
            head = self._head
        latest_child = {parent: seq for seq, *_, parent in rows}
        undone: set[int] = set()
        while (head := latest_child.get(head, 0)) > 0:
            undone.add(head)
        states = ["live" if seq in live else "undone" if seq in undone else "replaced" for seq, *_ in rows]
        return [(*row[:5], state) for row, state in zip(rows, states, strict=True)]

    def _refresh(self) -> State:
        """The state at the cursor, read again when another kernel has written."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if self._state is None or version != self._version:
            self._head = int(self._db.execute("SELECT value FROM about WHERE key='head'").fetchone()[0])
            rows = self._db.execute(
                _LIVE + "SELECT action, payload, at FROM changes JOIN path USING (seq) ORDER BY seq", (self._head,)
            )
            state = self._start()
            for action, payload, at in rows:
                self._apply(state, action, json.loads(payload), at)
            self._state, self._version = state, version
        return self._state

    def _neighbours(self) -> tuple[tuple[int, str | None], tuple[int, str | None]]:
        """(seq to move to, what changes) for undo and for redo; what is None at an end."""
        back = self._db.execute("SELECT parent, what FROM changes WHERE seq=?", (self._head,)).fetchone()
        forth = self._db.execute(
            "SELECT seq, what FROM changes WHERE parent=? ORDER BY seq DESC LIMIT 1", (self._head,)
        ).fetchone()
        return back or (0, None), forth or (0, None)

    def close(self) -> None:
        """Close the file; every change is in it already."""
        with self._lock:
            self._db.close()

    def __del__(self) -> None:
        if "_db" in self.__dict__:  # else the file could not be opened
            self._db.close()


def _prepare(path: Path) -> None:
    """Make the folder, and refuse a file of another kind before SQLite touches it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "rb") if path.exists() else BytesIO() as file:
            start = file.read(72)
    except OSError as error:
        raise OSError(f"cannot open the annotations file {path}: {error.strerror or error}.") from error
    begun = path.with_name(path.name + "-journal").exists()  # a kill left it half made: SQLite mends it
    ours = start[:16] == b"SQLite format 3\0" and (begun or start[68:72] == _APPLICATION.to_bytes(4, "big"))
    if start and not ours:
        raise ValueError(f"{path} is not a failviz annotations file and was left as it is: give another path.")
