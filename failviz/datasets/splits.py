"""Who stands where: the recipe of every scene of a split, and the bias that train teaches.

Train is biased: a blind spot with cause "rare" hardly occurs there, and its attributes occur with the rival class
instead; one with cause "noise" occurs, but most of its labels are wrong. Validation, test and pool are unbiased.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .attributes import ATTRIBUTES, BLIND_SPOTS, CLASS_NAMES, SHARES, BlindSpot
from .textures import EXTENT, WINDOW

N_SCENES = {"train": 14_000, "val": 4_000, "test": 4_000, "pool": 20_000}
N_ITEMS = {"train": 900, "val": 250, "test": 250, "pool": 600}  # per class; together the 2,000 shipped
MIN_SUPPORT = 0.19  # share of a class's val and test scenes that lie in its blind spot, at least
POOL_NOISE = 0.15  # share of wrong labels in the pool
CONFUSABLE = ((0, 2, 3, 4, 6), (5, 7, 9), (1, 3), (8, 0))  # classes a hasty labeller mixes up


@dataclass(frozen=True)
class Recipe:
    """All that is needed to render, label and describe n scenes; every array has n rows."""

    item_rows: np.ndarray  # int64 (n,), rows of the shipped items
    labels: np.ndarray  # int64 (n,), as given, possibly wrong
    true_labels: np.ndarray  # int64 (n,)
    codes: np.ndarray  # int8 (n, 6), positions of the attribute values
    blind_spot: np.ndarray  # int64 (n,), -1 = none
    placement: np.ndarray  # int64 (n, 9): window y, x, mirrored; item dy, dx, scale, turn; tint jitter; light jitter


def draw_recipe(
    split: str, item_labels: np.ndarray, *, blind_spots: Sequence[BlindSpot] = BLIND_SPOTS, seed: int = 0
) -> Recipe:
    """Draw the scenes of one split.

    Parameters
    ----------
    split : {"train", "val", "test", "pool"}
    item_labels : ndarray of int, shape (n_items,)
        Class of every shipped item. Each split takes its own items.
    blind_spots : sequence of BlindSpot
        What train teaches wrongly.
    seed : int
        Other seeds give other scenes of the same items.
    """
    names = list(N_SCENES)
    rng = np.random.Generator(np.random.PCG64([20200523, seed, names.index(split)]))
    n = N_SCENES[split]
    first = sum(N_ITEMS[name] for name in names[: names.index(split)])
    true_labels = _shuffle(rng, np.arange(n) % len(CLASS_NAMES))
    item_rows = np.empty(n, dtype=np.int64)
    for label in range(len(CLASS_NAMES)):
        items = np.flatnonzero(item_labels == label)[first : first + N_ITEMS[split]]
        scenes = np.flatnonzero(true_labels == label)
        item_rows[scenes] = _shuffle(rng, items)[np.arange(len(scenes)) % len(items)]
    codes = np.stack([_choose(rng, n, shares) for shares in SHARES.values()], axis=1)
    labels = true_labels.copy()
    if split == "train":
        codes, labels = _teach_bias(rng, true_labels, codes, blind_spots)
    elif split == "pool":
        labels = _mislabel(rng, true_labels)
    else:
        for spot in blind_spots:
            chance = np.prod([list(SHARES.values())[column][value] for column, value in spot.columns()])
            moved = true_labels == CLASS_NAMES.index(spot.label)
            moved &= rng.random(n) < max(0.0, (MIN_SUPPORT - chance) / (1 - chance))
            for column, value in spot.columns():
                codes[moved, column] = value
    blind_spot = np.full(n, -1, dtype=np.int64)
    for number, spot in enumerate(blind_spots):
        blind_spot[spot.holds(true_labels, codes)] = number
    arrays = (item_rows, labels, true_labels, codes, blind_spot, _place(rng, codes))
    for array in arrays:
        array.setflags(write=False)
    return Recipe(*arrays)


def _teach_bias(
    rng: np.random.Generator, true_labels: np.ndarray, codes: np.ndarray, blind_spots: Sequence[BlindSpot]
) -> tuple[np.ndarray, np.ndarray]:
    n = len(true_labels)
    codes, labels = codes.copy(), true_labels.copy()
    rare = [spot for spot in blind_spots if spot.cause == "rare"]
    for spot in rare:
        moved = (true_labels == CLASS_NAMES.index(spot.rival)) & (rng.random(n) < spot.rival_share)
        for column, value in spot.columns():
            codes[moved, column] = value
    for spot in rare:
        column, value = spot.columns()[0]
        shares = np.array(SHARES[list(ATTRIBUTES)[column]])
        shares[value] = 0
        elsewhere = _choose(rng, n, shares / shares.sum())
        leaves = spot.holds(true_labels, codes) & (rng.random(n) >= spot.taught)
        codes[leaves, column] = elsewhere[leaves]
    for spot in blind_spots:
        if spot.cause == "noise":
            wrong = spot.holds(true_labels, codes) & (rng.random(n) >= spot.taught)
            labels[wrong] = CLASS_NAMES.index(spot.rival)
    return codes, labels


def _mislabel(rng: np.random.Generator, true_labels: np.ndarray) -> np.ndarray:
    """Weak labels: most mistakes go to a class that looks alike, the others anywhere."""
    n = len(true_labels)
    labels = true_labels.copy()
    alike, anywhere, mistaken, hasty = (rng.random(n) for _ in range(4))
    step = 1 + np.floor(anywhere * (len(CLASS_NAMES) - 1)).astype(np.int64)
    other = (true_labels + step) % len(CLASS_NAMES)
    for label in range(len(CLASS_NAMES)):
        group = next(group for group in CONFUSABLE if label in group)
        rivals = np.array([rival for rival in group if rival != label])
        mine = (true_labels == label) & (hasty < 0.8)
        other[mine] = rivals[np.floor(alike[mine] * len(rivals)).astype(np.int64)]
    is_wrong = mistaken < POOL_NOISE
    labels[is_wrong] = other[is_wrong]
    return labels


def _place(rng: np.random.Generator, codes: np.ndarray) -> np.ndarray:
    """Where each scene looks and stands; scale in percent, turn in degrees, jitters in colour levels."""
    n = len(codes)
    names = list(ATTRIBUTES)
    background, size, turned = (codes[:, names.index(name)] for name in ("background", "size", "orientation"))
    is_studio = background == ATTRIBUTES["background"].index("studio")
    window_y = np.where(is_studio, _whole(rng, n, 0, 12), _whole(rng, n, 0, EXTENT - WINDOW))
    window_x = _whole(rng, n, 0, EXTENT - WINDOW)
    mirrored = _whole(rng, n, 0, 1)
    reach = np.array([1, 5, 11])[size]
    down, right = ((np.floor(rng.random(n) * (2 * reach + 1)) - reach).astype(np.int64) for _ in range(2))
    scale = np.array([205, 150, 106])[size] * _whole(rng, n, 94, 106) // 100
    upright = _whole(rng, n, -6, 6)
    slanted = _whole(rng, n, 30, 75) * (2 * _whole(rng, n, 0, 1) - 1)
    turn = np.where(turned == 1, slanted, upright)
    return np.stack(
        [window_y, window_x, mirrored, down, right, scale, turn, _whole(rng, n, -14, 14), _whole(rng, n, -12, 12)],
        axis=1,
    )


def _whole(rng: np.random.Generator, n: int, low: int, high: int) -> np.ndarray:
    return low + np.floor(rng.random(n) * (high - low + 1)).astype(np.int64)


def _choose(rng: np.random.Generator, n: int, shares: Sequence[float] | np.ndarray) -> np.ndarray:
    edges = np.cumsum(shares)[:-1]
    return np.searchsorted(edges, rng.random(n), side="right").astype(np.int8)


def _shuffle(rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    return values[np.argsort(rng.random(len(values)), kind="stable")]
