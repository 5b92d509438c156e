"""A copy of a model while it learns: drawn anew, narrowed to its last layer, given back as it was."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from failviz._model_runners import ModuleRunner, _only_logits
from failviz._model_state import home_of
from failviz.interventions._training_data import TrainingData

Forward = Callable[[np.ndarray], tuple[Any, np.ndarray]]
"""Rows to (what the model returns for them, their labels)."""


class Learner(ModuleRunner):
    """A copy of a model while it learns: what it returns for examples, with gradients, and what each costs."""

    def __init__(self, model: torch.nn.Module, loss: Any, device: Any):
        try:
            model_copy = copy.deepcopy(model)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise TypeError(
                f"retrain trains a copy, and this model cannot be copied ({type(error).__name__}: {reason}): take what "
                "cannot be copied out of it (an open file, a kept activation), or give it __deepcopy__."
            ) from error
        super().__init__(model_copy, False, loss, device)
        self.model, self.device = model_copy, self._device
        self.layer: torch.nn.Linear | None = None
        self.n_classes = 0
        self._home, self._modes = home_of(model), [module.training for module in model.modules()]

    def count_classes(self, inputs: Any, n: int) -> None:
        """Learn `n_classes` from what the model returns for n examples; what is no logits is refused."""
        with self.ready(), torch.no_grad():
            self.n_classes = self._logits(self._forward(self._moved(inputs)), n).shape[1]

    def narrow(self, inputs: Any, n: int) -> None:
        """Let only the last linear layer learn, if what it gives for these n examples is what the model returns."""
        calls: list[tuple[Any, Any, Any]] = []
        linear = [module for module in self.model.modules() if isinstance(module, torch.nn.Linear)]
        handles = [module.register_forward_hook(lambda *call: calls.append(call)) for module in linear]
        try:
            with self.ready(), torch.no_grad():
                outputs = self._forward(self._moved(inputs))
        finally:
            for handle in handles:
                handle.remove()
        if not calls:
            raise ValueError("how='last_layer' found no linear layer that runs: use how='finetune'.")
        layer, arguments, given = calls[-1]
        runs_once = sum(called is layer for called, *_ in calls) == 1
        is_table = len(arguments) == 1 and arguments[0].ndim == given.ndim == 2
        logits = _table(_only_logits(outputs, n), n)
        if not (
            runs_once and is_table and logits.shape == (of := _table(given, n)).shape and torch.allclose(of, logits)
        ):
            raise ValueError(
                "how='last_layer' needs a model that returns what its last linear layer gives, and this one does more "
                "after it: use how='finetune'."
            )
        if self._loss is not None and not (isinstance(outputs, torch.Tensor) and outputs.shape == given.shape):
            raise ValueError(
                "how='last_layer' gives your loss the output of the last layer, and the model returns it in another "
                "form: leave loss out, or use how='finetune'."
            )
        self.layer = layer

    def draw_anew(self, seed: int) -> None:
        """Fresh weights from each module's `reset_parameters`, inner ones first; frozen ones stay."""
        for name, module in self.model.named_modules():
            own = list(module.parameters(recurse=False))
            if any(weight.requires_grad for weight in own) and not hasattr(module, "reset_parameters"):
                raise ValueError(
                    f"how='scratch' cannot draw the weights of {name or 'the model'} ({type(module).__name__}), which "
                    "has no reset_parameters: give it that method, or give a freshly made model with how='finetune'."
                )
        frozen = [(weight, weight.clone()) for weight in self.model.parameters() if not weight.requires_grad]
        self.model.cpu()  # so that every device draws the same, and from one generator
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.default_generator.manual_seed(seed)
            self.model.apply(_reset)
            for weight, value in frozen:
                weight.copy_(value)
        self.model.to(self._home)

    def begin(self) -> list[torch.nn.Parameter]:
        """Go to the device and into the mode of learning; the weights that learn."""
        if self.device != self._home:
            self.model.to(self.device)
        self.model.train(self.layer is None)
        for module in self.model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and _is_frozen(module):
                module.eval()
        weights = [weight for weight in (self.layer or self.model).parameters() if weight.requires_grad]
        if not weights:
            raise ValueError("the model has no weights that can learn: call requires_grad_(True) on those that may.")
        return weights

    def finish(self, best: Mapping[str, torch.Tensor] | None) -> torch.nn.Module:
        """The copy where and in the modes in which the given model is, with the best weights if there are some."""
        if best is not None:
            self.model.load_state_dict(best)
        self.model.zero_grad(set_to_none=True)
        if self.device != self._home:
            self.model.to(self._home)
        for module, is_training in zip(self.model.modules(), self._modes, strict=True):
            module.training = is_training
        return self.model

    def reader(self, data: TrainingData) -> Forward:
        """Reads rows and runs the whole model on them."""

        def forward(rows: np.ndarray) -> tuple[Any, np.ndarray]:
            inputs, labels = data.batch(rows, self.n_classes)
            return self._forward(self._moved(inputs)), labels

        return forward

    def layer_reader(
        self, data: TrainingData, batches: Iterable[np.ndarray], tell: Callable[[float], object]
    ) -> Forward:
        """Runs the last layer on inputs (n, d) that the model, which is in eval mode, computes here for these rows."""
        assert self.layer is not None
        features: list[torch.Tensor] = []
        known: list[np.ndarray] = []
        place, n_read, total = np.full(len(data), -1), 0, 0.0
        read = self.reader(data)
        handle = self.layer.register_forward_pre_hook(lambda _, given: features.append(given[0].cpu()))
        try:
            with torch.no_grad():
                for rows in batches:
                    outputs, labels = read(rows)
                    known.append(labels)
                    place[rows] = np.arange(n_read, n_read + len(rows))
                    n_read, total = n_read + len(rows), total + self.judge(outputs, labels)[0].sum().item()
                    tell(total / n_read)
        finally:
            handle.remove()
        table, labels_of = torch.cat(features), np.concatenate(known)

        def forward(rows: np.ndarray) -> tuple[Any, np.ndarray]:
            assert self.layer is not None
            return self.layer(table[place[rows]].to(self.device)), labels_of[place[rows]]

        return forward

    def judge(self, outputs: Any, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(losses (b,), logits (b, n_classes)) of what the model returned."""
        logits = _table(_only_logits(outputs, len(labels)), len(labels))
        targets = torch.as_tensor(labels, device=logits.device)
        if self._loss is None:
            return cross_entropy(logits, targets, reduction="none"), logits
        losses = self._loss(outputs, targets)
        if not isinstance(losses, torch.Tensor) or losses.shape != targets.shape:
            came = tuple(losses.shape) if isinstance(losses, torch.Tensor) else type(losses).__name__
            raise ValueError(
                f"loss must return a tensor of one value per example, shape {tuple(targets.shape)}, not {came}: use "
                "reduction='none'."
            )
        return losses, logits


def _table(outputs: torch.Tensor, n: int) -> torch.Tensor:
    """Logits (n, n_classes), in single precision at least, of whatever form of them a model returns."""
    logits = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    if logits.ndim < 2 and n == 1:  # a model that squeezes its output
        logits = logits.reshape(1, -1)
    if logits.ndim == 1 or logits.shape[1] == 1:
        margin = logits.reshape(-1, 1)
        logits = torch.cat([torch.zeros_like(margin), margin], dim=1)  # softmax of (0, z) is the sigmoid of z
    return logits


def _reset(module: torch.nn.Module) -> None:
    draw = getattr(module, "reset_parameters", None)
    if callable(draw) and not _is_frozen(module):
        draw()


def _is_frozen(module: torch.nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    return bool(own) and not any(weight.requires_grad for weight in own)
