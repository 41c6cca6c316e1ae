"""The drawing of Appendix B: the fields of number formats."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.figures.kit import SMALL, Point, canvas, label
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bit_fields"]

# Tints of their own, since these fields are none of the kit's roles; each lighter than the last.
FIELDS = {"sign": "#A596BD", "exponent": "#D5CAE2", "mantissa": "#E9E9E6"}
ROW, HEIGHT = 0.4, 0.3  # inches


def bit_fields(formats: Mapping[str, tuple[int, int, int]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw the fields of number formats on one scale, bit by bit.

    Args:
        formats: For each format's name, how many bits sign, exponent and mantissa take.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with one row a format and the width of each field written into it.

    Example:
        >>> bit_fields({"fp16": (1, 5, 10)}).texts[1].get_text()
        '1'

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    left = 0.25 + 0.083 * max(map(len, formats))  # of a monospaced letter of 10 points
    bit = min(0.3, (6.75 - left) / max(map(sum, formats.values())))
    height = 0.5 + ROW * len(formats)
    title = "Exponent bits give range, mantissa bits give precision"
    ax = canvas(7.4, height, title=title, ax=ax)
    for row, (name, widths) in enumerate(formats.items()):
        y = height - ROW * (row + 0.5)
        label(ax, (left - 0.12, y), name, align="right", code=True)
        end = left
        for field, width in zip(FIELDS, widths, strict=True):
            _field(ax, end, y, field=field, width=width, bit=bit)
            end += bit * width
        label(ax, (end + 0.1, y), f"{sum(widths)} bits", size=SMALL, align="left", soft=True)
    _key(ax, (7.35, 0.2))
    listed = "; ".join(f"{n} {s}, {e} and {m}" for n, (s, e, m) in formats.items())
    return describe(ax, f"Bits for sign, exponent and mantissa, a box for each bit: {listed}")


def _field(ax: "Axes", left: float, y: float, *, field: str, width: int, bit: float) -> None:
    """Draw a field, a line between each two bits, and how many they are."""
    if width:
        low = y - HEIGHT / 2
        _area(ax, (left, low), bit * width, HEIGHT, field=field)
        between = [left + bit * i for i in range(1, width)]
        ax.vlines(between, low, low + HEIGHT, color="white", lw=1.4)
        label(ax, (left + bit * width / 2, y), f"{width}", bold=True)


def _area(ax: "Axes", corner: Point, width: float, height: float, *, field: str) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle(corner, width, height, fc=FIELDS[field], ec="white", lw=1.4))


def _key(ax: "Axes", right: Point) -> None:
    """Write what the tints mean, in a row that ends at a point."""
    x, y = right
    for field in reversed(FIELDS):
        x -= 0.068 * len(field)
        label(ax, (x, y), field, size=SMALL, align="left")
        x -= 0.28
        _area(ax, (x, y - 0.08), 0.2, 0.16, field=field)
        x -= 0.22
