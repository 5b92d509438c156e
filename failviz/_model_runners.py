"""One batch through one model: torch modules, scikit-learn estimators, plain callables.

A runner maps a batch to columns of rows: "probs" (b, n_classes), "labels" and "losses" when
there are labels, and the embeddings that the model itself yields, under the names in `spaces`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, is_regressor

from failviz._data_items import Pairs, as_column, checked_labels, describe, numbered, split, to_array
from failviz._frames import column_names, is_dataframe, not_numbers, telling_names, to_table
from failviz._model_state import at_work, home_of, mean_over_tokens, weights_hash

WIDEST_SPARSE = 4096
_MADE_UP = re.compile(r"x\d+")  # what scikit-learn calls columns without names


class Runner:
    """Base: splits a batch into input and labels, checks labels, and turns outputs into columns."""

    spaces: tuple[str, ...] = ()
    class_names: list[str] | None = None
    """As the model calls them."""
    batch_size: int = 256

    def __init__(self, loss: Callable[[Any, Any], Any] | None):
        self._loss = loss
        self.calls: dict[Any, int] = {}
        """Class numbers by what the model itself calls its classes, where it does."""
        self.number_of: dict[Any, int] = {}
        """The same with the names that `name_classes` adds."""

    def name_classes(self, names: Iterable[str] | None) -> None:
        """What labels may be called, besides what the model calls its classes."""
        self.number_of = dict(self.calls)
        for number, name in enumerate(names or ()):
            self.number_of.setdefault(name, number)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Inside this the runner may be called."""
        yield

    def fingerprint(self) -> str:
        """What tells this model from another, for resumed runs."""
        raise TypeError("a Runner is one of the classes below")

    def __call__(self, batch: Any, first_row: int = 0) -> dict[str, np.ndarray]:
        raise TypeError("a Runner is one of the classes below")

    def feature_names(self, items: Any) -> list[str] | None:
        """What the dimensions of "features" are called, where they have names and items come in as they are."""
        return None

    def _own_losses(self, outputs: Any, labels: Any, n: int) -> np.ndarray:
        assert self._loss is not None
        losses = to_array(self._loss(outputs, labels)).astype(np.float64)
        if losses.shape != (n,):
            raise ValueError(
                f"loss must return one value per example, shape ({n},), not {losses.shape}: use reduction='none'."
            )
        return losses


def runner_for(model: Any, *, hidden: bool | str, loss: Any, device: Any) -> Runner:
    """The runner that fits this kind of model."""
    if isinstance(model, torch.nn.Module):
        return ModuleRunner(model, hidden, loss, device)
    if isinstance(hidden, str):
        raise ValueError(f"hidden={hidden!r} names a layer, and a {type(model).__name__} has none.")
    if hasattr(model, "predict_proba"):
        return ArrayRunner(model, model.predict_proba, hidden, loss, classes=getattr(model, "classes_", None))
    if callable(model):
        return ArrayRunner(model, model, hidden, loss, classes=None)
    if isinstance(model, BaseEstimator) and is_regressor(model):
        raise TypeError(
            f"a {type(model).__name__} predicts numbers, not classes: give its losses to Evaluation(embeddings, "
            "losses=...) instead."
        )
    if hasattr(model, "predict"):
        raise TypeError(f"a {type(model).__name__} gives no probabilities: fit it so that it has predict_proba.")
    raise TypeError(
        f"model must be a torch module, an estimator with predict_proba or a callable, not {type(model).__name__}: "
        "evaluate takes the model first, then the data, evaluate(model, (X, y))."
    )


class ArrayRunner(Runner):
    """Anything that maps a batch of inputs to class probabilities (b, n_classes)."""

    def __init__(self, model: Any, predict: Callable[[Any], Any], hidden: bool, loss: Any, classes: Any):
        super().__init__(loss)
        self._model, self._predict = model, predict
        self.spaces = ("features",) if hidden else ()
        if classes is not None:
            classes = np.asarray(classes)
            self.calls = {name: index for index, name in enumerate(classes.tolist())}
            if classes.dtype.kind not in "iu" or (classes != np.arange(len(classes))).any():
                self.class_names = [str(name) for name in classes.tolist()]

    def fingerprint(self) -> str:
        import joblib

        return joblib.hash(self._model) if hasattr(self._model, "predict_proba") else str(describe(self._model))

    def __call__(self, batch: Any, first_row: int = 0) -> dict[str, np.ndarray]:
        inputs: Any
        inputs, labels = split(batch)
        inputs = to_array(inputs) if isinstance(inputs, torch.Tensor | list) else inputs
        n = inputs.shape[0] if hasattr(inputs, "shape") else len(inputs)
        outputs = self._predict(inputs)
        probs = to_array(outputs)
        if probs.ndim != 2 or len(probs) != n:
            raise ValueError(f"the model must return class probabilities of shape ({n}, n_classes), not {probs.shape}.")
        columns = {"probs": probs.astype(np.float32)}
        if labels is not None:
            if self.calls:
                labels = numbered(as_column(labels), first_row, self.number_of)
            columns["labels"] = labels = checked_labels(labels, n, probs.shape[1], first_row, self.number_of)
            if self._loss is None:
                chosen = probs[np.arange(n), columns["labels"]].astype(np.float64)
                columns["losses"] = -np.log(np.maximum(chosen, np.finfo(np.float32).tiny))
        if self._loss is not None:
            columns["losses"] = self._own_losses(outputs, labels, n)
        if self.spaces and (features := self._features(inputs)) is not None:
            columns["features"] = features
        return columns

    def _features(self, inputs: Any) -> np.ndarray | None:
        """float32 (b, d): what the last step of a pipeline receives, else the inputs; None when they are no table."""
        if hasattr(self._model, "steps") and len(self._model.steps) > 1:
            inputs = self._model[:-1].transform(inputs)
        return _table(inputs)

    def feature_names(self, items: Any) -> list[str] | None:
        """The columns of the frame that comes in, or what the steps of a pipeline before the last make of them."""
        columns = column_names(items.inputs) if isinstance(items, Pairs) else None
        names = columns
        if hasattr(self._model, "steps") and len(self._model.steps) > 1:
            try:
                names = telling_names(list(self._model[:-1].get_feature_names_out(columns)))
            except Exception:  # a step of anybody's, which may not know how to tell
                names = None
            if names is not None and columns is None and all(map(_MADE_UP.fullmatch, names)):
                names = None
        return names


def _table(inputs: Any) -> np.ndarray | None:
    """float32 (b, d) of an array, a frame or a sparse matrix of numbers, true and false included; None of all else."""
    if is_dataframe(inputs):
        inputs = to_table(inputs, "features") if not_numbers(inputs) is None else None
    elif hasattr(inputs, "toarray") and inputs.shape[1] <= WIDEST_SPARSE:
        inputs = inputs.toarray()
    is_table = isinstance(inputs, np.ndarray) and inputs.ndim == 2 and inputs.dtype.kind in "buif"
    return inputs.astype(np.float32) if is_table else None


class ModuleRunner(Runner):
    """A torch module: logits, cross-entropy and the final hidden layer by forward hook."""

    def __init__(self, model: torch.nn.Module, hidden: bool | str, loss: Any, device: Any):
        super().__init__(loss)
        self._model, self._hidden = model, hidden
        self._device = home_of(model) if device is None else torch.device(device)
        if self._device.type == "cpu":
            self.batch_size = 64  # whose activations stay in a processor's caches
        floats = [parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()]
        self._dtype = floats[0] if floats else None
        self._seen: dict[str, Any] = {}
        if isinstance(hidden, str) and hidden not in dict(model.named_modules()):
            near = ", ".join(name for name, _ in list(model.named_modules())[-8:] if name)
            raise ValueError(f"the model has no layer named {hidden!r}; its last layers are {near}.")
        self.spaces = (hidden if isinstance(hidden, str) else "hidden",) if hidden else ()
        id_to_label = getattr(getattr(model, "config", None), "id2label", None)
        if id_to_label and not all(str(name).startswith("LABEL_") for name in id_to_label.values()):
            self.class_names = [str(id_to_label[index]) for index in sorted(id_to_label)]
            self.calls = {name: number for number, name in enumerate(self.class_names)}

    def fingerprint(self) -> str:
        return weights_hash(self._model)

    @contextmanager
    def ready(self) -> Iterator[None]:
        handles = []
        with at_work(self._model, self._device):
            try:
                for name, module in self._model.named_modules():
                    if isinstance(module, torch.nn.Softmax | torch.nn.Sigmoid):
                        handles.append(module.register_forward_hook(self._keep_squashed))
                    if name == self._hidden:
                        handles.append(module.register_forward_hook(self._keep_output))
                    elif self._hidden is True and isinstance(module, torch.nn.Linear):
                        handles.append(module.register_forward_hook(self._keep_input))
                yield
            finally:
                for handle in handles:
                    handle.remove()
                self._seen.clear()

    def _keep_input(self, module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], torch.Tensor):
            self._seen["hidden"] = inputs[0]  # the last one to run stays

    def _keep_output(self, module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._seen["hidden"] = output[0] if isinstance(output, tuple) else output

    def _keep_squashed(self, module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._seen["squashed"] = output

    def __call__(self, batch: Any, first_row: int = 0) -> dict[str, np.ndarray]:
        inputs, labels = split(batch)
        self._seen.clear()
        with torch.inference_mode():
            inputs = self._moved(inputs)
            outputs = self._forward(inputs)
            n = len(next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs)
            logits = self._logits(outputs, n)
            columns: dict[str, np.ndarray] = {"probs": torch.softmax(logits, dim=1).float().cpu().numpy()}
            if labels is not None:
                columns["labels"] = checked_labels(labels, n, logits.shape[1], first_row, self.number_of)
                labels = torch.as_tensor(columns["labels"], device=logits.device)
                if self._loss is None:
                    columns["losses"] = (
                        torch.nn.functional.cross_entropy(logits, labels, reduction="none").cpu().numpy()
                    )
            if self._loss is not None:
                columns["losses"] = self._own_losses(outputs, labels, n)
            if self._hidden:
                columns[self.spaces[0]] = self._hidden_rows(n, inputs)
        return columns

    def _forward(self, inputs: Any) -> Any:
        """Dict batches give the model the keys it takes; a single one that it does not name goes in by position."""
        if not isinstance(inputs, Mapping):
            return self._model(inputs)
        parameters = inspect.signature(self._model.forward).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return self._model(**inputs)
        known = {name: inputs[name] for name in (parameter.name for parameter in parameters) if name in inputs}
        if known:
            return self._model(**known)
        tensors = [value for value in inputs.values() if isinstance(value, torch.Tensor)]
        if len(tensors) != 1:
            raise ValueError(
                f"the model takes {', '.join(parameter.name for parameter in parameters)}, and the batch has "
                f"{', '.join(inputs)}: give collate= to name them alike."
            )
        return self._model(tensors[0])

    def _moved(self, inputs: Any) -> Any:
        """Tensors on the model's device, floating ones in its precision."""
        if isinstance(inputs, Mapping):
            return {name: self._moved(value) for name, value in inputs.items()}
        if is_dataframe(inputs):
            inputs = to_table(inputs, "a table for a torch module")
        if isinstance(inputs, np.ndarray):
            inputs = torch.as_tensor(np.ascontiguousarray(inputs))
        if not isinstance(inputs, torch.Tensor):
            return inputs
        return inputs.to(self._device, self._dtype if inputs.is_floating_point() else None)

    def _logits(self, outputs: Any, n: int) -> torch.Tensor:
        found = _only_logits(outputs, n)
        if found is self._seen.get("squashed"):
            found = _refuse_probabilities()
        found = found.double()
        if found.ndim < 2 and n == 1:  # a model that squeezes its output
            found = found.reshape(1, -1)
        if found.ndim == 1 or (found.ndim == 2 and found.shape[1] == 1):
            margin = found.reshape(-1, 1)
            found = torch.cat([torch.zeros_like(margin), margin], dim=1)  # softmax of (0, z) is the sigmoid of z
        if found.ndim != 2 or len(found) != n:
            raise ValueError(f"logits must have shape ({n}, n_classes), not {tuple(found.shape)}.")
        if found.min() >= 0 and ((found.sum(dim=1) - 1).abs() < 1e-3).all():
            _refuse_probabilities()
        return found

    def _hidden_rows(self, n: int, inputs: Any) -> np.ndarray:
        kept = self._seen.get("hidden")
        if kept is None:
            raise ValueError(
                "the model ran no linear layer that can be watched, so its final hidden layer is unknown: name one, "
                "hidden='layer.name', or pass hidden=False and encoders=."
            )
        if kept.ndim == 3:
            mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
            kept = mean_over_tokens(kept, mask)
        elif kept.ndim == 4:
            kept = kept.mean(dim=(2, 3))
        if kept.ndim != 2 or len(kept) != n:
            raise ValueError(f"the hidden layer gives shape {tuple(kept.shape)} for {n} examples: name another layer.")
        return kept.float().cpu().numpy()


def _only_logits(outputs: Any, n: int) -> torch.Tensor:
    """The one tensor (n, ...) in what the model returned."""
    found = outputs
    if hasattr(outputs, "logits"):
        found = outputs.logits
    elif isinstance(outputs, Mapping):
        found = outputs.get("logits")
    elif isinstance(outputs, tuple | list):
        tensors = [part for part in outputs if isinstance(part, torch.Tensor) and part.ndim == 2 and len(part) == n]
        if len(tensors) > 1:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise ValueError(f"the model returns several tables ({shapes}): wrap it so that it returns logits alone.")
        found = tensors[0] if tensors else None
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"the model must return logits, and it returned a {type(outputs).__name__} without any.")
    return found


def _refuse_probabilities() -> torch.Tensor:
    raise ValueError(
        "the model returns probabilities, not logits: give it without its last softmax or sigmoid, or as a function "
        "that returns class probabilities (n, n_classes)."
    )
