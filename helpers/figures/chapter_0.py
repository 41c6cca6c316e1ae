"""The drawing of Chapter 0: the journey."""

from typing import TYPE_CHECKING

from helpers.style import EDGE, FILL, INK, SOFT, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["journey"]

STATIONS = (  # title, what happens there, where it is taught
    ("Base model", "frozen,\nin 4 bits", "1, 2"),
    ("Adapter", "LoRA: a few\n% to train", "3"),
    ("Data", "template,\ntokens, labels", "4"),
    ("Training", "SFTTrainer,\none epoch", "5"),
    ("Score", "before against\nafter", "0"),
    ("Deployment", "save, merge,\nserve", "6"),
)


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
    from matplotlib.patches import FancyBboxPatch

    ax = new_axes(ax, size=(10, 2.3))
    width, height, step = 1.5, 1.0, 1.9
    for i, (title, text, chapter) in enumerate(STATIONS):
        x = i * step
        frame = {"boxstyle": "round,pad=0.02,rounding_size=0.1", "fc": FILL, "ec": EDGE, "lw": 1.5}
        ax.add_patch(FancyBboxPatch((x, 0), width, height, **frame))
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
