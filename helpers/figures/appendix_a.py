"""The drawing of Appendix A: how a rented machine is reached."""

from typing import TYPE_CHECKING

from helpers.style import (
    EDGE,
    FILL,
    GREEN_EDGE,
    GREEN_FILL,
    INK,
    ORANGE_EDGE,
    ORANGE_INK,
    new_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["tunnel"]


def tunnel(*, ax: "Axes | None" = None) -> "Axes":
    """Draw how a browser reaches JupyterLab on a rented machine through SSH, and nobody else does.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a frame for each machine, the tunnel between them, and a stranger before a
        closed door.

    Example:
        >>> tunnel().get_title()
        'One open port: that of SSH'

    Taught in: AppendixA.md
    """
    from matplotlib.patches import FancyBboxPatch, Rectangle

    ax = new_axes(ax, size=(10, 2.9))
    text = {"ha": "center", "va": "center", "size": 10, "color": INK}
    box = {"boxstyle": "round,pad=0.4", "ec": EDGE, "fc": "white"}
    for x, width, name in ((0, 3.4, "your computer"), (6.4, 3.6, "the rented machine")):
        frame = {"boxstyle": "round,pad=0.02,rounding_size=0.1", "fc": FILL, "ec": EDGE, "lw": 1.5}
        ax.add_patch(FancyBboxPatch((x, 0), width, 2.2, **frame))
        ax.text(x + width / 2, 1.95, name, weight="bold", **text)
    ax.add_patch(
        Rectangle((3.0, 0.98), 3.9, 0.34, fc=GREEN_FILL, ec=GREEN_EDGE, hatch="//", alpha=0.6)
    )
    ax.text(4.95, 1.5, "SSH, encrypted: port 22", **{**text, "color": GREEN_EDGE})
    ax.text(1.0, 1.15, "browser", bbox=box, **text)
    ax.text(2.45, 0.6, "localhost:8888", **{**text, "size": 9})
    ax.text(8.9, 1.15, "JupyterLab", bbox=box, **text)
    ax.text(8.2, 0.6, "127.0.0.1:8888", **{**text, "size": 9})
    arrow = {"arrowstyle": "-|>", "color": EDGE, "lw": 1.5}
    ax.annotate("", (3.0, 1.15), (1.5, 1.15), arrowprops=arrow)
    ax.annotate("", (8.25, 1.15), (6.9, 1.15), arrowprops=arrow)
    ax.text(4.6, 0.15, "anyone else", **text)
    closed = {"arrowstyle": "-|>", "color": ORANGE_EDGE, "lw": 1.5, "ls": "--"}
    ax.annotate("", (6.35, 0.15), (5.2, 0.15), arrowprops=closed)
    ax.text(6.62, 0.15, "×", **{**text, "size": 18, "color": ORANGE_EDGE})
    ax.text(7.75, 0.18, "port 8888 is closed", **{**text, "size": 9, "color": ORANGE_INK})
    ax.set_title("One open port: that of SSH", color=INK)
    ax.set(xlim=(-0.1, 10.1), ylim=(-0.1, 2.3))
    ax.axis("off")
    return ax
