"""Drawings of memory: where a block's activations are, and what fills a card in each phase."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.figures.kit import ROLES, SMALL, canvas, label
from helpers.figures.transformer import PARTS, draw_block
from helpers.style import AREAS, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["block_memory", "step_memory"]

MIB = 1024**2
# What memory is for, in the order of `AREAS`, and from the bottom to the top of a pile.
KINDS = ("weights", "adapters", "gradients", "optimizer", "activations", "logits", "temporaries")
PILE, TALLEST, FLOOR = 0.92, 3.1, 0.56  # inches
PILES, LEGEND = 5.9, 6.06  # inches: how far the piles reach, and where the legend begins


def block_memory(bytes_by_part: Mapping[str, float], *, ax: "Axes | None" = None) -> "Axes":
    """Draw a block, and at each part what it keeps in memory for the backward pass.

    Args:
        bytes_by_part: For each of `transformer.PARTS`, the bytes of its activations.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: the block from below to above, a bar and MiB for each part.

    Raises:
        ValueError: A part is missing, or there is one that a block doesn't have.

    Taught in: notebooks/05_training.ipynb
    """
    if set(bytes_by_part) != set(PARTS):
        raise ValueError(f"parts are {sorted(bytes_by_part)}: give each of {sorted(PARTS)}")
    total, largest = sum(bytes_by_part.values()), max(bytes_by_part.values())
    title = f"What one block keeps for the backward pass: {total / MIB:.1f} MiB"
    ax = canvas(6.6, 5.3, title=title, ax=ax)
    parts = draw_block(ax, 1.8)
    for part, n_bytes in bytes_by_part.items():
        _bar(ax, parts[part].y, 2.6 * n_bytes / largest, text=f"{n_bytes / MIB:.5g} MiB")
    listed = ", ".join(f"{part} {n / MIB:.5g}" for part, n in bytes_by_part.items())
    return describe(ax, f"A block, with the MiB of activations at each part: {listed}")


def _bar(ax: "Axes", y: float, length: float, *, text: str) -> None:
    from matplotlib.patches import Rectangle

    left, colors = 2.85, ROLES["memory"]
    ax.add_patch(Rectangle((left, y - 0.14), length, 0.28, fc=colors.fill, ec=colors.edge))
    label(ax, (left + length + 0.1, y), text, align="left", role="memory")


def step_memory(
    parts: Mapping[str, Mapping[str, float]],
    *,
    limit_gib: float,
    card: str,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw what fills a card at the highest moment of each phase of a step.

    Args:
        parts: For each phase, GiB of each of `onegpu.memory.KINDS`; what is missing is 0.
        limit_gib: What the card has.
        card: Its name.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a pile for each phase, in the colors of `plots.memory_timeline`, the card's
        limit, and a word under the highest pile.

    Raises:
        ValueError: A part is of another kind.

    Taught in: notebooks/05_training.ipynb
    """
    if unknown := {kind for pile in parts.values() for kind in pile} - set(KINDS):
        raise ValueError(f"{sorted(unknown)} are no kinds of memory: choose of {', '.join(KINDS)}")
    totals = {phase: math.fsum(pile.values()) for phase, pile in parts.items()}
    peak = max(totals, key=lambda phase: totals[phase])
    fits = totals[peak] <= limit_gib
    scale = TALLEST / max(limit_gib, totals[peak])
    height = FLOOR + max(scale * limit_gib + 0.45, scale * totals[peak] + 0.35)
    ax = canvas(7.4, height, title=f"A step on a {card}, phase by phase", ax=ax)
    for i, (phase, pile) in enumerate(parts.items()):
        x = PILES * (i + 0.5) / len(parts)
        _pile(ax, x, pile, scale=scale)
        label(ax, (x, FLOOR - 0.17), phase, bold=True)
        label(ax, (x, FLOOR + scale * totals[phase] + 0.14), f"{totals[phase]:.1f} GiB", bold=True)
        if phase == peak:
            role, text = ("plain", "the peak") if fits else ("wrong", "too much ✗")
            label(ax, (x, FLOOR - 0.4), text, role=role)
    _limit(ax, FLOOR + scale * limit_gib, text=f"{card}: {limit_gib:.1f} GiB")
    _legend(ax, {kind for pile in parts.values() for kind, gib in pile.items() if gib})
    listed = "; ".join(f"{phase} {total:.1f}" for phase, total in totals.items())
    inside = ", ".join(f"{kind} {gib:.1f}" for kind, gib in parts[peak].items() if gib >= 0.05)
    return describe(
        ax,
        f"A pile for each phase, GiB: {listed}. The card has {limit_gib:.1f}. The peak is in "
        f"{peak}, {'within' if fits else 'above'} the limit: {inside}",
    )


def _pile(ax: "Axes", x: float, pile: Mapping[str, float], *, scale: float) -> None:
    """Draw parts on top of each other."""
    from matplotlib.patches import Rectangle

    bottom = FLOOR
    for kind, color in zip(KINDS, AREAS, strict=True):
        height = scale * pile.get(kind, 0.0)
        if height:
            corner = (x - PILE / 2, bottom)
            ax.add_patch(Rectangle(corner, PILE, height, fc=color, ec="white", lw=0.4))
        bottom += height


def _legend(ax: "Axes", shown: set[str]) -> None:
    """Name the color of each kind, in the order of the piles, at the right."""
    from matplotlib.patches import Rectangle

    kinds = [(kind, color) for kind, color in zip(KINDS, AREAS, strict=True) if kind in shown]
    for i, (kind, color) in enumerate(kinds):
        y = FLOOR + 0.1 + 0.24 * i
        ax.add_patch(Rectangle((LEGEND, y - 0.07), 0.22, 0.14, fc=color, ec="none"))
        label(ax, (LEGEND + 0.3, y), kind, size=SMALL, align="left")


def _limit(ax: "Axes", y: float, *, text: str) -> None:
    ax.plot([0.05, 7.38], [y, y], color=ROLES["plain"].ink, ls="--", lw=1.4, zorder=3)
    label(ax, (7.38, y + 0.15), text, size=SMALL, align="right", bold=True)
