"""Charts of numbers. Each takes numbers, draws on an `Axes`, and returns it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "before_after", "footprint", "lines", "loss_curve", "number_lines"]

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "grey": "#999999",
}


def _axes(ax: "Axes | None", *, size: tuple[float, float]) -> "Axes":
    """Return the axes given, or those of a new figure of a size in inches."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def _clean(ax: "Axes") -> "Axes":
    ax.spines[["top", "right"]].set_visible(False)
    return ax


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
    ax = _axes(ax, size=(7, 3))
    ax.plot(steps, losses, marker="o", color=COLOURS["blue"])
    ax.set(xlabel="optimizer step", ylabel="loss (nats a token)", ylim=(0, None))
    ax.set_xlim(0, None)
    return _clean(ax)


def before_after(
    before: Mapping[str, float], after: Mapping[str, float], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw two bars for each group, before and after training.

    Args:
        before: Share of exact matches for each group's name, 0 to 1.
        after: The same after training, with the same names.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: The groups differ.

    Taught in: notebooks/00_tldr.ipynb
    """
    if list(before) != list(after):
        raise ValueError(f"groups differ: {list(before)} before, {list(after)} after")
    ax = _axes(ax, size=(7, 3))
    width = 0.38
    for shift, name, values, style in (
        (-width / 2, "before", before, {"color": COLOURS["grey"], "hatch": "//"}),
        (width / 2, "after", after, {"color": COLOURS["green"]}),
    ):
        places = [i + shift for i in range(len(values))]
        percent = [100 * value for value in values.values()]
        bars = ax.bar(places, percent, width, label=name, edgecolor="white", **style)
        ax.bar_label(bars, fmt="%.0f %%", padding=2)
    ax.set_xticks(range(len(before)), list(before))
    ax.set(ylabel="exact matches (%)", ylim=(0, 115), yticks=range(0, 101, 25))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return _clean(ax)


def footprint(parts: Mapping[str, Mapping[str, int]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw the memory of models as stacked bars, one bar a model.

    Args:
        parts: For each model's name, the bytes of each of its parts; the same parts in each.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: The models do not have the same parts.

    Taught in: notebooks/00_tldr.ipynb
    """
    names = list(next(iter(parts.values())))
    if any(list(sizes) != names for sizes in parts.values()):
        raise ValueError(f"every model must have the parts {names}, in this order")
    ax = _axes(ax, size=(7, 0.7 + 0.55 * len(parts)))
    left = [0.0] * len(parts)
    styles = zip(COLOURS.values(), ("", "//", "..", "xx"), strict=False)
    for name, (colour, hatch) in zip(names, styles, strict=False):
        sizes = [model[name] / 1e6 for model in parts.values()]
        ax.barh(
            list(parts), sizes, left=left, label=name, color=colour, hatch=hatch, edgecolor="white"
        )
        left = [a + b for a, b in zip(left, sizes, strict=True)]
    for row, total in enumerate(left):
        ax.text(total, row, f" {total:.0f} MB", va="center")
    ax.invert_yaxis()
    ax.set(xlabel="size of the weights (MB, 10⁶ bytes)", xlim=(0, 1.2 * max(left)))
    ax.legend(loc="lower right", frameon=False)
    return _clean(ax)


def lines(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    bands: Mapping[str, Sequence[float]] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw lines over a common x, told apart by colour and by dashes, each named at its end.

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
    if set(bands) - set(series) or len(series) > len(COLOURS):
        raise ValueError(f"bands {list(bands)} for lines {list(series)}: up to seven named lines")
    ax = _axes(ax, size=(7, 3))
    dashes = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)))
    for (name, y), colour, dash in zip(series.items(), COLOURS.values(), dashes, strict=False):
        ax.plot(x, y, color=colour, linestyle=dash, label=name)
        if name in bands:
            low = [a - b for a, b in zip(y, bands[name], strict=True)]
            high = [a + b for a, b in zip(y, bands[name], strict=True)]
            ax.fill_between(x, low, high, color=colour, alpha=0.25, linewidth=0)
    ax.legend(frameon=False)
    return _clean(ax)


def number_lines(values: Mapping[str, Sequence[float]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw one number line a row, with a stroke at each value.

    Args:
        values: For each row's name, the values to mark.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes; set its x limits to look at a part.

    Raises:
        ValueError: There are no rows, or a row has no values.

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    if not values or not all(len(row) for row in values.values()):
        raise ValueError("give at least one row, and at least one value in each")
    ax = _axes(ax, size=(8, 0.8 + 0.45 * len(values)))
    for row, (marks, colour) in enumerate(
        zip(values.values(), [*COLOURS.values()] * len(values), strict=False)
    ):
        ax.axhline(row, color="#CCCCCC", linewidth=0.8, zorder=0)
        ax.vlines(list(marks), row - 0.32, row + 0.32, color=colour, linewidth=1.3)
    ax.set_yticks(range(len(values)), list(values))
    ax.tick_params(axis="y", length=0)
    ax.invert_yaxis()
    ax.spines["left"].set_visible(False)
    return _clean(ax)
