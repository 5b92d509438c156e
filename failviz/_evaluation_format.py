"""The folder in which an Evaluation is saved: one `.npy` per column, `ids.json` and `evaluation.json`.

Format 1. `evaluation.json` holds the format number, the names of spaces and columns, class names, what each
metadata column is, and two hashes that `read` checks: one of ids, spaces and outcome columns, one of metadata,
`model_spaces` and the names of dimensions, where there are some. Metadata columns are `.npy` where numpy knows their
dtype and JSON lists elsewhere. Files are opened without pickle.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from failviz._columns import as_source_of
from failviz.store import atomic_folder, readable, write_json

if TYPE_CHECKING:
    import pandas as pd

    from failviz.evaluation import Evaluation

FORMAT = 1
MARK = "evaluation.json"
_FACTS = ("metadata", "model_spaces", "feature_names")
COLUMNS = ("labels", "predictions", "probs", "losses", "weights")
_DAMAGE = (None, errno.ENOENT, errno.EISDIR, errno.ENOTDIR)  # of a folder; other numbers are of the machine


def write(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Save to `path`, all or nothing."""
    with atomic_folder(path, mark=MARK) as folder:
        for number, name in enumerate(evaluation.spaces):
            np.save(folder / f"space-{number}.npy", evaluation.space(name), allow_pickle=False)
        present = [name for name in COLUMNS if getattr(evaluation, name) is not None]
        for name in present:
            np.save(folder / f"{name}.npy", getattr(evaluation, name), allow_pickle=False)
        _write_list(evaluation.ids.tolist(), folder / "ids.json")
        metadata = None if evaluation.metadata is None else _write_metadata(evaluation.metadata, folder)
        facts: dict[str, Any] = {"metadata": metadata, "model_spaces": list(evaluation.model_spaces)}
        names = {space: evaluation.feature_names(space) for space in evaluation.spaces}
        if named := {space: found for space, found in names.items() if found}:
            facts["feature_names"] = named
        write_json(
            folder / MARK,
            {
                "format": FORMAT,
                "hash": evaluation.hash,
                "metadata_hash": _metadata_hash(folder, facts),
                "n_examples": evaluation.n_examples,
                "spaces": evaluation.spaces,
                "columns": present,
                "class_names": evaluation.class_names,
                **facts,
            },
        )


def read(path: str | os.PathLike[str], *, source: Any = None) -> Evaluation:
    """Open what `write` saved; refuses folders of another kind, a newer format or changed content."""
    from failviz.evaluation import Evaluation

    folder = readable(path, MARK)
    try:
        header = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{folder} is not a saved Evaluation: it has no evaluation.json.") from None
    except ValueError as error:  # neither JSON nor text
        raise ValueError(f"{folder}/evaluation.json is damaged ({error}): restore it or evaluate again.") from None
    number = header.get("format") if isinstance(header, dict) else None
    if isinstance(number, int) and number > FORMAT:
        raise ValueError(f"{folder} has format {number}, and this failviz reads {FORMAT}: a newer failviz wrote it.")
    if number != FORMAT or not isinstance(header.get("n_examples"), int):
        raise ValueError(f"{folder}/evaluation.json is damaged: restore it or evaluate again.")
    shown = as_source_of(source, header["n_examples"])
    try:
        metadata, columns = header["metadata"], _read_columns(header, folder)
        metadata_hash = _metadata_hash(folder, {name: header[name] for name in _FACTS if name in header})
        frame = None if metadata is None else _read_metadata(metadata, folder, header["n_examples"])
        evaluation = Evaluation(**columns, metadata=frame, source=shown)
        is_whole = metadata_hash == header["metadata_hash"] and evaluation.hash == header["hash"]
    except Exception as error:  # whatever numpy, zipfile or tokenize make of a damaged file
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in _DAMAGE):
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{folder} is damaged ({reason}): restore it or evaluate again.") from error
    if not is_whole:
        raise ValueError(f"what {folder} holds is not what was saved: restore it or evaluate again.")
    return evaluation


def _read_columns(header: dict[str, Any], folder: Path) -> dict[str, Any]:
    """All but metadata, as the constructor takes them."""

    def array(name: str, mmap_mode: Any = None) -> np.ndarray:
        return np.load(folder / f"{name}.npy", mmap_mode=mmap_mode, allow_pickle=False)

    return {
        "embeddings": {name: array(f"space-{number}", "r") for number, name in enumerate(header["spaces"])},
        **{name: array(name, "r" if name == "probs" else None) for name in header["columns"]},
        "ids": _read_list(folder / "ids.json"),
        "class_names": header["class_names"],
        "model_spaces": header["model_spaces"],
        "feature_names": header.get("feature_names"),
    }


def _write_list(values: list[Any], path: Path) -> None:
    path.write_text(json.dumps(values), encoding="ascii")


def _read_list(path: Path) -> list[Any]:
    return json.loads(path.read_text(encoding="ascii"))


def _metadata_hash(folder: Path, facts: dict[str, Any]) -> str:
    """Hexadecimal fingerprint of what `Evaluation.hash` leaves out."""
    digest = hashlib.sha256(json.dumps(list(facts.values())).encode())
    for path in sorted(folder.glob("metadata-*")):
        digest.update(hashlib.sha256(path.name.encode() + path.read_bytes()).digest())
    return digest.hexdigest()


def _write_metadata(frame: pd.DataFrame, folder: Path) -> list[dict[str, Any]]:
    return [
        {"name": name, **_write_column(frame[name], folder / f"metadata-{number}", name)}
        for number, name in enumerate(frame.columns)
    ]


def _read_metadata(described: list[dict[str, Any]], folder: Path, n: int) -> pd.DataFrame:
    import pandas as pd

    columns = {entry["name"]: _read_column(entry, folder / f"metadata-{k}") for k, entry in enumerate(described)}
    return pd.DataFrame(columns, index=pd.RangeIndex(n))


def _write_column(column: pd.Series, stem: Path, name: str) -> dict[str, Any]:
    """Write one column to `stem` + a suffix; the description that `_read_column` needs to give it back."""
    import pandas as pd

    def part(values: Any, suffix: str) -> dict[str, Any]:
        return _write_column(pd.Series(values), stem.with_name(f"{stem.name}-{suffix}"), name)

    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biufcmM":
        np.save(stem.with_suffix(".npy"), column.to_numpy(), allow_pickle=False)
        return {"kind": "array"}
    if isinstance(dtype, pd.CategoricalDtype):
        parts = {"codes": part(column.cat.codes, "codes"), "categories": part(dtype.categories, "categories")}
        return {"kind": "category", "ordered": bool(dtype.ordered), **parts}
    if isinstance(dtype, pd.IntervalDtype):
        ends = column.array
        return {"kind": "interval", "closed": ends.closed, "left": part(ends.left, "l"), "right": part(ends.right, "r")}
    if isinstance(dtype, pd.DatetimeTZDtype):
        return {"kind": "zoned", "dtype": _dtype_name(dtype, name), "utc": part(column.dt.tz_convert(None), "utc")}
    known = column.notna() | isinstance(dtype, np.dtype)  # an object column tells None from NaN
    values = [_scalar(value, name) if there else None for there, value in zip(known, column, strict=True)]
    _write_list(values, stem.with_suffix(".json"))
    return {"kind": "list", "dtype": _dtype_name(dtype, name)}


def _read_column(entry: dict[str, Any], stem: Path) -> pd.Series:
    import pandas as pd

    def part(key: str, suffix: str) -> pd.Series:
        return _read_column(entry[key], stem.with_name(f"{stem.name}-{suffix}"))

    if entry["kind"] == "array":
        return pd.Series(np.load(stem.with_suffix(".npy"), allow_pickle=False))
    if entry["kind"] == "category":
        categories = pd.Index(part("categories", "categories"))
        return pd.Series(pd.Categorical.from_codes(part("codes", "codes"), categories, entry["ordered"]))
    if entry["kind"] == "interval":
        return pd.Series(pd.arrays.IntervalArray.from_arrays(part("left", "l"), part("right", "r"), entry["closed"]))
    if entry["kind"] == "zoned":
        return part("utc", "utc").dt.tz_localize("UTC").astype(entry["dtype"])
    return pd.Series(_read_list(stem.with_suffix(".json")), dtype=entry["dtype"])


def _dtype_name(dtype: Any, name: str) -> str:
    """Its name, which must lead back to it (that of a time zone read from a file does not)."""
    import pandas as pd

    try:
        pd.api.types.pandas_dtype(str(dtype))
    except TypeError:
        raise ValueError(_cannot_save(name, f"is of dtype {dtype}")) from None
    return str(dtype)


def _scalar(value: Any, name: str) -> str | float | None:
    """The value as JSON can hold it: str, int, float, bool or None."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError(_cannot_save(name, f"holds a {type(value).__name__}"))


def _cannot_save(name: str, problem: str) -> str:
    return (
        f"metadata column {name!r} {problem}, which cannot be saved: turn it into numbers, dates, text or categories "
        f"first, for instance metadata[{name!r}].astype(str)."
    )
