"""Charts of Chapter 4: what the positions of a batch hold."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.style import COLORS, new_axes, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["token_grid"]


def token_grid(
    rows: Sequence[Sequence[int]], *, names: Sequence[str], ax: "Axes | None" = None
) -> "Axes":
    """Draw the positions of a batch as squares, colored by what they hold.

    Args:
        rows: For each row of the batch, what each position holds: an index into `names`.
        names: What the indices mean, at most five; the first is drawn palest, for padding.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: The rows are not of one length, or an index has no name.

    Taught in: notebooks/04_formatting.ipynb
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colors = ["#EEEEEE", COLORS["sky"], COLORS["orange"], COLORS["blue"], COLORS["red"]]
    if len({len(row) for row in rows}) != 1 or not 0 < len(names) <= len(colors):
        raise ValueError("give rows of one length, and one to five names")
    if not all(0 <= index < len(names) for row in rows for index in row):
        raise ValueError(f"an index has no name: there are {len(names)}")
    ax = new_axes(ax, size=(8, 0.6 + 0.22 * len(rows)))
    palette = ListedColormap(colors[: len(names)])
    edges = "white" if len(rows[0]) <= 100 else "none"  # lines would cover narrow squares
    limits = {"vmin": -0.5, "vmax": len(names) - 0.5}
    ax.pcolormesh(rows, cmap=palette, edgecolors=edges, linewidth=0.4, **limits)
    ax.invert_yaxis()
    ax.set_yticks([])
    patches = [Patch(color=colors[i], label=name) for i, name in enumerate(names)]
    ax.legend(handles=patches, loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return without_frame(ax)
