"""Encoders: image (and text) embeddings from pretrained networks, one class per family.

Each has a `name` and `encode_images(images) -> (n, d)`; OpenClip also `encode_texts(texts)`.
Pretrained weights are downloaded by the library that owns them when an encoder is made;
`Hidden` needs no download.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["Encoder", "Hidden", "OpenClip", "Torchvision"]

if TYPE_CHECKING:
    from failviz.encoders.base import Encoder
    from failviz.encoders.clip import OpenClip
    from failviz.encoders.torch_models import Hidden, Torchvision

_HOME = {"Encoder": "base", "Hidden": "torch_models", "OpenClip": "clip", "Torchvision": "torch_models"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"failviz.encoders has no {name!r}, only {', '.join(__all__)}.")
    return getattr(importlib.import_module(f"failviz.encoders.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
