"""A torch module while it is borrowed: in eval mode, on a device, recognised by its weights, given back as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def at_work(model: torch.nn.Module, device: torch.device) -> Iterator[None]:
    """The model in eval mode on `device`; afterwards as it was and where it was."""
    training = [module for module in model.modules() if module.training]
    home = home_of(model)
    model.eval()
    if home != device:
        model.to(device)
    try:
        yield
    finally:
        if home != device:
            model.to(home)
        for module in training:
            module.training = True


def home_of(model: torch.nn.Module) -> torch.device:
    """Where the model's parameters are; the processor for one without any."""
    return getattr(next(model.parameters(), None), "device", torch.device("cpu"))


def weights_hash(model: torch.nn.Module) -> str:
    """Hexadecimal fingerprint of names and values of all weights."""
    digest = hashlib.sha256(type(model).__qualname__.encode())
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, torch.Tensor):
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def mean_over_tokens(rows: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """(b, t, d) to (b, d), over the positions that are no padding, so that batch mates do not matter."""
    if mask is None or mask.shape != rows.shape[:2]:
        return rows.mean(dim=1)
    weight = mask.to(rows.dtype).unsqueeze(2)
    return (rows * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
