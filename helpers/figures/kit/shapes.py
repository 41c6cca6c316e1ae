"""What a drawing shows: boxes, tokens, matrices, grids of squares, timelines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.figures.kit.canvas import ROLES, SMALL, Box, Point, label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["box", "grid", "matrix", "timeline", "tokens"]


def box(
    ax: "Axes",
    at: Point,
    text: str = "",
    *,
    size: tuple[float, float] = (1.3, 0.5),
    role: str = "plain",
    note: str = "",
    bold: bool = False,
    dashed: bool = False,
    code: bool = False,
) -> Box:
    """Draw a rounded box with text in it.

    Args:
        ax: A canvas.
        at: Its center.
        text: In one or several lines.
        size: Width and height, in inches.
        role: One of `ROLES`. A mark in the corner repeats what its color says.
        note: Smaller text under the text.
        bold: Whether the text is a name.
        dashed: For what may be missing, or is not always there.
        code: Whether the text is code.

    Returns:
        Where it is.
    """
    from matplotlib.patches import FancyBboxPatch

    (x, y), (width, height), colors = at, size, ROLES[role]
    rounding = min(0.08, height / 4, width / 4)
    patch = FancyBboxPatch(
        (x - width / 2, y - height / 2),
        width,
        height,
        boxstyle=f"round,pad=0,rounding_size={rounding}",
        fc=colors.fill,
        ec=colors.edge,
        lw=1.3,
        ls="--" if dashed else "-",
        zorder=2,
    )
    ax.add_patch(patch)
    if text:
        lines = text.count("\n") + 1
        up = 0.09 * (note.count("\n") + 1) if note else 0
        label(ax, (x, y + up), text, role=role, bold=bold, code=code)
        if note:
            label(ax, (x, y + up - 0.09 * lines - 0.1), note, role=role, size=SMALL)
    if colors.mark:
        corner = (x + width / 2 - 0.09, y + height / 2 - 0.09)
        label(ax, corner, colors.mark, role=role, size=SMALL)
    return Box(x, y, width, height)


def tokens(
    ax: "Axes",
    at: Point,
    texts: Sequence[str],
    *,
    roles: Sequence[str] | str = "data",
    width: float | None = None,
    height: float = 0.32,
) -> list[Box]:
    """Draw a row of tokens, each in a box as wide as its text.

    Args:
        ax: A canvas.
        at: The left end, at half of the height.
        texts: One for each token.
        roles: One for each token, or one for all.
        width: Of each box, in inches; without it each is as wide as its own text.
        height: Of the boxes, in inches.

    Returns:
        Where each token is.
    """
    from matplotlib.patches import Rectangle

    left, y = at
    each = [roles] * len(texts) if isinstance(roles, str) else list(roles)
    drawn = []
    for text, role in zip(texts, each, strict=True):
        wide = width or 0.14 + 0.073 * len(text)  # of a monospaced letter of 8.5 points
        colors = ROLES[role]
        corner = (left, y - height / 2)
        ax.add_patch(Rectangle(corner, wide, height, fc=colors.fill, ec=colors.edge, zorder=2))
        drawn.append(Box(left + wide / 2, y, wide, height))
        label(ax, (left + wide / 2, y), text, role=role, size=SMALL, code=True)
        left += wide
    return drawn


def matrix(
    ax: "Axes",
    at: Point,
    shape: tuple[int, int],
    *,
    scale: float,
    name: str = "",
    role: str = "plain",
    sides: bool = True,
) -> Box:
    """Draw a matrix to scale, its number of rows and columns written on its sides.

    Args:
        ax: A canvas.
        at: Its center.
        shape: Rows and columns.
        scale: Inches for a row or a column. A side is drawn at least 0.16 inches long.
        name: Written into it, or over it where it is too thin.
        role: One of `ROLES`.
        sides: Whether to write the shape.

    Returns:
        Where it is.
    """
    from matplotlib.patches import Rectangle

    (x, y), colors = at, ROLES[role]
    height, width = (max(0.16, scale * n) for n in shape)
    corner = (x - width / 2, y - height / 2)
    ax.add_patch(Rectangle(corner, width, height, fc=colors.fill, ec=colors.edge, lw=1.3, zorder=2))
    if name:
        marked = f"{name} {colors.mark}".strip()
        thin = min(width, height) < 0.3
        place = (x + width / 2 + 0.2, y) if thin and height > width else (x, y)
        place = (x, y - height / 2 - 0.16) if thin and height <= width else place
        label(ax, place, marked, role=role, size=12, bold=True)
    if sides:
        rows, columns = (f"{n:,}" for n in shape)
        label(ax, (x - width / 2 - 0.13, y), rows, size=SMALL, soft=True, turned=True)
        label(ax, (x, y + height / 2 + 0.12), columns, size=SMALL, soft=True)
    return Box(x, y, width, height)


def grid(
    ax: "Axes",
    at: Point,
    roles: Sequence[Sequence[str | None]],
    *,
    cell: float = 0.26,
    texts: Sequence[Sequence[str]] | None = None,
) -> list[list[Box]]:
    """Draw squares in rows and columns, such as an attention mask or a batch.

    Args:
        ax: A canvas.
        at: The upper left corner.
        roles: For each square of each row, one of `ROLES`; None draws an empty one.
        cell: Side of a square, in inches.
        texts: What is written into each square.

    Returns:
        Where each square is.
    """
    from matplotlib.patches import Rectangle

    drawn = []
    for i, row in enumerate(roles):
        boxes = []
        for j, role in enumerate(row):
            corner = (at[0] + j * cell, at[1] - (i + 1) * cell)
            colors = ROLES[role or "plain"]
            edge = colors.edge if role else "#CFCFCF"
            ax.add_patch(
                Rectangle(
                    corner, cell, cell, fc=colors.fill, ec=edge, lw=0.8, zorder=2 + bool(role)
                )
            )
            boxes.append(Box(corner[0] + cell / 2, corner[1] + cell / 2, cell, cell))
            if texts:
                label(ax, (boxes[-1].x, boxes[-1].y), texts[i][j], role=role or "plain", size=SMALL)
        drawn.append(boxes)
    return drawn


def timeline(
    ax: "Axes",
    at: Point,
    parts: Sequence[tuple[str, float, str]],
    *,
    length: float,
    height: float = 0.36,
) -> list[Box]:
    """Draw parts of a whole one after the other, each as long as its share.

    Args:
        ax: A canvas.
        at: The left end, at half of the height.
        parts: Text, amount and role of each.
        length: Of all together, in inches.
        height: In inches.

    Returns:
        Where each part is.
    """
    from matplotlib.patches import Rectangle

    total = sum(amount for _, amount, _ in parts)
    left, y = at
    drawn = []
    for text, amount, role in parts:
        wide, colors = length * amount / total, ROLES[role]
        corner = (left, y - height / 2)
        ax.add_patch(Rectangle(corner, wide, height, fc=colors.fill, ec=colors.edge, zorder=2))
        if text:
            label(ax, (left + wide / 2, y), text, role=role, size=SMALL)
        drawn.append(Box(left + wide / 2, y, wide, height))
        left += wide
    return drawn
