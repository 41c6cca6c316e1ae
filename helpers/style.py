"""What plots and figures share: their colors, new axes, and the frame around them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLORS",
    "EDGE",
    "FILL",
    "GREEN_EDGE",
    "GREEN_FILL",
    "INK",
    "ORANGE_EDGE",
    "ORANGE_FILL",
    "ORANGE_INK",
    "SOFT",
    "new_axes",
    "without_frame",
]

# Okabe and Ito's palette, which color-blind readers can tell apart.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "gray": "#999999",
}
# Of drawings: text in INK or SOFT, boxes with a fill and an edge.
INK, SOFT = "#1A1A1A", "#555555"
FILL, EDGE = "#EAF3FA", COLORS["blue"]
GREEN_FILL, GREEN_EDGE = "#D9F0E8", "#00664B"
ORANGE_FILL, ORANGE_EDGE, ORANGE_INK = "#FFE9C7", "#B35900", "#8A4500"


def new_axes(ax: "Axes | None", *, size: tuple[float, float]) -> "Axes":
    """Return the axes given, or those of a new figure.

    Args:
        ax: Where to draw, if the caller said so.
        size: Width and height of a new figure, in inches.

    Returns:
        The axes to draw on.
    """
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def without_frame(ax: "Axes") -> "Axes":
    """Take the upper and the right edge of a chart away.

    Args:
        ax: A chart. It is changed in place.

    Returns:
        The same axes.
    """
    ax.spines[["top", "right"]].set_visible(False)
    return ax
