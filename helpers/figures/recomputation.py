"""The drawing of activation checkpointing: what is kept, and what is computed again."""

from typing import TYPE_CHECKING

from helpers.figures.kit import ROLES, SMALL, arrow, box, canvas, label
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["checkpointing"]

LEFT, RIGHT = 0.0, 3.66  # where each stack begins, in inches
ROW, LOWEST = 0.48, 0.95  # inches from one block to the next, and up to the first
BAR, LENGTH = 1.36, 1.12  # where a block's bar begins in its stack, and how long it is


def checkpointing(
    n_blocks: int, *, block_mib: float, input_mib: float, ax: "Axes | None" = None
) -> "Axes":
    """Draw which activations wait for the backward pass, without and with checkpointing.

    Args:
        n_blocks: Of the model; of many the first two and the last two are drawn.
        block_mib: What a block keeps without checkpointing, its input included, in MiB.
        input_mib: What its input takes, in MiB.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a stack of blocks without it at the left and one with it at the right, as the
        backward pass is in the last block. Bars are to scale.

    Raises:
        ValueError: There are fewer than two blocks, or an input is larger than all that is kept.

    Taught in: notebooks/05_training.ipynb
    """
    if n_blocks < 2 or not 0 < input_mib < block_mib:
        raise ValueError(
            f"{n_blocks} blocks that keep {block_mib} MiB, {input_mib} of them inputs: give two "
            "blocks or more, and less for the input than for all that a block keeps"
        )
    blocks = range(n_blocks) if n_blocks <= 5 else (0, 1, n_blocks - 2, n_blocks - 1)
    rows = {n: LOWEST + ROW * (i + (n_blocks > 5 and i > 1)) for i, n in enumerate(blocks)}
    title = "Checkpointing keeps each block's input, and computes the rest again"
    ax = canvas(7.4, max(rows.values()) + 0.95, title=title, ax=ax)
    share = input_mib / block_mib
    _stack(ax, LEFT, rows, n_blocks=n_blocks, share=share, again=False)
    _stack(ax, RIGHT, rows, n_blocks=n_blocks, share=share, again=True)
    rest = block_mib - input_mib
    without, with_it = n_blocks * block_mib, n_blocks * input_mib + rest
    each = f"{n_blocks * input_mib:,.0f} + {rest:,.0f} = {with_it:,.0f} MiB"
    totals = f"{n_blocks} × {_mib(block_mib)} = {_mib(without)} MiB", each
    for left, total in zip((LEFT, RIGHT), totals, strict=True):
        label(ax, (left + BAR, 0.27), total, role="memory", align="left", bold=True)
    return describe(
        ax,
        f"Two stacks of {n_blocks} blocks. Without checkpointing every block keeps all its "
        f"activations, {totals[0]}. With it each keeps only its input, a sliver; the last block is "
        f"computed again before its backward pass, and then the one before it: {totals[1]}.",
    )


def _mib(n: float) -> str:
    return f"{n:,.0f}" if n >= 100 else f"{n:.1f}"


def _stack(
    ax: "Axes", left: float, rows: dict[int, float], *, n_blocks: int, share: float, again: bool
) -> None:
    """Draw blocks upward, in which order they are computed, and what is in memory."""
    last, top = n_blocks - 1, max(rows.values())
    name = f"{'With' if again else 'Without'} checkpointing"
    label(ax, (left, top + 0.78), name, align="left", bold=True)
    columns = {"forward": 0.27, "in memory": BAR + LENGTH / 2}
    columns |= {"again": 2.74, "backward": 3.4} if again else {"backward": 2.85}
    for text, x in columns.items():
        label(ax, (left + x, top + 0.38), text, size=SMALL, soft=True)
    for n, y in rows.items():
        box(ax, (left + 0.94, y), f"block {n + 1}", size=(0.78, 0.34))
        _bar(ax, left + BAR, y, share=share, is_full=not again or n == last)
        backward = n_blocks + (last - n + 1) * (1 + again)
        order = {"forward": n + 1, "again": backward - 1, "backward": backward}
        for column in columns.keys() & order.keys():
            label(ax, (left + columns[column], y), f"{order[column]}")
    sliver = left + BAR + LENGTH * share / 2
    label(ax, (sliver - 0.24, LOWEST - 0.39), "its input", size=SMALL, align="right", soft=True)
    arrow(ax, (sliver - 0.2, LOWEST - 0.37), (sliver, LOWEST - 0.19))
    if n_blocks > len(rows):
        label(ax, (left + 0.94, LOWEST + 2 * ROW), "⋮")


def _bar(ax: "Axes", left: float, y: float, *, share: float, is_full: bool) -> None:
    """Draw a block's input, and whether the rest of its activations is in memory."""
    from matplotlib.patches import Rectangle

    colors = ROLES["memory"]
    kept = {"fc": colors.fill, "ec": colors.edge, "zorder": 3}
    gone = {"fc": "none", "ec": ROLES["plain"].edge, "ls": "--", "zorder": 2}
    corner = (left + LENGTH * share, y - 0.17)
    rest = kept if is_full else gone
    ax.add_patch(Rectangle(corner, LENGTH * (1 - share), 0.34, **rest))
    ax.add_patch(Rectangle((left, y - 0.17), LENGTH * share, 0.34, **kept))
    if not is_full:
        middle = left + LENGTH * (1 + share) / 2
        label(ax, (middle, y), "thrown away", size=SMALL, soft=True)
