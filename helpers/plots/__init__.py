"""Charts of numbers. Each takes numbers, draws on an `Axes`, and returns it.

A chart is in the module of the chapter that uses it, or in `charts` if several do.
"""

from helpers.plots.appendix_b import number_lines
from helpers.plots.chapter_0 import before_after, loss_curve
from helpers.plots.chapter_1 import matrix
from helpers.plots.chapter_2 import histogram, normal_levels
from helpers.plots.chapter_4 import token_grid
from helpers.plots.chapter_5 import memory_timeline, trade_off
from helpers.plots.charts import bars, dots, footprint, lines
from helpers.style import COLORS, describe, use_style

__all__ = [
    "COLORS",
    "bars",
    "before_after",
    "describe",
    "dots",
    "footprint",
    "histogram",
    "lines",
    "loss_curve",
    "matrix",
    "memory_timeline",
    "normal_levels",
    "number_lines",
    "token_grid",
    "trade_off",
    "use_style",
]
