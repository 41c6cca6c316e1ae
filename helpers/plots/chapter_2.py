"""Charts of Chapter 2: how weights are distributed, and cut into levels."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.style import COLORS, INK, new_axes, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["histogram", "normal_levels"]


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
    ax = new_axes(ax, size=(7, 3))
    ax.hist(numbers, bins=n_bins, density=True, color=COLORS["sky"], label="values")
    if normal:
        x = np.linspace(numbers.min(), numbers.max(), 400)
        height = np.exp(-(((x - numbers.mean()) / numbers.std()) ** 2) / 2)
        curve = height / (numbers.std() * np.sqrt(2 * np.pi))
        ax.plot(x, curve, "--", color=COLORS["red"], label="normal distribution")
    for place in marks:
        ax.axvline(place, color=INK, linewidth=0.9)
    ax.set(ylabel="density", yticks=[])
    if normal:
        ax.legend(frameon=False)
    return without_frame(ax)


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
    ax = new_axes(ax, size=(8, 3))
    span = max(3.0, *map(abs, levels))
    ends = [-span, *edges, span]
    for i, (low, high) in enumerate(itertools.pairwise(ends)):
        x = np.linspace(low, high, 50)
        height = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        ax.fill_between(x, height, color=COLORS["sky"], alpha=0.35 + 0.4 * (i % 2), linewidth=0)
    ax.vlines(list(levels), -0.06, 0, color=COLORS["red"], linewidth=2)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.set(xlabel="standard deviations", ylabel="density", yticks=[])
    return without_frame(ax)
