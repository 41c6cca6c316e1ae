"""Decisions as ladders of questions: a no leads down, a yes to the answer beside it."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.figures.kit import SMALL, Box, box, canvas, connect, key, label, route, timeline
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["FORMATS", "WAYS", "Question", "choose_format", "decision"]


@dataclasses.dataclass(frozen=True)
class Question:
    """A rung of a ladder.

    Attributes:
        text: What is asked; empty at the end, where all answers were no.
        answer: Where a yes leads.
        note: What that means.
        role: Of the answer.
        parts: Of a data format: the parts of a row, each with its role.
        converters: Of a data format: the functions of `onegpu.rows` that write it.
    """

    text: str
    answer: str
    note: str
    role: str = "plain"
    parts: tuple[tuple[str, str], ...] = ()
    converters: str = ""


WAYS = (
    Question(
        "Is a good prompt enough,\nwith a few examples?",
        "Prompting",
        "No training and no data,\nbut tokens at every call.",
        "frozen",
    ),
    Question(
        "Does it lack facts, or\ndo the facts change?",
        "Retrieval",
        "Search, and put what\nyou find into the prompt.",
        "frozen",
    ),
    Question(
        "Does it lack a form,\na tone, or a task?",
        "Fine-tuning",
        "Hundreds to thousands\nof good examples.",
        "trained",
    ),
    Question("", "Another\nbase model", "Larger, or pretrained\non texts like yours."),
)
FORMATS = (
    Question(
        "Just documents, with no\nquestions and answers?",
        "text",
        'packing=True, packing_strategy="bfd_split"',
        "data",
        (("document", "trained"),),
        "from_document",
    ),
    Question(
        "Better and worse answers\nto the same question?",
        "prompt\nchosen\nrejected",
        "DPOTrainer instead of SFTTrainer",
        "data",
        (("question", "plain"), ("better", "trained"), ("worse", "wrong")),
        "from_scores, from_openai",
    ),
    Question(
        "Does the assistant\ncall tools?",
        "messages\ntools",
        "assistant_only_loss=True",
        "data",
        (("question", "plain"), ("call", "trained"), ("result", "plain"), ("answer", "trained")),
        "from_openai, from_sharegpt",
    ),
    Question(
        "One question and\none answer per row?",
        "prompt\ncompletion",
        "",
        "data",
        (("question", "plain"), ("answer", "trained")),
        "from_pair, from_alpaca",
    ),
    Question(
        "A conversation, and every\nanswer is worth learning?",
        "messages",
        "assistant_only_loss=True",
        "data",
        (("question", "plain"), ("answer", "trained")) * 2,
        "from_sharegpt, from_openai",
    ),
    Question(
        "Only the last answer\nis worth learning?",
        "prompt\ncompletion",
        "",
        "data",
        (("question", "plain"), ("answer", "plain"), ("question", "plain"), ("answer", "trained")),
        "from_messages",
    ),
    Question(
        "",
        "input_ids\nlabels",
        "your own tokens; a label of -100 is not learned",
        "data",
        (("yours", "trained"), ("-100", "plain")),
    ),
)
CELLS = {  # what holds for all of them
    "Chat template?": "If the model has one, prompt and completion hold messages; if not, texts.",
    "Lists as text in a CSV?": "from_encoded decodes messages, or the columns that you name.",
}


def decision(*, ax: "Axes | None" = None) -> "Axes":
    """Draw the way from a task to prompting, retrieval or fine-tuning.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with a row of question, answer and what it takes for each.

    Example:
        >>> decision().get_title("left")
        'Prompt, retrieve, or fine-tune?'

    Taught in: notebooks/01_language_models.ipynb
    """
    ax = canvas(6.2, 3.85, title="Prompt, retrieve, or fine-tune?", ax=ax)
    for question, answer in zip(WAYS, _ladder(ax, WAYS, top=3.5, step=0.93), strict=True):
        label(ax, (answer.right[0] + 0.2, answer.y), question.note, align="left", soft=True)
    key(ax, (0.1, 0.14), ["frozen", "trained"], meanings=["weights stay", "weights change"])
    return describe(ax, _in_words(WAYS))


def choose_format(*, ax: "Axes | None" = None) -> "Axes":
    """Draw the way from rows to the columns that trl takes, and what is learned of each.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with a question, its columns, a strip of the parts of a row and the converters
        for each.

    Example:
        >>> choose_format().get_title("left")
        'Which columns for your data?'

    Taught in: notebooks/04_formatting.ipynb
    """
    ax = canvas(7.3, 6.87, title="Which columns for your data?", ax=ax)
    answers = _ladder(ax, FORMATS, top=6.5, step=0.9, code=True)
    for question, answer in zip(FORMATS, answers, strict=True):
        left = answer.right[0] + 0.2
        parts = [(text, 1.0, role) for text, role in question.parts]
        timeline(ax, (left, answer.y + 0.19), parts, length=0.75 * max(2, len(parts)), height=0.26)
        lines = [(question.converters, True), (question.note, False)]
        for i, (text, is_code) in enumerate(line for line in lines if line[0]):
            at = (left, answer.y - 0.07 - 0.18 * i)
            label(ax, at, text, align="left", size=SMALL, code=is_code, soft=not is_code)
    meanings = ["learned", "only read", "avoided"]
    key(ax, (0.1, 0.62), ["trained", "plain", "wrong"], meanings=meanings)
    for number, (asked, told) in enumerate(CELLS.items()):
        y = 0.36 - 0.24 * number
        label(ax, (0.1, y), asked, align="left", size=SMALL, bold=True)
        label(ax, (1.95, y), told, align="left", size=SMALL)
    told = " ".join(" ".join(pair) for pair in CELLS.items())
    return describe(ax, f"{_in_words(FORMATS)}. {told}")


def _ladder(
    ax: "Axes", questions: Sequence[Question], *, top: float, step: float, code: bool = False
) -> list[Box]:
    """Draw questions from the top, a yes to the right, a no downward; return the answers."""
    asked = [
        box(ax, (1.15, top - i * step), question.text, size=(2.1, 0.6))
        for i, question in enumerate(questions[:-1])
    ]
    answers = []
    for i, question in enumerate(questions):
        at = (3.45, top - i * step)
        size = (1.25, 0.6)
        answers.append(
            box(ax, at, question.answer, size=size, role=question.role, bold=not code, code=code)
        )
    for question, answer in zip(asked, answers[:-1], strict=True):
        connect(ax, question, answer, text="yes")
    for above, below in itertools.pairwise(asked):
        connect(ax, above, below, text="no")
    last, end = asked[-1], answers[-1]
    route(ax, [last.bottom, (last.x, end.y), end.left], text="no")
    return answers


def _in_words(questions: Sequence[Question]) -> str:
    parts = []
    for question in questions:
        asked = f"{question.text} Yes: " if question.text else "No to all: "
        by = f", by {question.converters}" if question.converters else ""
        parts.append(f"{asked}{question.answer}{by}".replace("\n", " "))
    return f"Questions from the top. {'; '.join(parts)}"
