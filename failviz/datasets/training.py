"""How the shipped weights were learnt: a classifier on biased labels, an encoder on pictures and captions.

Every random choice comes from a local generator; nothing global is seeded or set.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .classifier import SceneClassifier
from .encoder import SceneTowers, tokenize
from .scenes import SceneSplit

log = logging.getLogger(__name__)


def train_classifier(
    train: SceneSplit, *, n_epochs: int = 15, batch_size: int = 64, peak_rate: float = 3e-3, seed: int = 0
) -> SceneClassifier:
    """Ordinary training on the labels as given: AdamW, cross-entropy, one-cycle rate, shifted pictures.

    Parameters
    ----------
    train : SceneSplit
    n_epochs, batch_size : int
    peak_rate : float
        Highest learning rate.
    seed : int
        Of weights, order and shifts.

    Returns
    -------
    SceneClassifier
        In eval mode.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        model = SceneClassifier()
    initialise(model, generator)
    images = torch.from_numpy(train.images.copy()).permute(0, 3, 1, 2)
    labels = torch.from_numpy(train.labels.copy())

    def loss_of(rows: Tensor) -> Tensor:
        return F.cross_entropy(model(_pictures(images, rows, generator)), labels[rows])

    _descend(model, loss_of, len(images), generator, n_epochs, batch_size, peak_rate)
    return model.eval()


def train_encoder(
    pool: SceneSplit, *, n_epochs: int = 12, batch_size: int = 128, peak_rate: float = 2e-3, seed: int = 1
) -> SceneTowers:
    """Bring each picture near its caption and away from the batch's others (symmetric InfoNCE).

    Parameters
    ----------
    pool : SceneSplit
        Gives pictures and captions; labels are not read.
    n_epochs, batch_size : int
    peak_rate : float
        Highest learning rate.
    seed : int
        Of weights, order and shifts.

    Returns
    -------
    SceneTowers
        In eval mode.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        towers = SceneTowers()
    initialise(towers, generator)
    images = torch.from_numpy(pool.images.copy()).permute(0, 3, 1, 2)
    tokens = tokenize(pool.captions)
    captions = torch.unique(tokens, dim=0, return_inverse=True)[1]

    def loss_of(rows: Tensor) -> Tensor:
        pictures = towers.image_vectors(_pictures(images, rows, generator))
        sentences = towers.text_vectors(tokens[rows])
        scores = towers.log_scale.exp() * pictures @ sentences.T
        return _info_nce(scores, captions[rows])

    _descend(towers, loss_of, len(images), generator, n_epochs, batch_size, peak_rate)
    return towers.eval()


def _info_nce(scores: Tensor, captions: Tensor) -> Tensor:
    """Symmetric InfoNCE; two scenes of a batch with the same caption are each other's matches too."""
    same = (captions[:, None] == captions[None, :]).float()
    target = same / same.sum(dim=1, keepdim=True)
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2


def _descend(
    model: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    n: int,
    generator: torch.Generator,
    n_epochs: int,
    batch_size: int,
    peak_rate: float,
) -> None:
    """AdamW with a one-cycle learning rate on batches of rows; each epoch's mean loss is logged."""
    model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_rate, weight_decay=0.05)
    per_epoch = n // batch_size
    start = time.perf_counter()
    for epoch in range(n_epochs):
        order = torch.randperm(n, generator=generator)
        total = 0.0
        for step in range(per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = peak_rate * _one_cycle((epoch + step / per_epoch) / n_epochs)
            loss = loss_of(order[step * batch_size : (step + 1) * batch_size])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        log.info("epoch %d: loss %.3f, %.0f s", epoch + 1, total / per_epoch, time.perf_counter() - start)
    model.to(memory_format=torch.contiguous_format)


def initialise(model: nn.Module, generator: torch.Generator) -> None:
    """Give a model made on the meta device its first weights (He et al. 2015), from a local generator."""
    model.to_empty(device="cpu")
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
            elif isinstance(module, nn.EmbeddingBag):
                module.weight.normal_(0, 0.5, generator=generator)
                module.weight[module.padding_idx] = 0
            elif isinstance(module, SceneTowers):
                module.log_scale.fill_(math.log(1 / 0.07))


def _one_cycle(share: float) -> float:
    """Learning rate relative to its peak: up for the first fifth of the training, then down along a cosine."""
    if share < 0.2:
        return 0.05 + 0.95 * share / 0.2
    return 0.5 * (1 + math.cos(math.pi * (share - 0.2) / 0.8))


def _pictures(images: Tensor, rows: Tensor, generator: torch.Generator, reach: int = 4) -> Tensor:
    """Float pictures of some rows, all moved by up to `reach` pixels."""
    batch = images[rows].float() / 255
    down, right = (int(torch.randint(2 * reach + 1, (1,), generator=generator)) for _ in range(2))
    framed = F.pad(batch, (reach,) * 4, mode="replicate")
    moved = framed[:, :, down : down + images.shape[2], right : right + images.shape[3]]
    return moved.contiguous(memory_format=torch.channels_last)
