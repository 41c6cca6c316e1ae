"""How a trained adapter gets to its users."""

from typing import TYPE_CHECKING

from helpers.figures.kit import SMALL, arrow, box, canvas, label
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["deployment_path"]

STEPS = (  # what makes the next station, that station, and what breaks there without an error
    ("merge_and_unload", "merged model", ("merged into 4 bits: the adapter is gone",)),
    (
        "gguf.convert",
        "GGUF, 16 bits",
        ("no template: the server guesses one", "another pre-tokenizer: other tokens"),
    ),
    ("gguf.quantize", "GGUF, quantized", ("too few bits: other answers",)),
    (
        "serving.serve",
        "server",
        ("no stop token: it may go on and on", "Ollama cuts long prompts"),
    ),
    (
        "HTTP",
        "chat client",
        ("another system message than in training", "temperature 0.8, if you name none"),
    ),
)
PITCH = 0.95  # inches from a station to the next


def deployment_path(*, ax: "Axes | None" = None) -> "Axes":
    """Draw the way from an adapter to a chat client, and what can break at each step.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: stations at the left from above to below, faults at the right.

    Taught in: notebooks/06_deployment.ipynb
    """
    height = 0.5 + PITCH * len(STEPS)
    ax = canvas(7.2, height, title="From the adapter to a chat", ax=ax)
    x, top, right = 1.45, height - 0.25, 5.2
    base = box(ax, (0.72, top), "base model", size=(1.34, 0.42), role="frozen")
    adapter = box(ax, (2.18, top), "adapter", size=(1.34, 0.42), role="trained")
    label(ax, (right, top + 0.02), "what breaks without an error", role="wrong", bold=True)
    above = [base, adapter]
    for number, (step, name, faults) in enumerate(STEPS, start=1):
        place = box(ax, (x, top - PITCH * number), name, size=(2.8, 0.42))
        for start in above:
            arrow(ax, start.bottom, (start.x, place.top[1]))
        y, beside = place.y + PITCH / 2, above[0].x + 0.14
        label(ax, (beside, y), step, size=SMALL, code=True, align="left")
        tall = 0.22 + 0.17 * len(faults)
        box(ax, (right, y), "\n".join(faults), size=(3.9, tall), role="wrong")
        above = [place]
    listed = ". ".join(f"{step} makes the {name}; {', or '.join(f)}" for step, name, f in STEPS)
    return describe(
        ax,
        "Stations from above to below, at the right of each arrow what breaks. Base model and "
        f"adapter come first. {listed}",
    )
