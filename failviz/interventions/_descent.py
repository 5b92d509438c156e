"""The steps of a retraining: which batches, at which learning rate, judged and kept after each epoch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from failviz import _checks
from failviz._model_state import at_work
from failviz._progress import progress as bar
from failviz.interventions._checkpoint import Checkpoint, Standing, weights_of
from failviz.interventions._learner import Forward, Learner
from failviz.interventions._training_data import TrainingData

_WARM_UP = 0.1


class TrainingDiverged(RuntimeError):
    """The loss or the weights are no finite numbers any more; the message says since when, and what to do."""


@dataclass(frozen=True)
class Progress:
    """How far a retraining is. Epochs and batches count from 1; in epoch 0 a last layer's inputs are computed.

    `loss` is the weighted mean over the epoch so far; what validation says is that of the last whole epoch. Reported
    after every batch, and before every batch of validation data, which `is_judging` tells apart.
    """

    epoch: int
    n_epochs: int
    batch: int
    n_batches: int
    loss: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    is_judging: bool = False

    @property
    def share(self) -> float:
        """Batches trained on, as a share of all, in [0, 1]."""
        return max(0, (self.epoch - 1) * self.n_batches + self.batch) / (self.n_epochs * self.n_batches)

    @property
    def words(self) -> str:
        """Where it is, for a person: "epoch 2 of 3"."""
        if self.epoch == 0:
            return f"features, batch {self.batch} of {self.n_batches}"
        return f"epoch {self.epoch} of {self.n_epochs}{', validating' if self.is_judging else ''}"


@dataclass(frozen=True, kw_only=True)
class Course:
    """In which steps a retraining goes; `lr` is None where the optimizer has its own."""

    epochs: int
    batch_size: int
    lr: float | None
    replay: int | None
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        for name, least in {"epochs": 1, "batch_size": 1, "replay": 0, "patience": 1}.items():
            value = getattr(self, name)
            if value is None and name in ("replay", "patience"):
                continue
            _checks.whole_number(value, name, least=least)
        if self.lr is not None and not (isinstance(self.lr, int | float | np.number) and 0 < self.lr < math.inf):
            raise ValueError(f"lr must be a finite number above 0, not {self.lr!r}.")

    def batches(self, data: TrainingData, epoch: int) -> list[np.ndarray]:
        """Rows of each batch of one epoch, the same whenever they are asked for."""
        number = np.random.SeedSequence([self.seed, epoch]).generate_state(1)[0]
        return self.split(data.epoch_rows(self.replay, torch.Generator().manual_seed(int(number))))

    def split(self, rows: np.ndarray) -> list[np.ndarray]:
        """Batches of rows, of which none is alone in the last one."""
        starts = list(range(self.batch_size, len(rows), self.batch_size))
        if self.batch_size > 1 and starts and len(rows) - starts[-1] == 1:
            starts.pop()
        return np.split(rows, starts)

    def all_batches(self, data: TrainingData) -> list[np.ndarray]:
        """Whatever any epoch reads, once, in an order that does not depend on where a training is resumed."""
        epochs = [1] if self.replay is None else range(1, self.epochs + 1)
        return self.split(np.unique(np.concatenate([rows for epoch in epochs for rows in self.batches(data, epoch)])))

    def rate(self, share: float) -> float:
        """Learning rate after this share of all steps: up along a line, from a tenth of them on down along a cosine."""
        assert self.lr is not None
        if share < _WARM_UP:
            return self.lr * share / _WARM_UP
        return self.lr * 0.5 * (1 + math.cos(math.pi * (share - _WARM_UP) / (1 - _WARM_UP)))

    def is_over(self, standing: Standing) -> bool:
        """Whether no epoch follows."""
        is_vain = self.patience is not None and standing.epoch - standing.best_epoch >= self.patience
        return standing.epoch >= self.epochs or is_vain


@torch.enable_grad()
def descend(
    learner: Learner,
    course: Course,
    data: TrainingData,
    judging: TrainingData | None,
    optimizer: torch.optim.Optimizer,
    standing: Standing,
    kept: Checkpoint | None,
    on_progress: Callable[[Progress], object] | None,
    progress: bool,
) -> Standing:
    """Train from `standing` to the end of the course; after each epoch first judge and keep, then tell."""

    def tell(epoch: int, batch: int, n_batches: int, loss: float, is_judging: bool = False) -> None:
        if on_progress is not None:
            validated = standing.validation_loss, standing.validation_accuracy
            on_progress(Progress(epoch, course.epochs, batch, n_batches, loss, *validated, is_judging))

    def reader(read: TrainingData, batches: list[np.ndarray]) -> Forward:
        if learner.layer is None:
            return learner.reader(read)
        numbers = itertools.count(1)
        shown = bar(batches, desc="features", enabled=progress)
        return learner.layer_reader(read, shown, lambda loss: tell(0, next(numbers), len(batches), loss))

    n_batches, begun = len(course.batches(data, 1)), standing.epoch
    mean_weight = data.weights[np.concatenate(course.batches(data, 1))].mean()
    forward = reader(data, course.all_batches(data) if learner.layer is not None else [])
    judged_batches = [] if judging is None else course.split(np.arange(len(judging)))
    judge = None if judging is None else reader(judging, judged_batches)
    steps = (
        (epoch, batch, rows)
        for epoch in range(begun + 1, course.epochs + 1)
        for batch, rows in enumerate(course.batches(data, epoch), start=1)
    )
    loss_sum, weight_sum = 0.0, 0.0
    for epoch, batch, rows in bar(steps, total=(course.epochs - begun) * n_batches, desc="retrain", enabled=progress):
        if course.lr is not None:
            for group in optimizer.param_groups:
                group["lr"] = course.rate(((epoch - 1) * n_batches + batch - 0.5) / (course.epochs * n_batches))
        losses, _ = learner.judge(*forward(rows))
        weights = torch.as_tensor(data.weights[rows], dtype=losses.dtype, device=losses.device)
        weighted = (losses * weights).sum()
        value = weighted.item()
        if not math.isfinite(value):
            raise _diverged(f"the loss became {value} at batch {batch} of epoch {epoch}", course)
        optimizer.zero_grad()
        (weighted / (len(rows) * mean_weight)).backward()
        optimizer.step()
        if batch == 1:
            loss_sum, weight_sum = 0.0, 0.0
        loss_sum, weight_sum = loss_sum + value, weight_sum + float(data.weights[rows].sum())
        if batch == n_batches:
            if not all(bool(torch.isfinite(weight).all()) for weight in learner.model.parameters()):
                raise _diverged(f"the weights became infinite or nan in epoch {epoch}", course)
            standing = replace(standing, epoch=epoch)
            if judge is not None:
                here = (epoch, batch, n_batches, loss_sum / weight_sum, True)
                standing = _judged(standing, learner, judge, judged_batches, partial(tell, *here))
                if not math.isfinite(standing.validation_loss or 0):
                    raise _diverged(f"the validation loss became {standing.validation_loss} in epoch {epoch}", course)
            if kept is not None:
                kept.save(learner.model, optimizer, standing)
        tell(epoch, batch, n_batches, loss_sum / weight_sum)
        if batch == n_batches and course.is_over(standing):
            break
    return standing


def _judged(
    standing: Standing, learner: Learner, judge: Forward, batches: list[np.ndarray], tell: Callable[[], object]
) -> Standing:
    """`standing` with what the validation data says of the model as it is now; can be stopped at every batch."""
    total, n_right, n = 0.0, 0, sum(map(len, batches))
    with at_work(learner.model, learner.device), torch.no_grad():
        for rows in batches:
            tell()
            outputs, labels = judge(rows)
            losses, logits = learner.judge(outputs, labels)
            total += losses.sum().item()
            n_right += int((logits.argmax(dim=1).cpu().numpy() == labels).sum())
    standing = replace(standing, validation_loss=total / n, validation_accuracy=n_right / n)
    if standing.best_loss is None or total / n < standing.best_loss:
        standing = replace(standing, best_epoch=standing.epoch, best_loss=total / n, best=weights_of(learner.model))
    return standing


def stepper_of(make: Any, weights: list[torch.nn.Parameter], lr: float | None) -> torch.optim.Optimizer:
    if make is None:
        assert lr is not None
        return torch.optim.AdamW(weights, lr=lr, weight_decay=0.01)
    made = make(weights) if callable(make) else make
    if not callable(make) or not isinstance(made, torch.optim.Optimizer):
        raise TypeError(
            f"optimizer must be a function that makes one of parameters, and this is or makes a {type(made).__name__}: "
            "lambda parameters: torch.optim.SGD(parameters, lr=0.1), for instance."
        )
    return made


def _diverged(what: str, course: Course) -> TrainingDiverged:
    cure = "lower the learning rate of your optimizer" if course.lr is None else f"lower lr (it was {course.lr:g})"
    return TrainingDiverged(f"{what}: {cure}, or look for inputs that are not finite.")
