"""What ties a drawing together: arrows, frames, and a key of its colors."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.figures.kit.canvas import ROLES, SMALL, Box, Point, label
from helpers.style import SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["arrow", "connect", "frame", "key", "route"]


def arrow(
    ax: "Axes",
    start: Point,
    end: Point,
    *,
    text: str = "",
    role: str = "plain",
    bend: float = 0.0,
    dashed: bool = False,
    heads: str = "-|>",
) -> None:
    """Draw an arrow from a point to another.

    Args:
        ax: A canvas.
        start: Where it begins.
        end: Where its head is.
        text: Beside its middle, on white.
        role: Whose color to take.
        bend: How far it curves, as a share of its length; to the left of its way if negative.
        dashed: For a way that is not always taken.
        heads: How matplotlib calls the ends: `"-|>"`, `"<|-|>"`, `"-"` for a line.
    """
    color = ROLES[role].edge
    style = {
        "arrowstyle": heads,
        "color": color,
        "lw": 1.4,
        "ls": "--" if dashed else "-",
        "shrinkA": 1,
        "shrinkB": 1,
        "mutation_scale": 12,
        "connectionstyle": f"arc3,rad={bend}",
    }
    ax.annotate("", end, start, arrowprops=style, zorder=3)
    if text:
        across, up = end[0] - start[0], end[1] - start[1]
        middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
        middle = (middle[0] + bend * up / 2, middle[1] - bend * across / 2)
        backing = {"fc": "white", "ec": "none", "pad": 1.5}
        ink = ROLES[role].ink
        ax.text(
            *middle, text, ha="center", va="center", size=SMALL, color=ink, bbox=backing, zorder=4
        )


def connect(
    ax: "Axes", a: Box, b: Box, *, text: str = "", role: str = "plain", dashed: bool = False
) -> None:
    """Draw a straight arrow between the sides of two shapes that face each other.

    Args:
        ax: A canvas.
        a: Where it begins.
        b: Where it ends.
        text: Beside its middle, on white.
        role: Whose color to take.
        dashed: For a way that is not always taken.
    """
    beside = abs(b.x - a.x) - (a.width + b.width) / 2
    above = abs(b.y - a.y) - (a.height + b.height) / 2
    if beside >= above:
        start, end = (a.right, b.left) if b.x > a.x else (a.left, b.right)
    else:
        start, end = (a.top, b.bottom) if b.y > a.y else (a.bottom, b.top)
    arrow(ax, start, end, text=text, role=role, dashed=dashed)


def route(
    ax: "Axes",
    points: Sequence[Point],
    *,
    text: str = "",
    role: str = "plain",
    dashed: bool = False,
) -> None:
    """Draw an arrow that turns corners.

    Args:
        ax: A canvas.
        points: Where it begins, each corner, and where its head is.
        text: On the middle of its longest leg, on white.
        role: Whose color to take.
        dashed: For a way that is not always taken.
    """
    *corners, last, end = points
    x, y = zip(*corners, last, strict=True)
    line = {"color": ROLES[role].edge, "lw": 1.4, "ls": "--" if dashed else "-", "zorder": 3}
    ax.plot(x, y, **line)
    arrow(ax, last, end, role=role, dashed=dashed)
    if text:
        legs = list(itertools.pairwise(points))
        (x0, y0), (x1, y1) = max(legs, key=lambda leg: math.dist(*leg))
        backing = {"fc": "white", "ec": "none", "pad": 1.5}
        style = {"ha": "center", "va": "center", "size": SMALL, "color": ROLES[role].ink}
        ax.text((x0 + x1) / 2, (y0 + y1) / 2, text, bbox=backing, zorder=4, **style)


def frame(ax: "Axes", shapes: Sequence[Box], *, text: str = "", margin: float = 0.14) -> Box:
    """Draw a dashed frame around shapes.

    Args:
        ax: A canvas.
        shapes: What is inside.
        text: A name, at the upper left inside the frame, for which there is room above.
        margin: Between shapes and frame, in inches.

    Returns:
        Where the frame is.
    """
    from matplotlib.patches import FancyBboxPatch

    left = min(s.left[0] for s in shapes) - margin
    right = max(s.right[0] for s in shapes) + margin
    bottom = min(s.bottom[1] for s in shapes) - margin
    top = max(s.top[1] for s in shapes) + margin + 0.24 * bool(text)
    style = {"boxstyle": "round,pad=0,rounding_size=0.1", "fc": "none", "ls": (0, (4, 3))}
    ax.add_patch(
        FancyBboxPatch(
            (left, bottom), right - left, top - bottom, ec=SOFT, lw=1.0, zorder=1, **style
        )
    )
    if text:
        label(ax, (left + 0.1, top - 0.14), text, size=SMALL, align="left", soft=True)
    return Box((left + right) / 2, (bottom + top) / 2, right - left, top - bottom)


def key(ax: "Axes", at: Point, roles: Sequence[str], *, meanings: Sequence[str] = ()) -> None:
    """Write what colors mean, in a row.

    Args:
        ax: A canvas.
        at: The left end, at half of the height.
        roles: Of `ROLES`, in order.
        meanings: What to write for each, if not what it means everywhere.
    """
    from matplotlib.patches import Rectangle

    left, y = at
    for role, meaning in zip(roles, meanings or [ROLES[r].meaning for r in roles], strict=True):
        colors = ROLES[role]
        ax.add_patch(Rectangle((left, y - 0.08), 0.2, 0.16, fc=colors.fill, ec=colors.edge))
        text = f"{meaning} {colors.mark}".strip()
        label(ax, (left + 0.28, y), text, role=role, size=SMALL, align="left")
        left += 0.28 + 0.075 * len(text) + 0.22
