"""Drawings of ideas. Each draws on an `Axes` and returns it."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["adapter_places", "bit_fields", "decision", "dtype_path", "journey", "tunnel"]

STATIONS = (  # title, what happens there, where it is taught
    ("Base model", "frozen,\nin 4 bits", "1, 2"),
    ("Adapter", "LoRA: a few\n% to train", "3"),
    ("Data", "template,\ntokens, labels", "4"),
    ("Training", "SFTTrainer,\none epoch", "5"),
    ("Score", "before against\nafter", "0"),
    ("Deployment", "save, merge,\nserve", "6"),
)
FILL, EDGE, INK, SOFT = "#EAF3FA", "#0072B2", "#1A1A1A", "#555555"


def journey(*, ax: "Axes | None" = None) -> "Axes":
    """Draw the stations of a fine-tune, from the base model to deployment.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with a box and its chapter for each station.

    Example:
        >>> journey().get_title()
        'A fine-tune in six stations'

    Taught in: notebooks/00_tldr.ipynb
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch

    if ax is None:
        _, ax = plt.subplots(figsize=(10, 2.3), layout="constrained")
    width, height, step = 1.5, 1.0, 1.9
    for i, (title, text, chapter) in enumerate(STATIONS):
        x = i * step
        box = FancyBboxPatch(
            (x, 0),
            width,
            height,
            boxstyle="round,pad=0.02,rounding_size=0.1",
            fc=FILL,
            ec=EDGE,
            lw=1.5,
        )
        ax.add_patch(box)
        centre = x + width / 2
        ax.text(centre, 0.78, title, ha="center", va="center", weight="bold", color=INK, size=11)
        ax.text(centre, 0.34, text, ha="center", va="center", color=INK, size=9)
        ax.text(centre, -0.24, f"chapter {chapter}", ha="center", va="center", color=SOFT, size=9)
        if i:
            arrow = {"arrowstyle": "-|>", "color": EDGE, "lw": 1.5}
            ax.annotate("", (x - 0.03, 0.5), (x - step + width + 0.03, 0.5), arrowprops=arrow)
    ax.set_title("A fine-tune in six stations", color=INK)
    ax.set(xlim=(-0.1, (len(STATIONS) - 1) * step + width + 0.1), ylim=(-0.4, 1.1))
    ax.axis("off")
    return ax


def bit_fields(formats: Mapping[str, tuple[int, int, int]], *, ax: "Axes | None" = None) -> "Axes":
    """Draw the fields of number formats on one scale, a box for each bit.

    Args:
        formats: For each format's name, how many bits sign, exponent and mantissa take.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with one row a format and the width of each field written into it.

    Example:
        >>> len(bit_fields({"fp16": (1, 5, 10)}).patches)
        16

    Taught in: notebooks/appendix_b_data_types.ipynb
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    if ax is None:
        _, ax = plt.subplots(figsize=(9, 0.6 + 0.42 * len(formats)), layout="constrained")
    fields = (("sign", "#F6C7A8", "//"), ("exponent", "#FFE3A3", ""), ("mantissa", "#BFE0F5", ".."))
    for row, widths in enumerate(formats.values()):
        place = 0
        for width, (_, colour, hatch) in zip(widths, fields, strict=True):
            for bit in range(place, place + width):
                box = Rectangle((bit, row - 0.38), 1, 0.76, fc=colour, ec="white", hatch=hatch)
                ax.add_patch(box)
            if width:
                ax.text(
                    place + width / 2,
                    row,
                    width,
                    ha="center",
                    va="center",
                    color=INK,
                    weight="bold",
                )
            place += width
    ax.set_yticks(range(len(formats)), list(formats))
    ax.set(xlim=(0, max(map(sum, formats.values()))), xlabel="bits")
    ax.set_ylim(len(formats) - 0.5, -0.5)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    names = [Rectangle((0, 0), 1, 1, fc=c, ec="white", hatch=h, label=n) for n, c, h in fields]
    ax.legend(handles=names, loc="lower right", frameon=False)
    return ax


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


QUESTIONS = (  # asked from the top; a yes ends at the way on the right
    ("Does a good prompt,\nwith examples, do it?", "prompting", "nothing to train,\nno data"),
    (
        "Does it lack facts,\nor facts that change?",
        "retrieval",
        "search, and put what\nis found into the prompt",
    ),
    (
        "Does it lack a form,\na tone, a task?",
        "fine-tuning",
        "hundreds to thousands\nof good examples",
    ),
)
OTHERWISE = "another base model: larger, or pretrained on such texts"


def decision(*, ax: "Axes | None" = None) -> "Axes":
    """Draw the way from a task to prompting, retrieval or fine-tuning.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with a row of question, answer and way for each.

    Example:
        >>> decision().get_title()
        'Ask from the top'

    Taught in: notebooks/01_language_models.ipynb
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(9, 4), layout="constrained")
    plain = {"ha": "center", "va": "center", "color": INK, "size": 9.5}
    box = {"boxstyle": "round,pad=0.4", "ec": EDGE}
    arrow = {"arrowstyle": "-|>", "color": EDGE, "lw": 1.5}
    for row, (question, way, needs) in enumerate(QUESTIONS):
        y = -row * 1.3
        ax.text(0, y, question, bbox={**box, "fc": "white"}, **plain)
        ax.annotate("", (2.55, y), (1.15, y), arrowprops=arrow)
        ax.text(1.85, y + 0.16, "yes", **plain)
        ax.text(3.1, y, way, bbox={**box, "fc": FILL}, weight="bold", **plain)
        ax.text(5.0, y, needs, **{**plain, "color": SOFT})
        ax.annotate("", (0, y - 0.95), (0, y - 0.37), arrowprops=arrow)
        ax.text(0.2, y - 0.65, "no", **plain)
    ax.text(0.9, -1.3 * len(QUESTIONS) + 0.08, OTHERWISE, bbox={**box, "fc": FILL}, **plain)
    ax.set_title("Ask from the top", color=INK)
    ax.set(xlim=(-1.4, 6.2), ylim=(-4.2, 0.5))
    ax.axis("off")
    return ax


# One block of a model, from left to right: linear layers with what stands behind them.
BLOCK = (("q k v", 0.0), ("attention", 1.8), ("o", 3.4), ("gate up", 6.6), ("down", 8.6))
BEHIND = (4.8, 10.0)  # where the classic adapter stands


def adapter_places(*, ax: "Axes | None" = None) -> "Axes":
    """Draw where LoRA and the classic adapter sit in a block.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: the block's layers in a row, LoRA above the linear ones, the classic adapter
        behind attention and behind the MLP.

    Example:
        >>> len([text for text in adapter_places().texts if "B A" in text.get_text()])
        4

    Taught in: notebooks/03_lora.ipynb
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots(figsize=(10, 2.8), layout="constrained")
    text = {"ha": "center", "va": "center", "size": 10, "color": INK}
    box = {"boxstyle": "round,pad=0.4", "ec": EDGE, "fc": FILL}
    orange, green = {**box, "ec": "#B35900", "fc": "#FFE9C7"}, {**box, "ec": "#00664B"}
    arrow = {"arrowstyle": "-|>", "color": SOFT, "lw": 1.2, "shrinkA": 16, "shrinkB": 16}
    places = [-1.6, *sorted([x for _, x in BLOCK] + list(BEHIND)), 11.4]
    for start, end in itertools.pairwise(places):
        ax.annotate("", (end, 0), (start, 0), arrowprops=arrow)
    for name, x in BLOCK:
        ax.text(x, 0, f"{name:^9}", bbox=box, **text)
        if name != "attention":
            products = "B A" if name in ("o", "down") else "B A each"
            ax.text(x, 1.1, f"{products:^13}", bbox=orange, **text)
            curve = {**arrow, "color": "#B35900", "connectionstyle": "arc3,rad=-0.45"}
            ax.annotate("", (x - 0.1, 1.1), (x - 0.75, 0), arrowprops={**curve, "shrinkA": 0})
            ax.annotate("", (x + 0.75, 0), (x + 0.1, 1.1), arrowprops={**curve, "shrinkB": 0})
    for x in BEHIND:
        ax.text(x, 0, "down\nGELU\nup", bbox={**green, "fc": "#D9F0E8", "ls": "--"}, **text)
    ax.text(4.3, 1.75, "LoRA: beside a linear layer", **{**text, "color": "#8A4500"})
    ax.text(7.4, -0.9, "classic adapter: behind attention, behind the MLP", **text)
    ax.set(xlim=(-1.7, 11.5), ylim=(-1.2, 2))
    ax.axis("off")
    return ax


def tunnel(*, ax: "Axes | None" = None) -> "Axes":
    """Draw how a browser reaches JupyterLab on a rented machine through SSH, and nobody else does.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a frame for each machine, the tunnel between them, and a stranger before a
        closed door.

    Example:
        >>> tunnel().get_title()
        'One open port: that of SSH'

    Taught in: AppendixA.md
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch, Rectangle

    if ax is None:
        _, ax = plt.subplots(figsize=(10, 2.9), layout="constrained")
    text = {"ha": "center", "va": "center", "size": 10, "color": INK}
    box = {"boxstyle": "round,pad=0.4", "ec": EDGE, "fc": "white"}
    for x, width, name in ((0, 3.4, "your computer"), (6.4, 3.6, "the rented machine")):
        frame = {"boxstyle": "round,pad=0.02,rounding_size=0.1", "fc": FILL, "ec": EDGE, "lw": 1.5}
        ax.add_patch(FancyBboxPatch((x, 0), width, 2.2, **frame))
        ax.text(x + width / 2, 1.95, name, weight="bold", **text)
    ax.add_patch(
        Rectangle((3.0, 0.98), 3.9, 0.34, fc="#D9F0E8", ec="#00664B", hatch="//", alpha=0.6)
    )
    ax.text(4.95, 1.5, "SSH, encrypted: port 22", **{**text, "color": "#00664B"})
    ax.text(1.0, 1.15, "browser", bbox=box, **text)
    ax.text(2.45, 0.6, "localhost:8888", **{**text, "size": 9})
    ax.text(8.9, 1.15, "JupyterLab", bbox=box, **text)
    ax.text(8.2, 0.6, "127.0.0.1:8888", **{**text, "size": 9})
    arrow = {"arrowstyle": "-|>", "color": EDGE, "lw": 1.5}
    ax.annotate("", (3.0, 1.15), (1.5, 1.15), arrowprops=arrow)
    ax.annotate("", (8.25, 1.15), (6.9, 1.15), arrowprops=arrow)
    ax.text(4.6, 0.15, "anyone else", **text)
    closed = {"arrowstyle": "-|>", "color": "#B35900", "lw": 1.5, "ls": "--"}
    ax.annotate("", (6.35, 0.15), (5.2, 0.15), arrowprops=closed)
    ax.text(6.62, 0.15, "×", **{**text, "size": 18, "color": "#B35900"})
    ax.text(7.75, 0.18, "port 8888 is closed", **{**text, "size": 9, "color": "#8A4500"})
    ax.set_title("One open port: that of SSH", color=INK)
    ax.set(xlim=(-0.1, 10.1), ylim=(-0.1, 2.3))
    ax.axis("off")
    return ax
