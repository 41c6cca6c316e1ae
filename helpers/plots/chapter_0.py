"""Charts of Chapter 0: losses and scores."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.style import COLORS, new_axes, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["before_after", "loss_curve"]


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
    ax = new_axes(ax, size=(7, 3))
    ax.plot(steps, losses, marker="o", color=COLORS["blue"])
    ax.set(xlabel="optimizer step", ylabel="loss (nats a token)", ylim=(0, None))
    ax.set_xlim(0, None)
    return without_frame(ax)


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
    ax = new_axes(ax, size=(7, 3))
    width = 0.38
    for shift, name, values, style in (
        (-width / 2, "before", before, {"color": COLORS["gray"], "hatch": "//"}),
        (width / 2, "after", after, {"color": COLORS["green"]}),
    ):
        places = [i + shift for i in range(len(values))]
        percent = [100 * value for value in values.values()]
        bars = ax.bar(places, percent, width, label=name, edgecolor="white", **style)
        ax.bar_label(bars, fmt="%.0f %%", padding=2)
    ax.set_xticks(range(len(before)), list(before))
    ax.set(ylabel="exact matches (%)", ylim=(0, 115), yticks=range(0, 101, 25))
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return without_frame(ax)
