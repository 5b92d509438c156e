"""Procedural backgrounds: one tall colour picture per background, of which every scene shows a window.

Only additions, products and table look-ups of float64: the pictures are the same on every machine.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .attributes import ATTRIBUTES

EXTENT = 320  # pixels per side
WINDOW = 64


@lru_cache(maxsize=1)
def background_textures() -> np.ndarray:
    """Textures of all backgrounds, in the order of ``ATTRIBUTES["background"]``: uint8 (6, 320, 320, 3)."""
    painters = {"grass": _grass, "sand": _sand, "snow": _snow, "brick": _brick, "water": _water, "studio": _studio}
    pictures = []
    for position, name in enumerate(ATTRIBUTES["background"]):
        rng = np.random.Generator(np.random.PCG64([1708, position]))
        pictures.append(np.clip(np.floor(painters[name](rng) + 0.5), 0, 255).astype(np.uint8))
    textures = np.stack(pictures)
    textures.setflags(write=False)
    return textures


def _noise(rng: np.random.Generator, height: float, width: float, amplitude: float = 1.0) -> np.ndarray:
    """Smooth value noise in [-amplitude, amplitude], (320, 320), with blobs of the given height and width."""
    rows, columns = int(EXTENT / height) + 2, int(EXTENT / width) + 2
    lattice = rng.random((rows, columns)) * 2 - 1
    y, x = np.arange(EXTENT) / height, np.arange(EXTENT) / width
    top, left = y.astype(int), x.astype(int)
    fall_y, fall_x = _ease(y - top)[:, None], _ease(x - left)[None, :]
    upper = lattice[np.ix_(top, left)] * (1 - fall_x) + lattice[np.ix_(top, left + 1)] * fall_x
    lower = lattice[np.ix_(top + 1, left)] * (1 - fall_x) + lattice[np.ix_(top + 1, left + 1)] * fall_x
    return amplitude * (upper * (1 - fall_y) + lower * fall_y)


def _ease(share: np.ndarray) -> np.ndarray:
    return share * share * (3 - 2 * share)


def _tint(base: tuple[int, int, int], change: np.ndarray, towards: tuple[float, float, float]) -> np.ndarray:
    return np.asarray(base, dtype=float) + change[:, :, None] * np.asarray(towards)


def _grass(rng: np.random.Generator) -> np.ndarray:
    blades = _noise(rng, 11, 1.5, 30) + _noise(rng, 6, 1.2, 22) + _noise(rng, 26, 30, 12) + _noise(rng, 1, 1, 8)
    slant = np.floor(_noise(rng, 22, 9, 2.5)).astype(int)  # blades lean: read each row a little to the side
    columns = (np.arange(EXTENT)[None, :] + slant) % EXTENT
    blades = blades[np.arange(EXTENT)[:, None], columns]
    return _tint((84, 146, 44), blades, (0.9, 1.0, 0.45))


def _sand(rng: np.random.Generator) -> np.ndarray:
    grains = _noise(rng, 1, 1, 13) + _noise(rng, 2, 2, 8)
    ripples = _noise(rng, 7, 34, 11) + _noise(rng, 40, 50, 8)
    return _tint((216, 186, 134), grains + ripples, (1.0, 1.0, 0.9))


def _snow(rng: np.random.Generator) -> np.ndarray:
    drifts = _noise(rng, 18, 44, 11) + _noise(rng, 8, 20, 5) + _noise(rng, 1, 1, 3)
    sparkle = (rng.random((EXTENT, EXTENT)) > 0.985) * 12.0
    return _tint((229, 236, 245), drifts + sparkle, (1.0, 0.8, 0.5))


def _brick(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:EXTENT, 0:EXTENT]
    course = y // 8
    shifted = x + 8 * (course % 2)
    brick = shifted // 16
    tones = rng.random((EXTENT // 8 + 1, EXTENT // 16 + 2, 2))
    tone, warmth = tones[course, brick, 0], tones[course, brick, 1]
    surface = _noise(rng, 1, 1, 10) + _noise(rng, 3, 3, 8) + 60 * (tone - 0.5)
    wall = _tint((158, 74, 54), surface, (1.0, 0.75, 0.6))
    wall[:, :, 1] += 26 * (warmth - 0.4)
    wall[(y % 8 == 6) | (shifted % 16 == 14)] *= 0.8  # shade under each edge
    joint = (y % 8 == 7) | (shifted % 16 == 15)
    mortar = _tint((196, 188, 176), _noise(rng, 1, 1, 10), (1.0, 1.0, 1.0))
    return np.where(joint[:, :, None], mortar, wall)


def _water(rng: np.random.Generator) -> np.ndarray:
    waves = _noise(rng, 2.2, 13, 24) + _noise(rng, 4, 24, 20) + _noise(rng, 30, 60, 10)
    crests = np.maximum(waves - 22, 0) * 3.2
    return _tint((42, 116, 184), waves, (0.8, 1.0, 0.9)) + crests[:, :, None]


def _studio(rng: np.random.Generator) -> np.ndarray:
    fall = np.arange(EXTENT) / EXTENT  # only the first rows are windows' tops, see the renderer
    y = np.minimum(fall * EXTENT / 90, 1)[:, None] * np.ones(EXTENT)
    wall = 232 - 58 * _ease(y)
    floor_line = 1 / (1 + ((np.arange(EXTENT) - 56) / 4) ** 2)
    picture = wall + 12 * floor_line[:, None] + _noise(rng, 200, 60, 12) + _noise(rng, 1, 1, 1.5)
    return _tint((0, 0, 2), picture, (1.0, 1.0, 1.0))
