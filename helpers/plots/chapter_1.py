"""Charts of Chapter 1: tables of numbers as squares."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.style import new_axes, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["matrix"]


def matrix(
    values: Sequence[Sequence[float]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a table of numbers as squares, the darker the larger.

    Args:
        values: One sequence a row, each as long as there are columns; NaN is drawn gray.
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
    ax = new_axes(ax, size=(4, 4))
    ax.set_facecolor("#DDDDDD")  # shows where a value is NaN
    ax.figure.colorbar(ax.imshow(values, cmap="Blues", vmin=0), ax=ax, shrink=0.7)
    ax.set_xticks(range(len(columns)), list(columns), rotation=60, ha="right", size=8)
    ax.set_yticks(range(len(rows)), list(rows), size=8)
    ax.tick_params(length=0)
    return without_frame(ax)
