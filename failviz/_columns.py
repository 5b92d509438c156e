"""From what a person passes to an Evaluation to its aligned, checked, read-only columns.

Missing columns are derived here: predictions from probs, losses from probs and labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from failviz import _checks
from failviz._frames import column_names, is_dataframe, to_table

if TYPE_CHECKING:
    import pandas as pd

_TINY = np.finfo(np.float32).tiny


def aligned_columns(
    embeddings: Any,
    labels: Any,
    predictions: Any,
    probs: Any,
    losses: Any,
    weights: Any,
    ids: Iterable[object] | None,
    metadata: Any,
    class_names: Iterable[object] | None,
    source: Any,
    model_spaces: Iterable[str],
    feature_names: Any,
) -> dict[str, Any]:
    """The attributes of an Evaluation by name; the parameters are those of its constructor."""
    spaces = _spaces(embeddings)
    n = len(next(iter(spaces.values())))
    if labels is not None:
        labels = _checks.classes(labels, "labels", n)
    if predictions is not None:
        predictions = _checks.classes(predictions, "predictions", n)
    if probs is not None:
        probs = _checks.probabilities(probs, n)
    names = _class_names(class_names, {"labels": labels, "predictions": predictions, "probs": probs})
    if names is not None and probs is not None and len(names) != probs.shape[1]:
        raise ValueError(f"probs has {probs.shape[1]} columns, and there are {len(names)} class names.")
    n_classes = len(names) if names is not None else None if probs is None else probs.shape[1]
    if labels is not None:
        labels = _checks.class_numbers(labels, "labels", names, n_classes)
    if predictions is not None:
        predictions = _checks.class_numbers(predictions, "predictions", names, n_classes)
    elif probs is not None:
        predictions = probs.argmax(axis=1).astype(np.int64)
    if losses is not None:
        losses = _checks.column(losses, "losses", n)
    elif probs is not None and labels is not None:
        losses = -np.log(np.maximum(probs[np.arange(n), labels], _TINY, dtype=np.float64))
    id_names = tuple(map(str, range(n))) if ids is None else _checks.unique_names(ids, "ids")
    if len(id_names) != n:
        raise ValueError(f"ids must name each of the {n} examples, and {len(id_names)} came.")
    return {
        "_spaces": spaces,
        "labels": frozen(labels),
        "predictions": frozen(predictions),
        "probs": frozen(probs),
        "losses": frozen(losses),
        "weights": frozen(_weights(weights, n)),
        "ids": frozen(np.array(id_names, dtype=object)),
        "metadata": _as_pandas(metadata, n),
        "class_names": None if names is None else list(names),
        "source": as_source_of(source, n),
        "model_spaces": _model_spaces(model_spaces, spaces),
        "_feature_names": _feature_names(feature_names, embeddings, spaces),
    }


def _embedding(values: Any, name: str) -> np.ndarray:
    table = to_table(values, name) if is_dataframe(values) else values
    return frozen(_checks.embedding(table, name))  # type: ignore[no-any-return]


def _spaces(embeddings: Any) -> dict[str, np.ndarray]:
    """Named read-only arrays (n, d) of equal length."""
    if not isinstance(embeddings, Mapping):
        return {"embedding": _embedding(embeddings, "embeddings")}
    if not embeddings:
        raise ValueError("embeddings is an empty dict: give at least one array of shape (n, d).")
    spaces = {str(name): _embedding(array, f"embeddings[{name!r}]") for name, array in embeddings.items()}
    sizes = {name: len(array) for name, array in spaces.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"all spaces need the same number of rows, and they have {sizes}.")
    return spaces


def _model_spaces(names: Iterable[str], spaces: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    names = _checks.unique_names(names, "model_spaces")
    unknown = [name for name in names if name not in spaces]
    if unknown:
        raise ValueError(f"model_spaces names {unknown[0]!r}, and the spaces are {', '.join(map(repr, spaces))}.")
    return names


def _feature_names(given: Any, embeddings: Any, spaces: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """Names of the dimensions of spaces: those given (None = nobody says), else those of a dataframe's columns."""
    tables = embeddings if isinstance(embeddings, Mapping) else dict.fromkeys(spaces, embeddings)
    known = {str(space): column_names(table) for space, table in tables.items()}
    if given is not None and not isinstance(given, Mapping):
        given = {next(iter(spaces)): given}
    for key, names in (given or {}).items():
        space = str(key)
        if space not in spaces:
            raise ValueError(f"feature_names names {space!r}, and the spaces are {', '.join(map(repr, spaces))}.")
        columns, width = known[space], spaces[space].shape[1]
        known[space] = None if names is None else _checked_names(names, f"feature_names[{key!r}]", width, columns)
    return {space: names for space, names in known.items() if names is not None}


def _checked_names(names: Any, what: str, width: int, columns: list[str] | None) -> list[str]:
    """One name for each dimension of a space; `columns` are those of its dataframe, if it came as one."""
    checked = list(_checks.unique_names(names, what))
    if len(checked) != width:
        raise ValueError(f"{what} must name each of the {width} dimensions, and {len(checked)} came.")
    if columns is not None and checked != columns and sorted(checked) == sorted(columns):
        raise ValueError(f"{what} has the columns of the dataframe in another order: leave feature_names out.")
    if not all(map(str.strip, checked)):
        raise ValueError(f"{what} has a blank name: say what each dimension is called, or leave feature_names out.")
    return checked


def _weights(weights: Any, n: int) -> np.ndarray:
    if weights is None:
        return np.ones(n)
    checked = _checks.column(weights, "weights", n)
    negative = np.flatnonzero(checked < 0)
    if len(negative):
        raise ValueError(f"weights must be 0 or more, and row {negative[0]} is {checked[negative[0]]}.")
    if not checked.any():
        raise ValueError("weights are all zero: at least one example must count.")
    return checked


def frozen(array: Any) -> Any:
    """A read-only view; the caller's own array keeps its flags."""
    if array is None:
        return None
    view = array.view()
    view.setflags(write=False)
    return view


def _class_names(given: Any, columns: Mapping[str, np.ndarray | None]) -> tuple[str, ...] | None:
    """The names given, else those found among labels and predictions, sorted; None when classes are numbers.

    Sorted names get their numbers by the alphabet, so nothing else may go by number then.
    """
    if given is not None:
        return _checks.unique_names(given, "class_names")
    by_name = {name: array for name, array in columns.items() if array is not None and array.dtype == object}
    by_number = [name for name, array in columns.items() if array is not None and array.dtype != object]
    if by_name and by_number:
        place = "column of probs" if "probs" in by_number else f"number in {by_number[0]}"
        raise ValueError(
            f"{next(iter(by_name))} holds names, and nothing says which name is which {place}: "
            "give class_names, in that order."
        )
    return tuple(sorted({value for array in by_name.values() for value in array})) or None


def _as_pandas(metadata: Any, n: int) -> pd.DataFrame | None:
    """A pandas copy of any dataframe that narwhals reads, or of a dict of columns; rows go by position."""
    if metadata is None:
        return None
    import narwhals as nw
    import pandas as pd

    if isinstance(metadata, Mapping):
        columns = {name: _by_position(values, name, n) for name, values in metadata.items()}
        frame = pd.DataFrame(columns, index=pd.RangeIndex(n))
    else:
        if isinstance(metadata, pd.DataFrame):
            _checks.unique_names(metadata.columns, "metadata column names")
        try:
            table = nw.from_native(metadata, eager_only=True)
        except TypeError as error:
            raise TypeError(
                "metadata must be a dataframe (pandas, polars, Arrow) or a dict of columns, "
                f"not {type(metadata).__name__}."
            ) from error
        # pandas keeps its dtypes; other frames come column by column, which needs no pyarrow.
        native = table.to_native()
        is_pandas = isinstance(native, pd.DataFrame)
        frame = native.copy() if is_pandas else pd.DataFrame({name: table[name].to_numpy() for name in table.columns})
        if len(frame) != n:
            raise ValueError(f"metadata must have {n} rows, one per example, not {len(frame)}.")
        frame = frame.reset_index(drop=True)
    frame.columns = list(_checks.unique_names(frame.columns, "metadata column names"))
    return frame


def _by_position(values: Any, name: Any, n: int) -> pd.Series:
    """One metadata column: whatever index it came with says nothing about the examples."""
    import pandas as pd

    values = _checks.to_numpy(values)
    if not isinstance(values, pd.Series | pd.Index | pd.api.extensions.ExtensionArray | list | tuple | range):
        values = np.asarray(values)
        if values.ndim != 1:
            raise ValueError(f"metadata columns have one value per example, and {name!r} has shape {values.shape}.")
    if len(values) != n:
        raise ValueError(f"metadata columns need {n} values, one per example: {name!r} has {len(values)}.")
    return pd.Series(values).reset_index(drop=True)


def _kind_shown(source: Any) -> str:
    """ "text" or "image", by the first example; one that cannot be shown is named when it is asked for."""
    try:
        return "text" if isinstance(source(0), str) else "image"
    except Exception:
        return "image"


def as_source_of(source: Any, n: int) -> Any:
    if source is None:
        return None
    from failviz.sources import Shown, as_source

    if callable(source) and not hasattr(source, "__len__"):
        source = Shown(source, n, kind=_kind_shown(source))
    found = as_source(source)
    if len(found) != n:
        raise ValueError(f"the source shows {len(found)} examples, and the Evaluation has {n}.")
    return found
