"""Train a copy of a model on what a RetrainPlan asks for.

Extra data as in Jain et al. 2022 (arXiv 2206.14754), section 4, and Singla et al. 2022 (arXiv 2211.09859), section 3;
`how="last_layer"` is deep feature reweighting (Kirichenko et al. 2022, arXiv 2204.02937).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch.nn.modules.batchnorm import _BatchNorm

from failviz._data_items import describe, fingerprint
from failviz._model_state import weights_hash
from failviz.interventions._checkpoint import Checkpoint, Standing
from failviz.interventions._descent import Course, Progress, TrainingDiverged, descend, stepper_of
from failviz.interventions._learner import Learner
from failviz.interventions._training_data import Reading, TrainingData, items_of, planned
from failviz.interventions.plan import RetrainPlan

__all__ = ["Progress", "TrainingDiverged", "retrain"]

HOWS = ("finetune", "scratch", "last_layer")
LR = 1e-3


def retrain(
    model: torch.nn.Module,
    plan: RetrainPlan,
    train: Any,
    pool: Any = None,
    *,
    how: str = "finetune",
    epochs: int = 3,
    batch_size: int = 64,
    lr: float | None = None,
    optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer] | None = None,
    replay: int | None = None,
    transform: Callable[[Any], Any] | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    loss: Callable[[Any, torch.Tensor], torch.Tensor] | None = None,
    validation: Any = None,
    patience: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    device: Any = None,
    train_ids: Iterable[object] | None = None,
    pool_ids: Iterable[object] | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    progress: bool = True,
    random_state: Any = 0,
) -> torch.nn.Module:
    """Return a new model, trained as `plan` asks; the one given is never changed.

    The plan itself is run, not its controls. Each arm, trained alike, is one call::

        models = {name: retrain(model, arm, train, pool) for name, arm in plan.arms.items()}

    Parameters
    ----------
    model : torch.nn.Module
        As for `evaluate`: logits (b, n_classes), (b,) or (b, 1) for a binary model, or an output with `.logits`.
        Frozen weights (`requires_grad` False) stay as they are, and so do the statistics of frozen batch norms.
    plan : RetrainPlan
    train, pool : map-style data set, or (X, y) arrays
        Those that the plan was made for, as `evaluate` takes them. Of the pool only the additions are read, and a few
        items to know it by. The label of an addition is **always the plan's**, whatever it comes with, so a pool may
        have none; of train, the plan's relabels override the items' own labels.
    how : {"finetune", "scratch", "last_layer"}
        All weights from where they are; all weights drawn anew by each module's `reset_parameters`; or the last
        linear layer alone, on its inputs, which are computed once in eval mode (seconds; a random `transform`
        is drawn once).
    epochs, batch_size : int
        A last batch of one example joins the one before it, for batch norm has no use for it.
    lr : float, default 0.001
        Highest learning rate of the default optimizer.
    optimizer : callable(parameters) -> torch.optim.Optimizer, optional
        Its learning rates are left alone. Default AdamW(weight_decay=0.01), with a linear warm-up over the first tenth
        of the steps and a cosine to zero.
    replay : int, optional
        Fast repair without forgetting: each epoch takes all additions, all training examples with a weight or relabel
        in the plan, and a fresh random sample of this many others, or all if there are fewer. None = all of them.
    transform, collate : callable, optional
        As for `evaluate`. The transform, augmentation too, is applied to train, pool and validation.
    loss : callable(outputs, labels) -> (b,), optional
        Per-example loss, given what the model returned; default cross-entropy in nats.
    validation : map-style data set, optional
        Judged after each epoch; the weights of the epoch with the lowest loss are returned.
    patience : int, optional
        Stop after this many epochs in which validation did not improve.
    checkpoint : folder, optional
        Keep each whole epoch there. Run again after an interruption, training goes on after the last whole epoch, and
        ends in the same weights (where nothing draws from torch's global generator, see `random_state`); run again when
        finished, they are only read. Another plan, model, data set or setting is refused.
    device : str or torch.device, optional
        Where to train; default where the model is, which is where the result is in any case.
    train_ids, pool_ids : (n,), optional
        As in the Evaluations that the plan was made from. Default the data set's own `ids`, or "0" to "n-1"; of one
        that says its labels too, whichever the plan was made with.
    on_progress : callable(Progress), optional
        Called after every batch. What it raises stops the training there, and passes through.
    progress : bool
        Show a progress bar.
    random_state : int, RandomState or None
        Of the order of examples, of `replay` and of weights drawn anew. Dropout and random transforms draw from torch's
        global generator, as they always do; without them the same number gives the same weights.

    Returns
    -------
    torch.nn.Module
        Of the same class, in the same modes and on the same device as `model`.

    Raises
    ------
    TypeError, ValueError
        In one line, and before any training where that can be known: what does not fit, and what to do.
    FileExistsError
        When the checkpoint folder holds other files.
    TrainingDiverged
        When the loss becomes NaN or infinite.

    Notes
    -----
    What is made small is sum_i w_i l_i / sum_i w_i over the examples of an epoch: w_i is the plan's weight of a
    training example, 1 where it says nothing, and `plan.added_weight` for an addition. The sum over a batch of b is
    divided by b times the mean weight of the epoch, not by the batch's own weights: these would mean nothing in a
    batch of one. Examples of weight 0 are left out altogether.

    A plan of another data set is refused by size, and by ids and labels where the data set has `labels` or `targets`.

    Departure from Kirichenko et al., who fit an L1-penalised logistic regression anew on held-out data with balanced
    groups: the last layer goes on from where it is, by the optimizer's steps, on the examples and weights of the plan.

    Examples
    --------
    >>> from failviz.interventions.plan import DataMark, RetrainPlan, outline
    >>> x, y = torch.eye(4), [0, 1, 0, 1]
    >>> mark = DataMark(4, "", outline(["0", "1", "2", "3"], np.array(y)))
    >>> plan = RetrainPlan("fix", relabels={"2": 1}, class_names=("a", "b"), train=mark)
    >>> model = torch.nn.Linear(4, 2)
    >>> mended = retrain(model, plan, (x, y), epochs=20, lr=0.1, progress=False)
    >>> mended(x).argmax(dim=1).tolist()
    [0, 1, 1, 1]
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"retrain needs a torch.nn.Module, not a {type(model).__name__}.")
    if not isinstance(plan, RetrainPlan):
        raise TypeError(f"plan must be a RetrainPlan, not a {type(plan).__name__}.")
    if how not in HOWS:
        raise ValueError(f"how must be one of {', '.join(map(repr, HOWS))}, not {how!r}.")
    if optimizer is not None and lr is not None:
        raise ValueError("lr and optimizer were both given, and an optimizer brings its own rate: leave lr out.")
    if patience is not None and validation is None:
        raise ValueError("patience waits for validation to improve, and there is none: give validation=.")
    if checkpoint is not None and not isinstance(random_state, int | np.integer):
        raise ValueError("checkpoint needs a whole number as random_state, so that a second run draws as the first.")
    lr = None if optimizer is not None else LR if lr is None else lr
    seed = int(check_random_state(random_state).randint(2**31))
    course = Course(epochs=epochs, batch_size=batch_size, lr=lr, replay=replay, patience=patience, seed=seed)
    train_items, pool_items = items_of(train, "train"), None if pool is None else items_of(pool, "pool")
    judging_items = None if validation is None else items_of(validation, "validation")
    if plan.is_empty:
        raise ValueError("the plan changes nothing, so there is nothing to retrain for: add, weigh or relabel first.")
    if plan.additions and pool is None:
        raise ValueError(f"the plan adds {len(plan.additions):,} examples of a pool, and none came: give pool=.")

    reading = Reading(transform, collate)
    data = planned(plan, train_items, pool_items, reading, train_ids=train_ids, pool_ids=pool_ids)
    judging = None if judging_items is None else TrainingData(judging_items, "validation", reading)
    learner = Learner(model, loss, device)
    rows = course.batches(data, 1)[0][:2]
    if len(rows) == 0:
        raise ValueError("nothing is left to train on: the weights of all examples that would be are 0.")
    learner.count_classes(data.inputs(rows), len(rows))
    highest = max([*plan.additions.values(), *plan.relabels.values()], default=0)
    if highest >= learner.n_classes:
        raise ValueError(
            f"the model has {learner.n_classes} classes, and the plan's labels run to {highest}: was the plan made for "
            "another model?"
        )
    if batch_size == 1 and any(isinstance(module, _BatchNorm) for module in learner.model.modules()):
        raise ValueError("batch_size=1 leaves this model's batch normalisation nothing to average: take at least 2.")
    for labelled in (data, judging):
        if labelled is not None:
            labelled.check_labels(learner.n_classes)
    if how == "last_layer":
        learner.narrow(data.inputs(rows), len(rows))
    # Classes without names are counted by the highest number seen, which may be too few.
    are_named = any(name != f"class {c}" for c, name in enumerate(plan.class_names))
    if are_named and len(plan.class_names) != learner.n_classes:
        raise ValueError(
            f"the model has {learner.n_classes} classes, and the plan knows {len(plan.class_names)}: was it made for "
            "another model?"
        )
    kept = None
    if checkpoint is not None:
        functions = {"optimizer": optimizer, "transform": transform, "collate": collate, "loss": loss}
        read = {"train": train_items, "pool": pool_items if plan.additions else None, "validation": judging_items}
        task = {
            **{"plan": plan.hash, "model": weights_hash(model), "how": how, **vars(course)},
            **{name: describe(function) for name, function in functions.items()},
            **{name: None if items is None else [len(items), fingerprint(items)] for name, items in read.items()},
        }
        kept = Checkpoint(checkpoint, task)
    if how == "scratch":
        learner.draw_anew(seed)
    stepper = stepper_of(optimizer, learner.begin(), lr)
    standing = Standing() if kept is None else kept.resume(learner.model, stepper)
    if not course.is_over(standing):
        standing = descend(learner, course, data, judging, stepper, standing, kept, on_progress, progress)
    return learner.finish(standing.best)
