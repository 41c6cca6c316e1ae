"""The drawing of Chapter 2: number types in a layer."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.style import EDGE, FILL, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["dtype_path"]

# The boxes of a layer: text, x and y of the center; and the arrows between them.
REGULAR = {
    "input": ("input\nbf16", 0, 0),
    "weight": ("weight\nbf16", 3, 1),
    "output": ("output\nbf16", 6, 0),
    "product": ("×", 3, 0),
}
REGULAR_ARROWS = (("input", "product"), ("weight", "product"), ("product", "output"))
QUANTIZED = {
    "input": ("input\nfp32 or 16 bits", 0, 0),
    "cast": ("cast\ncompute dtype", 2.1, 0),
    "output": ("output\nas the input", 6, 0),
    "codes": ("packed codes\nuint8", 0, 1),
    "scales": ("scales\nfp32 or uint8", 0, 2),
    "weight": ("unpacked weight\ncompute dtype", 4.1, 1),
    "product": ("×", 4.1, 0),
}
QUANTIZED_ARROWS = (
    ("input", "cast"),
    ("cast", "product"),
    ("codes", "weight"),
    ("scales", "weight"),
    ("weight", "product"),
    ("product", "output"),
)


def dtype_path(*, axes: "tuple[Axes, Axes] | None" = None) -> "tuple[Axes, Axes]":
    """Draw which number types a regular and a 4-bit linear layer pass through.

    Args:
        axes: Two axes to draw on; a new figure without them.

    Returns:
        The axes of the regular and of the quantized layer.

    Example:
        >>> [ax.get_title() for ax in dtype_path()]
        ['A regular layer', 'A 4-bit layer']

    Taught in: notebooks/02_quantization.ipynb
    """
    import matplotlib.pyplot as plt

    if axes is None:
        _, axes = plt.subplots(1, 2, figsize=(10, 2.9), width_ratios=[1, 1.5], layout="constrained")
    regular, quantized = axes
    _draw_layer(regular, REGULAR, REGULAR_ARROWS)
    regular.set_title("A regular layer", color=INK)
    _draw_layer(quantized, QUANTIZED, QUANTIZED_ARROWS)
    quantized.set_title("A 4-bit layer", color=INK)
    return regular, quantized


def _draw_layer(
    ax: "Axes",
    boxes: Mapping[str, tuple[str, float, float]],
    arrows: Sequence[tuple[str, str]],
) -> None:
    box = {"boxstyle": "round,pad=0.35", "fc": FILL, "ec": EDGE}
    style = {"ha": "center", "va": "center", "color": INK, "bbox": box}
    drawn = {}
    for name, (text, x, y) in boxes.items():
        drawn[name] = ax.text(x, y, text, size=15 if name == "product" else 9, **style)
    for start, end in arrows:
        arrow = {
            "arrowstyle": "-|>",
            "color": EDGE,
            "lw": 1.5,
            "shrinkA": 0,
            "shrinkB": 0,
            "patchA": drawn[start].get_bbox_patch(),
            "patchB": drawn[end].get_bbox_patch(),
        }
        ax.annotate("", drawn[end].get_position(), drawn[start].get_position(), arrowprops=arrow)
    ax.set(xlim=(-1, 7), ylim=(-0.5, 2.5))
    ax.axis("off")
