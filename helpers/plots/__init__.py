"""Charts of numbers. Each takes numbers, draws on an `Axes`, describes it, and returns it."""

from helpers.plots.costs import memory_timeline, trade_off
from helpers.plots.curves import lines, loss_curve
from helpers.plots.distributions import histogram, normal_levels, number_lines
from helpers.plots.footprints import footprint
from helpers.plots.grids import matrices, token_grid
from helpers.plots.rows import bars, dots, panels, spread
from helpers.plots.scores import before_after
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
    "matrices",
    "memory_timeline",
    "normal_levels",
    "number_lines",
    "panels",
    "spread",
    "token_grid",
    "trade_off",
    "use_style",
]
