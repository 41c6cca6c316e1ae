"""How many answers were right, before and after."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.plots.marks import note, set_rows
from helpers.style import COLORS, describe, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["before_after"]

Interval = tuple[float, float]


def before_after(
    before: Mapping[str, int],
    after: Mapping[str, int],
    *,
    totals: Mapping[str, int],
    intervals: Mapping[str, tuple[Interval, Interval]],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw for each group the share of right answers before and after, with intervals.

    Args:
        before: How many answers were right for each group's name.
        after: The same after training.
        totals: How many answers each group has.
        intervals: For each group, lower and upper end of the share before, and after, 0 to 1.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a row a group, its counts at the right.

    Raises:
        ValueError: The groups differ.

    Taught in: notebooks/00_tldr.ipynb
    """
    if not list(before) == list(after) == list(totals) == list(intervals):
        raise ValueError(
            f"groups differ: {list(before)} before, {list(after)} after, totals of {list(totals)}, "
            f"intervals of {list(intervals)}"
        )
    ax = new_axes(ax, size=(7.4, 1.1 + 0.42 * len(before)))
    for row, (name, total) in enumerate(totals.items()):
        for up, when, right, ends, look in (
            (-0.14, "before", before[name], intervals[name][0], {"color": COLORS["gray"]}),
            (0.14, "after", after[name], intervals[name][1], {"color": COLORS["green"]}),
        ):
            low, high = (100 * end for end in ends)
            ax.hlines(row + up, low, high, linewidth=5, alpha=0.3, **look)
            marker = "o" if when == "after" else "D"
            label = when if not row else None
            place = (100 * right / total, row + up)
            ax.plot(*place, marker, markersize=7, label=label, clip_on=False, **look)
        note(ax, row, f"{before[name]} → {after[name]} of {total}")
    set_rows(ax, list(totals), headroom=0.75)
    ax.set(xlabel="right answers (%)", xlim=(-2, 102), xticks=range(0, 101, 25))
    ax.legend(loc="upper left", ncols=2, borderaxespad=0.1)
    told = [f"{name}: {before[name]} to {after[name]} of {n}" for name, n in totals.items()]
    return describe(ax, "Right answers before and after: " + "; ".join(told))
