"""The palette, and inks that can be read on the ground of a picture, light or dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#8C8C8C"
DARK, LIGHT = "#333333", "#E6E6E6"
"""Inks on light and on dark ground."""

Rgb: TypeAlias = tuple[float, float, float]

_LEAST_CONTRAST = 4.5  # of text, as WCAG 2.1 asks


def mixed(colour: Any, ground: Any, share: float) -> Rgb:
    """The colour with this share of the ground in it."""
    from matplotlib.colors import to_rgb

    red, green, blue = (a + (b - a) * share for a, b in zip(to_rgb(colour), to_rgb(ground), strict=True))
    return red, green, blue


def ground_of(ax: Axes) -> Rgb:
    """The colour behind what is drawn."""
    return _seen_through(ax.get_facecolor(), margin_of(ax))


def ink_of(ax: Axes) -> str:
    """The ink for lines and words inside the Axes."""
    return _best_ink(ground_of(ax))


def faint_of(ax: Axes) -> Rgb:
    """The ink of grids."""
    return mixed(ink_of(ax), ground_of(ax), 0.917)


def margin_ink_of(ax: Axes) -> Any:
    """The ink for words around the Axes: the person's own, or another where that could not be read on the figure."""
    return own_ink(ax, margin_of(ax))


def own_ink(ax: Axes, ground: Rgb) -> Any:
    own = ax.xaxis.label.get_color()
    return own if _contrast(own, ground) >= _LEAST_CONTRAST else _best_ink(ground)


def _best_ink(ground: Rgb) -> str:
    return max(DARK, LIGHT, key=lambda ink: _contrast(ink, ground))


def make_readable(ax: Axes) -> None:
    """Give the words around the Axes an ink that can be read; to be called once they stand there."""
    ink = margin_ink_of(ax)
    if ink == ax.xaxis.label.get_color():
        return
    ax.tick_params(axis="both", which="both", color=ink, labelcolor=ink)
    ax.xaxis.label.set_color(ink)
    ax.yaxis.label.set_color(ink)
    for spine in ax.spines.values():
        spine.set_edgecolor(ink)


def margin_of(ax: Axes) -> Rgb:
    """The colour behind what stands around the Axes; where the figure is transparent, their own ink tells it."""
    own = ax.xaxis.label.get_color()
    behind = (1.0, 1.0, 1.0) if _luminance(own) < 0.5 else (0.0, 0.0, 0.0)
    whole: Any = ax.figure.figure
    return _seen_through(ax.figure.get_facecolor(), _seen_through(whole.get_facecolor(), behind))


def _seen_through(colour: Any, behind: Rgb) -> Rgb:
    from matplotlib.colors import to_rgba

    return mixed(colour, behind, 1 - to_rgba(colour)[3])


def _luminance(colour: Any) -> float:
    """Relative luminance of an sRGB colour (IEC 61966-2-1)."""
    from matplotlib.colors import to_rgb

    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(colour: Any, ground: Rgb) -> float:
    """Contrast ratio of WCAG 2.1, 1 to 21."""
    dim, bright = sorted((_luminance(colour), _luminance(ground)))
    return (bright + 0.05) / (dim + 0.05)
