"""Charts of Appendix B: the values that a format has."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.style import COLORS, new_axes, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["number_lines"]


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
    ax = new_axes(ax, size=(8, 0.8 + 0.45 * len(values)))
    colors = list(COLORS.values())
    for row, marks in enumerate(values.values()):
        color = colors[row % len(colors)]
        ax.axhline(row, color="#CCCCCC", linewidth=0.8, zorder=0)
        ax.vlines(list(marks), row - 0.32, row + 0.32, color=color, linewidth=1.3)
    ax.set_yticks(range(len(values)), list(values))
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.spines["left"].set_visible(False)
    return without_frame(ax)
