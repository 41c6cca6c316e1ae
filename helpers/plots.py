"""Charts of numbers. Each takes numbers, draws on an `Axes`, and returns it."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "COLOURS",
    "bars",
    "before_after",
    "dots",
    "footprint",
    "histogram",
    "lines",
    "loss_curve",
    "matrix",
    "memory_timeline",
    "normal_levels",
    "number_lines",
    "token_grid",
    "trade_off",
]

MAX_MOMENTS = 250  # of a timeline: fewer than its figure has pixels, so that a needle shows

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


def histogram(
    values: Sequence[float],
    *,
    n_bins: int = 100,
    marks: Sequence[float] = (),
    normal: bool = False,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw how often values occur, as a density.

    Args:
        values: The numbers to count.
        n_bins: How many bars.
        marks: Where to draw vertical lines, such as the values that a format has.
        normal: Whether to draw the bell curve of the same mean and standard deviation.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: There are no values.

    Taught in: notebooks/02_quantization.ipynb
    """
    import numpy as np

    numbers = np.asarray(values, dtype=float)
    if not numbers.size:
        raise ValueError("there are no values to draw: give at least one")
    ax = _axes(ax, size=(7, 3))
    ax.hist(numbers, bins=n_bins, density=True, color=COLOURS["sky"], label="values")
    if normal:
        x = np.linspace(numbers.min(), numbers.max(), 400)
        height = np.exp(-(((x - numbers.mean()) / numbers.std()) ** 2) / 2)
        curve = height / (numbers.std() * np.sqrt(2 * np.pi))
        ax.plot(x, curve, "--", color=COLOURS["red"], label="normal distribution")
    for place in marks:
        ax.axvline(place, color="#1A1A1A", linewidth=0.9)
    ax.set(ylabel="density", yticks=[])
    if normal:
        ax.legend(frameon=False)
    return _clean(ax)


def normal_levels(
    edges: Sequence[float], levels: Sequence[float], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw the bell curve cut into slices, and the level that stands for each slice.

    Args:
        edges: Where the slices meet, ascending, in standard deviations.
        levels: The values that are kept, in standard deviations.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: slices as areas of two shades in turn, levels as strokes.

    Raises:
        ValueError: Not one edge fewer than levels.

    Taught in: notebooks/02_quantization.ipynb
    """
    import numpy as np

    if len(edges) != len(levels) - 1:
        raise ValueError(f"{len(edges)} edges for {len(levels)} levels: give one fewer")
    ax = _axes(ax, size=(8, 3))
    span = max(3.0, *map(abs, levels))
    ends = [-span, *edges, span]
    for i, (low, high) in enumerate(itertools.pairwise(ends)):
        x = np.linspace(low, high, 50)
        height = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
        ax.fill_between(x, height, color=COLOURS["sky"], alpha=0.35 + 0.4 * (i % 2), linewidth=0)
    ax.vlines(list(levels), -0.06, 0, color=COLOURS["red"], linewidth=2)
    ax.axhline(0, color="#1A1A1A", linewidth=0.8)
    ax.set(xlabel="standard deviations", ylabel="density", yticks=[])
    return _clean(ax)


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
    ax = _axes(ax, size=(7, 0.7 + 0.4 * len(values)))
    half_widths = list(errors.values()) if errors else None
    style = {"color": COLOURS["sky"], "edgecolor": COLOURS["blue"], "error_kw": {"capsize": 3}}
    ax.barh(list(values), list(values.values()), xerr=half_widths, **style)
    for row, (value, half_width) in enumerate(
        zip(values.values(), half_widths or [0] * len(values), strict=True)
    ):
        place = (max(value + half_width, 0), row)
        offset = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
        ax.annotate(label_format % value, place, **offset)
    ax.yaxis.set_inverted(True)  # of axes that share their y, this may be the second
    ax.margins(x=0.2)
    return _clean(ax)


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
    ax = _axes(ax, size=(7, 3))
    for place, column in enumerate(values.values()):
        ax.plot([place] * len(column), list(column), "o", color=COLOURS["blue"], alpha=0.4)
    ax.set_xticks(range(len(values)), list(values))
    return _clean(ax)


def matrix(
    values: Sequence[Sequence[float]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a table of numbers as squares, the darker the larger.

    Args:
        values: One sequence a row, each as long as there are columns; NaN is drawn grey.
        rows: What the rows are called.
        columns: What the columns are called.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: The names are not as many as rows and columns.

    Taught in: notebooks/01_language_models.ipynb
    """
    if len(values) != len(rows) or any(len(row) != len(columns) for row in values):
        raise ValueError(
            f"{len(values)} rows for {len(rows)} names of rows, {len(columns)} columns"
        )
    ax = _axes(ax, size=(4, 4))
    ax.set_facecolor("#DDDDDD")  # shows where a value is NaN
    ax.figure.colorbar(ax.imshow(values, cmap="Blues", vmin=0), ax=ax, shrink=0.7)
    ax.set_xticks(range(len(columns)), list(columns), rotation=60, ha="right", size=8)
    ax.set_yticks(range(len(rows)), list(rows), size=8)
    ax.tick_params(length=0)
    return _clean(ax)


def token_grid(
    rows: Sequence[Sequence[int]], *, names: Sequence[str], ax: "Axes | None" = None
) -> "Axes":
    """Draw the positions of a batch as squares, coloured by what they hold.

    Args:
        rows: For each row of the batch, what each position holds: an index into `names`.
        names: What the indices mean, at most five; the first is drawn palest, for padding.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: The rows are not of one length, or an index has no name.

    Taught in: notebooks/04_formatting.ipynb
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colours = ["#EEEEEE", COLOURS["sky"], COLOURS["orange"], COLOURS["blue"], COLOURS["red"]]
    if len({len(row) for row in rows}) != 1 or not 0 < len(names) <= len(colours):
        raise ValueError("give rows of one length, and one to five names")
    if not all(0 <= index < len(names) for row in rows for index in row):
        raise ValueError(f"an index has no name: there are {len(names)}")
    ax = _axes(ax, size=(8, 0.6 + 0.22 * len(rows)))
    palette = ListedColormap(colours[: len(names)])
    edges = "white" if len(rows[0]) <= 100 else "none"  # lines would cover narrow squares
    limits = {"vmin": -0.5, "vmax": len(names) - 0.5}
    ax.pcolormesh(rows, cmap=palette, edgecolors=edges, linewidth=0.4, **limits)
    ax.invert_yaxis()
    ax.set_yticks([])
    ax.legend(
        handles=[Patch(color=c, label=n) for c, n in zip(colours, names, strict=False)],
        loc="upper left",
        bbox_to_anchor=(1, 1),
        frameon=False,
    )
    return _clean(ax)


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
        ValueError: There are no parts, or they are not of one length.

    Taught in: notebooks/05_training.ipynb
    """
    lengths = {len(values) for values in parts.values()}
    if len(lengths) != 1 or not 0 < len(parts) <= len(COLOURS):
        raise ValueError(f"parts of {sorted(lengths)} moments: give one to seven, of one length")
    ax = _axes(ax, size=(8, 3.6))
    n = lengths.pop()
    totals = [sum(values) for values in zip(*parts.values(), strict=True)]
    # A peak of one allocation would be narrower than a pixel: of each stretch show the highest.
    width = -(-n // MAX_MOMENTS)
    x = [max(range(i, min(i + width, n)), key=totals.__getitem__) for i in range(0, n, width)]
    colours = list(COLOURS.values())[: len(parts)]
    shown = [[values[i] for i in x] for values in parts.values()]
    # matplotlib leaves out of the legend what begins with an underscore.
    labels = [name if any(values) else f"_{name}" for name, values in parts.items()]
    ax.stackplot(x, *shown, labels=labels, colors=colours, linewidth=0)
    for start, name in phases:
        ax.axvline(start, color="#bbbbbb", linewidth=0.8, linestyle=":", zorder=0)
        ax.annotate(
            name,
            (start, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, -2),
            textcoords="offset points",
            rotation=90,
            va="top",
            size=8,
        )
    ax.set(xlabel="allocation", ylabel="memory (GiB)", xlim=(0, None), ylim=(0, 1.2 * max(totals)))
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return _clean(ax)


def trade_off(
    before: tuple[float, float], after: tuple[float, float], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw what a change buys and costs: an arrow from a circle to a square, memory against time.

    Args:
        before: Time and memory, in any units.
        after: The same with the change.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, without labels: the caller knows the units.

    Taught in: notebooks/05_training.ipynb
    """
    ax = _axes(ax, size=(3, 3))
    ax.annotate("", after, before, arrowprops={"arrowstyle": "->", "color": "#444444"})
    ax.plot(*before, marker="o", markersize=8, color=COLOURS["blue"], linestyle="none")
    ax.plot(*after, marker="s", markersize=8, color=COLOURS["orange"], linestyle="none")
    return _clean(ax)
