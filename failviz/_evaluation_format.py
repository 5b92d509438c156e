"""The folder in which an Evaluation is saved: one `.npy` per column and `evaluation.json`.

Format 1. `evaluation.json` holds the format number, the names of spaces and columns, class names,
metadata text columns and the hash of the whole, which `read` checks. Files are opened without pickle.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from failviz.store import atomic_folder, write_json

if TYPE_CHECKING:
    import pandas as pd

    from failviz.evaluation import Evaluation

FORMAT = 1
COLUMNS = ("labels", "predictions", "probs", "losses", "weights")


def write(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Save to `path`, all or nothing."""
    with atomic_folder(path) as folder:
        for number, name in enumerate(evaluation.spaces):
            np.save(folder / f"space-{number}.npy", evaluation.space(name), allow_pickle=False)
        present = [name for name in COLUMNS if getattr(evaluation, name) is not None]
        for name in present:
            np.save(folder / f"{name}.npy", getattr(evaluation, name), allow_pickle=False)
        np.save(folder / "ids.npy", evaluation.ids, allow_pickle=False)
        write_json(
            folder / "evaluation.json",
            {
                "format": FORMAT,
                "hash": evaluation.hash,
                "n_examples": evaluation.n_examples,
                "spaces": evaluation.spaces,
                "columns": present,
                "class_names": evaluation.class_names,
                "metadata": None if evaluation.metadata is None else _write_metadata(evaluation.metadata, folder),
            },
        )


def read(path: str | os.PathLike[str], *, source: Any = None) -> Evaluation:
    """Open what `write` saved; refuses folders of another kind, a newer format or changed content."""
    from failviz.evaluation import Evaluation

    folder = Path(path)
    try:
        header = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} is not a saved Evaluation: it has no evaluation.json.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder}/evaluation.json is damaged ({error}): restore it or evaluate again.") from None
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{folder} has format {header.get('format')}, and this failviz reads {FORMAT}: a newer failviz wrote it."
        )

    def array(name: str, mmap_mode: Any = None) -> np.ndarray:
        return np.load(folder / f"{name}.npy", mmap_mode=mmap_mode, allow_pickle=False)

    evaluation = Evaluation(
        {name: array(f"space-{number}", "r") for number, name in enumerate(header["spaces"])},
        **{name: array(name) for name in header["columns"]},
        ids=array("ids"),
        class_names=header["class_names"],
        metadata=None if header["metadata"] is None else _read_metadata(header["metadata"], array),
        source=source,
    )
    if evaluation.hash != header["hash"]:
        raise ValueError(f"the arrays in {folder} are not the ones that were saved: restore them or evaluate again.")
    return evaluation


def _write_metadata(frame: pd.DataFrame, folder: Path) -> list[dict[str, Any]]:
    """Numbers, booleans and dates as `.npy`; everything else as text in the JSON header."""
    described = []
    for number, name in enumerate(frame.columns):
        column = frame[name]
        entry: dict[str, Any] = {"name": str(name)}
        if column.dtype.kind in "biufM" and isinstance(column.dtype, np.dtype):
            np.save(folder / f"metadata-{number}.npy", column.to_numpy(), allow_pickle=False)
            entry["kind"] = "array"
        else:
            is_category = str(column.dtype) == "category"
            entry["kind"] = "category" if is_category else "text"
            if is_category:
                entry["categories"] = [str(value) for value in column.cat.categories]
            missing = column.isna().to_numpy()
            entry["values"] = [None if gone else str(value) for value, gone in zip(column, missing, strict=True)]
        described.append(entry)
    return described


def _read_metadata(described: list[dict[str, Any]], array: Any) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    for number, entry in enumerate(described):
        if entry["kind"] == "array":
            columns[entry["name"]] = array(f"metadata-{number}")
        elif entry["kind"] == "category":
            columns[entry["name"]] = pd.Categorical(entry["values"], categories=entry["categories"])
        else:
            columns[entry["name"]] = pd.Series(entry["values"], dtype=object)
    return pd.DataFrame(columns)
