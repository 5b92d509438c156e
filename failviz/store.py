"""Folders that appear whole or not at all, and tables of rows that survive a killed process.

No pickle anywhere: arrays are `.npy`, everything else is JSON.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def atomic_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Fill a temporary folder beside `path`, which takes that name only if the block succeeds.

    An existing folder of that name is replaced at the end, never half overwritten.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent))
    try:
        yield work
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", suffix=".tmp", dir=path.parent))
            os.replace(path, old / path.name)
            os.replace(work, path)
            shutil.rmtree(old)
        else:
            os.replace(work, path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_json(path: Path, value: object) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class RowTable:
    """Growing columns on disk that remember how many rows of each are done.

    `evaluate` writes batches into one of these; a second run on the same folder finds the rows
    of the first. The journal is written after the data it speaks of, so a row it counts is whole.

    Parameters
    ----------
    folder : path
        Where the columns live; created when missing.
    n : int
        Rows in every column.
    task : dict
        What is being computed; a folder begun for another task is refused.
    """

    def __init__(self, folder: str | os.PathLike[str], n: int, task: Mapping[str, Any]):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.n = n
        self._journal = self.folder / "journal.json"
        self._columns: dict[str, np.ndarray] = {}
        self._done: dict[str, int] = {}
        if self._journal.exists():
            state = json.loads(self._journal.read_text(encoding="utf-8"))
            differing = [key for key in task if state["task"].get(key) != task[key]]
            if differing or state["n"] != n:
                raise ValueError(
                    f"{self.folder} holds the beginning of another evaluation (its {', '.join(differing) or 'length'} "
                    "differs): give another path, or delete that folder to start again."
                )
            self._done = state["done"]
        self._task = dict(task)

    def rows_done(self, stage: str) -> int:
        """Rows of this stage that earlier runs have finished."""
        return self._done.get(stage, 0)

    def write(self, stage: str, start: int, blocks: Mapping[str, np.ndarray]) -> None:
        """Store rows `start...` of several columns and then record them as done."""
        for name, block in blocks.items():
            column = self._open(name, block)
            column[start : start + len(block)] = block
            if isinstance(column, np.memmap):
                column.flush()
        self._done[stage] = start + len(next(iter(blocks.values())))
        write_json(self._journal, {"n": self.n, "task": self._task, "done": self._done})

    def column(self, name: str) -> np.ndarray:
        """A finished column, memory-mapped and read-only."""
        return np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    def has(self, name: str) -> bool:
        return (self.folder / f"{name}.npy").exists()

    def _open(self, name: str, like: np.ndarray) -> np.ndarray:
        if name not in self._columns:
            path, shape = self.folder / f"{name}.npy", (self.n, *like.shape[1:])
            if path.exists():
                self._columns[name] = np.lib.format.open_memmap(path, mode="r+")
            else:
                self._columns[name] = np.lib.format.open_memmap(path, mode="w+", dtype=like.dtype, shape=shape)
        return self._columns[name]
