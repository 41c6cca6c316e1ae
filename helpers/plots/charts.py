"""Charts that several chapters use."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.style import COLORS, new_axes, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["bars", "dots", "footprint", "lines"]

DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))
HATCHES = ("", "//", "..", "xx")


def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    bands: Mapping[str, Sequence[float]] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw lines over a common x, told apart by color and by dashes, each named at its end.

    Args:
        x: The places, in any unit.
        series: For each line's name, a value at each place; up to seven lines.
        bands: For some of the names, the half-width of a band around the line at each place.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, without labels: the caller knows the units.

    Raises:
        ValueError: A line or a band has not as many values as there are places, there are more
            than seven lines, or a band has no line.

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    bands = bands or {}
    for name, found in [*series.items(), *bands.items()]:
        if len(found) != len(x):
            raise ValueError(f"{name!r} has {len(found)} values for {len(x)} places")
    if set(bands) - set(series) or len(series) > len(COLORS):
        raise ValueError(f"bands {list(bands)} for lines {list(series)}: up to seven named lines")
    ax = new_axes(ax, size=(7, 3))
    for name, color, dash in zip(series, COLORS.values(), DASHES, strict=False):
        y = series[name]
        ax.plot(x, y, color=color, linestyle=dash, label=name)
        if name in bands:
            low = [a - b for a, b in zip(y, bands[name], strict=True)]
            high = [a + b for a, b in zip(y, bands[name], strict=True)]
            ax.fill_between(x, low, high, color=color, alpha=0.25, linewidth=0)
    ax.legend(frameon=False)
    return without_frame(ax)


def bars(
    values: Mapping[str, float],
    *,
    errors: Mapping[str, float] | None = None,
    label_format: str = "%.1f",
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a horizontal bar for each value, with its number at the end.

    Args:
        values: For each bar's name, its length, in any unit.
        errors: For each name, the half-width of its error bar.
        label_format: How to write the numbers, as a `%` format.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, without labels: the caller knows the unit.

    Raises:
        ValueError: There are no values, or the errors have other names.

    Taught in: notebooks/02_quantization.ipynb
    """
    if not values or (errors is not None and list(errors) != list(values)):
        raise ValueError(f"values for {list(values)}, errors for {list(errors or values)}")
    ax = new_axes(ax, size=(7, 0.7 + 0.4 * len(values)))
    style = {"color": COLORS["sky"], "edgecolor": COLORS["blue"], "error_kw": {"capsize": 3}}
    half_widths = list(errors.values()) if errors else None
    ax.barh(list(values), list(values.values()), xerr=half_widths, **style)
    for row, (name, value) in enumerate(values.items()):
        half_width = errors[name] if errors else 0
        place = (max(value + half_width, 0), row)
        offset = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(label_format % value, place, **offset)
    ax.yaxis.set_inverted(True)  # of axes that share their y, this may be the second
    ax.margins(x=0.2)
    return without_frame(ax)


def dots(values: Mapping[str, Sequence[float]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw a column of dots for each name, side by side.

    Args:
        values: For each column's name, its numbers, in any unit.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, without labels: the caller knows the unit.

    Raises:
        ValueError: There are no columns, or one is empty.

    Taught in: notebooks/02_quantization.ipynb
    """
    if not values or not all(len(column) for column in values.values()):
        raise ValueError("give at least one column, and at least one value in each")
    ax = new_axes(ax, size=(7, 3))
    for place, column in enumerate(values.values()):
        ax.plot([place] * len(column), list(column), "o", color=COLORS["blue"], alpha=0.4)
    ax.set_xticks(range(len(values)), list(values))
    return without_frame(ax)


def footprint(parts: Mapping[str, Mapping[str, int]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw the memory of models as stacked bars, one bar a model.

    Args:
        parts: For each model's name, the bytes of each of its parts; the same parts in each.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: There are no models, they do not have the same parts, or more than four.

    Taught in: notebooks/00_tldr.ipynb, notebooks/02_quantization.ipynb
    """
    names = list(next(iter(parts.values()), {}))
    if not 0 < len(names) <= len(HATCHES):
        raise ValueError(f"parts {names}: give at least one model, of one to four parts")
    if any(list(sizes) != names for sizes in parts.values()):
        raise ValueError(f"every model must have the parts {names}, in this order")
    ax = new_axes(ax, size=(7, 0.7 + 0.55 * len(parts)))
    left = [0.0] * len(parts)
    for name, color, hatch in zip(names, COLORS.values(), HATCHES, strict=False):
        sizes = [model[name] / 1e6 for model in parts.values()]
        style = {"color": color, "hatch": hatch, "edgecolor": "white"}
        ax.barh(list(parts), sizes, left=left, label=name, **style)
        left = [start + size for start, size in zip(left, sizes, strict=True)]
    for row, total in enumerate(left):
        ax.text(total, row, f" {total:.0f} MB", va="center")
    ax.invert_yaxis()
    ax.set(xlabel="size of the weights (MB, 10⁶ bytes)", xlim=(0, 1.2 * max(left)))
    ax.legend(loc="lower right", frameon=False)
    return without_frame(ax)
