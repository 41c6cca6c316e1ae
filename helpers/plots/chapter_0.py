"""Charts of Chapter 0: losses, scores, and the size of weights."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.plots.axes import COLOURS, new_axes, without_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["before_after", "footprint", "loss_curve"]


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
    ax.plot(steps, losses, marker="o", color=COLOURS["blue"])
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
    return without_frame(ax)


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
    ax = new_axes(ax, size=(7, 0.7 + 0.55 * len(parts)))
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
    return without_frame(ax)
