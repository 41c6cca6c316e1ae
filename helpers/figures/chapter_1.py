"""The drawing of Chapter 1: prompt, retrieve, or fine-tune."""

from typing import TYPE_CHECKING

from helpers.style import EDGE, FILL, INK, SOFT, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["decision"]

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
    ax = new_axes(ax, size=(9, 4))
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
