"""The triage of Troubleshooting: from a symptom to the sections that may explain it."""

from typing import TYPE_CHECKING

from helpers.figures.kit import SMALL, Box, arrow, box, canvas, label, route
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SYMPTOMS", "triage"]

SYMPTOMS = {  # of both branches: when it happens or what you see, and the sections to read
    "yes": {
        "At an import, or\n“unexpected argument”": (
            "old-training-arguments, no-tokenizer-argument,\nmax-seq-length, trainers-moved"
        ),
        "While loading a model": (
            "load-in-4bit, bitsandbytes-without-gpu,\ntokenizers-backend, size-mismatch-embeddings"
        ),
        "While reading your data": (
            "unreadable, unknown-columns, mixed-columns,\nno-template, template-refuses"
        ),
        "When training begins": (
            "element-0-does-not-require-grad, purely-quantized,\n"
            "trainable-half, target-modules-not-found"
        ),
        "Out of memory": "eval-memory, length-outlier, Chapter 5",
        "While saving\nor converting": (
            "generation-config, adapter-only-folder,\nquantized-checkpoint-to-gguf"
        ),
    },
    "no": {
        "The first loss is huge,\nor a loss is nan": "loss-too-high, nan-in-fp16",
        "The loss barely falls": ("learning-rate, no-gradient, adapter-frozen,\nupdates-rounded"),
        "The loss falls, but\nthe answers are bad": (
            "template-not-applied, prompt-differs,\nprompt-learned, completion-cut"
        ),
        "The answers never stop": "pad-is-eos, eos-not-learned, eos-differs",
        "The score is\ntoo good, or near zero": (
            "train-test-overlap, duplicate-rows,\nscore-near-zero, empty-after-tuning"
        ),
        "Different answers after\nloading or merging": (
            "identical-to-base, new-tokens-untrained,\nmerge-into-4-bit, tied-embeddings"
        ),
        "Good in the notebook,\nbad on the server": (
            "gguf-without-template, gibberish-in-ollama,\nadapter-ignored-by-llama-cpp-python"
        ),
    },
}
FIRST = {  # what to try before that
    "yes": "Search this page for the message. Not here? When does it happen?",
    "no": "Run preflight.check(trainer). Nothing found? What do you see?",
}


def triage(*, ax: "Axes | None" = None) -> "Axes":
    """Draw the way from a symptom to the sections of Troubleshooting that may explain it.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with a branch for errors and one for what raises none, a row for each symptom.

    Example:
        >>> triage().get_title("left")
        'Where to look, by symptom'

    Taught in: notebooks/99_troubleshooting.ipynb
    """
    ax = canvas(7.2, 8.16, title="Where to look, by symptom", ax=ax)
    root = box(ax, (1.6, 7.9), "Did it raise an error?", size=(2.5, 0.42), bold=True)
    yes, end = _branch(ax, 7.22, "yes")
    no, _ = _branch(ax, end - 0.6, "no")
    arrow(ax, root.bottom, (root.x, yes.top[1]))
    label(ax, (root.x + 0.2, 7.57), "yes", size=SMALL)
    route(ax, [root.left, (0.12, root.y), (0.12, no.y), no.left], text="no")
    return describe(ax, f"Did it raise an error? {' '.join(map(_branch_in_words, SYMPTOMS))}")


def _branch(ax: "Axes", y: float, answer: str) -> tuple[Box, float]:
    """Draw a branch from a height downward; return its head and where it ends."""
    head = box(ax, (3.6, y), FIRST[answer], size=(6.5, 0.42))
    for i, (symptom, sections) in enumerate(SYMPTOMS[answer].items()):
        y = head.y - 0.53 - 0.48 * i
        seen = box(ax, (1.85, y), symptom, size=(2.0, 0.41))
        route(ax, [(0.6, head.bottom[1]), (0.6, y), seen.left])
        arrow(ax, seen.right, (3.2, y))
        label(ax, (3.25, y), sections, align="left", size=SMALL, code=True)
    return head, y


def _branch_in_words(answer: str) -> str:
    rows = [f"{symptom}: {sections}" for symptom, sections in SYMPTOMS[answer].items()]
    return f"{answer.capitalize()}: {FIRST[answer]} {'; '.join(rows)}.".replace("\n", " ")
