"""Run a model over a data set and keep what the rest of failviz needs.

`evaluate` records class probabilities, losses and the final hidden layer (by a forward hook), and
the embeddings of any encoders, batch by batch. With `path=` everything goes into memory-mapped
columns on disk and a second run picks up where the first was stopped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from failviz._model_runners import Runner, runner_for
from failviz._progress import progress as bar
from failviz.evaluation import Evaluation
from failviz.sources import Source, as_source
from failviz.store import RowTable

if TYPE_CHECKING:
    from failviz.encoders.base import Encoder

ON_DISK_BYTES = 1 << 30
"""Results expected to be larger than this are memory-mapped even without `path`."""


def evaluate(
    model: Any,
    dataset: Any,
    *,
    encoders: Encoder | Iterable[Encoder] | Mapping[str, Encoder] | None = None,
    hidden: bool | str = True,
    loss: Callable[[Any, Any], Any] | None = None,
    transform: Callable[[Any], Any] | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    batch_size: int = 256,
    device: Any = None,
    progress: bool = True,
    ids: Iterable[object] | None = None,
    metadata: Any = None,
    class_names: Iterable[object] | None = None,
    source: Any = None,
    path: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Run `model` over `dataset` and return the Evaluation.

    Parameters
    ----------
    model : torch.nn.Module, scikit-learn classifier, or callable
        A module returns logits: a tensor (b, n_classes), (b,) or (b, 1) for a binary model, or an
        output with `.logits` as Hugging Face models give. An estimator has `predict_proba`. A
        callable returns class probabilities (b, n_classes). A module is put in eval mode for the
        run and given back as it was.
    dataset : map-style data set, or (X, y) arrays
        Items are (input, label), input alone, or dicts with "label" or "labels".
    encoders : Encoder, list or dict of them, optional
        Each adds one space, named by its key or its own `name`.
    hidden : bool or str
        True records the input of the last linear layer as the space "hidden"; a name records the
        output of that layer (averaged over positions when it has any); False records none.
    loss : callable(outputs, labels) -> (b,), optional
        Per-example loss, given what the model returned; default cross-entropy in nats.
    transform : callable, optional
        Applied to the input of each item (to the whole item when it is a dict) before batching.
    collate : callable, optional
        Makes a batch of a list of items; default torch's.
    batch_size : int
    device : str or torch.device, optional
        Default: where the model's parameters are.
    progress : bool
        Show a progress bar.
    ids, metadata, class_names
        As for Evaluation; `metadata`, `class_names` and the source default to the data set's own
        attributes of these names where it has them.
    source : optional
        What shows the examples; default the data set itself when it holds images or texts.
    path : folder, optional
        Keep the results there, memory-mapped. Run again after an interruption, only the missing
        rows are computed; run again when finished, it is only opened. Without `path`, results
        over 1 GiB go to a temporary folder.

    Raises
    ------
    ValueError
        When the folder was begun for another model or data set, when no hidden layer can be
        found, or when outputs are not what the kind of model promises.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> x, y = np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2
    >>> evaluate(LogisticRegression().fit(x, y), (x, y), progress=False).spaces
    ['features']
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}.")
    items = _Pairs(*dataset) if isinstance(dataset, tuple) else dataset
    n = len(items)
    if n == 0:
        raise ValueError("the data set is empty: there is nothing to evaluate.")
    named = _named_encoders(encoders)
    if source is None:
        source = _source_of(items)
    elif named:
        source = as_source(source)
    if named and source is None:
        raise ValueError("encoders need images, and this data set shows none: give source=.")

    run = runner_for(model, hidden=hidden, loss=loss, device=device)
    embeds = {
        f"space {name}": lambda rows, encoder=encoder: encoder.encode_images(
            source.take(rows), batch_size=batch_size, progress=False
        )
        for name, encoder in named.items()
    }
    task = {"model": run.fingerprint, "hidden": str(hidden), "spaces": list(named), "first": _first_item(items)}
    folder, temporary = _work_folder(path, n, run, embeds, items, batch_size, transform, collate)
    table = RowTable(folder, n, task) if folder is not None else _InMemory(n)
    try:
        with run:
            start = table.rows_done("model")
            batches = _batches(items, start, batch_size, transform, collate)
            for first, batch in bar(batches, total=-(-(n - start) // batch_size), desc="model", enabled=progress):
                table.write("model", first, run(batch))
        for stage, encode in embeds.items():
            starts = range(table.rows_done(stage), n, batch_size)
            for first in bar(starts, desc=stage, enabled=progress):
                rows = np.arange(first, min(first + batch_size, n))
                table.write(stage, first, {stage: encode(rows)})
        return _assemble(table, [*run.spaces, *embeds], run, items, ids, metadata, class_names, source)
    finally:
        if temporary is not None:  # mapped files live on until the arrays are gone
            shutil.rmtree(temporary, ignore_errors=True)


def _assemble(
    table: RowTable | _InMemory,
    space_columns: list[str],
    run: Runner,
    items: Any,
    ids: Any,
    metadata: Any,
    class_names: Any,
    source: Source | None,
) -> Evaluation:
    spaces = {name.removeprefix("space "): table.column(name) for name in space_columns if table.has(name)}
    if not spaces:
        raise ValueError(
            "there is nothing to embed the examples with: give encoders=, or name a layer, hidden='layer.name'."
        )
    own_metadata = getattr(items, "metadata", None)
    return Evaluation(
        spaces,
        probs=table.column("probs"),
        labels=table.column("labels") if table.has("labels") else None,
        losses=table.column("losses") if table.has("losses") else None,
        ids=ids,
        metadata=own_metadata if metadata is None else metadata,
        class_names=_class_names(class_names, items, run),
        source=source,
    )


def _class_names(given: Any, items: Any, run: Runner) -> Any:
    for names in (given, getattr(items, "class_names", None), getattr(items, "classes", None), run.class_names):
        if names is not None:
            return names
    return None


def _named_encoders(encoders: Any) -> dict[str, Encoder]:
    if encoders is None:
        return {}
    if isinstance(encoders, Mapping):
        return dict(encoders)
    listed = [encoders] if hasattr(encoders, "encode_images") else list(encoders)
    names = [encoder.name for encoder in listed]
    if len(set(names)) != len(names):
        raise ValueError(f"two encoders are named alike ({', '.join(names)}): give a dict of name: encoder.")
    return dict(zip(names, listed, strict=True))


class _Pairs:
    """(X, y) arrays as a data set of pairs."""

    def __init__(self, inputs: Any, labels: Any):
        if len(inputs) != len(labels):
            raise ValueError(f"X has {len(inputs)} rows, and y has {len(labels)}.")
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        return self.inputs[row], self.labels[row]


class _InMemory:
    """The columns of a RowTable in memory, for results that are small and need no resuming."""

    def __init__(self, n: int):
        self.n = n
        self._columns: dict[str, np.ndarray] = {}

    def rows_done(self, stage: str) -> int:
        return 0

    def write(self, stage: str, start: int, blocks: Mapping[str, np.ndarray]) -> None:
        for name, block in blocks.items():
            if name not in self._columns:
                self._columns[name] = np.empty((self.n, *block.shape[1:]), dtype=block.dtype)
            self._columns[name][start : start + len(block)] = block

    def column(self, name: str) -> np.ndarray:
        return self._columns[name]

    def has(self, name: str) -> bool:
        return name in self._columns


def _work_folder(
    path: Any, n: int, run: Runner, embeds: Mapping[str, Any], items: Any, batch_size: int, transform: Any, collate: Any
) -> tuple[Path | None, Path | None]:
    """(folder to write to or None, the same if it is temporary); one example tells how wide the rows are."""
    if path is not None:
        return Path(path), None
    with run:
        width = sum(block.nbytes for block in run(next(iter(_batches(items, 0, 1, transform, collate)))[1]).values())
    width += sum(encode(np.array([0])).nbytes for encode in embeds.values())
    if width * n <= ON_DISK_BYTES:
        return None, None
    temporary = Path(tempfile.mkdtemp(prefix="failviz-"))
    return temporary, temporary


def _batches(
    items: Any, start: int, batch_size: int, transform: Callable[[Any], Any] | None, collate: Any
) -> Iterator[tuple[int, Any]]:
    join = collate or torch.utils.data.default_collate
    for first in range(start, len(items), batch_size):
        chosen = [_transformed(items[row], transform) for row in range(first, min(first + batch_size, len(items)))]
        yield first, join(chosen)


def _transformed(item: Any, transform: Callable[[Any], Any] | None) -> Any:
    if transform is None:
        return item
    if isinstance(item, tuple | list):
        return (transform(item[0]), *item[1:])
    return transform(item)


def _source_of(items: Any) -> Source | None:
    """What shows the data set's examples, or None when it holds neither images nor texts."""
    try:
        return as_source(items)
    except TypeError:
        return None


def _first_item(items: Any) -> str:
    """Fingerprint of the first item, so that a resumed run notices another data set."""
    digest = hashlib.sha256()

    def feed(value: Any) -> None:
        if isinstance(value, Mapping):
            for key in sorted(value):
                feed(key)
                feed(value[key])
        elif isinstance(value, tuple | list):
            for part in value:
                feed(part)
        elif hasattr(value, "detach") or isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
            digest.update(str(array.dtype).encode() + np.ascontiguousarray(array).tobytes())
        elif hasattr(value, "tobytes"):
            digest.update(value.tobytes())
        else:
            digest.update(repr(value).encode())

    feed(items[0])
    return digest.hexdigest()
