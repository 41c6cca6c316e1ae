"""What a training step costs: memory by phase, and what a change saves and takes."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.plots.marks import SMALL, Reference, horizontal_reference, number
from helpers.style import AREAS, COLORS, INK, SOFT, describe, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["memory_timeline", "trade_off"]

STRETCHES = 60  # of a phase: fewer than it has pixels, so that a needle shows


def memory_timeline(
    parts: Mapping[str, Sequence[float]],
    *,
    phases: Sequence[tuple[int, str]],
    limit: Reference | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw memory over the phases of a training step, its parts on top of each other.

    Every phase is drawn equally wide, however many allocations it has.

    Args:
        parts: For each part's name, its GiB after each allocation; all of one length. A part
            that is never there is left out.
        phases: Where each phase begins, counted in allocations, ascending from 0; and its name.
        limit: The name of a card and its GiB: a dashed line.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, the highest moment marked.

    Raises:
        ValueError: There are no parts, more than seven, or they are not of one length; or the
            phases don't begin at 0.

    Taught in: notebooks/05_training.ipynb
    """
    lengths = {len(values) for values in parts.values()}
    if len(lengths) != 1 or 0 in lengths or len(parts) > len(AREAS):
        raise ValueError(f"parts of {sorted(lengths)} moments: give one to seven, of one length")
    if not phases or phases[0][0] != 0:
        raise ValueError(f"phases {list(phases)}: the first must begin at 0")
    ax = new_axes(ax, size=(7.4, 3.4))
    totals = [sum(values) for values in zip(*parts.values(), strict=True)]
    x, moments = _moments(totals, [start for start, _ in phases])
    colors = dict(zip(parts, AREAS, strict=False))
    shown = {n: [values[i] for i in moments] for n, values in parts.items() if any(values)}
    areas = ax.stackplot(x, *shown.values(), colors=[colors[n] for n in shown], lw=0.4, ec="white")
    _divide(ax, [name for _, name in phases])
    highest = max(totals)
    _mark_peak(ax, x[moments.index(totals.index(highest))], highest, n_phases=len(phases))
    ax.set(ylabel="memory (GiB)", ylim=(0, 1.18 * max(highest, limit[1] if limit else 0)))
    if limit:
        horizontal_reference(ax, limit)
    ax.legend(areas[::-1], list(shown)[::-1], loc="upper left", bbox_to_anchor=(1, 1))
    return describe(ax, _told(parts, totals, phases=phases, limit=limit))


def _moments(totals: Sequence[float], starts: Sequence[int]) -> tuple[list[float], list[int]]:
    """Return places and moments to draw: of each stretch of a phase the highest.

    A peak of a single allocation would be narrower than a pixel.
    """
    places, highest = [], []
    for phase, (start, end) in enumerate(zip(starts, [*starts[1:], len(totals)], strict=True)):
        width = math.ceil((end - start) / STRETCHES)
        for first in range(start, end, width):
            stretch = list(totals[first : min(first + width, end)])
            highest.append(first + stretch.index(max(stretch)))
            places.append(phase + (highest[-1] - start) / (end - start))
    return [*places, len(starts)], [*highest, highest[-1]]


def _divide(ax: "Axes", names: Sequence[str]) -> None:
    ax.grid(visible=False)
    for place in range(1, len(names)):
        ax.axvline(place, color="#D0D0D0", linewidth=0.8, zorder=0)
    ax.set_xticks([place + 0.5 for place in range(len(names))], list(names))
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(0, len(names))


def _mark_peak(ax: "Axes", place: float, highest: float, *, n_phases: int) -> None:
    ax.vlines(place, 0, highest, color=INK, linewidth=0.9, zorder=4)
    ax.plot(place, highest, "o", color=INK, markersize=5, zorder=5)
    side = "right" if place > 0.7 * n_phases else "left"
    style = {"ha": side, "va": "bottom", "size": SMALL, "weight": "bold"}
    offset = {"xytext": (6 if side == "left" else -4, 3), "textcoords": "offset points"}
    ax.annotate(f"peak {highest:.2f} GiB", (place, highest), **offset, **style)


def _told(
    parts: Mapping[str, Sequence[float]],
    totals: Sequence[float],
    *,
    phases: Sequence[tuple[int, str]],
    limit: Reference | None,
) -> str:
    ends = [start for start, _ in phases[1:]] + [len(totals)]
    peaks = [
        f"{' '.join(name.split())} {number(max(totals[start:end]))}"
        for (start, name), end in zip(phases, ends, strict=True)
    ]
    moment = totals.index(max(totals))
    held = [f"{name} {number(v[moment])}" for name, v in parts.items() if v[moment]]
    told = f"Highest GiB of each phase: {', '.join(peaks)}. At the peak: {', '.join(held)}"
    return told + (f". Dashed line: {limit[0]} at {number(limit[1])}" if limit else "")


Cost = tuple[float, float]
# Where a mark's name may go, the first place that is free: sideways, upward, in points.
PLACES = ((9, 0), (0, 11), (0, -11), (-9, 0), (9, 11), (9, -11), (-9, 11), (-9, -11))
PLACES += ((0, 22), (0, -22), (9, 22), (9, -22), (-9, 22), (-9, -22), (0, 33), (0, -33))


def trade_off(
    costs: Mapping[str, Cost], *, baseline: str, what: str = "", ax: "Axes | None" = None
) -> "Axes":
    """Draw what changes cost: a mark for each, its time to the right, its memory upward.

    Args:
        costs: For each name, time and memory, in any units.
        baseline: The name of what the others are compared with; it's at (1, 1).
        what: Whose time and memory it is, for the labels of the axes, such as `"a step"`.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: time and memory as multiples of the baseline's. What is left of the dashed
        lines' crossing is faster, what is below it takes less memory.

    Raises:
        ValueError: There is no such baseline, or nothing to compare with it.

    Taught in: notebooks/05_training.ipynb
    """
    if baseline not in costs or len(costs) < 2:
        raise ValueError(f"costs of {list(costs)}, baseline {baseline!r}: name one, and others")
    ax = new_axes(ax, size=(7.4, 4.2))
    before = costs[baseline]
    ratios = {n: (time / before[0], memory / before[1]) for n, (time, memory) in costs.items()}
    for line in (ax.axvline, ax.axhline):
        line(1, color=SOFT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    for name, place in ratios.items():
        color = COLORS["gray"] if name == baseline else COLORS["green"]
        ax.plot(*place, "D" if name == baseline else "o", color=color, markersize=8, zorder=3)
    of = f" of {what}" if what else ""
    ax.set(xlabel=f"time{of} (times {baseline})", ylabel=f"memory{of} (times {baseline})")
    xlim, ylim = (
        _around([ratio[side] for ratio in ratios.values()], below=below)
        for side, below in enumerate((0.25, 0.125))
    )
    ax.set(xlim=xlim, ylim=ylim)
    ax.locator_params(axis="x", nbins=5)  # times differ too much from run to run for more
    corner = {"transform": ax.transAxes, "color": SOFT, "size": SMALL, "style": "italic"}
    if any(max(ratio) < 1 for ratio in ratios.values()):
        ax.text(0.012, 0.02, "saves both", va="bottom", **corner)
    ax.text(0.988, 0.02, "saves memory, costs time", va="bottom", ha="right", **corner)
    _name_marks(ax, ratios)
    told = [
        f"{name}: time {time:.1f}, memory {memory:.2f}"
        for name, (time, memory) in ratios.items()
        if name != baseline
    ]
    return describe(ax, f"Times as much as {baseline}. " + "; ".join(told))


def _around(values: Sequence[float], *, below: float) -> tuple[float, float]:
    """Return the ends of an axis: what the marks span, and some of that on either side."""
    low, high = min(values), max(values)
    span = (high - low) or 0.4
    return max(0.0, low - below * span), high + span / 4


def _name_marks(ax: "Axes", marks: Mapping[str, tuple[float, float]]) -> None:
    """Write each mark's name beside it, where neither a mark nor another name is."""
    from matplotlib.transforms import Bbox

    ax.figure.canvas.draw()
    unit = ax.figure.dpi / 72
    centers = [ax.transData.transform(place) for place in marks.values()]
    taken = [
        Bbox.from_extents(x - 5 * unit, y - 5 * unit, x + 5 * unit, y + 5 * unit)
        for x, y in centers
    ]
    taken += [text.get_window_extent() for text in ax.texts]
    x, y = ax.transData.transform((1, 1))  # where the dashed lines cross
    taken += [Bbox.from_extents(x - 1, ax.bbox.y0, x + 1, ax.bbox.y1)]
    taken += [Bbox.from_extents(ax.bbox.x0, y - 1, ax.bbox.x1, y + 1)]
    for name, place in marks.items():
        for across, up in PLACES:
            style = {"ha": ("right", "center", "left")[(across > 0) - (across < 0) + 1]}
            text = ax.annotate(
                name,
                place,
                (across, up),
                textcoords="offset points",
                size=SMALL,
                va="center",
                **style,
            )
            extent = text.get_window_extent()
            inside = ax.bbox.x0 <= extent.x0 and extent.x1 <= ax.bbox.x1
            if inside and not any(extent.overlaps(other) for other in taken):
                break
            text.remove()
        else:
            text = ax.annotate(
                name, place, (9, 0), textcoords="offset points", size=SMALL, va="center"
            )
        taken.append(text.get_window_extent())
