"""A rented machine, and how it is reached."""

from typing import TYPE_CHECKING

from helpers.figures.kit import ROLES, SMALL, box, canvas, connect, frame, label
from helpers.style import describe

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
        >>> tunnel().get_title("left")
        'One open port: that of SSH'

    Taught in: AppendixA.md
    """
    from matplotlib.patches import Rectangle

    ax = canvas(5.5, 2.36, title="One open port: that of SSH", ax=ax)
    browser = box(ax, (0.95, 1.55), "browser", note="localhost:8888", size=(1.36, 0.62))
    jupyter = box(ax, (4.5, 1.55), "JupyterLab", note="127.0.0.1:8888", size=(1.36, 0.62))
    closed = box(ax, (4.5, 0.5), "port 8888", note="closed", size=(1.36, 0.56), role="wrong")
    stranger = box(ax, (2.6, 0.5), "anyone else", size=(1.2, 0.46))
    pipe = {"fc": "#EDEDED", "ec": ROLES["plain"].edge, "lw": 1.3, "zorder": 2}
    ax.add_patch(Rectangle((1.73, 1.36), 2.0, 0.38, **pipe))
    frame(ax, [browser], text="your computer", margin=0.2)
    frame(ax, [jupyter, closed], text="the rented machine", margin=0.2)
    connect(ax, browser, jupyter)
    connect(ax, stranger, closed, role="wrong", dashed=True)
    label(ax, (2.73, 1.93), "SSH, encrypted:\nport 22", size=SMALL)
    return describe(
        ax,
        "A browser on your computer asks localhost:8888. Through an encrypted SSH tunnel to port "
        "22 it reaches JupyterLab at 127.0.0.1:8888 on the rented machine, whose port 8888 is "
        "closed to anyone else",
    )
