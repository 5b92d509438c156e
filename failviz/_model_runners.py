"""One batch through one model: torch modules, scikit-learn estimators, plain callables.

A runner maps a batch to columns of rows: "probs" (b, n_classes), "labels" and "losses" when
there are labels, and one "space ..." per embedding that the model itself yields.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

LABEL_KEYS = ("labels", "label")


class Runner:
    """Base: splits a batch into input and labels, and turns probabilities into columns."""

    spaces: tuple[str, ...] = ()
    class_names: list[str] | None = None
    fingerprint = ""

    def __init__(self, loss: Callable[[Any, Any], Any] | None):
        self._loss = loss

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def __call__(self, batch: Any) -> dict[str, np.ndarray]:
        raise TypeError("a Runner is one of the classes below")

    def _columns(
        self, outputs: Any, probs: np.ndarray, losses: np.ndarray | None, labels: Any
    ) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {"probs": probs.astype(np.float32)}
        if labels is not None:
            columns["labels"] = _to_array(labels).astype(np.int64).reshape(-1)
        if self._loss is not None:
            losses = _to_array(self._loss(outputs, labels)).astype(np.float64)
            if losses.shape != (len(probs),):
                raise ValueError(
                    f"loss must return one value per example, shape ({len(probs)},), not {losses.shape}: "
                    "use reduction='none'."
                )
        if losses is not None:
            columns["losses"] = losses
        return columns


def runner_for(model: Any, *, hidden: bool | str, loss: Any, device: Any) -> Runner:
    """The runner that fits this kind of model."""
    if isinstance(model, torch.nn.Module):
        return _ModuleRunner(model, hidden, loss, device)
    if isinstance(hidden, str):
        raise ValueError(f"hidden={hidden!r} names a layer, and a {type(model).__name__} has none.")
    if hasattr(model, "predict_proba"):
        import joblib

        runner = _ArrayRunner(model.predict_proba, loss, classes=getattr(model, "classes_", None))
        runner.fingerprint = joblib.hash(model)
        return runner
    if callable(model):
        return _ArrayRunner(model, loss, classes=None)
    if hasattr(model, "predict"):
        raise TypeError(f"a {type(model).__name__} gives no probabilities: fit it so that it has predict_proba.")
    raise TypeError(
        f"model must be a torch module, an estimator with predict_proba or a callable, not {type(model).__name__}."
    )


class _ArrayRunner(Runner):
    """Anything that maps a batch of inputs to class probabilities (b, n_classes)."""

    def __init__(self, predict: Callable[[Any], Any], loss: Any, classes: Any):
        super().__init__(loss)
        self._predict = predict
        self.spaces = ("space features",)
        self._number = None
        if classes is not None and (classes.dtype.kind not in "iu" or (classes != np.arange(len(classes))).any()):
            self.class_names = [str(name) for name in classes]
            self._number = {name: index for index, name in enumerate(classes.tolist())}

    def __call__(self, batch: Any) -> dict[str, np.ndarray]:
        inputs, labels = _split(batch)
        inputs = _to_array(inputs)
        outputs = self._predict(inputs)
        probs = _to_array(outputs)
        if probs.ndim != 2 or len(probs) != len(inputs):
            raise ValueError(
                f"the model must return class probabilities of shape ({len(inputs)}, n_classes), not {probs.shape}."
            )
        if labels is not None and self._number is not None:
            labels = np.array([self._number[label] for label in _to_array(labels).tolist()])
        losses = None
        if labels is not None and self._loss is None:
            chosen = probs[np.arange(len(probs)), _to_array(labels).astype(np.int64)]
            losses = -np.log(np.maximum(chosen, np.finfo(np.float32).tiny, dtype=np.float64))
        columns = self._columns(outputs, probs, losses, labels)
        if inputs.ndim == 2 and inputs.dtype.kind in "uif":
            columns["space features"] = inputs.astype(np.float32)
        return columns


class _ModuleRunner(Runner):
    """A torch module: logits, cross-entropy and the final hidden layer by forward hook."""

    def __init__(self, model: torch.nn.Module, hidden: bool | str, loss: Any, device: Any):
        super().__init__(loss)
        self._model, self._hidden = model, hidden
        parameter = next(model.parameters(), None)
        self._device = torch.device(device) if device is not None else getattr(parameter, "device", torch.device("cpu"))
        self._seen: dict[str, torch.Tensor] = {}
        self._handles: list[Any] = []
        self._home: torch.device | None = getattr(parameter, "device", None)
        if isinstance(hidden, str) and hidden not in dict(model.named_modules()):
            near = ", ".join(name for name, _ in list(model.named_modules())[-8:] if name)
            raise ValueError(f"the model has no layer named {hidden!r}; its last layers are {near}.")
        self.spaces = (f"space {hidden}" if isinstance(hidden, str) else "space hidden",) if hidden else ()
        id_to_label = getattr(getattr(model, "config", None), "id2label", None)
        if id_to_label and not all(str(name).startswith("LABEL_") for name in id_to_label.values()):
            self.class_names = [str(id_to_label[index]) for index in sorted(id_to_label)]

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        digest = hashlib.sha256()
        for name, value in self._model.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def __enter__(self) -> Runner:
        self._was_training = [module for module in self._model.modules() if module.training]
        self._model.eval().to(self._device)
        if isinstance(self._hidden, str):
            layer = dict(self._model.named_modules())[self._hidden]
            self._handles = [layer.register_forward_hook(self._keep_output)]
        elif self._hidden:
            self._handles = [
                module.register_forward_hook(self._keep_input)
                for module in self._model.modules()
                if isinstance(module, torch.nn.Linear)
            ]
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._seen.clear()
        if self._home is not None:
            self._model.to(self._home)
        for module in self._was_training:
            module.training = True

    def _keep_input(self, module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], torch.Tensor):
            self._seen["hidden"], self._seen["logits"] = inputs[0], output  # the last one to run stays

    def _keep_output(self, module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self._seen["hidden"] = output[0] if isinstance(output, tuple) else output

    def __call__(self, batch: Any) -> dict[str, np.ndarray]:
        inputs, labels = _split(batch)
        self._seen.clear()
        with torch.inference_mode():
            inputs = _moved(inputs, self._device)
            outputs = self._model(**inputs) if isinstance(inputs, Mapping) else self._model(inputs)
            logits = _logits(outputs).float()
            labels = None if labels is None else torch.as_tensor(labels).to(self._device)
            if labels is not None and labels.numel() and int(labels.max()) >= logits.shape[1]:
                raise ValueError(
                    f"a label is {int(labels.max())}, and the model has {logits.shape[1]} outputs (0 to "
                    f"{logits.shape[1] - 1}): are these the classes it was trained on?"
                )
            losses = None
            if labels is not None and self._loss is None:
                losses = torch.nn.functional.cross_entropy(logits.double(), labels.long().reshape(-1), reduction="none")
            columns = self._columns(
                outputs,
                torch.softmax(logits.double(), dim=1).cpu().numpy(),
                None if losses is None else losses.cpu().numpy(),
                labels,
            )
            if self._hidden:
                columns[self.spaces[0]] = self._hidden_rows(len(logits))
        return columns

    def _hidden_rows(self, n: int) -> np.ndarray:
        kept = self._seen.get("hidden")
        if kept is None:
            raise ValueError(
                "the model ran no linear layer, so its final hidden layer is unknown: name it, hidden='layer.name'."
            )
        if kept.ndim == 4:
            kept = kept.mean(dim=(2, 3))
        elif kept.ndim == 3:
            kept = kept.mean(dim=1)
        if kept.ndim != 2 or len(kept) != n:
            raise ValueError(f"the hidden layer gives shape {tuple(kept.shape)} for {n} examples: name another layer.")
        return kept.float().cpu().numpy()


def _split(batch: Any) -> tuple[Any, Any]:
    """(input, labels or None) of a batch of pairs, of dicts, or of inputs alone."""
    if isinstance(batch, Mapping):
        key = next((key for key in LABEL_KEYS if key in batch), None)
        return {name: value for name, value in batch.items() if name not in LABEL_KEYS}, batch[key] if key else None
    if isinstance(batch, tuple | list):
        return (batch[0], batch[1]) if len(batch) > 1 else (batch[0], None)
    return batch, None


def _moved(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, Mapping):
        return {name: _moved(value, device) for name, value in inputs.items()}
    return inputs.to(device) if isinstance(inputs, torch.Tensor) else inputs


def _logits(outputs: Any) -> torch.Tensor:
    found = outputs
    if hasattr(outputs, "logits"):
        found = outputs.logits
    elif isinstance(outputs, Mapping):
        found = outputs.get("logits")
    elif isinstance(outputs, tuple | list):
        found = outputs[0]
    if not isinstance(found, torch.Tensor):
        raise ValueError(f"the model must return logits, and it returned a {type(outputs).__name__} without any.")
    if found.ndim == 1 or (found.ndim == 2 and found.shape[1] == 1):
        margin = found.reshape(-1, 1)
        found = torch.cat([torch.zeros_like(margin), margin], dim=1)  # softmax of (0, z) is the sigmoid of z
    if found.ndim != 2:
        raise ValueError(f"logits must have shape (batch, n_classes), not {tuple(found.shape)}.")
    return found


def _to_array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
