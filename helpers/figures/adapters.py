"""Adapters: what they compute, where in a block they are, and how one is used after training."""

from typing import TYPE_CHECKING

from helpers.figures.kit import (
    ROLES,
    SMALL,
    Box,
    Point,
    arrow,
    box,
    canvas,
    connect,
    key,
    label,
    matrix,
    route,
)
from helpers.figures.transformer import draw_block
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["adapter_places", "adapter_uses", "lora_matrices", "rounded_back"]


def lora_matrices(
    out_features: int, in_features: int, *, rank: int, alpha: float, ax: "Axes | None" = None
) -> "Axes":
    """Draw LoRA beside a linear layer, to scale.

    Args:
        out_features: Rows of the weight.
        in_features: Columns of the weight.
        rank: Rows of A, columns of B. Both are drawn thicker than they are, to be seen.
        alpha: What the product is multiplied by, divided by the rank.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: the input goes up through W, and beside it through A and B. Below, how many
        numbers they have, and why the two can be merged.

    Example:
        >>> lora_matrices(576, 1536, rank=16, alpha=32).get_title("left")
        'LoRA: two thin matrices beside a frozen one'

    Taught in: notebooks/00_tldr.ipynb, notebooks/03_lora.ipynb
    """
    scale = 1.7 / max(out_features, in_features)
    total = max(3.9, 3.0 + scale * out_features)  # where LoRA's two ways meet
    ax = canvas(4.9, total + 0.85, title="LoRA: two thin matrices beside a frozen one", ax=ax)
    n_base, n_added = out_features * in_features, rank * (out_features + in_features)
    w, a, b = _matrices(ax, out_features, in_features, rank=rank, scale=scale)
    _lora_ways(ax, w, a, b, total=total, scaling=f"× α/r = {alpha:g}/{rank}")
    counts = f"W: {n_base:,} numbers.  A and B: {n_added:,}, {100 * n_added / n_base:.1f} % of it"
    label(ax, (2.42, 0.46), counts, size=SMALL)
    label(ax, (2.42, 0.18), "can be merged: W + α/r B A is a matrix like W", size=SMALL, bold=True)
    return describe(
        ax,
        f"The input goes through W, {out_features:,} by {in_features:,}, frozen, and beside it "
        f"through A, {rank} by {in_features:,}, and B, {out_features:,} by {rank}, trained and "
        f"thin. B's output, times {alpha:g}/{rank}, is added to W's. W has {n_base:,} numbers, "
        f"A and B {n_added:,}. The product has the shape of W, so it can be merged into it",
    )


def _matrices(
    ax: "Axes", out_features: int, in_features: int, *, rank: int, scale: float
) -> tuple[Box, Box, Box]:
    """Draw W, and beside it A below and B above, with their names and shapes."""
    height, thin = scale * out_features, {"scale": scale, "role": "trained", "sides": False}
    shape = out_features, in_features
    w = matrix(ax, (1.3, 2.25 + height / 2), shape, scale=scale, role="frozen", sides=False)
    a = matrix(ax, (3.55, 2.0), (rank, in_features), **thin)
    b = matrix(ax, (3.55, 2.45 + height / 2), (out_features, rank), **thin)
    times = " × " if w.width > 0.9 else " ×\n"
    label(ax, (w.x, w.y + 0.11), "W ❄", role="frozen", size=12, bold=True)
    label(ax, (w.x, w.y - 0.16), f"{out_features:,}{times}{in_features:,}", size=SMALL, soft=True)
    label(ax, (a.x - 0.12, a.y - 0.23), "A ✎", role="trained", size=12, bold=True, align="right")
    _shape(ax, (a.x + 0.12, a.y - 0.23), rank, in_features)
    label(ax, (b.x - 0.18, b.y), "B ✎", role="trained", size=12, bold=True, align="right")
    _shape(ax, (b.x + 0.18, b.y), out_features, rank)
    return w, a, b


def _shape(ax: "Axes", at: Point, rows: int, columns: int) -> None:
    label(ax, at, f"{rows:,} × {columns:,}", size=SMALL, align="left", soft=True)


def _sum(ax: "Axes", at: Point) -> Box:
    circle = {"boxstyle": "circle,pad=0.12", "fc": "white", "ec": ROLES["plain"].edge, "lw": 1.3}
    ax.text(*at, "+", ha="center", va="center", size=11, bbox=circle, zorder=5)
    return Box(*at, 0.24, 0.24)


def _lora_ways(ax: "Axes", w: Box, a: Box, b: Box, *, total: float, scaling: str) -> None:
    """Draw the ways from the input, through W and through A and B, to the sum and the output."""
    middle = (w.x + a.x) / 2
    given = box(ax, (middle, 1.0), "input x", size=(1.2, 0.36), role="data")
    added = _sum(ax, (middle, total))
    factor = box(ax, (b.x, total), scaling, size=(1.4, 0.34))
    output = box(ax, (middle, total + 0.55), "output", size=(1.2, 0.36))
    route(ax, [given.left, (w.x, given.y), w.bottom])
    route(ax, [given.right, (a.x, given.y), a.bottom])
    route(ax, [w.top, (w.x, total), added.left])
    for below, above in ((a, b), (b, factor), (factor, added), (added, output)):
        connect(ax, below, above)


def adapter_places(*, ax: "Axes | None" = None) -> "Axes":
    """Draw where in a transformer block LoRA and the classic adapter are.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: at the left a block with LoRA beside each linear layer, at the right one with
        classic adapters behind attention and behind the MLP.

    Example:
        >>> adapter_places().get_title("left")
        'Where adapters sit in a block'

    Taught in: notebooks/03_lora.ipynb
    """
    ax = canvas(5.9, 6.15, title="Where adapters sit in a block", ax=ax)
    frozen = dict.fromkeys(("norm 1", "q k v", "o", "norm 2", "gate up", "down"), "frozen")
    left, right = (draw_block(ax, x, roles=frozen, bottom=0.5) for x in (1.25, 4.9))
    label(ax, (0.1, 6.0), "LoRA: beside linear layers", bold=True, align="left")
    label(ax, (3.62, 6.0), "classic: after each sublayer", bold=True, align="left")
    for part, text in {"q k v": "3 × B A", "o": "B A", "gate up": "2 × B A", "down": "B A"}.items():
        _beside(ax, left[part], text)
    for last in ("o", "down"):
        _small(ax, (right[last].x - 0.5, right[last].y + 0.48), "adapter")
    key(ax, (0.1, 0.15), ["frozen", "trained", "plain"])
    return describe(
        ax,
        "One transformer block, drawn twice, its layers frozen. At the left, trained products B A "
        "are beside the linear layers: three at q, k, v, one at o, two at gate and up, one at "
        "down. At the right, a trained adapter comes after o and one after down, before the result "
        "is added to the residual stream",
    )


def _small(ax: "Axes", at: Point, text: str) -> None:
    """Write the name of an adapter in a box of its own, over whatever way is there."""
    colors = ROLES["trained"]
    around = {"boxstyle": "round,pad=0.35", "fc": colors.fill, "ec": colors.edge, "lw": 1.3}
    style = {"ha": "center", "va": "center", "size": SMALL, "color": colors.ink, "zorder": 5}
    ax.text(*at, f"{text} ✎", bbox=around, **style)


def _beside(ax: "Axes", layer: Box, text: str) -> None:
    """Draw an adapter at the right of a layer, from the layer's input to its output."""
    x, low, high = layer.x + 1.35, layer.bottom[1] - 0.045, layer.top[1] + 0.045
    color = ROLES["trained"].edge
    ax.plot([layer.x, x, x, layer.x], [low, low, high, high], color=color, lw=1.4, zorder=2.5)
    _small(ax, (x, layer.y), text)


def adapter_uses(*, ax: "Axes | None" = None) -> "Axes":
    """Draw four ways to use an adapter after training, and what PEFT calls them.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: switching an adapter off, swapping several on one base, combining them, merging.

    Example:
        >>> adapter_uses().get_title("left")
        'Four ways to use an adapter'

    Taught in: notebooks/03_lora.ipynb
    """
    ax = canvas(7.3, 4.5, title="Four ways to use an adapter", ax=ax)
    cards = (
        ("Switch it off and on", "the base is untouched", _switch, "with model.disable_adapter():"),
        ("Swap several", "one base in memory", _swap, 'model.set_adapter("pirate")'),
        ("Combine several", "a weighted sum", _combine, "model.add_weighted_adapter(...)"),
        ("Merge it", "a plain model, as fast as the base", _merge, "model.merge_and_unload()"),
    )
    for i, (name, remark, picture, code) in enumerate(cards):
        x, y = 1.8 + 3.7 * (i % 2), 3.4 - 2.05 * (i // 2)
        label(ax, (x - 1.7, y + 0.9), name, bold=True, align="left")
        label(ax, (x - 1.7, y + 0.66), remark, size=SMALL, align="left")
        label(ax, (x - 1.7, y - 0.77), code, size=SMALL, align="left", code=True, soft=True)
        picture(ax, x, y)
    ax.plot([0.1, 7.2], [2.45, 2.45], color="#E3E3E3", lw=1.0)
    ax.plot([3.63, 3.63], [0.5, 4.4], color="#E3E3E3", lw=1.0)
    key(ax, (0.1, 0.18), ["frozen", "trained", "plain"], meanings=["base", "adapter", "merged"])
    return describe(
        ax,
        "Switch: W with the adapter, or W alone. Swap: one W with three adapters, one of them "
        "active. Combine: 0.7 of an adapter plus 0.3 of another make a third. Merge: W and adapter "
        "become one matrix of W's size",
    )


def _switch(ax: "Axes", x: float, y: float) -> None:
    for middle, state in ((x - 0.85, "on"), (x + 0.85, "off")):
        _base(ax, (middle - 0.35, y))
        _product(ax, (middle + 0.35, y), state, pale=state == "off")


def _swap(ax: "Axes", x: float, y: float) -> None:
    _base(ax, (x - 1.2, y))
    for i, name in enumerate(("yoda", "pirate", "legal")):
        _product(ax, (x - 0.4 + 0.75 * i, y), name, pale=name != "pirate")


def _combine(ax: "Axes", x: float, y: float) -> None:
    for left, factor, name in ((x - 0.85, "0.7 ×", "yoda"), (x + 0.35, "+ 0.3 ×", "pirate")):
        label(ax, (left - 0.32, y), factor, align="right")
        _product(ax, (left, y), name)
    arrow(ax, (x + 0.68, y), (x + 1.05, y))
    _product(ax, (x + 1.38, y), "both")


def _merge(ax: "Axes", x: float, y: float) -> None:
    _base(ax, (x - 1.2, y))
    label(ax, (x - 0.76, y), "+", bold=True)
    _product(ax, (x - 0.35, y), "yoda")
    arrow(ax, (x + 0.1, y), (x + 0.6, y))
    matrix(ax, (x + 1.05, y), (6, 6), scale=0.1, name="W′", sides=False)


def _base(ax: "Axes", at: Point) -> None:
    matrix(ax, at, (6, 6), scale=0.1, name="W", role="frozen", sides=False)


def _product(ax: "Axes", at: Point, name: str, *, pale: bool = False) -> None:
    """Draw B and A as a tall and a wide strip, pale if they do nothing, and a name below."""
    from matplotlib.patches import Rectangle

    (x, y), colors = at, ROLES["trained"]
    style = {"fc": colors.fill, "ec": colors.edge, "lw": 1.3, "alpha": 0.3 if pale else 1.0}
    ax.add_patch(Rectangle((x - 0.26, y - 0.3), 0.12, 0.6, **style))
    ax.add_patch(Rectangle((x - 0.1, y + 0.18), 0.36, 0.12, **style))
    label(ax, (x, y - 0.45), name, size=SMALL, bold=not pale, soft=pale)


def rounded_back(gap: float, update: float, *, ax: "Axes | None" = None) -> "Axes":
    """Draw what rounding to a few levels does to a small update of a weight: nothing is left.

    Args:
        gap: Distance between two neighboring levels, in the weight's unit.
        update: By how much the weight moves, to the right, at most 0.9 of a gap. It is drawn to
            scale, as a dot where the weight ends up.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: three levels on a line, the stretch that is rounded to the one in the middle, and
        the weight before and after the update.

    Raises:
        ValueError: The update is not from 0 to 0.9 of the gap.

    Example:
        >>> rounded_back(0.02, 0.001).get_title("left")
        'An update that is smaller than half a gap is rounded away'

    Taught in: notebooks/03_lora.ipynb
    """
    from matplotlib.patches import Circle, Rectangle

    if not 0 < update <= 0.9 * gap:
        raise ValueError(
            f"update is {update}: it must be above 0 and at most 0.9 of {gap}, the gap"
        )
    back = update < gap / 2
    middle, step, y = 3.65, 2.6, 1.25  # the level in the middle, and from level to level
    title = "An update that is smaller than half a gap is rounded away"
    ax = canvas(7.3, 2.75, title=title, ax=ax)
    colors, trained = ROLES["frozen"], ROLES["trained"]
    ax.add_patch(Rectangle((middle - step / 2, y - 0.22), step, 0.44, fc=colors.fill, ec="none"))
    ax.plot([0.3, 7.0], [y, y], color=ROLES["plain"].edge, lw=1.2, zorder=2)
    for place in (-1, 0, 1):
        x = middle + place * step
        ax.plot([x, x], [y - 0.22, y + 0.22], color=ROLES["plain"].edge, lw=2.2, zorder=3)
        label(ax, (x, y - 0.42), "one of 16 values" if place else "the weight's value", size=SMALL)
    after = middle + update / gap * step
    ax.add_patch(Circle((middle, y), 0.085, fc=colors.fill, ec=colors.edge, lw=1.4, zorder=4))
    ax.add_patch(Circle((after, y), 0.055, fc=trained.fill, ec=trained.edge, lw=1.4, zorder=5))
    arrow(ax, (after, y + 0.75), (after, y + 0.1), role="trained")
    label(ax, (after, y + 0.9), f"after the update of {update:.2g}", role="trained", bold=True)
    half = middle + step / 2
    ax.plot([half, half], [y - 0.6, y + 0.36], color=colors.edge, lw=1.2, ls=(0, (4, 3)))
    label(ax, (half, y + 0.5), f"halfway: {gap / 2:.2g}", size=SMALL, align="left")
    told = "rounding takes everything in the shaded stretch back to the middle"
    label(ax, (middle, 0.3), told, bold=True)
    return describe(
        ax,
        f"Three of sixteen values on a line, {gap:.2g} apart. A weight on the middle one moves by "
        f"{update:.2g}, {'less' if back else 'more'} than the {gap / 2:.2g} that are halfway to "
        f"the next, so rounding {'puts it back' if back else 'takes it there'}",
    )
