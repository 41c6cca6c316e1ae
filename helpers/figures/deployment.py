"""How a trained adapter gets to its users."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.figures.kit import ROLES, SMALL, arrow, box, canvas, label, route, timeline
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["deployment_path", "super_blocks"]

STEPS = (  # what makes the next form, that form, and what breaks there without an error
    ("merge_and_unload", "merged model", ("merged into 4 bits: the adapter is gone",)),
    (
        "gguf.convert",
        "GGUF, 16 bits",
        ("no template: the server guesses one", "wrong pre-tokenizer: different tokens"),
    ),
    ("gguf.quantize", "GGUF, quantized", ("too few bits: different answers",)),
    (
        "serving.serve",
        "server",
        ("Ollama without a stop token: it may never end", "Ollama cuts long prompts"),
    ),
    (
        "HTTP",
        "chat client",
        ("a different system message than in training", "temperature 0.8, if you name none"),
    ),
)
ASKED = "same tokens, same answers, same probabilities as base and adapter"
PITCH = 0.95  # inches from a form to the next
SUPER_BLOCK = 256  # weights
LEFT, LENGTH = 1.75, 5.3  # inches: where rows begin, and the length of the longest


def deployment_path(*, ax: "Axes | None" = None) -> "Axes":
    """Draw the way from an adapter to a chat client, and what can break at each step.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: forms at the left from above to below, faults at the right, parity at the end.

    Taught in: notebooks/06_deployment.ipynb
    """
    height = 0.6 + PITCH * (len(STEPS) + 1)
    ax = canvas(7.2, height, title="From the adapter to a chat", ax=ax)
    x, top, right = 1.45, height - 0.25, 5.2
    base = box(ax, (0.72, top), "base model", size=(1.34, 0.42), role="frozen")
    adapter = box(ax, (2.18, top), "adapter", size=(1.34, 0.42), role="trained")
    label(ax, (right, top + 0.02), "what breaks without an error", role="wrong", bold=True)
    above, compared = [base, adapter], []
    for number, (step, name, faults) in enumerate(STEPS, start=1):
        place = box(ax, (x, top - PITCH * number), name, size=(2.8, 0.42))
        for start in above:
            arrow(ax, start.bottom, (start.x, place.top[1]))
        y, beside = place.y + PITCH / 2, above[0].x + 0.14
        label(ax, (beside, y), step, size=SMALL, code=True, align="left")
        tall = 0.22 + 0.17 * len(faults)
        box(ax, (right, y), "\n".join(faults), size=(3.9, tall), role="wrong")
        above = [place]
        compared.append(place)
    y = top - PITCH * (len(STEPS) + 1)
    end = box(
        ax,
        (3.6, y),
        "parity, after every arrow: still the same model?",
        size=(7.1, 0.52),
        bold=True,
        note=ASKED,
    )
    beside = 3.05  # inches: where the line to parity runs
    route(ax, [compared[0].right, (beside, compared[0].y), (beside, end.top[1])])
    for place in compared[1:]:
        ax.plot((place.right[0], beside), (place.y, place.y), color=ROLES["plain"].edge, lw=1.4)
    listed = ". ".join(f"{step} makes the {name}; {', or '.join(f)}" for step, name, f in STEPS)
    return describe(
        ax,
        "Forms from above to below, at the right of each arrow what breaks. Base model and "
        f"adapter come first. {listed}. After every arrow parity compares: {ASKED}",
    )


def super_blocks(rows: Mapping[str, int], *, ax: "Axes | None" = None) -> "Axes":
    """Draw rows of weights cut into super-blocks of 256, and what is left over at their ends.

    Args:
        rows: For each row its name and how many weights it has, at least one.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a row below the other, to one scale.

    Raises:
        ValueError: There are no rows, or a row has no weights.

    Example:
        >>> super_blocks({"ours": 576}).get_title("left")
        'Does a row split into super-blocks of 256?'

    Taught in: notebooks/06_deployment.ipynb
    """
    if not rows or min(rows.values()) < 1:
        raise ValueError(f"rows must have weights: {dict(rows)}")
    pitch, longest = 0.72, max(rows.values())
    height = pitch * len(rows)
    ax = canvas(7.2, height, title="Does a row split into super-blocks of 256?", ax=ax)
    told = []
    for number, (name, n_weights) in enumerate(rows.items()):
        y = height - 0.22 - pitch * number
        n_blocks, rest = divmod(n_weights, SUPER_BLOCK)
        parts = [("", SUPER_BLOCK, "frozen")] * n_blocks + [("", rest, "wrong")] * bool(rest)
        timeline(ax, (LEFT, y), parts, length=LENGTH * n_weights / longest)
        label(ax, (0.05, y), f"{name}: {n_weights:,}", align="left")
        text = f"{n_blocks} × {SUPER_BLOCK}" + (f", and {rest} left over ✗" if rest else " ✓")
        role = "wrong" if rest else "plain"
        label(ax, (LEFT, y - 0.3), text, size=SMALL, align="left", role=role)
        told.append(f"{name}: {n_weights:,} weights are {text}")
    return describe(ax, f"Rows of weights, cut into blocks. {'. '.join(told)}")
