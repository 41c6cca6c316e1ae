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
        learned: Of a data format: the parts of a row, each with whether it is learned.
    """

    text: str
    answer: str
    note: str
    role: str = "plain"
    learned: tuple[tuple[str, bool], ...] = ()


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
        "Used as it is. This is more pretraining.",
        "data",
        (("document", True),),
    ),
    Question(
        "One answer to learn\nin each row?",
        "prompt\ncompletion",
        "Most fine-tunes. Only the completion is learned.",
        "data",
        (("question", False), ("answer", True)),
    ),
    Question(
        "Several answers in a row,\nall of them to learn?",
        "messages",
        "With assistant_only_loss=True, and a template\nthat marks answers with {% generation %}.",
        "data",
        (("question", False), ("answer", True), ("question", False), ("answer", True)),
    ),
    Question(
        "",
        "input_ids\nlabels",
        "Your own tokens; a label of -100 is not learned.",
        "data",
        (("yours", True), ("-100", False)),
    ),
)
CELLS = {  # what holds for all of them
    "Chat template?": "If the model has one, prompt and completion hold messages; if not, texts.",
    "Tools?": "A further column, tools, describes them.",
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
        The axes, with a question, its columns and a strip of learned and unlearned parts for each.

    Example:
        >>> choose_format().get_title("left")
        'Which columns for your data?'

    Taught in: notebooks/04_formatting.ipynb
    """
    ax = canvas(7.3, 4.7, title="Which columns for your data?", ax=ax)
    answers = _ladder(ax, FORMATS, top=4.35, step=0.97, code=True)
    for question, answer in zip(FORMATS, answers, strict=True):
        left = answer.right[0] + 0.2
        roles = ["trained" if learned else "plain" for _, learned in question.learned]
        parts = [(text, 1.0, r) for (text, _), r in zip(question.learned, roles, strict=True)]
        timeline(ax, (left, answer.y + 0.17), parts, length=0.75 * max(2, len(parts)), height=0.26)
        up = -0.21 if "\n" in question.note else -0.14
        label(ax, (left, answer.y + up), question.note, align="left", size=SMALL, soft=True)
    key(ax, (4.28, 0.88), ["trained", "plain"], meanings=["learned", "context only"])
    for y, (asked, told) in zip((0.44, 0.18), CELLS.items(), strict=True):
        label(ax, (0.1, y), asked, align="left", size=SMALL, bold=True)
        label(ax, (1.3, y), told, align="left", size=SMALL)
    told = " ".join(" ".join(pair) for pair in CELLS.items())
    return describe(ax, f"{_in_words(FORMATS)}. {told}")


def _ladder(
    ax: "Axes", questions: Sequence[Question], *, top: float, step: float, code: bool = False
) -> list[Box]:
    """Draw questions from the top, a yes to the right, a no downward; return the answers."""
    asked = [
        box(ax, (1.15, top - i * step), question.text, size=(2.1, 0.56))
        for i, question in enumerate(questions[:-1])
    ]
    answers = []
    for i, question in enumerate(questions):
        at = (3.45, top - i * step)
        size = (1.25, 0.56)
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
        parts.append(f"{asked}{question.answer}".replace("\n", " "))
    return f"Questions from the top. {'; '.join(parts)}"
