"""Compose items and backgrounds into 64 x 64 photographs, many at a time.

Integer arithmetic throughout: the same bytes on every machine, alone or in a batch. Opacity and shading of an item
travel in one 32-bit word (see `items.cut_out`), so one bilinear look-up resamples both.
"""

from __future__ import annotations

import numpy as np

from failviz._progress import progress as bar

from .attributes import ATTRIBUTES
from .items import PADDED, Items, cut_out
from .splits import Recipe
from .textures import WINDOW, background_textures

CHUNK = 100  # scenes at once: small enough for the cache
COLOURS = {
    "white": (250, 250, 250),
    "black": (70, 70, 76),
    "red": (226, 38, 46),
    "blue": (52, 92, 226),
    "green": (34, 150, 74),
    "yellow": (246, 206, 40),
    "brown": (150, 92, 56),
}
DARK = (112, 116, 136)  # gains out of 256: night is bluish
_ONE = 1 << 12  # fixed point of the look-up's coordinates


def render_scenes(items: Items, recipe: Recipe, rows: np.ndarray | None = None) -> np.ndarray:
    """Render scenes of a recipe.

    Parameters
    ----------
    items : Items
    recipe : Recipe of n scenes
    rows : ndarray of int, shape (m,), optional
        Which scenes; all by default.

    Returns
    -------
    ndarray of uint8, shape (m, 64, 64, 3)
    """
    rows = np.arange(len(recipe.codes)) if rows is None else np.asarray(rows)
    pictures = np.empty((len(rows), WINDOW, WINDOW, 3), dtype=np.uint8)
    for start in bar(range(0, len(rows), CHUNK), desc="render scenes"):
        some = rows[start : start + CHUNK]
        cut_outs = cut_out(items.images[recipe.item_rows[some]])
        pictures[start : start + CHUNK] = _compose(cut_outs, recipe.codes[some], recipe.placement[some])
    return pictures


def _compose(cut_outs: np.ndarray, codes: np.ndarray, placement: np.ndarray) -> np.ndarray:
    """Photographs (n, 64, 64, 3) uint8 of cut-outs (n, 32, 32), codes (n, 6), placement (n, 9)."""
    background, colour, size, _, lighting, blur = codes.T
    scene = _windows(background, placement)
    opacity, shading = _resample(cut_outs, placement)
    shade = 256 - _shadow(opacity, size) * 5 // 8
    tint = np.array([COLOURS[name] for name in ATTRIBUTES["colour"]])[colour] + placement[:, 7, None]
    tint = np.clip(tint, 0, 255).astype(np.uint16)
    gain = 256 + np.zeros((len(codes), 3), dtype=np.int64)
    gain[lighting == 1] = DARK
    gain = (gain + placement[:, 8, None]).astype(np.uint32)
    for channel in range(3):
        plane = scene[:, :, :, channel].astype(np.uint16)
        plane = plane * shade >> 8
        plane = (plane * (255 - opacity) + shading * tint[:, channel, None, None]) // 255  # at most 255 * 255
        scene[:, :, :, channel] = np.minimum(plane * gain[:, channel, None, None] >> 8, 255)
    out_of_focus = np.flatnonzero(blur == 1)
    scene[out_of_focus] = _defocus(scene[out_of_focus])
    return scene


def _windows(background: np.ndarray, placement: np.ndarray) -> np.ndarray:
    """The part of its background that each scene shows: uint8 (n, 64, 64, 3), a fresh array."""
    steps = np.arange(WINDOW)
    down = placement[:, 0, None] + steps
    right = placement[:, 1, None] + np.where(placement[:, 2, None] == 1, WINDOW - 1 - steps, steps)
    return background_textures()[background.astype(np.int64)[:, None, None], down[:, :, None], right[:, None, :]]


def _resample(cut_outs: np.ndarray, placement: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Opacity and shading, uint16 (n, 64, 64), of items scaled, turned and moved into their scenes."""
    down, right, scale, turn = (placement[:, column, None, None] for column in range(3, 7))
    angle = turn * (np.pi / 180)
    cosine = np.floor(np.cos(angle) * _ONE * 100 / scale + 0.5).astype(np.int32)
    sine = np.floor(np.sin(angle) * _ONE * 100 / scale + 0.5).astype(np.int32)
    y = (2 * np.arange(WINDOW)[:, None] - (WINDOW - 1) - 2 * down).astype(np.int32)  # in half pixels off the centre
    x = (2 * np.arange(WINDOW)[None, :] - (WINDOW - 1) - 2 * right).astype(np.int32)
    centre = np.int32((PADDED - 1) * _ONE)
    highest = np.int32((PADDED - 1) * 2 * _ONE - 2 * _ONE // 16)
    v = np.clip(cosine * y - sine * x + centre, 0, highest) >> 9  # sixteenths of an item's pixel
    u = np.clip(sine * y + cosine * x + centre, 0, highest) >> 9
    part_v, part_u = (v & 15).astype(np.uint32), (u & 15).astype(np.uint32)
    corner = (v >> 4) * PADDED + (u >> 4)
    corner += (np.arange(len(cut_outs), dtype=np.int32) * PADDED**2)[:, None, None]
    flat = cut_outs.reshape(-1)
    upper = flat[corner] * (16 - part_u) + flat[corner + 1] * part_u
    lower = flat[corner + PADDED] * (16 - part_u) + flat[corner + PADDED + 1] * part_u
    word = upper * (16 - part_v) + lower * part_v  # weights sum to 256: neither half overflows its 16 bits
    return (word >> 24).astype(np.uint16), ((word >> 8) & 255).astype(np.uint16)


def _shadow(opacity: np.ndarray, size: np.ndarray) -> np.ndarray:
    """A soft shadow below and to the right, uint16 (n, 64, 64), nearer for smaller items."""
    cast = np.zeros_like(opacity)
    for value, shift in enumerate((4, 3, 2)):
        mine = np.flatnonzero(size == value)
        cast[mine, shift:, shift:] = opacity[mine, :-shift, :-shift]
    return _smooth(_smooth(cast))


def _smooth(planes: np.ndarray) -> np.ndarray:
    """Binomial 1-4-6-4-1 smoothing of uint16 planes (n, h, w, ...) along both axes, edges repeated."""
    for axis in (1, 2):
        frame = [(0, 0)] * planes.ndim
        frame[axis] = (2, 2)
        framed = np.pad(planes, frame, mode="edge")
        size = planes.shape[axis]
        a, b, c, d, e = (framed[(slice(None),) * axis + (slice(k, k + size),)] for k in range(5))
        planes = (a + e + 4 * (b + d) + 6 * c + 8) >> 4
    return planes


def _defocus(scene: np.ndarray) -> np.ndarray:
    once = _smooth(scene.astype(np.uint16))
    return ((once + _smooth(once)) >> 1).astype(np.uint8)
