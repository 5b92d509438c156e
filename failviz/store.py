"""Folders that appear whole or not at all, and tables of rows that survive a killed process.

No pickle anywhere: arrays are `.npy`, everything else is JSON.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

JOURNAL = "journal.json"


@contextmanager
def atomic_folder(path: str | os.PathLike[str], mark: str) -> Iterator[Path]:
    """Fill a temporary folder beside `path`, which takes that name only if the block succeeds.

    What stands at `path` is replaced only when it is an empty folder or one that holds the file
    `mark`, as the folders written here do; anything else is refused and left alone.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and ((path / mark).exists() or not any(path.iterdir()))):
        raise FileExistsError(f"{path} is something else (it holds no {mark}) and was left alone: give another path.")
    path.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent))
    try:
        yield work
        umask = os.umask(0)
        os.umask(umask)
        work.chmod(0o777 & ~umask)
        _on_disk(work)
        _put_in_place(work, path, mark)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def readable(path: str | os.PathLike[str], mark: str) -> Path:
    """Where to read: `path`, or the older folder that stepped aside where a process was killed before the new one came.

    Nothing is moved: a save that is going on is not disturbed.
    """
    path = Path(path)
    return path if path.exists() else next(iter(_aside(path, mark)), path)


def recovered(path: str | os.PathLike[str], mark: str) -> Path:
    """`path`, to which an older folder that had stepped aside is moved back; for its only writer."""
    path = Path(path)
    if (found := readable(path, mark)) != path:
        os.replace(found, path)
        shutil.rmtree(found.parent, ignore_errors=True)
    return path


def _aside(path: Path, mark: str) -> list[Path]:
    """Whole folders that stepped aside for `path`, the newest first."""
    found = [one / path.name for one in path.parent.glob(f".{glob.escape(path.name)}-old-*.tmp")]
    whole = [one for one in found if (one / mark).is_file()]
    return sorted(whole, key=lambda one: one.parent.stat().st_mtime, reverse=True)


def _put_in_place(work: Path, path: Path, mark: str) -> None:
    """Rename `work` to `path`; an older folder steps aside first and comes back if that fails."""
    aside = None
    if path.exists():
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", suffix=".tmp", dir=path.parent)) / path.name
        os.replace(path, aside)
        try:
            os.replace(work, path)
        except BaseException:
            os.replace(aside, path)
            aside.parent.rmdir()
            raise
    else:
        os.replace(work, path)
    for stale in _aside(path, mark):  # that of now, and of processes that were killed
        (stale / mark).unlink()  # half removed, it must not pass for whole
        shutil.rmtree(stale.parent, ignore_errors=True)
    if aside is not None:  # what stood there without the mark, an empty folder
        shutil.rmtree(aside.parent, ignore_errors=True)


def _on_disk(folder: Path) -> None:
    """Wait until the files of a folder would outlive a power cut."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())


def write_json(path: Path, value: object) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


class RowTable:
    """Growing columns that remember how many rows are done, on disk or, without a folder, in memory.

    `evaluate` writes batches into one of these, stage by stage (the model, then each encoder). On
    disk a second run on the same folder finds the rows of the first: the journal is written after
    the data it speaks of, so a row it counts is whole.

    Parameters
    ----------
    folder : path or None
        Where the columns live; created when missing. One that holds other files is refused.
    n : int
        Rows in every column.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, n: int):
        self.n = n
        self.folder = None if folder is None else Path(folder)
        self._stages: dict[str, dict[str, Any]] = {}
        self._arrays: dict[tuple[str, str], np.ndarray] = {}
        if self.folder is None:
            return
        if self.folder.exists() and not self.folder.is_dir():
            raise FileExistsError(f"{self.folder} is a file, and results are a folder: give another path.")
        self.folder.mkdir(parents=True, exist_ok=True)
        journal = self.folder / JOURNAL
        if journal.exists():
            state = self._read_journal()
            if state["n"] != n:
                raise ValueError(
                    f"{self.folder} was begun for {state['n']:,} rows, not {n:,}: give another path, or delete it."
                )
            self._stages = state["stages"]
        elif any(file.name != f"{JOURNAL}.tmp" for file in self.folder.iterdir()):
            raise FileExistsError(f"{self.folder} holds other files and was left alone: give another path.")
        else:
            self._write_journal()

    def begin(self, stage: str, task: Mapping[str, Any]) -> int:
        """Rows of this stage that earlier runs have finished.

        Raises
        ------
        ValueError
            When they were computed from something else; the message says what differs.
        """
        begun = self._stages.setdefault(stage, {"task": dict(task), "done": 0, "files": {}})
        differing = [key for key in task if begun["task"].get(key) != task[key]]
        if differing:
            raise ValueError(
                f"{self.folder} was begun with another {' and '.join(differing)} (stage {stage!r}): give another "
                "path, or delete that folder to start again."
            )
        return begun["done"]

    def write(self, stage: str, start: int, blocks: Mapping[str, np.ndarray]) -> None:
        """Store rows `start...` of several columns and then record them as done."""
        known = self._known(stage)
        if known and known != set(blocks):
            name = min(known ^ set(blocks))
            cure = "every row must have it, or none" if self.folder is None else f"delete {self.folder} to start again"
            raise ValueError(f"{name} comes with some rows and not with others, first at row {start}: {cure}.")
        for name, block in blocks.items():
            array = self._array(stage, name, block)
            if array.shape[1:] != block.shape[1:]:
                raise ValueError(f"{name} changed shape at row {start}: {array.shape[1:]} became {block.shape[1:]}.")
            array[start : start + len(block)] = block
            if isinstance(array, np.memmap):
                array.flush()
        self._stages[stage]["done"] = start + len(next(iter(blocks.values())))
        self._write_journal()

    def columns(self, stage: str) -> dict[str, np.ndarray]:
        """The finished columns of a stage by name; memory-mapped and read-only on disk."""
        if self.folder is None:
            return {name: array for (of, name), array in self._arrays.items() if of == stage}
        files = self._stages[stage]["files"]
        return {name: np.load(self.folder / file, mmap_mode="r", allow_pickle=False) for name, file in files.items()}

    def _known(self, stage: str) -> set[str]:
        """Names of the columns of a stage."""
        return set(self._stages[stage]["files"]) | {name for of, name in self._arrays if of == stage}

    def _array(self, stage: str, name: str, like: np.ndarray) -> np.ndarray:
        if (stage, name) not in self._arrays:
            shape = (self.n, *like.shape[1:])
            if self.folder is None:
                self._arrays[stage, name] = np.empty(shape, dtype=like.dtype)
                return self._arrays[stage, name]
            files = self._stages[stage]["files"]
            if name in files:
                self._arrays[stage, name] = np.lib.format.open_memmap(self.folder / files[name], mode="r+")
            else:
                # A number, not the name: a space may be called anything. Recorded only once rows are in it.
                files[name] = f"column-{sum(len(begun['files']) for begun in self._stages.values())}.npy"
                path = self.folder / files[name]
                self._arrays[stage, name] = np.lib.format.open_memmap(path, mode="w+", dtype=like.dtype, shape=shape)
        return self._arrays[stage, name]

    def _read_journal(self) -> dict[str, Any]:
        assert self.folder is not None
        try:
            state: dict[str, Any] = json.loads((self.folder / JOURNAL).read_text(encoding="utf-8"))
            return {"n": int(state["n"]), "stages": dict(state["stages"])}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.folder / JOURNAL} is damaged ({error}): delete that folder to start again."
            ) from error

    def _write_journal(self) -> None:
        if self.folder is not None:
            write_json(self.folder / JOURNAL, {"n": self.n, "stages": self._stages})
