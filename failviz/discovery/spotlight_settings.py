"""The settings of `Spotlight`: which values they may have, and those that a search in one group of examples reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from failviz import _checks

_CHOICES: dict[str, tuple[Any, ...]] = {
    "solver": ("level", "adam"),
    "kernel": ("spherical", "full"),
    "size": ("exact", "at_least"),
    "group_by": (None, "label", "prediction"),
    "flip": (False, True),
}
_OF_LEVEL = {"size": "exact", "confine": 1.0, "loss_clip": 0.999, "n_starts": 16}
"""What the published optimiser does not have, with the defaults that it may stand at."""
_OF_ADAM = {"barrier_scale": 1.0}
"""What it alone has."""


@dataclass(frozen=True)
class Settings:
    """The settings of a search in one group, under the names that `Spotlight` gives them."""

    n_slices: int
    solver: str
    kernel: str
    size: str
    confine: float | None
    loss_clip: float | None
    n_starts: int
    flip: bool
    barrier_scale: float

    @classmethod
    def of(cls, finder: Any) -> Settings:
        return cls(**{field.name: getattr(finder, field.name) for field in fields(cls)})


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse, in a sentence, what no search could follow, or would ignore."""
    for name in ("n_slices", "n_starts"):
        _checks.whole_number(settings[name], name, least=1)
    for name, choices in _CHOICES.items():
        value = settings[name]
        if not any(value is one or (isinstance(value, str) and value == one) for one in choices):
            words = " or ".join(f'"{one}"' if isinstance(one, str) else repr(one) for one in choices)
            raise ValueError(f"{name} must be {words}, not {value!r}.")
    for name in ("min_weight", "confine", "label_entropy", "prediction_entropy", "barrier_scale"):
        value = settings[name]
        if isinstance(value, str | bool) or not (value is None or np.isscalar(value)):
            raise ValueError(f"{name} must be a number, not {value!r}.")
    scale = settings["barrier_scale"]
    if scale is None or not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"barrier_scale must be above 0, not {scale!r}.")
    size, confine, clip = settings["min_weight"], settings["confine"], settings["loss_clip"]
    if size is None or not (np.isfinite(size) and size > 0):
        raise ValueError(f"min_weight must be above 0, not {size!r}.")
    if confine is not None and not confine > 0:
        raise ValueError(f"confine must be above 0, or None, not {confine!r}.")
    if clip is not None and not 0 < clip < 1:
        raise ValueError(f"loss_clip must lie between 0 and 1, or be None, not {clip!r}.")
    for name in ("label_entropy", "prediction_entropy"):
        coefficient = settings[name]
        if coefficient is None or not (np.isfinite(coefficient) and coefficient >= 0):
            raise ValueError(f"{name} must be 0 or more, not {coefficient!r}.")
        group_by = settings["group_by"]
        if coefficient > 0 and group_by == name.removesuffix("_entropy"):
            raise ValueError(f"{name} has nothing to tell apart with group_by={group_by!r}: leave one of them out.")
    solver = settings["solver"]
    other = {"adam": "level", "level": "adam"}[solver]
    for name, default in (_OF_LEVEL if solver == "adam" else _OF_ADAM).items():
        if settings[name] != default:
            raise ValueError(f"solver={solver!r} has no {name}: leave it out, or use solver={other!r}.")
