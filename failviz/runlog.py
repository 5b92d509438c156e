"""Retraining runs in the SQLite file of the annotations: plan, status, log, and what each new model predicted.

A run is written when it starts and whenever an arm ends, so that a kernel that dies leaves the plan and every finished
arm behind; whoever opens the file next finds the run marked "interrupted". Undo does not reach runs.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import numpy as np

GOING = ("queued", "running")
ENDED = ("done", "cancelled", "failed", "interrupted")
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS runs (number INTEGER PRIMARY KEY AUTOINCREMENT, started TEXT NOT NULL, "
    "status TEXT NOT NULL, seconds REAL, plan TEXT NOT NULL, owner TEXT NOT NULL, facts TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS arms (run INTEGER NOT NULL, arm TEXT NOT NULL, predictions BLOB NOT NULL, "
    "PRIMARY KEY (run, arm))",
    "CREATE TABLE IF NOT EXISTS thrown_out (pool TEXT NOT NULL, target TEXT NOT NULL, ids TEXT NOT NULL, "
    "PRIMARY KEY (pool, target))",
)


@dataclass
class RunRecord:
    """What the file holds of one run.

    Attributes
    ----------
    number : int
    started : str
        ISO time, UTC.
    status : {"queued", "running", "done", "cancelled", "failed", "interrupted"}
    seconds : float or None
        How long it took; None while it goes on, and when nobody saw its end.
    plan : dict
        `RetrainPlan.to_dict`.
    targets : list of str
        Keys, on the Explorer's list, of the slices it is meant to mend.
    has_results : bool
        Whether an arm has finished.
    error, traceback : str or None
        Of a failed run: one line, and the whole.
    log : str
        What the retraining code printed.
    curves : dict of {arm: {"loss": list, "validation": list}}
    """

    number: int
    started: str
    status: str
    seconds: float | None
    plan: dict[str, Any]
    has_results: bool = False
    targets: list[str] = field(default_factory=list)
    error: str | None = None
    traceback: str | None = None
    log: str = ""
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)


class RunLog:
    """Keep runs safe against a killed kernel. Safe to use from several threads.

    Parameters
    ----------
    path : str
        An annotations file, which must exist; ":memory:" keeps nothing.

    Raises
    ------
    OSError
        The file cannot be opened, or a run could not be written.

    Examples
    --------
    >>> log = RunLog(":memory:")
    >>> number = log.begin({"name": "more sneakers"})
    >>> log.keep_arm(number, "plan", np.array([0, 1, 1]))
    >>> log.end(number, "done", seconds=2.0)
    >>> [(run.number, run.status) for run in log.runs()], log.predictions(number)["plan"].tolist()
    ([(1, 'done')], [0, 1, 1])
    """

    def __init__(self, path: str):
        self._path = path if path == ":memory:" else os.path.abspath(path)
        self._lock = threading.RLock()
        self._owner = _me()
        try:
            self._db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA synchronous=FULL")
        except sqlite3.Error as error:
            raise OSError(f"cannot open the runs in {path}: {error}.") from error
        with self._writing():
            for statement in _SCHEMA:
                self._db.execute(statement)
        self._mark_interrupted()

    def begin(self, plan: Mapping[str, Any], **facts: Any) -> int:
        """Write a new run down, queued; returns its number."""
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        with self._writing():
            cursor = self._db.execute(
                "INSERT INTO runs (started, status, plan, owner, facts) VALUES (?, 'queued', ?, ?, ?)",
                (at, json.dumps(plan), self._owner, json.dumps(facts)),
            )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def note(self, number: int, status: str, **facts: Any) -> None:
        """Write down where a run stands: its status, and log, curves, error or traceback."""
        with self._writing():
            self._db.execute(
                "UPDATE runs SET status=?, facts=? WHERE number=?",
                (status, json.dumps(facts, allow_nan=False), number),
            )

    def keep_arm(self, number: int, arm: str, predictions: np.ndarray) -> None:
        """Keep what the new model of one arm predicts, int (n,)."""
        blob = np.ascontiguousarray(predictions, dtype="<i4").tobytes()
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO arms VALUES (?, ?, ?)", (number, arm, blob))

    def end(self, number: int, status: str, *, seconds: float | None, **facts: Any) -> None:
        """Write down how a run ended."""
        with self._writing():
            self._db.execute(
                "UPDATE runs SET status=?, seconds=?, facts=? WHERE number=?",
                (status, seconds, json.dumps(facts, allow_nan=False), number),
            )

    def runs(self, numbers: Iterable[int] | None = None) -> list[RunRecord]:
        """Every run, or those of these numbers, oldest first."""
        query = (
            "SELECT number, started, status, seconds, plan, EXISTS (SELECT 1 FROM arms WHERE run = number), facts "
            "FROM runs ORDER BY number"
        )
        wanted = None if numbers is None else set(numbers)
        with self._lock:
            rows = [row for row in self._db.execute(query) if wanted is None or row[0] in wanted]
        return [
            RunRecord(number, started, status, seconds, json.loads(plan), bool(has_results), **json.loads(facts))
            for number, started, status, seconds, plan, has_results, facts in rows
        ]

    def statuses(self) -> dict[int, str]:
        """The status of every run by number, as the file has it; those whose process died are marked first."""
        self._mark_interrupted()
        with self._lock:
            return dict(self._db.execute("SELECT number, status FROM runs"))

    def throw_out(self, pool: str, target: str, ids: Sequence[str]) -> None:
        """Keep what a person has thrown out of the plans for a target, from the pool with this hash."""
        with self._writing():
            self._db.execute(
                "INSERT OR REPLACE INTO thrown_out VALUES (?, ?, ?)", (pool, target, json.dumps(list(ids)))
            )

    def thrown_out(self, pool: str, target: str) -> list[str]:
        """What was kept by `throw_out`."""
        with self._lock:
            row = self._db.execute("SELECT ids FROM thrown_out WHERE pool=? AND target=?", (pool, target)).fetchone()
        return [] if row is None else json.loads(row[0])

    def predictions(self, number: int) -> dict[str, np.ndarray]:
        """What the new models of a run predict, by arm: int64 (n,) in the rows of the Evaluation of the file."""
        with self._lock:
            arms = list(self._db.execute("SELECT arm, predictions FROM arms WHERE run=? ORDER BY rowid", (number,)))
        return {arm: np.frombuffer(blob, dtype="<i4").astype(np.int64) for arm, blob in arms}

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __del__(self) -> None:
        if "_db" in self.__dict__:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._lock:
            if self._path != ":memory:" and not os.path.exists(self._path):
                raise OSError(f"the run was not saved: {self._path} was removed; make a new Explorer to go on.")
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except BaseException as error:  # an open transaction would lock the labels out
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise OSError(f"the run was not saved to {self._path}: {error}.") from error
                raise

    def _mark_interrupted(self) -> None:
        """A run that goes on according to the file, in a process that is no more, has been interrupted."""
        going = list(self._db.execute("SELECT number, owner FROM runs WHERE status IN (?, ?)", GOING))
        dead = [(number,) for number, owner in going if owner != self._owner and not _is_alive(owner)]
        if dead:
            with self._writing():
                self._db.executemany("UPDATE runs SET status='interrupted' WHERE number=?", dead)


def _me() -> str:
    """This process, as no other: host, process id and when it started."""
    return f"{platform.node()} {os.getpid()} {_started(os.getpid())}"


def _started(pid: int) -> str:
    """When a process began, as the system counts; empty where that cannot be known."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            facts = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    return "dead" if facts[0] in "ZX" else facts[19]  # killed, and its parent has not looked yet


def _is_alive(owner: str) -> bool:
    """Whether the process that wrote `owner` still runs here; unknown counts as dead, so that no run hangs for ever."""
    host, pid, started = owner.rsplit(" ", 2)
    if host != platform.node() or os.name != "posix":
        return False
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return started == _started(int(pid))
