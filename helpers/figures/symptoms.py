"""The triage of Troubleshooting: from a symptom to the sections that may explain it."""

import textwrap
from typing import TYPE_CHECKING

from helpers.figures.kit import SMALL, Box, arrow, box, canvas, label, route
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["N_DRAWN", "SYMPTOMS", "triage"]

N_DRAWN = 4  # sections of a symptom that the drawing names; the page's table has all of them
SYMPTOMS = {  # of both branches: what you see, and the sections to read, the likeliest first
    "yes": {
        "It won't install,\nor an import fails": (
            "pip-conflicts",
            "no-kernel-image",
            "bitsandbytes-without-gpu",
            "flash-attention-2",
        ),
        "A tutorial's code fails:\n“unexpected argument”": (
            "old-training-arguments",
            "max-seq-length",
            "no-tokenizer-argument",
            "trainers-moved",
            "dpo-arguments",
            "setup-chat-format",
            "completion-only-collator",
            "formatting-func-list",
            "load-in-4bit",
            "torch-dtype",
            "generate-batch-encoding",
            "dataset-scripts",
            "dynamic-cache",
        ),
        "A model or adapter\nwon't load": (
            "gated-model",
            "tokenizers-backend",
            "size-mismatch-embeddings",
            "illegal-instruction",
        ),
        "Your data is refused": (
            "unreadable",
            "unknown-columns",
            "template-refuses",
            "rows-dropped",
            "no-template",
            "no-answer-mask",
            "mixed-formats",
            "mixed-columns",
            "not-text",
            "reserved-column",
            "unknown-ids",
            "huge-cell",
        ),
        "Training won't start,\nor it crashes": (
            "element-0-does-not-require-grad",
            "purely-quantized",
            "trainable-half",
            "target-modules-not-found",
            "bf16-needs-a-gpu",
            "peft-twice",
            "embeddings-too-few",
            "step-fails",
            "trainable-tokens-wrapper",
            "two-gpus",
        ),
        "Out of memory, disk\nor session": (
            "out-of-memory",
            "killed",
            "disk-full",
            "colab-disconnects",
            "eval-memory",
            "length-outlier",
        ),
        "Saving or converting\nfails": (
            "generation-config",
            "adapter-only-folder",
            "quantized-checkpoint-to-gguf",
            "lora-to-gguf",
            "outtype-q4-k-m",
            "pre-tokenizer-not-recognized",
            "ollama-adapter",
            "ollama-unsupported-architecture",
        ),
    },
    "no": {
        "It's very slow": ("bf16-missing",),
        "The loss stands still": (
            "learning-rate",
            "adapter-frozen",
            "no-gradient",
            "updates-rounded",
            "experts-untrained",
            "targets-missed",
            "warmup-too-long",
            "rate-zero",
            "weights-still",
            "gradients-tiny",
            "layers-frozen",
        ),
        "The loss is nan,\nhuge or strange": (
            "nan-in-fp16",
            "loss-too-high",
            "gibberish-on-a-mac",
            "loss-grows-with-accumulation",
            "nothing-learned",
            "loss-rises",
            "tokens-differ",
            "labels-differ",
            "weights-zero",
        ),
        "The answers never stop,\nor there are none": (
            "eos-differs",
            "pad-is-eos",
            "eos-not-learned",
            "empty-turn",
            "empty-after-tuning",
        ),
        "The loss falls, but it\nlearned nothing useful": (
            "template-not-applied",
            "prompt-differs",
            "prompt-learned",
            "completion-cut",
            "unknown-roles",
            "system-ignored",
            "weight-ignored",
            "wrong-roles",
            "template-twice",
            "double-bos",
            "prompt-merges",
            "document-cut",
            "messages-as-text",
            "no-rows",
            "answers-swapped",
            "answer-start-masked",
            "labels-shifted",
            "loss-ignores-labels",
            "attention-masked",
            "positions-wrong",
            "wrong-copy",
            "one-update",
            "not-rehearsed",
            "new-tokens-untrained",
            "packing-leaks",
            "padding-side",
        ),
        "It learned the flaws\nof your data": (
            "one-answer",
            "answers-cut",
            "labels-vary",
            "reads-differently",
            "answers-contradict",
            "bad-answers-learned",
            "answer-in-prompt",
            "boilerplate",
            "json-broken",
            "cells-damaged",
            "layout-lost",
            "error-messages",
            "placeholders",
        ),
        "Odd characters or marks\nin the answers": (
            "mojibake",
            "foreign-tokens",
            "roles-as-text",
            "control-characters",
            "line-breaks-escaped",
            "html-remains",
            "citation-marks",
            "decomposed",
            "presentation-forms",
            "letters-lost",
            "letters-reversed",
            "mixed-scripts",
            "script-outlier",
        ),
        "Tool calls or thoughts\nare wrong": (
            "left-out",
            "arguments-as-text",
            "unknown-tool",
            "thoughts-cut",
            "nulls-filled-in",
        ),
        "DPO, KTO or a reward\nmodel misbehaves": (
            "dpo-stays-at-0-6931",
            "no-prompt",
            "prompt-repeated",
            "chosen-longer",
            "equal-answers",
            "scores-contradict",
            "label-not-bool",
            "labels-one-sided",
            "rewards-equal",
        ),
        "The score is too good,\nor near zero": (
            "train-test-overlap",
            "duplicate-rows",
            "score-near-zero",
            "right-padding",
        ),
        "Worse after loading,\nmerging or exporting": (
            "identical-to-base",
            "merge-into-4-bit",
            "gguf-without-template",
            "gibberish-in-ollama",
            "tied-embeddings",
            "adapter-at-another-scale",
            "adapter-ignored-by-llama-cpp-python",
            "garbage-in-transformers-4",
        ),
    },
}
FIRST = {  # what to try before that
    "yes": "Search this page for the message. Not here? When does it happen?",
    "no": "preflight.check_data(rows), preflight.check(trainer). What do you see?",
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
    n_rows = sum(map(len, SYMPTOMS.values()))
    ax = canvas(7.2, 1.9 + 0.46 * n_rows, title="Where to look, by symptom", ax=ax)
    top = ax.get_ylim()[1]
    root = box(ax, (1.6, top - 0.26), "Did it raise an error?", size=(2.5, 0.42), bold=True)
    yes, end = _branch(ax, root.y - 0.68, "yes")
    no, _ = _branch(ax, end - 0.56, "no")
    arrow(ax, root.bottom, (root.x, yes.top[1]))
    label(ax, (root.x + 0.2, root.y - 0.33), "yes", size=SMALL)
    route(ax, [root.left, (0.12, root.y), (0.12, no.y), no.left], text="no")
    return describe(ax, f"Did it raise an error? {' '.join(map(_branch_in_words, SYMPTOMS))}")


def drawn(sections: tuple[str, ...]) -> str:
    """Return the first sections of a symptom, in lines that fit beside it.

    Args:
        sections: Their names, the likeliest first.

    Returns:
        One or two lines.

    Example:
        >>> drawn(("no-rows", "double-bos"))
        'no-rows, double-bos'
    """
    names = ", ".join(sections[:N_DRAWN])
    return textwrap.fill(names, 54, break_long_words=False, break_on_hyphens=False)


def _branch(ax: "Axes", y: float, answer: str) -> tuple[Box, float]:
    """Draw a branch from a height downward; return its head and where it ends."""
    head = box(ax, (3.75, y), FIRST[answer], size=(6.7, 0.42))
    for i, (symptom, sections) in enumerate(SYMPTOMS[answer].items()):
        y = head.y - 0.5 - 0.46 * i
        seen = box(ax, (1.75, y), symptom, size=(2.0, 0.4))
        route(ax, [(0.5, head.bottom[1]), (0.5, y), seen.left])
        arrow(ax, seen.right, (2.98, y))
        label(ax, (3.02, y), drawn(sections), align="left", size=SMALL, code=True)
    return head, y


def _branch_in_words(answer: str) -> str:
    rows = [
        f"{symptom}: {', '.join(sections[:N_DRAWN])}"
        for symptom, sections in SYMPTOMS[answer].items()
    ]
    return f"{answer.capitalize()}: {FIRST[answer]} {'; '.join(rows)}.".replace("\n", " ")
