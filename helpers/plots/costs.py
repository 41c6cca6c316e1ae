"""What a training step costs: memory by phase, and what a change saves and takes."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.plots.marks import SMALL, Reference, horizontal_reference, number, set_rows
from helpers.style import COLORS, INK, SOFT, describe, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["memory_timeline", "trade_off"]

STRETCHES = 60  # of a phase: fewer than it has pixels, so that a needle shows
# Frozen, trained, and then what comes and goes.
AREAS = ("#8FA3B8", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#0072B2", "#ADADAD")


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
    _shade(ax, [name for _, name in phases])
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


def _shade(ax: "Axes", names: Sequence[str]) -> None:
    ax.grid(visible=False)
    for place in range(len(names)):
        if place % 2 == 0:
            ax.axvspan(place, place + 1, color="#F3F3F3", linewidth=0, zorder=0)
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


def trade_off(
    changes: Mapping[tuple[str, str], Cost],
    *,
    baselines: Mapping[str, Cost],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw what changes save and take: memory and time as a multiple of what they were before.

    Args:
        changes: For each pair of a baseline's name and a change's name, time and memory with the
            change, in any units.
        baselines: For each baseline's name, time and memory without the change.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a row a change, under the name of its baseline; left of 1 is less than before.

    Raises:
        ValueError: There are no changes, or one has no baseline.

    Taught in: notebooks/05_training.ipynb
    """
    if not changes or {base for base, _ in changes} - set(baselines):
        raise ValueError(f"changes {list(changes)} of {list(baselines)}: give each its baseline")
    rows: list[tuple[str, Any]] = []
    for base, before in baselines.items():
        rows.append((base, None))
        found = {name: cost for (of, name), cost in changes.items() if of == base}
        rows += [(n, [a / b for a, b in zip(c, before, strict=True)]) for n, c in found.items()]
    ax = new_axes(ax, size=(7.4, 1.1 + 0.31 * len(rows)))
    told = []
    for row, (name, ratios) in enumerate(rows):
        if ratios:
            _draw_ratios(ax, row, ratios)
            told.append(f"{name}: memory {ratios[1]:.2f}, time {ratios[0]:.2f}")
        else:
            told.append(f"Added to {name}")
    names = [name if ratios else f"{name}, plus" for name, ratios in rows]
    set_rows(ax, names, headroom=0.9)
    for (_, ratios), tick in zip(rows, ax.get_yticklabels(), strict=True):
        tick.set_weight("normal" if ratios else "bold")
    ax.axvline(1, color=SOFT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    ax.legend(*_key(ax), loc="upper left", ncols=2, borderaxespad=0.1)
    ax.set(xlabel="times as much as without the change", xlim=(0, None))
    return describe(ax, "; ".join(told))


def _draw_ratios(ax: "Axes", row: int, ratios: Sequence[float]) -> None:
    time, memory = ratios
    ax.plot([time, memory], [row, row], color="#C4C4C4", linewidth=2, zorder=1)
    ax.plot(time, row, "D", mfc="white", mec=COLORS["orange"], mew=2, label="time")
    ax.plot(memory, row, "o", color=COLORS["green"], markersize=8, label="memory")


def _key(ax: "Axes") -> tuple[list[Any], list[str]]:
    handles, names = ax.get_legend_handles_labels()
    found = dict(zip(names, handles, strict=True))
    return list(found.values()), list(found)
