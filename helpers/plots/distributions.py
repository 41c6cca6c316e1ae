"""How values are distributed, and the values that a format has."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.plots.marks import INKS, SMALL, number, set_rows
from helpers.style import COLORS, INK, describe, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["histogram", "normal_levels", "number_lines"]


def histogram(
    values: Sequence[float],
    *,
    n_bins: int = 100,
    marks: Sequence[float] = (),
    normal: bool = False,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw how often values occur, as a density.

    Args:
        values: The numbers to count.
        n_bins: How many bars.
        marks: Where to draw vertical lines, such as the values that a format has.
        normal: Whether to draw the bell curve of the same mean and standard deviation.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: There are no values.

    Taught in: notebooks/02_quantization.ipynb
    """
    import numpy as np

    numbers = np.asarray(values, dtype=float)
    if not numbers.size:
        raise ValueError("there are no values to draw: give at least one")
    ax = new_axes(ax, size=(7.4, 3))
    ax.hist(numbers, bins=n_bins, density=True, color=COLORS["sky"])
    mean, deviation = numbers.mean(), numbers.std()
    if normal:
        x = np.linspace(numbers.min(), numbers.max(), 400)
        height = np.exp(-(((x - mean) / deviation) ** 2) / 2) / (deviation * np.sqrt(2 * np.pi))
        ax.plot(x, height, "--", color=COLORS["red"], label="normal distribution")
        ax.legend(loc="upper right")
    for place in marks:
        ax.axvline(place, color=INK, linewidth=0.9)
    ax.grid(visible=False)
    ax.set(ylabel="density", yticks=[])
    ends = f"from {number(numbers.min())} to {number(numbers.max())}"
    told = f"{numbers.size:,} values {ends}, mean {number(mean)}, deviation {number(deviation)}"
    told += f"; {len(marks)} vertical lines" if len(marks) else ""
    return describe(ax, told + ("; dashed, the bell of the same mean and spread" if normal else ""))


def normal_levels(
    edges: Sequence[float], levels: Sequence[float], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw the bell curve cut into slices, and the level that stands for each slice.

    Args:
        edges: Where the slices meet, ascending, in standard deviations.
        levels: The values that are kept, in standard deviations.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: slices as areas of two shades in turn, levels as strokes.

    Raises:
        ValueError: Not one edge fewer than levels.

    Taught in: notebooks/02_quantization.ipynb
    """
    import numpy as np

    if len(edges) != len(levels) - 1:
        raise ValueError(f"{len(edges)} edges for {len(levels)} levels: give one fewer")
    ax = new_axes(ax, size=(7.4, 3))
    span = max(3.0, *map(abs, levels))
    ends = [-span, *edges, span]
    for i, (low, high) in enumerate(itertools.pairwise(ends)):
        x = np.linspace(low, high, 50)
        height = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        ax.fill_between(x, height, color=COLORS["sky"], alpha=0.35 + 0.4 * (i % 2), linewidth=0)
    ax.vlines(list(levels), -0.06, 0, color=COLORS["red"], linewidth=2)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.annotate(
        f"the {len(levels)} values",
        (levels[-1], -0.03),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        size=SMALL,
        color=INKS[3],
    )
    ax.grid(visible=False)
    ax.spines["left"].set_visible(False)
    ax.set(xlabel="standard deviations", yticks=[])
    listed = ", ".join(f"{level:.2f}" for level in levels)
    return describe(ax, f"A bell curve in {len(levels)} slices, with a value for each: {listed}")


def number_lines(values: Mapping[str, Sequence[float]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw one number line a row, with a stroke at each value.

    Args:
        values: For each row's name, the values to mark.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes; set its x limits to look at a part.

    Raises:
        ValueError: There are no rows, or a row has no values.

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    if not values or not all(len(row) for row in values.values()):
        raise ValueError("give at least one row, and at least one value in each")
    ax = new_axes(ax, size=(7.4, 0.8 + 0.5 * len(values)))
    for row, marks in enumerate(values.values()):
        ax.vlines(list(marks), row - 0.32, row + 0.32, color=COLORS["blue"], linewidth=1.3)
    set_rows(ax, list(values))
    told = [
        f"{name}: {len(set(v))} values, {number(min(v))} to {number(max(v))}"
        for name, v in values.items()
    ]
    return describe(ax, "; ".join(told))
