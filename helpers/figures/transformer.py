"""The transformer block, drawn the same way wherever it appears."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.figures.kit import Box, arrow, box, canvas, label
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PARTS", "draw_block", "transformer_block"]

# The parts of a block, from its input below to its output above: text, and height in inches.
PARTS = {
    "norm 1": "norm",
    "q k v": "q, k, v",
    "attention": "attention",
    "o": "o",
    "norm 2": "norm",
    "gate up": "gate, up",
    "down": "down",
}
PLACES = {
    "norm 1": 0.55,
    "q k v": 1.1,
    "attention": 1.65,
    "o": 2.2,
    "norm 2": 3.2,
    "gate up": 3.75,
    "down": 4.3,
}
ADDITIONS = (2.68, 4.78)  # where the residual stream takes in what a half has computed
HEIGHT = 5.2


def draw_block(
    ax: "Axes",
    x: float,
    *,
    roles: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    bottom: float = 0.0,
) -> dict[str, Box]:
    """Draw a block from below to above, the residual stream at its left.

    Args:
        ax: A canvas, on which the block takes 5.2 inches of height, from 1.2 inches left of `x` to
            0.8 right of it.
        x: Center of the block's layers.
        roles: For some of `PARTS`, their role; the others are plain.
        texts: For some of `PARTS`, what to write in place of their name.
        bottom: Where its lower end is.

    Returns:
        Where each part is, and under `"stream"` where the residual stream is.
    """
    roles, texts = roles or {}, texts or {}
    stream = x - 1.1
    drawn = {}
    for part, name in PARTS.items():
        at = (x, bottom + PLACES[part])
        text, role = texts.get(part, name), roles.get(part, "plain")
        drawn[part] = box(ax, at, text, size=(1.5, 0.38), role=role)
    arrow(ax, (stream, bottom), (stream, bottom + HEIGHT))
    for half, addition in zip((list(PARTS)[:4], list(PARTS)[4:]), ADDITIONS, strict=True):
        y = bottom + addition
        first, last = drawn[half[0]], drawn[half[-1]]
        low = first.y - 0.33
        arrow(ax, (stream, low), (x, low), heads="-")
        arrow(ax, (x, low), first.bottom)
        for below, above in itertools.pairwise(half):
            arrow(ax, drawn[below].top, drawn[above].bottom)
        arrow(ax, last.top, (x, y), heads="-")
        arrow(ax, (x, y), (stream + 0.11, y))
        circle = {"boxstyle": "circle,pad=0.12", "fc": "white", "ec": "#6B6B6B", "lw": 1.3}
        ax.text(stream, y, "+", ha="center", va="center", size=11, bbox=circle, zorder=5)
    drawn["stream"] = Box(stream, bottom + HEIGHT / 2, 0.0, HEIGHT)
    return drawn


def transformer_block(
    shares: Mapping[str, float], *, n_blocks: int, ax: "Axes | None" = None
) -> "Axes":
    """Draw a block with its residual stream, and the share of all parameters in each part.

    Args:
        shares: For each of `PARTS`, and for `"embedding"`, the share of all parameters that it
            has in all blocks together, 0 to 1. They add up to 1, but for the last norm.
        n_blocks: How many such blocks the model has.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: the block from below to above, a bar and a percentage for each part.

    Raises:
        ValueError: A part has no share.

    Taught in: notebooks/01_language_models.ipynb
    """
    if missing := {*PARTS, "embedding"} - set(shares):
        raise ValueError(f"no share for {sorted(missing)}: give one for each part")
    ax = canvas(6.6, 6.9, title=f"One of {n_blocks} blocks", ax=ax)
    bottom, x = 0.85, 2.3
    parts = draw_block(ax, x, bottom=bottom)
    embedding = box(ax, (1.5, 0.42), "embedding", size=(2.6, 0.4))
    arrow(ax, (parts["stream"].x, embedding.top[1]), (parts["stream"].x, bottom), heads="-")
    box(ax, (1.5, 6.3), "next block, or norm and output", size=(2.6, 0.4), dashed=True)
    label(ax, (0.75, 3.45), "residual stream", turned=True, soft=True)
    label(ax, (3.5, 6.3), "share of all parameters", bold=True, align="left")
    label(ax, (5.5, bottom + 1.38), "attention:\ntokens look\nat tokens", soft=True, align="left")
    label(ax, (5.5, bottom + 4.02), "MLP:\neach token\nby itself", soft=True, align="left")
    for part, shape in {**parts, "embedding": embedding}.items():
        if part != "stream":
            _bar(ax, shape.y, shares[part])
    listed = ", ".join(f"{part} {_percent(share)}" for part, share in shares.items())
    return describe(
        ax,
        "The residual stream runs from the embedding upward. Twice it is read, through a norm, and "
        "added to: by attention (q, k, v, attention, o) and by the MLP (gate, up, down). Shares of "
        f"all parameters: {listed}",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "none" if not share else "under 1 %"


def _bar(ax: "Axes", y: float, share: float) -> None:
    from matplotlib.patches import Rectangle

    left, longest = 3.5, 3.2
    if share:
        ax.add_patch(Rectangle((left, y - 0.1), longest * share, 0.2, fc="#8FB8D4", ec="none"))
    label(ax, (left + longest * share + 0.08, y), _percent(share), align="left")
