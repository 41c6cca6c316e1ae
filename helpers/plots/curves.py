"""Lines over a common x, named where they end."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.plots.marks import INKS, SMALL, Reference, horizontal_reference, number
from helpers.style import COLORS, describe, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["lines", "loss_curve"]

DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)))
FEW = 16  # points of a line that are drawn as dots
GAP = 12.0  # points between the names of two lines


def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    bands: Mapping[str, Sequence[float]] | None = None,
    log: str = "",
    ylim: tuple[float, float] | None = None,
    reference: Reference | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw lines over a common x, each named at its right end. Few points are drawn as dots.

    Args:
        x: The places, ascending, in any unit.
        series: For each line's name, a value at each place; up to seven lines.
        bands: For some of the names, the half-width of a band around the line at each place.
        log: Which axes are logarithmic: `""`, `"x"`, `"y"` or `"xy"`.
        ylim: Lower and upper end of y. Without it, y begins at zero, unless it is logarithmic
            or there are values below zero.
        reference: A name and a y: a dashed line to compare with.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, without labels: the caller knows the units.

    Raises:
        ValueError: A line or a band has not as many values as there are places, there are more
            than seven lines, a band has no line, or `log` names no axes.

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    bands = bands or {}
    _check(x, series, bands, log=log)
    ax = new_axes(ax, size=(7.4, 3))
    for i, (name, y) in enumerate(series.items()):
        look: dict[str, Any] = {"color": list(COLORS.values())[i], "linestyle": DASHES[i % 4]}
        ax.plot(x, y, marker="o" if len(x) <= FEW else "", label=name, **look)
        if name in bands:
            low = [a - b for a, b in zip(y, bands[name], strict=True)]
            high = [a + b for a, b in zip(y, bands[name], strict=True)]
            ax.fill_between(x, low, high, color=look["color"], alpha=0.22, linewidth=0)
    if reference:
        horizontal_reference(ax, reference)
    _set_scales(ax, x, log=log)
    if ylim or ("y" not in log and min(map(min, series.values())) >= 0):
        ax.set_ylim(ylim or (0, 1.05 * ax.dataLim.y1))
    _name_ends(ax, series)
    told = [_told(name, x, y) for name, y in series.items()]
    told += [f"Dashed line: {reference[0]} at {number(reference[1])}"] if reference else []
    return describe(ax, ". ".join(told))


def loss_curve(
    steps: Sequence[int], losses: Sequence[float], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw the training loss over the steps.

    Args:
        steps: Optimizer steps, as many as losses.
        losses: Mean cross-entropy of the learned tokens up to that step, in nats a token.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: The lengths differ, or there is nothing to draw.

    Taught in: notebooks/00_tldr.ipynb
    """
    if not len(steps) or len(steps) != len(losses):
        raise ValueError(f"{len(steps)} steps for {len(losses)} losses: give as many, at least one")
    ax = lines(steps, {f"{losses[-1]:.2f}": losses}, ax=ax)
    ax.set(xlabel="optimizer step", ylabel="loss (nats a token)", xlim=(0, None))
    return describe(ax, _told("the loss", steps, losses))


def _check(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    bands: Mapping[str, Sequence[float]],
    *,
    log: str,
) -> None:
    for name, found in [*series.items(), *bands.items()]:
        if len(found) != len(x):
            raise ValueError(f"{name!r} has {len(found)} values for {len(x)} places")
    if set(bands) - set(series) or not 0 < len(series) <= len(COLORS):
        raise ValueError(f"bands {list(bands)} for lines {list(series)}: one to seven named lines")
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f"log={log!r}: choose '', 'x', 'y' or 'xy'")


def _set_scales(ax: "Axes", x: Sequence[float], *, log: str) -> None:
    if "y" in log:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter(lambda value, _: number(value))
        ax.minorticks_off()
    if "x" in log:
        ax.set_xscale("log")
        inches = ax.bbox.width / ax.figure.dpi
        every = math.ceil(0.6 * len(x) / inches)
        shown = list(x)[::every]
        ax.set_xticks(shown, [f"{place:g}" for place in shown])
        ax.minorticks_off()
    ax.margins(x=0.02 if len(x) <= FEW else 0)


def _name_ends(ax: "Axes", series: Mapping[str, Sequence[float]]) -> None:
    """Write each name at the right end of its line; names of lines that end close are spread."""
    low, high = ax.get_ylim()
    ends = {name: y[-1] for name, y in series.items() if low <= y[-1] <= high}
    points = 72 / ax.figure.dpi
    places = {name: ax.transData.transform((0.5, y))[1] * points for name, y in ends.items()}
    spread = _apart(places, floor=ax.bbox.y0 * points + 3)
    inks = dict(zip(series, INKS, strict=False))
    for name, y in ends.items():
        offset = {"xytext": (8, spread[name] - places[name]), "textcoords": "offset points"}
        style = {"va": "center", "color": inks[name], "size": SMALL, "annotation_clip": False}
        ax.annotate(name, (1, y), xycoords=("axes fraction", "data"), **offset, **style)


def _apart(places: Mapping[str, float], *, floor: float) -> dict[str, float]:
    """Return places at least a gap apart and over a floor, in the same order, moved little."""
    moved = dict(sorted(places.items(), key=lambda item: item[1]))
    names = list(moved)
    for _ in range(200 if names else 0):
        moved[names[0]] = max(moved[names[0]], floor)
        for below, above in itertools.pairwise(names):
            missing = GAP - (moved[above] - moved[below])
            if missing > 0:
                moved[below] -= missing / 2
                moved[above] += missing / 2
    return moved


def _told(name: str, x: Sequence[float], y: Sequence[float]) -> str:
    if len(x) == 1:
        return f"{name}: {number(y[0])} at {number(x[0])}"
    text = f"{name}: from {number(y[0])} at {number(x[0])} to {number(y[-1])} at {number(x[-1])}"
    ends = (min(y[0], y[-1]), max(y[0], y[-1]))
    if min(y) < ends[0]:
        text += f", lowest {number(min(y))} at {number(x[list(y).index(min(y))])}"
    if max(y) > ends[1]:
        text += f", highest {number(max(y))} at {number(x[list(y).index(max(y))])}"
    return text
