"""How much memory models take."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.plots.marks import note, set_rows
from helpers.style import describe, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["footprint"]

LOOKS = (("#0072B2", ""), ("#E69F00", "//"), ("#009E73", ".."), ("#999999", "xx"))


def footprint(parts: Mapping[str, Mapping[str, int]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw the memory of models as stacked bars, one bar a model.

    Args:
        parts: For each model's name, the bytes of each of its parts; the same parts in each.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: There are no models, they do not have the same parts, or more than four.

    Taught in: notebooks/00_tldr.ipynb, notebooks/02_quantization.ipynb
    """
    names = list(next(iter(parts.values()), {}))
    if not 0 < len(names) <= len(LOOKS):
        raise ValueError(f"parts {names}: give at least one model, of one to four parts")
    if any(list(sizes) != names for sizes in parts.values()):
        raise ValueError(f"every model must have the parts {names}, in this order")
    ax = new_axes(ax, size=(7.4, 1.15 + 0.42 * len(parts)))
    left = [0.0] * len(parts)
    for name, (color, hatch) in zip(names, LOOKS, strict=False):
        sizes = [model[name] / 1e6 for model in parts.values()]
        style = {"color": color, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
        ax.barh(range(len(parts)), sizes, 0.62, left=left, label=name, **style)
        left = [start + size for start, size in zip(left, sizes, strict=True)]
    for row, total in enumerate(left):
        note(ax, row, f"{total:.0f} MB")
    set_rows(ax, list(parts), headroom=0.7, guides=False)
    ax.set(xlabel="size of the weights (MB, 10⁶ bytes)", xlim=(0, max(left)))
    ax.legend(loc="upper left", ncols=4, borderaxespad=0.1)
    told = []
    for model, sizes in parts.items():
        listed = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in sizes.items())
        told.append(f"{model}: {sum(sizes.values()) / 1e6:.0f} MB ({listed})")
    return describe(ax, "; ".join(told))
