"""The drawing of Chapter 2: number types in a layer."""

from typing import TYPE_CHECKING

from helpers.figures.ink import EDGE, FILL, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["dtype_path"]

# Boxes of `dtype_path`: text, x and y of the centre, number type; then arrows between them.
REGULAR = {
    "x": ("input", 0, 0, "bf16"),
    "w": ("weight", 3, 1, "bf16"),
    "y": ("output", 6, 0, "bf16"),
}
QUANTIZED = {
    "x": ("input", 0, 0, "fp32 or 16 bits"),
    "cast": ("cast", 2.1, 0, "compute dtype"),
    "y": ("output", 6, 0, "as the input"),
    "packed": ("packed codes", 0, 1, "uint8"),
    "scale": ("scales", 0, 2, "fp32 or uint8"),
    "w": ("unpacked weight", 4.1, 1, "compute dtype"),
}


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
        size = {"figsize": (10, 2.9), "width_ratios": [1, 1.5], "layout": "constrained"}
        _, axes = plt.subplots(1, 2, **size)
    lanes = (
        ("A regular layer", REGULAR, 3, ["x>m", "w>m", "m>y"]),
        (
            "A 4-bit layer",
            QUANTIZED,
            4.1,
            ["x>cast", "cast>m", "packed>w", "scale>w", "w>m", "m>y"],
        ),
    )
    for ax, (title, boxes, product, arrows) in zip(axes, lanes, strict=True):
        box = {"boxstyle": "round,pad=0.35", "fc": FILL, "ec": EDGE}
        labels = {n: (f"{text}\n{dtype}", x, y, 9) for n, (text, x, y, dtype) in boxes.items()}
        centred = {"ha": "center", "va": "center", "color": INK, "bbox": box}
        drawn = {
            name: ax.text(x, y, text, size=size, **centred)
            for name, (text, x, y, size) in {**labels, "m": ("×", product, 0, 15)}.items()
        }
        for start, end in (arrow.split(">") for arrow in arrows):
            ends = [drawn[name].get_position() for name in (end, start)]
            style = {"arrowstyle": "-|>", "color": EDGE, "lw": 1.5, "shrinkA": 0, "shrinkB": 0}
            style["patchA"] = drawn[start].get_bbox_patch()
            style["patchB"] = drawn[end].get_bbox_patch()
            ax.annotate("", *ends, arrowprops=style)
        ax.set(xlim=(-1, 7), ylim=(-0.5, 2.5))
        ax.set_title(title, color=INK)
        ax.axis("off")
    return tuple(axes)
