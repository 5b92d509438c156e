"""The Fashion-MNIST items that every scene is composed of (Xiao et al. 2017, arXiv 1708.07747; MIT licence).

Shipped as one compressed file of 20,000 items, 2,000 of each class; its checksum is verified whenever it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
PADDED = 32  # items are 28 x 28 and get a transparent frame, so that resampling never reads outside


@dataclass(frozen=True)
class Items:
    """Grayscale items, black where there is none: images (n, 28, 28) uint8, labels (n,) int64."""

    images: np.ndarray
    labels: np.ndarray


def read_verified(path: Path) -> bytes:
    """The bytes of a shipped file, refused when they are not those recorded in data/SOURCES.json.

    Raises
    ------
    ValueError
        If the file is missing or its SHA-256 differs.
    """
    expected = json.loads((DATA / "SOURCES.json").read_text(encoding="utf-8"))["outputs"][path.name]["sha256"]
    if not path.is_file():
        raise ValueError(f"{path} is missing: install failviz again, or rebuild it with failviz.datasets.build.")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is corrupt: its SHA-256 is {found[:12]}... and not {expected[:12]}...: install failviz again."
        )
    return content


@lru_cache(maxsize=1)
def load_items() -> Items:
    """All shipped items, read once and kept read-only."""
    with np.load(io.BytesIO(read_verified(DATA / "items.npz")), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"].astype(np.int64)
    images.setflags(write=False)
    labels.setflags(write=False)
    return Items(images, labels)


def cut_out(images: np.ndarray) -> np.ndarray:
    """Turn items into cut-outs: opacity and shading in one word, ready to be resampled together.

    The silhouette is the closing of the non-black pixels, so that dark cloth does not become a hole. Shading is the
    gray level stretched to each item's range, darker toward the silhouette's edge, and premultiplied by opacity.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, 28, 28)

    Returns
    -------
    ndarray of uint32, shape (n, 32, 32)
        ``opacity << 16 | shading``, both in 0..255, with two transparent pixels on every side.
    """
    n = len(images)
    gray = np.zeros((n, PADDED, PADDED), dtype=np.uint16)
    gray[:, 2:-2, 2:-2] = images
    opacity = np.minimum(gray * 6, 255)
    opacity = _extreme(_extreme(opacity, np.maximum), np.minimum)
    opacity = (np.clip((opacity + _mean9(opacity)) // 2, 50, 230) - 50) * 255 // 180  # rounds off the stair-steps
    solid = np.where(opacity > 0, gray, 0).reshape(n, -1)
    brightest = np.maximum(solid.max(axis=1), 32).astype(np.uint32)[:, None, None]
    stretched = np.minimum(gray.astype(np.uint32) * 255 // brightest, 255)
    inner = _mean9(_mean9(opacity)).astype(np.uint32)  # falls off toward the edge: gives the item volume
    shading = (105 + 150 * stretched // 255) * (130 + 125 * inner // 255) // 255
    return (opacity.astype(np.uint32) << 16) | (shading * opacity // 255)


def _neighbours(values: np.ndarray) -> list[np.ndarray]:
    framed = np.pad(values, ((0, 0), (1, 1), (1, 1)))
    size = values.shape[1]
    return [framed[:, row : row + size, column : column + size] for row in range(3) for column in range(3)]


def _extreme(values: np.ndarray, pick: np.ufunc) -> np.ndarray:
    views = _neighbours(values)
    result = views[0].copy()
    for view in views[1:]:
        pick(result, view, out=result)
    return result


def _mean9(values: np.ndarray) -> np.ndarray:
    views = _neighbours(values)
    total = views[0].copy()
    for view in views[1:]:
        total += view
    return total // 9
