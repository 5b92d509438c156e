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
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from failviz import _checks
from failviz._data_items import Pairs, Rows, as_column, as_items, batches, describe, fingerprint, shortened, split
from failviz._frames import is_dataframe
from failviz._model_runners import Runner, runner_for
from failviz._progress import Step
from failviz._progress import progress as bar
from failviz.evaluation import Evaluation
from failviz.sources import Source, UnreadableExample, as_source
from failviz.store import RowTable

if TYPE_CHECKING:
    from failviz.encoders.base import Encoder

ON_DISK_BYTES = 1 << 30
"""Results expected to be larger than this are memory-mapped even without `path`."""
MODEL = "model"


def evaluate(
    model: Any,
    dataset: Any,
    *,
    encoders: Encoder | Iterable[Encoder] | Mapping[str, Encoder] | None = None,
    hidden: bool | str = True,
    loss: Callable[[Any, Any], Any] | None = None,
    transform: Callable[[Any], Any] | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    batch_size: int | None = None,
    device: Any = None,
    progress: bool = True,
    ids: Iterable[object] | None = None,
    metadata: Any = None,
    class_names: Iterable[object] | None = None,
    source: Any = None,
    path: str | os.PathLike[str] | None = None,
    on_progress: Callable[[Step], object] | None = None,
) -> Evaluation:
    """Run `model` over `dataset` and return the Evaluation.

    Parameters
    ----------
    model : torch.nn.Module, scikit-learn classifier, or callable
        A module returns logits: a tensor (b, n_classes), (b,) or (b, 1) for a binary model, or an
        output with `.logits` as Hugging Face models give. An estimator has `predict_proba`. A
        callable returns class probabilities (b, n_classes). A module is put in eval mode for the
        run and given back as it was.
    dataset : map-style data set, or (X, y) arrays or frames
        Items are (input, label), input alone, or dicts with "label" or "labels"; of a dict the
        model gets the keys that its `forward` takes.
    encoders : Encoder, list or dict of them, optional
        Each adds one space, named by its key or its own `name`.
    hidden : bool or str
        True records the input of the last linear layer as the space "hidden"; a name records the
        output of that layer as a space of that name; False records none. Positions (of pixels, of
        tokens that are no padding) are averaged. For an estimator the space is "features": its
        inputs, or in a pipeline what the last step receives, with the names that its columns have.
    loss : callable(outputs, labels) -> (b,), optional
        Per-example loss, given what the model returned and class numbers; default cross-entropy in nats.
    transform : callable, optional
        Applied to the input of each item (to the whole item when it is a dict) before batching.
    collate : callable, optional
        Makes a batch of a list of items; default torch's.
    batch_size : int, optional
        Default: 64 for a module on the CPU, else 256.
    device : str or torch.device, optional
        Default: where the model's parameters are.
    progress : bool
        Show a progress bar.
    ids, metadata, class_names
        As for Evaluation. ids and metadata default to the data set's own attributes of these names, class_names to what
        the model calls its classes, else to the data set's `class_names` or `classes`. Labels may be these names.
    source : optional
        What shows the examples; default the data set itself when it holds images or texts, or is a dataframe.
    path : folder, optional
        Keep the results there, memory-mapped. Run again after an interruption, only the missing
        rows are computed; run again when finished, it is only opened; run again with one more
        encoder, only its space is added. Model, encoders, functions (by name and code), data set
        (by a sample of items, and its labels) and a source that was given (by a sample) are
        recognised, and another one is refused. Without `path`, results over 1 GiB go to a temporary
        folder.
    on_progress : callable, optional
        Called before every batch with a Step (`words`, `share`); what it raises stops the run and passes through, as
        the `ctx.progress` of a retraining does when Cancel is pressed.

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
    if batch_size is not None:
        _checks.whole_number(batch_size, "batch_size", least=1)
    items = as_items(dataset)
    n = len(items)
    run = runner_for(model, hidden=hidden, loss=loss, device=device)
    size: int = batch_size or run.batch_size
    named = _named_encoders(encoders, run)
    own_source = source is not None
    source = as_source(source) if own_source else _source_of(items)
    if (source is None or source.kind != "image") and any(not _reads_items(encoder) for encoder in named.values()):
        raise ValueError("encoders need images, and this data set shows none: give source=.")
    if not named and not run.spaces:
        raise ValueError("there is nothing to embed the examples with: give encoders=, or leave hidden=True.")
    facts = {
        "ids": _ids(ids, items),
        "metadata": getattr(items, "metadata", None) if metadata is None else metadata,
        "class_names": _class_names(class_names, items, run),
        "source": source,
    }
    refused = Evaluation(np.zeros((n, 1), dtype=np.float32), **facts)  # before the long run, not after it
    run.name_classes(refused.class_names)

    def names_of(features: np.ndarray) -> list[str] | None:
        names = run.feature_names(items) if transform is None and collate is None else None
        return names if names is not None and len(names) == features.shape[1] else None

    def encode(encoder: Encoder, rows: np.ndarray) -> np.ndarray:
        shown = Rows(items, rows, transform) if source is None or _reads_items(encoder) else source.take(rows)
        return encoder.encode_images(shown, batch_size=size, progress=False)

    def run_batch(batch: Any, first_row: int) -> dict[str, np.ndarray]:
        columns = run(batch, first_row)
        names, width = facts["class_names"], columns["probs"].shape[1]
        if names is not None and len(names) != width:
            raise ValueError(f"there are {len(names)} class names, and the model has {width} outputs: do they match?")
        _checks.probabilities(columns["probs"], len(columns["probs"]), first_row)
        if "features" in columns:
            _refuse_holes(columns["features"], first_row, names_of)
        for name in columns.keys() & {"losses", *run.spaces}:
            _checks.finite(columns[name], name, first_row)
        return columns

    def tell(what: str, row: int) -> None:
        if on_progress is not None:
            on_progress(Step(f"evaluating, {what}: {row:,} of {n:,}"))

    def width_of_a_row() -> int:
        with run.ready():
            columns = run_batch(next(iter(batches(items, 0, 1, transform, collate)))[1], 0)
        one = [encode(encoder, np.array([0])) for encoder in named.values()]
        return sum(block.nbytes for block in [*columns.values(), *one])

    temporary = None
    if path is None and width_of_a_row() * n > ON_DISK_BYTES:
        temporary = Path(tempfile.mkdtemp(prefix="failviz-"))
    try:
        table = RowTable(path if path is not None else temporary, n)
        on_disk = table.folder is not None
        data = {"data set": fingerprint(items), "transform": describe(transform)} if on_disk else {}
        task: dict[str, Any] = {}
        if on_disk:
            task = {"model": run.fingerprint(), "hidden": str(hidden), "loss": describe(loss), **data}
            label = _first_label(next(batches(items, 0, 1, transform, collate))[1])
            if isinstance(label, str) and label not in run.calls:  # numbered by the names that were given
                task["class names"] = facts["class_names"] and list(map(str, facts["class_names"]))
        start = table.begin(MODEL, task | ({"collate": describe(collate)} if on_disk else {}))
        with run.ready():
            steps = batches(items, start, size, transform, collate)
            for first, batch in bar(steps, total=-(-(n - start) // size), desc=MODEL, enabled=progress):
                tell(MODEL, first)
                table.write(MODEL, first, run_batch(batch, first))
        for name, encoder in named.items():
            stage = f"encoder {name}"
            work = {"encoder": _encoder_fingerprint(encoder), **data} if on_disk else {}
            if on_disk and own_source and not _reads_items(encoder):
                work["source"] = _source_fingerprint(source)
            begun = table.begin(stage, work)
            for first in bar(range(begun, n, size), desc=name, enabled=progress):
                tell(name, first)
                table.write(stage, first, {name: encode(encoder, np.arange(first, min(first + size, n)))})
        columns = table.columns(MODEL)
        spaces = {name: columns.pop(name) for name in run.spaces if name in columns}
        own = [name for name in spaces if name != "features"]
        own += [name for name, encoder in named.items() if getattr(encoder, "model", None) is model]
        for name in named:
            spaces |= table.columns(f"encoder {name}")
        if not spaces:
            raise ValueError(
                "what the model's last step receives is no table of at most 4,096 numbers per example, so nothing "
                "embeds the examples: give encoders=, or build an Evaluation with embeddings of your own (for texts, "
                "TruncatedSVD of TF-IDF)."
            )
        outcomes = {name: columns[name] for name in ("probs", "labels", "losses") if name in columns}
        called = (
            {"features": names_of(spaces["features"])} if "features" in run.spaces and "features" in spaces else None
        )
        return Evaluation(spaces, **outcomes, **facts, model_spaces=own, feature_names=called)
    finally:
        if temporary is not None:  # mapped files live on until the arrays are gone
            shutil.rmtree(temporary, ignore_errors=True)


def _refuse_holes(features: np.ndarray, first_row: int, names_of: Callable[[np.ndarray], list[str] | None]) -> None:
    holes = np.argwhere(~np.isfinite(features))
    if len(holes):
        row, column = holes[0]
        names = names_of(features)
        where = f"column {column}" if names is None else repr(names[column])
        raise ValueError(
            f"row {first_row + row} holds {features[row, column]} in {where}. The model may take that, but examples "
            "are compared by these numbers: fill it by an imputer before the model's last step, or build the "
            "Evaluation yourself, Evaluation(filled_table, labels=..., probs=model.predict_proba(table))."
        )


def _ids(given: Any, items: Any) -> list[Any] | None:
    """What was given, else what the data set calls its examples, as `retrain` does."""
    own = getattr(items, "ids", None) if given is None else given
    return None if own is None or callable(own) else list(own)


def _class_names(given: Any, items: Any, run: Runner) -> Any:
    """What was given, else what the model calls its classes, else what the data set does."""
    own = {str(name): number for name, number in run.calls.items()}
    if given is not None and not isinstance(given, str | Mapping) and hasattr(given, "__iter__"):
        given = list(given)
        for position, name in enumerate(map(str, given)):
            if own.get(name, position) != position:
                raise ValueError(
                    f"class_names has {name!r} at position {position}, and the model calls class {own[name]} so: give "
                    f"them in its order, {shortened(own)}, or leave class_names out."
                )
    for names in (given, run.class_names, getattr(items, "class_names", None), getattr(items, "classes", None)):
        if names is not None:
            return names if isinstance(names, str | Mapping) or not hasattr(names, "__iter__") else list(names)
    return None


def _first_label(batch: Any) -> Any:
    labels = split(batch)[1]
    return None if labels is None or len(labels) == 0 else as_column(labels)[0]


def _source_fingerprint(source: Any) -> str:
    """What tells one source from another of the same length: up to nine of its examples."""
    digest = hashlib.sha256()
    for row in sorted({int(row) for row in np.linspace(0, len(source) - 1, 9)}):
        try:
            digest.update(np.asarray(source.image(row)).tobytes())
        except UnreadableExample as error:
            digest.update(str(error).encode())
    return digest.hexdigest()


def _named_encoders(encoders: Any, run: Runner) -> dict[str, Encoder]:
    if encoders is None:
        return {}
    if isinstance(encoders, Mapping):
        named = dict(encoders)
    else:
        listed = [encoders] if hasattr(encoders, "encode_images") or isinstance(encoders, str) else list(encoders)
        strange = [one for one in listed if not hasattr(one, "encode_images")]
        if strange:
            raise TypeError(
                f"encoders must be encoders, such as encoders.OpenClip(...), not {strange[0]!r:.60}: see "
                "failviz.encoders."
            )
        named = {encoder.name: encoder for encoder in listed}
        if len(named) != len(listed):
            raise ValueError(f"two encoders are named alike ({', '.join(named)}): give a dict of name: encoder.")
    for name, encoder in named.items():
        if not hasattr(encoder, "encode_images"):
            raise TypeError(f"encoder {name!r} is a {type(encoder).__name__}, which has no encode_images.")
        if name in run.spaces:
            raise ValueError(
                f"an encoder and the model's own layer would both be called {name!r}: give a dict of another name: "
                "encoder, or hidden=False."
            )
    return named


def _reads_items(encoder: Any) -> bool:
    """Whether it takes the items as the model gets them, rather than pictures of them."""
    return getattr(encoder, "reads_items", False)


def _encoder_fingerprint(encoder: Any) -> str:
    own = getattr(encoder, "fingerprint", None)
    return own() if callable(own) else str(describe(encoder))


def _source_of(items: Any) -> Source | None:
    """What shows the data set's examples, or None when it holds neither images nor texts nor a frame."""
    try:
        return as_source(items.inputs if isinstance(items, Pairs) and is_dataframe(items.inputs) else items)
    except (TypeError, ValueError):
        return None
