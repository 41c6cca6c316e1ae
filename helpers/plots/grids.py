"""Tables as squares: numbers, or what the positions of a batch hold."""

import collections
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.plots.marks import SMALL
from helpers.style import COLORS, INK, describe, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["matrices", "token_grid"]

Table = Sequence[Sequence[float]]


def matrices(
    tables: Mapping[str, Table],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    axes: "Sequence[Axes] | None" = None,
) -> "tuple[Axes, ...]":
    """Draw tables of numbers side by side, the darker the larger, with one scale for all.

    Args:
        tables: For each table's title, one sequence a row, each as long as there are columns;
            numbers from zero on; NaN is drawn gray.
        rows: What the rows are called.
        columns: What the columns are called.
        axes: Where to draw, one a table; a new figure without them.

    Returns:
        The axes, one a table.

    Raises:
        ValueError: The names are not as many as rows and columns.

    Taught in: notebooks/01_language_models.ipynb
    """
    for title, table in tables.items():
        if len(table) != len(rows) or any(len(row) != len(columns) for row in table):
            raise ValueError(
                f"{title!r}: {len(table)} rows for {len(rows)} names of rows, "
                f"{len(columns)} columns"
            )
    if axes is None:
        import matplotlib.pyplot as plt

        size = (min(7.4, 0.9 + 2.5 * len(tables)), 2.9)  # close to square tables, without gaps
        look = {"figsize": size, "sharey": True, "squeeze": False, "layout": "constrained"}
        axes = plt.subplots(1, len(tables), **look)[1][0]
    flat = [value for table in tables.values() for row in table for value in row]
    highest = max(value for value in flat if not math.isnan(value))
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        ax.set_facecolor("#E2E2E2")  # shows where a value is NaN
        image = ax.imshow(table, cmap="Blues", vmin=0, vmax=highest)
        ax.grid(visible=False)
        ax.set_xticks(range(len(columns)), list(columns), rotation=60, ha="right", size=SMALL)
        ax.set_yticks(range(len(rows)), list(rows), size=SMALL)
        ax.set_title(title)
        ax.tick_params(length=0)
        describe(ax, _told(table, columns))
    axes[0].figure.colorbar(image, ax=list(axes), shrink=0.7, pad=0.02).outline.set_visible(False)
    return tuple(axes)


def _told(table: Table, columns: Sequence[str]) -> str:
    """Say in which columns the rows have their largest value."""
    found: dict[int, int] = collections.Counter()
    for row in table:
        known = [-1.0 if math.isnan(value) else value for value in row]
        found[known.index(max(known))] += 1
    places = sorted(found, key=lambda place: -found[place])
    return "Largest value: " + ", ".join(
        f"in column {place + 1}, {columns[place]}, for {found[place]} of {len(table)} rows"
        for place in places
    )


def token_grid(
    rows: Sequence[Sequence[int]],
    *,
    names: Sequence[str],
    starts: Sequence[Sequence[int]] = (),
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw the positions of a batch as squares, colored by what they hold.

    Args:
        rows: For each row of the batch, what each position holds: an index into `names`.
        names: What the indices mean, at most four; the first is drawn palest, for padding.
        starts: For each row, where its sequences begin, if it has several: a stroke there.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Raises:
        ValueError: The rows are not of one length, an index has no name, or there are not as
            many rows of starts.

    Taught in: notebooks/04_formatting.ipynb
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    colors = ["#EBEBEB", "#A9D3F0", COLORS["orange"], COLORS["blue"]]
    if len({len(row) for row in rows}) != 1 or not 0 < len(names) <= len(colors):
        raise ValueError("give rows of one length, and one to four names")
    if not all(0 <= index < len(names) for row in rows for index in row):
        raise ValueError(f"an index has no name: there are {len(names)}")
    if starts and len(starts) != len(rows):
        raise ValueError(f"starts of {len(starts)} rows for {len(rows)} rows")
    ax = new_axes(ax, size=(7.4, 0.85 + 0.19 * (len(rows) + 1.4)))
    ax.grid(visible=False)
    edges = "white" if len(rows[0]) <= 100 else "none"  # lines would cover narrow squares
    limits = {"vmin": -0.5, "vmax": len(names) - 0.5, "edgecolors": edges, "linewidth": 0.4}
    ax.pcolormesh(rows, cmap=ListedColormap(colors[: len(names)]), **limits)
    for row, places in enumerate(starts):
        ax.vlines([place for place in places if place], row, row + 1, color=INK, linewidth=1.4)
    ax.hlines(range(1, len(rows)), 0, len(rows[0]), color="white", linewidth=1.5)
    ax.set(ylim=(len(rows), -0.27 / 0.19), yticks=[])  # headroom for the names
    ax.spines[["left", "bottom"]].set_visible(False)
    key = [Patch(color=colors[i], label=name) for i, name in enumerate(names)]
    ax.legend(handles=key, loc="upper left", ncols=4, borderaxespad=0.1)
    flat = [index for row in rows for index in row]
    shares = [f"{name} {flat.count(i) / len(flat):.0%}" for i, name in enumerate(names)]
    told = f"{len(rows)} rows of {len(rows[0])} positions: {', '.join(shares)}"
    if starts:
        told += f"; strokes part {sum(map(len, starts))} sequences"
    return describe(ax, told)
