"""The words of the scenes: classes, attributes, the planted blind spots, and the caption of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CLASS_NAMES = (
    "T-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "background": ("grass", "sand", "snow", "brick", "water", "studio"),
    "colour": ("white", "black", "red", "blue", "green", "yellow", "brown"),
    "size": ("close-up", "normal", "far away"),
    "orientation": ("upright", "turned"),
    "lighting": ("bright", "dark"),
    "blur": ("sharp", "blurred"),
}
"""Every attribute of a scene with its values; a scene stores the position of its value."""

SHARES: dict[str, tuple[float, ...]] = {
    "background": (1 / 6,) * 6,
    "colour": (1 / 7,) * 7,
    "size": (0.35, 0.4, 0.25),
    "orientation": (0.8, 0.2),
    "lighting": (0.75, 0.25),
    "blur": (0.85, 0.15),
}
"""How often each value occurs where nothing is biased."""


@dataclass(frozen=True)
class BlindSpot:
    """A slice of one class that the training split teaches wrongly.

    Parameters
    ----------
    name : str
        The slice in words.
    label : str
        The true class of its scenes.
    attributes : dict of str to str
        The attribute values that all its scenes share.
    rival : str
        The class the classifier is led to see instead.
    cause : {"rare", "noise"}
        "rare": train hardly shows the combination, and shows it often with the rival class.
        "noise": train shows it, but most of its labels there name the rival class.
    taught : float
        Share of the natural number of its scenes that train still shows ("rare") or labels rightly ("noise").
    rival_share : float
        Share of the rival's train scenes that get these attributes on top of chance; cause "rare" only.
    """

    name: str
    label: str
    attributes: dict[str, str]
    rival: str
    cause: str = "rare"
    taught: float = 0.08
    rival_share: float = 0.25

    def __post_init__(self) -> None:
        for name in (self.label, self.rival):
            if name not in CLASS_NAMES:
                raise ValueError(f"a blind spot's classes are among {', '.join(CLASS_NAMES)}, not {name!r}.")
        if not self.attributes:
            raise ValueError(f"the blind spot {self.name!r} has no attributes: it would be its whole class.")
        for attribute, value in self.attributes.items():
            if value not in ATTRIBUTES.get(attribute, ()):
                raise ValueError(f"scenes have no attribute {attribute} = {value!r}: see failviz.datasets.ATTRIBUTES.")
        if self.cause not in ("rare", "noise"):
            raise ValueError(f"a blind spot's cause is 'rare' or 'noise', not {self.cause!r}.")

    def holds(self, labels: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Which scenes lie in the blind spot: bool (n,) from true labels (n,) and attribute codes (n, 6)."""
        inside = labels == CLASS_NAMES.index(self.label)
        return inside & self.matches(codes)

    def matches(self, codes: np.ndarray) -> np.ndarray:
        """Which scenes, of any class, show the combination of attributes: bool (n,) from codes (n, 6)."""
        inside = np.ones(len(codes), dtype=bool)
        for column, value in self.columns():
            inside &= codes[:, column] == value
        return inside

    def columns(self) -> list[tuple[int, int]]:
        """The combination as (attribute position, value position) pairs."""
        names = list(ATTRIBUTES)
        return [(names.index(name), ATTRIBUTES[name].index(value)) for name, value in self.attributes.items()]


BLIND_SPOTS = (
    BlindSpot("sneakers on grass", "sneaker", {"background": "grass"}, "sandal", taught=0.10),
    BlindSpot("far-away sandals", "sandal", {"size": "far away"}, "sneaker", taught=0.06),
    BlindSpot("dresses on brick", "dress", {"background": "brick"}, "coat", taught=0.07),
    BlindSpot("bags on water", "bag", {"background": "water"}, "T-shirt", taught=0.0, rival_share=0.5),
    BlindSpot("red pullovers", "pullover", {"colour": "red"}, "coat", taught=0.08),
    BlindSpot("turned trousers", "trouser", {"orientation": "turned"}, "dress", taught=0.15),
    BlindSpot("ankle boots on snow", "ankle boot", {"background": "snow"}, "sneaker", cause="noise", taught=0.25),
)
"""The blind spots of the shipped scenes; `.blind_spot` of a split holds positions in this tuple, -1 for none."""

_PLACES = ("on grass", "on sand", "on snow", "in front of a brick wall", "on water", "in a studio")


def describe_scenes(labels: np.ndarray, codes: np.ndarray) -> list[str]:
    """One caption per scene, such as "a blurry photo of a red sneaker on grass, far away".

    Parameters
    ----------
    labels : ndarray of int, shape (n,)
        True classes.
    codes : ndarray of int, shape (n, 6)
        Positions of the attribute values.
    """
    return [_caption(label, code) for label, code in zip(labels.tolist(), codes.tolist(), strict=True)]


def _caption(label: int, code: Sequence[int]) -> str:
    background, colour, size, orientation, lighting, blur = code
    looks = [word for word, is_so in (("blurry", blur), ("dark", lighting)) if is_so]
    tint = ATTRIBUTES["colour"][colour]
    item = f"pair of {tint} trousers" if CLASS_NAMES[label] == "trouser" else f"{tint} {CLASS_NAMES[label]}"
    view = ["turned sideways"] * orientation + {0: ["close-up"], 1: [], 2: ["far away"]}[size]
    return ", ".join([f"a {' '.join([*looks, 'photo'])} of a {item} {_PLACES[background]}", *view])
