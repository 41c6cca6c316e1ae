"""A row for each thing that is compared: dots, intervals, bars from zero."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.plots.marks import (
    SMALL,
    Reference,
    note,
    number,
    set_log,
    set_rows,
    vertical_reference,
)
from helpers.style import COLORS, INK, SOFT, describe, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bars", "dots", "panels", "spread"]

Interval = tuple[float, float]


def dots(
    values: Mapping[str, float],
    *,
    intervals: Mapping[str, Interval] | None = None,
    log: bool = False,
    reference: Reference | None = None,
    notes: Mapping[str, str] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a dot for each value, a row each: for numbers that span decades, or have intervals.

    Args:
        values: For each row's name, its number, in any unit.
        intervals: For some of the names, the lower and upper end of an interval around it.
        log: Whether the axis is logarithmic.
        reference: A name and a value: a dashed line to compare with.
        notes: What to write at the right of each row; the number without it.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, without labels: the caller knows the unit.

    Raises:
        ValueError: There are no values, an interval or a note has no value or does not hold it,
            or a value is not above zero on a logarithmic axis.

    Taught in: notebooks/02_quantization.ipynb
    """
    intervals, notes = intervals or {}, notes or {name: number(v) for name, v in values.items()}
    if not values or set(intervals) - set(values) or set(notes) != set(values):
        raise ValueError(f"values {list(values)}, intervals {list(intervals)}, notes {list(notes)}")
    if log and min(values.values()) <= 0:
        raise ValueError(f"{min(values.values())} has no place on a logarithmic axis")
    ax = new_axes(ax, size=(7.4, 0.8 + 0.36 * len(values) + 0.2 * bool(reference)))
    for row, (name, value) in enumerate(values.items()):
        if name in intervals:
            low, high = intervals[name]
            if not low <= value <= high:
                raise ValueError(f"{name!r}: {value} is not within {intervals[name]}")
            ax.hlines(row, low, high, color=COLORS["blue"], linewidth=5, alpha=0.3)
        ax.plot(value, row, "o", color=COLORS["blue"], markersize=7, clip_on=False, zorder=3)
        note(ax, row, notes[name])
    set_rows(ax, list(values), headroom=0.4 * bool(reference))
    ax.margins(x=0.06)
    if log:
        set_log(ax)
    if reference:
        vertical_reference(ax, reference)
    return describe(ax, _told(values, intervals, reference))


def _told(
    values: Mapping[str, float], intervals: Mapping[str, Interval], reference: Reference | None
) -> str:
    told = []
    for name, value in values.items():
        ends = [number(end) for end in intervals.get(name, ())]
        told.append(f"{name}: {number(value)}" + (f" ({' to '.join(ends)})" if ends else ""))
    if reference:
        told.append(f"dashed line, {reference[0]}: {number(reference[1])}")
    return "; ".join(told)


def bars(
    values: Mapping[str, float], *, label_format: str = "%.1f", ax: "Axes | None" = None
) -> "Axes":
    """Draw a bar from zero for each value, a row each, with its number at the end.

    Args:
        values: For each row's name, its length, in any unit.
        label_format: How to write the numbers, as a `%` format.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, without labels: the caller knows the unit.

    Raises:
        ValueError: There are no values, one is below zero, or the axis is logarithmic: a bar is
            a length from zero, so that `dots` suit these better.

    Taught in: notebooks/01_language_models.ipynb
    """
    if not values or min(values.values()) < 0:
        raise ValueError(f"values {values}: give at least one, none below zero, or draw dots")
    ax = new_axes(ax, size=(7.4, 0.8 + 0.36 * len(values)))
    if ax.get_xscale() != "linear":
        raise ValueError(f"a bar has no length on a {ax.get_xscale()} axis: draw dots")
    drawn = ax.barh(range(len(values)), list(values.values()), 0.62, color=COLORS["blue"])
    ax.bar_label(drawn, [label_format % value for value in values.values()], padding=5, size=SMALL)
    set_rows(ax, list(values), guides=False)
    ax.set_xlim(0, 1.18 * max(values.values()) or 1)
    return describe(
        ax, "; ".join(f"{name}: {label_format % value}" for name, value in values.items())
    )


def spread(
    values: Mapping[str, Sequence[float]],
    *,
    notes: Mapping[str, str] | None = None,
    reference: Reference | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw all numbers of each row as pale dots, and their median as a stroke.

    Args:
        values: For each row's name, its numbers, in any unit.
        notes: For some of the names, what to write at the right instead of the median.
        reference: A name and a value: a dashed line to compare with.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, without labels: the caller knows the unit.

    Raises:
        ValueError: There are no rows, or one is empty.

    Taught in: notebooks/02_quantization.ipynb
    """
    import statistics

    if not values or not all(len(row) for row in values.values()):
        raise ValueError("give at least one row, and at least one value in each")
    ax = new_axes(ax, size=(7.4, 0.8 + 0.36 * len(values) + 0.2 * bool(reference)))
    told = []
    for row, (name, found) in enumerate(values.items()):
        middle = statistics.median(found)
        ax.plot(list(found), [row] * len(found), "o", color=COLORS["blue"], alpha=0.3, mec="none")
        ax.vlines(middle, row - 0.28, row + 0.28, color=INK, linewidth=2, zorder=3)
        note(ax, row, (notes or {}).get(name, number(middle)))
        told.append(
            f"{name}: median {number(middle)}, {number(min(found))} to {number(max(found))}"
        )
    set_rows(ax, list(values), headroom=0.4 * bool(reference))
    if reference:
        vertical_reference(ax, reference)
    return describe(ax, "; ".join(told))


def panels(
    groups: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    baseline: Mapping[str, str],
    log: bool = False,
    axes: "Sequence[Axes] | None" = None,
) -> "tuple[Axes, ...]":
    """Draw a panel for each setting: a row for each choice, a small dot for each of its runs.

    A larger dot is the mean of the runs, written at the right. A dashed line through all panels
    is the mean of the choice that all others are compared with.

    Args:
        groups: For each setting, for each of its choices, what its runs had as a result.
        baseline: For each setting, the choice that is not changed. Its runs are the same in all.
        log: Whether the axis is logarithmic.
        axes: Where to draw, one a setting; a new figure without them, panels below each other.

    Returns:
        The axes, one a setting, titled by it, without a name for x.

    Raises:
        ValueError: A setting has not exactly one choice as baseline, the baselines differ, or a
            choice has no runs.

    Taught in: notebooks/03_lora.ipynb
    """
    if set(baseline) != set(groups) or any(baseline[g] not in groups[g] for g in groups):
        raise ValueError(f"baseline {dict(baseline)}: give one of the choices of each of {groups}")
    kept = {tuple(groups[group][choice]) for group, choice in baseline.items()}
    if len(kept) != 1 or not all(len(runs) for group in groups.values() for runs in group.values()):
        raise ValueError("give each choice its runs, and every setting the same ones as baseline")
    if axes is None:
        axes = _stacked([len(group) for group in groups.values()])
    runs = kept.pop()
    middle = sum(runs) / len(runs)
    for ax, (group, choices) in zip(axes, groups.items(), strict=True):
        ax.axvline(middle, color=SOFT, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
        means = _draw_choices(ax, choices, baseline[group])
        ax.set_title(group)
        if log:
            set_log(ax)
        told = "; ".join(f"{name}: {number(mean)}" for name, mean in means.items())
        describe(ax, f"{told}; the dashed line is at {baseline[group]}")
    return tuple(axes)


def _stacked(n_rows: Sequence[int]) -> "Sequence[Axes]":
    import matplotlib.pyplot as plt

    size = (7.4, 0.5 + sum(0.42 + 0.3 * n for n in n_rows))
    look = {"height_ratios": n_rows, "sharex": True, "layout": "constrained"}
    return plt.subplots(len(n_rows), 1, figsize=size, squeeze=False, **look)[1][:, 0]


def _draw_choices(
    ax: "Axes", choices: Mapping[str, Sequence[float]], kept: str
) -> dict[str, float]:
    means = {}
    for row, (name, runs) in enumerate(choices.items()):
        color = COLORS["gray" if name == kept else "blue"]
        means[name] = sum(runs) / len(runs)
        if len(runs) > 1:
            ax.plot(list(runs), [row] * len(runs), "o", color=color, markersize=4, alpha=0.5)
        ax.plot(means[name], row, "o", color=color, markersize=8, zorder=3)
        note(ax, row, number(means[name]))
    set_rows(ax, list(choices))
    return means
