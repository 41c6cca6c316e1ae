"""Charts of Chapter 5: memory over a step, and what a change costs."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.style import COLORS, new_axes, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["memory_timeline", "trade_off"]

MAX_MOMENTS = 250  # of a timeline: fewer than its figure has pixels, so that a needle shows


def memory_timeline(
    parts: Mapping[str, Sequence[float]],
    *,
    phases: Sequence[tuple[int, str]] = (),
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw memory over the allocations of a training step, its parts on top of each other.

    Args:
        parts: For each part's name, its GiB after each allocation; all of one length. A part
            that is never there is left out of the legend.
        phases: Where each phase begins, counted in allocations, and its name.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: There are no parts, more than seven, or they are not of one length.

    Taught in: notebooks/05_training.ipynb
    """
    lengths = {len(values) for values in parts.values()}
    if len(lengths) != 1 or 0 in lengths or len(parts) > len(COLORS):
        raise ValueError(f"parts of {sorted(lengths)} moments: give one to seven, of one length")
    ax = new_axes(ax, size=(8, 3.6))
    totals = [sum(values) for values in zip(*parts.values(), strict=True)]
    x = _moments(totals)
    colors = list(COLORS.values())[: len(parts)]
    shown = [[values[i] for i in x] for values in parts.values()]
    # matplotlib leaves out of the legend what begins with an underscore.
    labels = [name if any(values) else f"_{name}" for name, values in parts.items()]
    ax.stackplot(x, *shown, labels=labels, colors=colors, linewidth=0)
    for start, name in phases:
        ax.axvline(start, color="#bbbbbb", linewidth=0.8, linestyle=":", zorder=0)
        beside = {"xytext": (2, -2), "textcoords": "offset points", "rotation": 90, "va": "top"}
        ax.annotate(name, (start, 1), xycoords=("data", "axes fraction"), size=8, **beside)
    ax.set(xlabel="allocation", ylabel="memory (GiB)", xlim=(0, None), ylim=(0, 1.2 * max(totals)))
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return without_frame(ax)


def _moments(totals: Sequence[float]) -> list[int]:
    """Return which allocations to draw: of each stretch the highest.

    A peak of a single allocation would be narrower than a pixel.
    """
    width = math.ceil(len(totals) / MAX_MOMENTS)
    highest = []
    for start in range(0, len(totals), width):
        stretch = list(totals[start : start + width])
        highest.append(start + stretch.index(max(stretch)))
    return highest


def trade_off(
    before: tuple[float, float], after: tuple[float, float], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw what a change saves and costs: an arrow from a circle to a square, memory against time.

    Args:
        before: Time and memory, in any units.
        after: The same with the change.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, without labels: the caller knows the units.

    Taught in: notebooks/05_training.ipynb
    """
    ax = new_axes(ax, size=(3, 3))
    ax.annotate("", after, before, arrowprops={"arrowstyle": "->", "color": "#444444"})
    ax.plot(*before, marker="o", markersize=8, color=COLORS["blue"], linestyle="none")
    ax.plot(*after, marker="s", markersize=8, color=COLORS["orange"], linestyle="none")
    return without_frame(ax)
