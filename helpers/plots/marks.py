"""What charts share: rows with names, named lines to compare with, numbers in words."""

import decimal
from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.style import INK, SOFT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "INKS",
    "SMALL",
    "Reference",
    "horizontal_reference",
    "note",
    "number",
    "set_log",
    "set_rows",
    "vertical_reference",
]

SMALL = 9.0  # points
# Of text beside each of `helpers.style.COLORS`: dark enough to read on white.
INKS = ("#005A8C", "#8A5A00", "#00664B", "#A34700", "#9A4675", "#1F6F9F", "#595959")

Reference = tuple[str, float]


def number(value: float) -> str:
    """Write a number for people: whole ones in full, others with three digits that count.

    Args:
        value: Any number.

    Returns:
        Digits without an exponent.

    Example:
        >>> number(0.0000612), number(1984.2), number(4096)
        ('0.0000612', '1,980', '4,096')
    """
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{decimal.Decimal(f'{value:.3g}'):,f}"


def set_rows(
    ax: "Axes", names: Sequence[str], *, headroom: float = 0.0, guides: bool = True
) -> None:
    """Make a chart of named rows, the first on top.

    Args:
        ax: A chart. It is changed in place.
        names: Of the rows.
        headroom: Free space over the first row, in rows; other axes that share the rows may
            have asked for more.
        guides: Whether to draw a faint line along each row.
    """
    top = min(-0.5 - headroom, ax.get_ylim()[1] if ax.yaxis_inverted() else 0)
    ax.set_yticks(range(len(names)), list(names))
    ax.set_ylim(len(names) - 0.5, top)
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
    for row in range(len(names)) if guides else ():
        ax.axhline(row, color="#E8E8E8", linewidth=0.8, zorder=0)
    ax.spines["left"].set_visible(False)


def set_log(ax: "Axes") -> None:
    """Make x logarithmic, with plain numbers: 1, 2 and 5 times a power of ten, if these are few."""
    from matplotlib.ticker import LogLocator

    low, high = ax.dataLim.intervalx
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 50 * low else (1,)))
    ax.xaxis.set_major_formatter(lambda value, _: number(value))
    ax.minorticks_off()


def note(ax: "Axes", row: float, text: str) -> None:
    """Write text at the right of a row, beside the chart."""
    beside = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "size": SMALL}
    ax.annotate(text, (1, row), xycoords=("axes fraction", "data"), **beside)


def vertical_reference(ax: "Axes", reference: Reference) -> None:
    """Draw a dashed line from below to above, its name in the headroom of the rows."""
    name, value = reference
    ax.axvline(value, color=SOFT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    left = ax.transAxes.inverted().transform(ax.transData.transform((value, 0)))[0] > 0.6
    style = {"size": SMALL, "color": SOFT, "va": "top", "ha": "right" if left else "left"}
    offset = {"xytext": (-5 if left else 5, -1), "textcoords": "offset points"}
    ax.annotate(name, (value, 1), xycoords=("data", "axes fraction"), **offset, **style)


def horizontal_reference(ax: "Axes", reference: Reference) -> None:
    """Draw a dashed line from left to right, its name over its left end."""
    name, value = reference
    ax.axhline(value, color=INK, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    offset = {"xytext": (5, 3), "textcoords": "offset points", "va": "bottom"}
    ax.annotate(
        name, (0, value), xycoords=("axes fraction", "data"), size=SMALL, color=SOFT, **offset
    )
