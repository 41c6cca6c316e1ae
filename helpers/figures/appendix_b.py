"""The drawings of Appendix B: a circle of integers, the fields of floats, blocks with a scale."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.figures.kit import SMALL, Point, arrow, canvas, label, timeline, tokens
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bit_fields", "integer_circle", "shared_scales"]

# Tints of their own, since these fields are none of the kit's roles; each lighter than the last.
FIELDS = {"sign": "#A596BD", "exponent": "#D5CAE2", "mantissa": "#E9E9E6"}
ROW, HEIGHT = 0.4, 0.3  # inches
CENTER, RADIUS = (2.4, 2.2), 1.5  # of the circle of integers, in inches


def bit_fields(formats: Mapping[str, tuple[int, int, int]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw the fields of number formats on one scale, bit by bit.

    Args:
        formats: For each format's name, how many bits sign, exponent and mantissa take.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with one row a format and the width of each field written into it.

    Example:
        >>> bit_fields({"FP16": (1, 5, 10)}).texts[1].get_text()
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
    """Draw a field, a line between each two bits, and how many they are, over the lines."""
    if width:
        low = y - HEIGHT / 2
        _area(ax, (left, low), bit * width, HEIGHT, field=field)
        between = [left + bit * i for i in range(1, width)]
        ax.vlines(between, low, low + HEIGHT, color="white", lw=1.4)
        label(ax, (left + bit * width / 2, y), f"{width}", bold=True)
        ax.texts[-1].set_bbox({"fc": FIELDS[field], "ec": "none", "pad": 1})


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


def integer_circle(n_bits: int = 4, *, ax: "Axes | None" = None) -> "Axes":
    """Draw every pattern of a few bits on a circle, with its unsigned and its signed value.

    Args:
        n_bits: Width of the integers, 3 or 4; more patterns have no room.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: patterns clockwise from the top, unsigned values outside, two's complement
        inside, and an arrow where adding 1 jumps to the other end, one for each reading.

    Raises:
        ValueError: Another number of bits.

    Example:
        >>> integer_circle().texts[0].get_text()
        '0000'

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    if n_bits not in (3, 4):
        raise ValueError(f"n_bits is {n_bits}: give 3 or 4, more patterns do not fit")
    n = 2**n_bits
    ax = canvas(7.3, 4.4, title="Add 1, and you walk around the circle", ax=ax)
    for pattern in range(n):
        x, y = _on_circle(pattern / n, RADIUS)
        wide = 0.14 + 0.073 * n_bits
        tokens(ax, (x - wide / 2, y), [f"{pattern:0{n_bits}b}"], width=wide, height=0.24)
        signed = pattern - n if pattern >= n // 2 else pattern
        label(ax, _on_circle(pattern / n, RADIUS + 0.4), f"{pattern}", bold=True)
        label(ax, _on_circle(pattern / n, RADIUS - 0.4), f"{signed}".replace("-", "−"))
    _seam(ax, (n - 1) / n, RADIUS + 0.58, n=n, bend=-0.2)
    _seam(ax, (n // 2 - 1) / n, RADIUS - 0.56, n=n, bend=1.0)
    top, bottom = n - 1, n // 2 - 1
    notes = (
        (3.2, "outside, bold: unsigned", f"after {top} comes 0", True),
        (2.35, "inside: two's complement", f"after {bottom} comes −{n // 2}", False),
    )
    for y, name, jump, bold in notes:
        label(ax, (4.8, y), name, align="left", bold=bold)
        label(ax, (4.8, y - 0.27), f"✗ {jump}", align="left", role="wrong")
    label(ax, (4.8, 1.4), "one step clockwise: + 1", align="left", soft=True)
    return describe(
        ax,
        f"The {n} patterns of {n_bits} bits on a circle, clockwise. Read as unsigned integers they "
        f"are 0 to {top}, and {top} + 1 is 0. In two's complement they are 0 to {bottom}, then "
        f"−{n // 2} to −1, and {bottom} + 1 is −{n // 2}",
    )


def _on_circle(turn: float, radius: float) -> Point:
    """Return the point at a share of a clockwise turn from the top."""
    angle = 2 * math.pi * turn
    return CENTER[0] + radius * math.sin(angle), CENTER[1] + radius * math.cos(angle)


def _seam(ax: "Axes", turn: float, radius: float, *, n: int, bend: float) -> None:
    """Draw an arrow from a pattern to the next, where the values jump."""
    arrow(ax, _on_circle(turn, radius), _on_circle(turn + 1 / n, radius), role="wrong", bend=bend)


def shared_scales(
    formats: Mapping[str, tuple[int, str, int]], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw what as many 4-bit numbers take in some formats, block by block, on one scale.

    Args:
        formats: For each format's name, how many numbers share a scale, the name of the scale's
            type, and its width in bits.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: for each format a bar of whole blocks, each with its scale set apart, and the
        bits that a number takes, the scale included. All bars hold the same count of numbers.

    Raises:
        ValueError: There are no formats.

    Example:
        >>> shared_scales({"MXFP4": (32, "E8M0", 8)}).get_title("left")
        '32 numbers: four bits each, and a scale for each block'

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    if not formats:
        raise ValueError("give at least one format")
    height = 0.15 + 0.8 * len(formats)
    n_drawn = math.lcm(*(n for n, _, _ in formats.values()))
    title = f"{n_drawn} numbers: four bits each, and a scale for each block"
    ax = canvas(7.3, height, title=title, ax=ax)
    inch = 5.1 / max((4 + wide / n) * n_drawn for n, _, wide in formats.values())  # of a bit
    told = []
    for row, (name, (n_numbers, scale, wide)) in enumerate(formats.items()):
        y = height - 0.45 - 0.8 * row
        block = [(f"{n_numbers} × 4 bits", 4 * n_numbers, "frozen"), ("", wide, "memory")]
        parts = block * (n_drawn // n_numbers)
        length = inch * sum(amount for _, amount, _ in parts)
        *_, last = timeline(ax, (0.1, y - 0.12), parts, length=length)
        label(ax, (0.1, y + 0.22), name, align="left", bold=True)
        text = f"scale: {scale}, {wide} bits"
        label(ax, (0.9, y + 0.22), text, align="left", size=SMALL, role="memory")
        each = f"{4 + wide / n_numbers:g} bits per number"
        label(ax, (last.right[0] + 0.12, y - 0.12), each, align="left", bold=True)
        told.append(f"{name}: {n_numbers} numbers share a scale in {scale} of {wide} bits, {each}")
    return describe(ax, "; ".join(told))
