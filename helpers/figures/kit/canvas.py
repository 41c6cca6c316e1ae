"""Where a drawing begins: its page, its text, and what its colors mean."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.style import INK, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ROLES", "SMALL", "TEXT", "WIDTH", "Box", "Point", "Role", "canvas", "label"]

WIDTH = 7.4  # inches
TEXT, SMALL = 10.0, 8.5  # points

Point = tuple[float, float]  # x to the right and y upward, in inches


@dataclasses.dataclass(frozen=True)
class Role:
    """What a color means.

    Attributes:
        fill: Color of the area.
        edge: Color of the border, and of arrows.
        ink: Color of text.
        mark: A sign beside the color, for those who can't tell it from others.
        meaning: What a legend says.
    """

    fill: str
    edge: str
    ink: str
    mark: str
    meaning: str


ROLES: Mapping[str, Role] = {
    "plain": Role("#FFFFFF", "#6B6B6B", INK, "", "computed"),
    "frozen": Role("#E1E7EE", "#566B7F", "#2F4254", "❄", "frozen"),
    "trained": Role("#FFE2B5", "#C96F00", "#7A4300", "✎", "trained"),
    "data": Role("#D8EAF8", "#0072B2", "#004A75", "", "data"),
    "memory": Role("#D6EFE3", "#00805E", "#00523C", "", "memory"),
    "wrong": Role("#FBD9CF", "#C23B12", "#8A270A", "✗", "wrong"),
}


@dataclasses.dataclass(frozen=True)
class Box:
    """Where a shape is: its center, width and height, in inches."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> Point:
        """The middle of the left side."""
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> Point:
        """The middle of the right side."""
        return self.x + self.width / 2, self.y

    @property
    def top(self) -> Point:
        """The middle of the upper side."""
        return self.x, self.y + self.height / 2

    @property
    def bottom(self) -> Point:
        """The middle of the lower side."""
        return self.x, self.y - self.height / 2


def canvas(width: float, height: float, *, title: str = "", ax: "Axes | None" = None) -> "Axes":
    """Return axes to draw on, from (0, 0) at the lower left to (width, height).

    Args:
        width: In inches, at most `WIDTH`.
        height: In inches.
        title: Over the drawing.
        ax: Where to draw; a new figure of just this size without it.

    Returns:
        The axes, without ticks and frame.

    Raises:
        ValueError: The drawing would be wider than a page.
    """
    if width > WIDTH:
        raise ValueError(f"a drawing of {width} inches is wider than a page, {WIDTH}: stack it")
    if ax is None:
        import matplotlib.pyplot as plt

        size = (width, height + 0.35 * bool(title))
        _, ax = plt.subplots(figsize=size, layout="constrained")
    ax.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    ax.axis("off")
    if title:
        ax.set_title(title, color=INK, size=11, weight="bold", loc="left")
    return ax


def label(
    ax: "Axes",
    at: Point,
    text: str,
    *,
    role: str = "plain",
    size: float = TEXT,
    align: str = "center",
    bold: bool = False,
    soft: bool = False,
    code: bool = False,
    turned: bool = False,
) -> None:
    """Write text, its middle (or, with `align`, its left or right end) at a point.

    Args:
        ax: A canvas.
        at: Where.
        text: In one or several lines.
        role: Whose ink to take.
        size: In points, `SMALL` or more.
        align: `"left"`, `"center"` or `"right"`.
        bold: For names.
        soft: For remarks: gray.
        code: For code and tokens: letters of one width.
        turned: Upward, along the left side of something.

    Raises:
        ValueError: The text would be too small to read on a phone.
    """
    if size < SMALL:
        raise ValueError(f"text of {size} points can't be read on a phone: give {SMALL} or more")
    style = {"family": "monospace"} if code else {}
    flat = not turned and "\n" not in text  # on one line with its neighbors, whatever its letters
    ax.text(
        *at,
        text,
        ha=align,
        va="center_baseline" if flat else "center",
        size=size,
        weight="bold" if bold else "normal",
        color=SOFT if soft else ROLES[role].ink,
        rotation=90 if turned else 0,
        linespacing=1.25,
        zorder=4,
        **style,
    )
