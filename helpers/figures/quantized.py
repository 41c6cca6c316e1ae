"""Quantization: from weights to codes and back, and the forward pass of a 4-bit layer."""

from collections.abc import Mapping, Sequence
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
    grid,
    label,
    timeline,
    tokens,
)
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["block_scales", "number_line", "quantized_layer"]

NAMES = "abcdefgh"
WEIGHTS, LEVELS = 3.75, 2.75  # heights of the two lines
BARS = (3.35, 3.8)  # left end, and length of the longest
PRODUCT, MATRIX, VECTOR = 4.6, (1.6, 0.9), (1.25, 0.52)  # of a layer: place, and sizes


def number_line(
    values: Sequence[float], levels: Sequence[float], *, absmax: float, ax: "Axes | None" = None
) -> "Axes":
    """Draw how weights become codes, the numbers of their nearest levels, and weights again.

    Args:
        values: A handful of weights of a block, none larger than absmax.
        levels: Sixteen values from -1 to 1, ascending; the number of a level is its code.
        absmax: Largest magnitude of the block, by which the levels are multiplied.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: weights on a line, arrows to their levels on a second, and a table of codes,
        restored weights and errors.

    Raises:
        ValueError: A weight is outside of the block's range, or the levels do not ascend.

    Example:
        >>> levels = [i / 7.5 - 1 for i in range(16)]
        >>> number_line([-2.0, 0.1], levels, absmax=2.0).get_title("left")
        'From weight to code and back'

    Taught in: notebooks/02_quantization.ipynb
    """
    if any(abs(value) > absmax * 1.0001 for value in values):
        raise ValueError(f"values must be from {-absmax} to {absmax}, the block's absmax: {values}")
    if sorted(levels) != list(levels):
        raise ValueError(f"levels must ascend, as codes do, not {list(levels)}")
    ax = canvas(7.3, 4.5, title="From weight to code and back", ax=ax)
    values = sorted(values)
    codes = [_nearest(value / absmax, levels) for value in values]
    restored = [levels[code] * absmax for code in codes]
    label(ax, (0.1, 4.37), "weights of a block", role="frozen", bold=True, align="left")
    for share in (-1, 0, 1):
        number = f"{share * absmax:.3g}".replace("-", "−")
        label(ax, (_along(share), WEIGHTS + 0.26), number, size=SMALL, soft=True)
    _line_of_levels(ax, levels, absmax)
    ax.plot([_along(-1), _along(1)], [WEIGHTS] * 2, color=ROLES["plain"].edge, lw=1.2, zorder=1)
    for name, value, code in zip(NAMES, values, codes, strict=False):
        _named(ax, (_along(value / absmax), WEIGHTS), name)
        start, end = (_along(value / absmax), WEIGHTS - 0.13), (_along(levels[code]), LEVELS + 0.13)
        arrow(ax, start, end)
    _table(ax, values, codes, restored)
    pairs = ", ".join(f"{v:.3f} to {r:.3f}" for v, r in zip(values, restored, strict=True))
    return describe(
        ax,
        f"Weights on a line. An arrow leads from each to the nearest of {len(levels)} levels on a "
        f"line below, whose number is stored: codes {codes}. From weight to restored: {pairs}",
    )


def _nearest(value: float, levels: Sequence[float]) -> int:
    return min(range(len(levels)), key=lambda code: abs(levels[code] - value))


def _along(share: float) -> float:
    """Return where a value is on the lines, given as a share of the absmax."""
    return 3.65 + 3.4 * share


def _named(ax: "Axes", at: Point, name: str) -> None:
    from matplotlib.patches import Circle

    colors = ROLES["frozen"]
    ax.add_patch(Circle(at, 0.13, fc=colors.fill, ec=colors.edge, lw=1.2, zorder=3))
    label(ax, at, name, role="frozen", size=SMALL)


def _line_of_levels(ax: "Axes", levels: Sequence[float], absmax: float) -> None:
    color = ROLES["plain"].edge
    ax.plot([_along(-1), _along(1)], [LEVELS] * 2, color=color, lw=1.2, zorder=1)
    for code, level in enumerate(levels):
        x = _along(level)
        ax.plot([x, x], [LEVELS - 0.1, LEVELS + 0.1], color=color, lw=1.8, zorder=2)
        label(ax, (x, LEVELS - 0.22), str(code), size=SMALL)
    text = f"{len(levels)} levels and their codes, times the block's absmax of {absmax:.3f}"
    label(ax, (0.1, LEVELS - 0.5), text, bold=True, align="left")


def _table(
    ax: "Axes", values: Sequence[float], codes: Sequence[int], restored: Sequence[float]
) -> None:
    rows = ("weight", "code of the level", "stored: 4 bits", "restored", "error")
    for row, text in enumerate(rows):
        label(ax, (0.1, 1.28 - 0.29 * row), text, align="left")
    step = 5.3 / len(values)
    for i, (name, value, code, back) in enumerate(
        zip(NAMES, values, codes, restored, strict=False)
    ):
        x = 1.9 + step * (i + 0.5)
        _named(ax, (x, 1.62), name)
        numbers = (f"{value:.3f}", str(code), "", f"{back:.3f}", f"{back - value:+.3f}")
        for row, number in enumerate(numbers):
            label(ax, (x, 1.28 - 0.29 * row), number.replace("-", "−"))
        tokens(ax, (x - 0.26, 0.7), [f"{code:04b}"], roles="frozen", width=0.52, height=0.24)


def quantized_layer(
    out_features: int, in_features: int, *, block_size: int, ax: "Axes | None" = None
) -> "Axes":
    """Draw the forward pass of a linear layer in 16 bits and of one in 4 bits.

    Args:
        out_features: Rows of the weight.
        in_features: Columns of the weight.
        block_size: How many weights have a scale in common.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: above, weights that are multiplied as they are kept; below, codes and scales,
        which are dequantized for the product. All are as high as they have bytes.

    Example:
        >>> quantized_layer(1536, 576, block_size=64).get_title("left")
        'What a 4-bit layer keeps, and what it multiplies'

    Taught in: notebooks/02_quantization.ipynb
    """
    title = "What a 4-bit layer keeps, and what it multiplies"
    ax = canvas(7.3, 4.75, title=title, ax=ax)
    n_weights = out_features * in_features
    n_bytes = {"weights": 2 * n_weights, "codes": n_weights / 2}
    n_bytes["scales"] = 4 * n_weights / block_size
    _regular(ax, n_bytes)
    ax.plot([0.1, 7.2], [2.6, 2.6], color="#E3E3E3", lw=1.0)
    _four_bits(ax, n_bytes)
    sizes = {name: _megabytes(count) for name, count in n_bytes.items()}
    return describe(
        ax,
        f"A regular layer multiplies its input by weights that it keeps in 16 bits, "
        f"{sizes['weights']}. A 4-bit layer keeps codes, {sizes['codes']}, and scales, "
        f"{sizes['scales']}. In each pass it dequantizes them to weights in the compute dtype, "
        "casts the input to it, multiplies, and forgets the weights",
    )


def _megabytes(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:.2f} MB"


def _regular(ax: "Axes", n_bytes: Mapping[str, float]) -> None:
    label(ax, (0.1, 4.62), "regular layer", bold=True, align="left")
    weights = box(ax, (PRODUCT, 4.2), "weights", size=MATRIX, role="frozen", note="bf16")
    label(ax, (5.55, 4.2), f"kept: {_megabytes(n_bytes['weights'])}", role="frozen", align="left")
    product = box(ax, (PRODUCT, 3.15), "×", size=(0.42, 0.42), bold=True)
    given = box(ax, (0.75, 3.15), "input", size=VECTOR, role="data", note="bf16")
    connect(ax, weights, product)
    connect(ax, given, product)
    connect(ax, product, box(ax, (6.5, 3.15), "output", size=VECTOR, note="bf16"))


def _four_bits(ax: "Axes", n_bytes: Mapping[str, float]) -> None:
    label(ax, (0.1, 2.32), "4-bit layer: quantized weights", bold=True, align="left")
    for name, dtype, y in (("codes", "two a byte", 1.65), ("scales", "fp32", 1.25)):
        height = MATRIX[1] * n_bytes[name] / n_bytes["weights"]
        part = [("", 1.0, "frozen")]
        timeline(ax, (0.125, y), part, length=MATRIX[0], height=height)
        text = f"{name} {ROLES['frozen'].mark} {dtype}, kept: {_megabytes(n_bytes[name])}"
        label(ax, (0.125, y + height / 2 + 0.13), text, role="frozen", size=SMALL, align="left")
    weights = box(ax, (PRODUCT, 1.55), "weights", size=MATRIX, note="compute dtype", dashed=True)
    label(ax, (5.55, 1.55), "for a moment,\nin each pass", align="left")
    arrow(ax, (1.85, 1.55), weights.left, text="dequantize")
    product = box(ax, (PRODUCT, 0.5), "×", size=(0.42, 0.42), bold=True)
    given = box(ax, (0.75, 0.5), "input", size=VECTOR, role="data", note="16 or 32 bits")
    cast = box(ax, (2.7, 0.5), "cast", size=(1.3, 0.52), note="to compute dtype")
    for a, b in ((weights, product), (given, cast), (cast, product)):
        connect(ax, a, b)
    connect(ax, product, box(ax, (6.5, 0.5), "output", size=VECTOR, note="as the input"))


def block_scales(
    out_features: int,
    in_features: int,
    *,
    block_size: int,
    group_size: int = 256,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a weight matrix cut into blocks, and what a block stores with one or two scales.

    Args:
        out_features: Rows of the weight.
        in_features: Columns of the weight, a multiple of the block size.
        block_size: How many weights have a scale in common.
        group_size: How many scales have a scale in common, in double quantization.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: at the left the blocks of a few rows, at the right what is stored, the two
        bars of a block as long as they have bits.

    Raises:
        ValueError: A row can't be cut into whole blocks.

    Example:
        >>> block_scales(1536, 576, block_size=64).get_title("left")
        'Every block has a scale, and the scales can have scales'

    Taught in: notebooks/02_quantization.ipynb
    """
    if in_features % block_size:
        raise ValueError(f"rows of {in_features} can't be cut into blocks of {block_size}")
    ax = canvas(7.3, 3.2, title="Every block has a scale, and the scales can have scales", ax=ax)
    block = _blocks(ax, out_features, in_features, block_size)
    codes = (f"{block_size} codes × 4 bits", 4 * block_size, "frozen")
    once, twice = 4 + 32 / block_size, 4 + 8 / block_size + 32 / (block_size * group_size)
    inch = BARS[1] / (4 * block_size + 32)  # of a bit
    rows = (
        (
            2.7,
            "one block",
            [codes, ("32", 32, "plain")],
            f"+ an FP32 scale: {once:.4g} bits a weight",
        ),
        (1.72, "double quantization", [codes, ("", 8, "plain")], "+ a scale in 8 bits"),
    )
    for y, name, parts, text in rows:
        n_bits = sum(amount for _, amount, _ in parts)
        *_, scale = timeline(ax, (BARS[0], y), parts, length=inch * n_bits)
        label(ax, (BARS[0], y + 0.3), name, bold=True, align="left")
        label(ax, (sum(BARS), y + 0.3), text, size=SMALL, align="right")
        arrow(ax, block.right, (BARS[0] - 0.03, y))
    group = [(f"{group_size} scales × 8 bits", 8 * group_size, "plain"), ("", 32, "plain")]
    timeline(ax, (BARS[0], 0.72), group, length=BARS[1])
    arrow(ax, scale.bottom, (scale.x, 0.9))
    text = f"+ an FP32 scale for these {group_size} scales: {twice:.4g} bits a weight"
    label(ax, (sum(BARS), 0.38), text, size=SMALL, align="right")
    return describe(
        ax,
        f"A matrix of {out_features:,} rows of {in_features:,} weights, each row cut into "
        f"{in_features // block_size} blocks of {block_size}. A block stores {block_size} codes of "
        f"4 bits and a scale of 32 bits: {once:.4g} bits a weight. Double quantization stores "
        f"the scale in 8 bits, and {group_size} scales share one of 32: {twice:.4g} bits",
    )


def _blocks(ax: "Axes", out_features: int, in_features: int, block_size: int) -> Box:
    """Draw the blocks of a few rows, and return where the last one of the second row is."""
    n_blocks, left, top = in_features // block_size, 0.15, 2.55
    cell = min(0.27, 2.45 / n_blocks)
    roles: list[list[str | None]] = [[None] * n_blocks for _ in range(6)]
    roles[2][-1] = "frozen"
    drawn = grid(ax, (left, top), roles, cell=cell)
    text = f"{out_features:,} × {in_features:,} weights"
    label(ax, (left, top + 0.22), text, bold=True, align="left")
    bottom = top - 6 * cell
    label(ax, (left + n_blocks * cell / 2, bottom - 0.12), "⋮", soft=True)
    text = f"a square: a block of {block_size} weights"
    label(ax, (left, bottom - 0.36), text, size=SMALL, soft=True, align="left")
    return drawn[2][-1]
