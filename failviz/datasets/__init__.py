"""Demo data that ships with failviz: fashion scenes with planted blind spots, and a classifier that has them.

Everything is offline. Names are loaded on first use, so that importing this package imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attributes import ATTRIBUTES, BLIND_SPOTS, CLASS_NAMES, BlindSpot
    from .classifier import load_demo_classifier
    from .encoder import load_demo_encoder
    from .scenes import load_fashion_scenes

_HOMES = {
    "ATTRIBUTES": "attributes",
    "BLIND_SPOTS": "attributes",
    "BlindSpot": "attributes",
    "CLASS_NAMES": "attributes",
    "load_demo_classifier": "classifier",
    "load_demo_encoder": "encoder",
    "load_fashion_scenes": "scenes",
}

__all__ = [
    "ATTRIBUTES",
    "BLIND_SPOTS",
    "CLASS_NAMES",
    "BlindSpot",
    "load_demo_classifier",
    "load_demo_encoder",
    "load_fashion_scenes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
