"""A picture with what a heat map says laid over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from failviz.plots._canvas import fitting_axes
from failviz.plots._ink import VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STRONGEST = 0.7  # opacity of the ink where the heat is 1: the picture shows through everywhere
_EDGE = 0.5
_INCHES = 2.2


def heat_map(image: Any, heat: Any, ax: Axes | None = None) -> Axes:
    """Draw a picture with vermilion ink where the heat is: `saliency.heat_map` of a feature, for instance.

    The line stands where it is half of the largest possible.

    Parameters
    ----------
    image : array (h, w, 3) of bytes, or of floats in [0, 1]; (3, h, w) too
    heat : array (h, w) in [0, 1]
    ax : matplotlib Axes, optional

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        When the shapes do not fit, or the heat leaves [0, 1].

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = heat_map(np.zeros((8, 8, 3), np.uint8), np.eye(8), Figure().subplots())
    >>> len(ax.images)
    2
    """
    from matplotlib.colors import to_rgb
    from matplotlib.patheffects import withStroke

    picture, heat = np.asarray(image), np.asarray(heat, dtype=np.float64)
    if picture.ndim == 3 and picture.shape[0] == 3 and picture.shape[2] != 3:
        picture = picture.transpose(1, 2, 0)
    if picture.ndim != 3 or picture.shape[2] != 3 or heat.shape != picture.shape[:2]:
        raise ValueError(
            f"a picture (h, w, 3) needs a heat of shape (h, w), and these have {picture.shape} and {heat.shape}."
        )
    if picture.dtype.kind == "f" and not ((picture >= 0) & (picture <= 1)).all():
        raise ValueError("colours must be bytes, or floats between 0 and 1: give the picture before its normalisation.")
    if not ((heat >= 0) & (heat <= 1)).all():
        raise ValueError("heat must lie between 0 and 1: saliency.heat_map gives it so.")
    ax = fitting_axes(ax, _INCHES, _INCHES * picture.shape[1] / picture.shape[0])
    ink = np.empty((*heat.shape, 4))
    ink[..., :3], ink[..., 3] = to_rgb(VERMILION), _STRONGEST * heat
    ax.imshow(picture)
    ax.imshow(ink)
    if heat.min() < _EDGE < heat.max():  # for eyes and printers that see no colour
        line = ax.contour(heat, levels=[_EDGE], colors="white", linewidths=1.4)
        line.set_path_effects([withStroke(linewidth=2.8, foreground="black")])
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax
