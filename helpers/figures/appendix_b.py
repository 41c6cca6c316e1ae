"""The drawing of Appendix B: the fields of number formats."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.style import INK, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bit_fields"]


def bit_fields(formats: Mapping[str, tuple[int, int, int]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw the fields of number formats on one scale, a box for each bit.

    Args:
        formats: For each format's name, how many bits sign, exponent and mantissa take.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with one row a format and the width of each field written into it.

    Example:
        >>> len(bit_fields({"fp16": (1, 5, 10)}).patches)
        16

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    from matplotlib.patches import Rectangle

    ax = new_axes(ax, size=(9, 0.6 + 0.42 * len(formats)))
    fields = (("sign", "#F6C7A8", "//"), ("exponent", "#FFE3A3", ""), ("mantissa", "#BFE0F5", ".."))
    for row, widths in enumerate(formats.values()):
        place = 0
        for width, (_, color, hatch) in zip(widths, fields, strict=True):
            for bit in range(place, place + width):
                box = Rectangle((bit, row - 0.38), 1, 0.76, fc=color, ec="white", hatch=hatch)
                ax.add_patch(box)
            if width:
                style = {"ha": "center", "va": "center", "color": INK, "weight": "bold"}
                ax.text(place + width / 2, row, width, **style)
            place += width
    ax.set_yticks(range(len(formats)), list(formats))
    ax.set(xlim=(0, max(map(sum, formats.values()))), xlabel="bits")
    ax.set_ylim(len(formats) - 0.5, -0.5)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    names = [Rectangle((0, 0), 1, 1, fc=c, ec="white", hatch=h, label=n) for n, c, h in fields]
    ax.legend(handles=names, loc="lower right", frameon=False)
    return ax
