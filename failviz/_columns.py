"""From what a person passes to an Evaluation to its aligned, checked, read-only columns.

Missing columns are derived here: predictions from probs, losses from probs and labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from failviz import _checks

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
) -> dict[str, Any]:
    """The attributes of an Evaluation by name; the parameters are those of its constructor."""
    spaces = _spaces(embeddings)
    n = len(next(iter(spaces.values())))
    names = _names_in(labels, predictions) if class_names is None else _checks.unique_names(class_names, "class_names")
    if probs is not None:
        probs = _checks.probabilities(probs, n)
        if names is not None and len(names) != probs.shape[1]:
            raise ValueError(f"probs has {probs.shape[1]} columns, and there are {len(names)} class names.")
    numbered = tuple(map(str, range(probs.shape[1]))) if names is None and probs is not None else names
    labels = None if labels is None else _checks.class_indices(labels, "labels", n, numbered)
    if predictions is not None:
        predictions = _checks.class_indices(predictions, "predictions", n, numbered)
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
        "ids": frozen(np.array(id_names)),
        "metadata": _as_pandas(metadata, n),
        "class_names": None if names is None else list(names),
        "source": _as_source(source, n),
    }


def _spaces(embeddings: Any) -> dict[str, np.ndarray]:
    """Named read-only arrays (n, d) of equal length."""
    if not isinstance(embeddings, Mapping):
        return {"embedding": frozen(_checks.embedding(embeddings, "embeddings"))}
    if not embeddings:
        raise ValueError("embeddings is an empty dict: give at least one array of shape (n, d).")
    spaces = {
        str(name): frozen(_checks.embedding(array, f"embeddings[{name!r}]")) for name, array in embeddings.items()
    }
    sizes = {name: len(array) for name, array in spaces.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"all spaces need the same number of rows, and they have {sizes}.")
    return spaces


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


def _names_in(labels: Any, predictions: Any) -> tuple[str, ...] | None:
    """Sorted class names when labels or predictions came as names, else None."""
    found: set[str] = set()
    for values in (labels, predictions):
        array = None if values is None or hasattr(values, "detach") else np.asarray(values)
        if array is not None and array.dtype.kind in "OUS":
            found.update(str(value) for value in array.ravel())
    return tuple(sorted(found)) or None


def _as_pandas(metadata: Any, n: int) -> pd.DataFrame | None:
    """A pandas copy of any dataframe that narwhals reads, or of a dict of columns."""
    if metadata is None:
        return None
    import narwhals as nw
    import pandas as pd

    if isinstance(metadata, Mapping):
        lengths = {name: len(values) for name, values in metadata.items() if isinstance(values, Sequence | np.ndarray)}
        wrong = [f"{name!r} has {length}" for name, length in lengths.items() if length != n]
        if wrong:
            raise ValueError(f"metadata columns need {n} values, one per example: {wrong[0]}.")
        frame = pd.DataFrame(dict(metadata))
    else:
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


def _as_source(source: Any, n: int) -> Any:
    if source is None:
        return None
    from failviz.sources import as_source

    found = as_source(source)
    if len(found) != n:
        raise ValueError(f"the source shows {len(found)} examples, and the Evaluation has {n}.")
    return found
