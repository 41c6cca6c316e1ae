"""The drawing of how a plan is made: a model without numbers, and all that it allocates."""

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.figures.kit import ROLES, SMALL, arrow, box, canvas, connect, label
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["planning"]

# The stages of a plan, what each is, and its color.
STAGES = (
    ("config.json", "shapes, no weights", "data"),
    ("meta tensors", "sizes, no numbers", "plain"),
    ("dispatcher", "hears each operation", "plain"),
    ("allocator", "a copy of CUDA's", "memory"),
)
STEPS = ("build", "run", "replay")
LEFT, FLOOR, TALLEST = 0.35, 0.6, 1.45  # inches, of the bars
INSIDE = 0.24  # inches: what adds more has its MiB in it, and what adds less above it


def planning(
    heard: Sequence[tuple[str, float]],
    *,
    limit_mib: float,
    card: str,
    results: Sequence[str] = (),
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw how the planner finds a peak: from a configuration to a pile of allocations.

    Args:
        heard: Each operation that allocated, in order, with its MiB.
        limit_mib: What the card has.
        card: Its name.
        results: What each operation returned, in words, to write below its name.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: four stages above, and below a bar for what is in memory after each operation,
        to scale, with the card's limit.

    Raises:
        ValueError: Nothing was heard, or something of a negative size; or the results are not
            as many as the operations.

    Taught in: notebooks/05_training.ipynb
    """
    if not heard or min(n for _, n in heard) < 0:
        raise ValueError(f"heard {list(heard)}: give operations, and MiB of 0 or more")
    if results and len(results) != len(heard):
        raise ValueError(f"{len(results)} results of {len(heard)} operations: give one for each")
    ax = canvas(7.4, 3.4, title="How a plan is made: every allocation, no actual values", ax=ax)
    stages = []
    for i, (name, what, role) in enumerate(STAGES):
        stages.append(box(ax, (0.82 + 1.92 * i, 3.0), name, size=(1.5, 0.62), role=role, note=what))
    for (one, other), step in zip(itertools.pairwise(stages), STEPS, strict=True):
        connect(ax, one, other)
        label(ax, ((one.x + other.x) / 2, 2.6), step, size=SMALL, soft=True)
    totals = list(itertools.accumulate(n for _, n in heard))
    scale = TALLEST / max(limit_mib, totals[-1])
    top = FLOOR + scale * limit_mib
    ax.plot([LEFT, 7.38], [top, top], color=ROLES["plain"].ink, ls="--", lw=1.4, zorder=1)
    label(ax, (LEFT, top + 0.14), f"{card}: {limit_mib:,.0f} MiB", size=SMALL, align="left")
    first, last = stages[0].x, stages[-1].x
    for i, (operation, n_mib) in enumerate(heard):
        x = last - (last - first) * (len(heard) - 1 - i) / max(len(heard) - 1, 1)
        role = "wrong" if totals[i] > limit_mib else "memory"
        before, added = scale * (totals[i] - n_mib), scale * n_mib
        _bar(ax, x, before=before, added=added, role=role)
        label(ax, (x, FLOOR - 0.16), operation, size=SMALL, code=True)
        if results:
            label(ax, (x, FLOOR - 0.38), results[i], size=SMALL, soft=True)
        text = f"+{n_mib:,.0f} MiB {ROLES[role].mark}".strip()
        up = added / 2 if added > INSIDE else added + 0.13
        label(ax, (x, FLOOR + before + up), text, size=SMALL, role=role)
    above = 0.06 if scale * heard[-1][1] > INSIDE else 0.24
    arrow(ax, stages[-1].bottom, (last, FLOOR + scale * totals[-1] + above), role="memory")
    listed = ", ".join(f"{name} {n:,.0f}" for name, n in heard)
    return describe(
        ax,
        "From config.json to meta tensors to the dispatcher to an allocator. It hears these "
        f"operations, with the MiB of each: {listed}. Together {totals[-1]:,.0f} MiB, and the "
        f"{card} has {limit_mib:,.0f}.",
    )


def _bar(ax: "Axes", x: float, *, before: float, added: float, role: str) -> None:
    """Draw what was in memory, and on it what an operation adds."""
    from matplotlib.patches import Rectangle

    colors = ROLES[role]
    for bottom, height, fill in ((0.0, before, "white"), (before, added, colors.fill)):
        corner = (x - 0.52, FLOOR + bottom)
        ax.add_patch(Rectangle(corner, 1.04, height, fc=fill, ec=colors.edge, lw=1.2, zorder=2))
