"""What all charts share: colours, new axes, and their frame."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "new_axes", "without_frame"]

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "grey": "#999999",
}


def new_axes(ax: "Axes | None", *, size: tuple[float, float]) -> "Axes":
    """Return the axes given, or those of a new figure of a size in inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def without_frame(ax: "Axes") -> "Axes":
    """Take the upper and the right edge away, and return the axes."""
    ax.spines[["top", "right"]].set_visible(False)
    return ax
