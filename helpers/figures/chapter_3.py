"""The drawing of Chapter 3: where adapters sit."""

import itertools
from typing import TYPE_CHECKING

from helpers.style import (
    EDGE,
    FILL,
    GREEN_EDGE,
    GREEN_FILL,
    INK,
    ORANGE_EDGE,
    ORANGE_FILL,
    ORANGE_INK,
    SOFT,
    new_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["adapter_places"]

# One block of a model, from left to right: linear layers, and what comes after them.
BLOCK = (("q k v", 0.0), ("attention", 1.8), ("o", 3.4), ("gate up", 6.6), ("down", 8.6))
BEHIND = (4.8, 10.0)  # where the classic adapter is


def adapter_places(*, ax: "Axes | None" = None) -> "Axes":
    """Draw where LoRA and the classic adapter sit in a block.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: the block's layers in a row, LoRA above the linear ones, the classic adapter
        behind attention and behind the MLP.

    Example:
        >>> len([text for text in adapter_places().texts if "B A" in text.get_text()])
        4

    Taught in: notebooks/03_lora.ipynb
    """
    ax = new_axes(ax, size=(10, 2.8))
    text = {"ha": "center", "va": "center", "size": 10, "color": INK}
    box = {"boxstyle": "round,pad=0.4", "ec": EDGE, "fc": FILL}
    product = {**box, "ec": ORANGE_EDGE, "fc": ORANGE_FILL}
    classic = {**box, "ec": GREEN_EDGE, "fc": GREEN_FILL, "ls": "--"}
    arrow = {"arrowstyle": "-|>", "color": SOFT, "lw": 1.2, "shrinkA": 16, "shrinkB": 16}
    stops = sorted([*(x for _, x in BLOCK), *BEHIND])
    places = [-1.6, *stops, 11.4]
    for start, end in itertools.pairwise(places):
        ax.annotate("", (end, 0), (start, 0), arrowprops=arrow)
    for name, x in BLOCK:
        ax.text(x, 0, f"{name:^9}", bbox=box, **text)
        if name != "attention":
            products = "B A" if name in ("o", "down") else "B A each"
            ax.text(x, 1.1, f"{products:^13}", bbox=product, **text)
            curve = {**arrow, "color": ORANGE_EDGE, "connectionstyle": "arc3,rad=-0.45"}
            ax.annotate("", (x - 0.1, 1.1), (x - 0.75, 0), arrowprops={**curve, "shrinkA": 0})
            ax.annotate("", (x + 0.75, 0), (x + 0.1, 1.1), arrowprops={**curve, "shrinkB": 0})
    for x in BEHIND:
        ax.text(x, 0, "down\nGELU\nup", bbox=classic, **text)
    ax.text(4.3, 1.75, "LoRA: beside a linear layer", **{**text, "color": ORANGE_INK})
    ax.text(7.4, -0.9, "classic adapter: behind attention, behind the MLP", **text)
    ax.set(xlim=(-1.7, 11.5), ylim=(-1.2, 2))
    ax.axis("off")
    return ax
