"""Pictures for a notebook or a paper: each function takes and returns a matplotlib Axes.

Without one, a figure of a fitting size is made. Blue is right and better, vermilion wrong and worse (the palette of
Okabe & Ito 2008), and colour is never the only sign. Inks follow the ground, light or dark. No global setting of
matplotlib is touched.
"""

from failviz.plots._comparison import comparison
from failviz.plots._direction import direction
from failviz.plots._heat_map import heat_map
from failviz.plots._ink import BLUE, GREY, VERMILION
from failviz.plots._overlaps import overlap_matrix
from failviz.plots._precision import precision_curve
from failviz.plots._spotlights import spotlight
from failviz.plots._trees import tree
from failviz.plots._verdicts import error_rates

__all__ = [
    "BLUE",
    "GREY",
    "VERMILION",
    "comparison",
    "direction",
    "error_rates",
    "heat_map",
    "overlap_matrix",
    "precision_curve",
    "spotlight",
    "tree",
]
