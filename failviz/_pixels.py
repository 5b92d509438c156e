"""From whatever holds an image (PIL, array, tensor) to 8-bit RGB, without changing what it shows unless asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from failviz import _checks

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS = (1, 3, 4)
_SLACK = 1e-3
"""How far rounding may carry a float image out of [0, 1]."""


class UnreadableExample(ValueError):
    """An example that cannot be shown; the message names it and says why."""


def to_image(value: Any, *, exact: bool = False) -> Image:
    """PIL image (RGB) of a PIL image, an array or a tensor, channels first or last.

    Values are pixels 0..255, or shares in [0, 1] (within 0.001). Any others, as in a normalised image,
    are stretched to their own range: good to look at, wrong to measure, and refused when `exact`.
    """
    from PIL import Image

    if hasattr(value, "convert"):
        return value.convert("RGB")
    array = np.asarray(_checks.to_numpy(value))
    if array.ndim == 3 and array.shape[0] in CHANNELS and array.shape[2] not in CHANNELS:
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in CHANNELS):
        raise ValueError(f"an array of shape {array.shape} is not an image")
    if array.dtype != np.uint8:
        whole = array.dtype.kind in "iub"
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError("the image has values that are not finite")
        low, high = float(array.min()), float(array.max())
        if low < -_SLACK or high > 1 + _SLACK:
            are_pixels = low >= 0 and high <= 255
            if exact and not (are_pixels and (array == array.round()).all()):
                problem = "which are no 8-bit pixels" if whole else "so it is normalised"
                raise UnreadableExample(
                    f"its values run from {low:.3g} to {high:.3g}, {problem}: give source= with the images as they were"
                )
            array = array / 255 if are_pixels else (array - low) / max(high - low, 1e-12)
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")
