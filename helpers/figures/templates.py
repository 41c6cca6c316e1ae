"""What chat templates write around a question and its answer."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.figures.kit import ROLES, SMALL, WIDTH, canvas, key, label
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["template_roles"]

LETTER, LINE = 0.0711, 0.24  # inches: a monospaced letter of 8.5 points, and a line of them
LEFT, MOST = 1.25, 84  # inches to the left of the texts, and letters in a line

Run = tuple[str, str]  # a text and its role


def template_roles(
    parts: Mapping[str, Sequence[str]],
    *,
    question: str,
    answer: str,
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw one question and its answer as several chat templates write them.

    Args:
        parts: For each family, what its template writes before the question, between question and
            answer, and after the answer.
        question: What the user says.
        answer: What the assistant says.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: one or more lines a family, each broken after a line break. The question has one
        color; the answer and what ends it have another, that of learned tokens; what the template
        adds is on white.

    Raises:
        ValueError: A family has not three parts, or one with a line that is too long.

    Example:
        >>> ax = template_roles({"Mistral": ("[INST] ", " [/INST] ", "</s>")},
        ...                     question="Hi.", answer="Hello.")
        >>> ax.get_title("left")
        'One conversation, 1 format'

    Taught in: notebooks/04_formatting.ipynb
    """
    drawn = {}
    for family, texts in parts.items():
        if len(texts) != 3:
            raise ValueError(f"{family}: {len(texts)} parts; give what is before, between, after")
        before, between, after = texts
        ended, line_break, header = between.partition("\n")
        asked = [(before, "plain"), (question, "data"), (ended + line_break, "plain")]
        answered = [(header, "plain"), (answer + after, "trained")]
        # The answer's turn begins a new line where the question's ends with a line break.
        turns = (asked, answered) if header.strip() else ([*asked, *answered],)
        drawn[family] = [line for runs in turns for line in _wrapped(runs, family)]
    height = 0.45 + sum(0.16 + LINE * len(lines) for lines in drawn.values())
    plural = "s" if len(drawn) > 1 else ""
    title = f"One conversation, {len(drawn)} format{plural}"
    ax = canvas(WIDTH, height, title=title, ax=ax)
    top = height - 0.05
    for family, lines in drawn.items():
        label(ax, (0.05, top - LINE / 2), family, bold=True, align="left")
        for number, runs in enumerate(lines):
            _line(ax, top - LINE * (number + 0.5), runs)
        top -= 0.16 + LINE * len(lines)
    key(
        ax,
        (LEFT, 0.14),
        ["plain", "data", "trained"],
        meanings=["the template's marks", "the question", "the answer and its end: learned"],
    )
    told = [
        f"{family}: {_shown(''.join(texts))}" for family, texts in _whole(parts, question, answer)
    ]
    return describe(ax, f"The same question and answer in {len(drawn)} formats. {'; '.join(told)}")


def _whole(
    parts: Mapping[str, Sequence[str]], question: str, answer: str
) -> list[tuple[str, tuple[str, ...]]]:
    """Return the whole text of each family, in pieces."""
    return [
        (name, (one, question, two, answer, three)) for name, (one, two, three) in parts.items()
    ]


def _shown(text: str) -> str:
    """Return a text with its line breaks made visible."""
    return text.replace("\n", "↵")


def _wrapped(runs: Sequence[Run], family: str) -> list[list[Run]]:
    """Break runs of text into lines that fit the page, after line breaks only."""
    pieces: list[list[Run]] = [[]]  # each up to a line break
    for text, role in runs:
        for part in text.splitlines(keepends=True):
            pieces[-1].append((_shown(part), role))
            if part.endswith("\n"):
                pieces.append([])
    lines: list[list[Run]] = [[]]
    for piece in pieces:
        n_letters = _n_letters(piece)
        if n_letters > MOST:
            raise ValueError(f"{family}: a line of {n_letters} letters, {MOST} fit the page")
        if _n_letters(lines[-1]) + n_letters > MOST:
            lines.append([])
        lines[-1] += piece
    return [_merged(line) for line in lines]


def _n_letters(runs: Sequence[Run]) -> int:
    return sum(len(text) for text, _ in runs)


def _merged(line: Sequence[Run]) -> list[Run]:
    """Join neighboring runs of one role."""
    groups = itertools.groupby(line, key=lambda run: run[1])
    return [("".join(text for text, _ in runs), role) for role, runs in groups]


def _line(ax: "Axes", y: float, runs: Sequence[Run]) -> None:
    """Draw a line of text, each run on its color."""
    from matplotlib.patches import Rectangle

    left = LEFT
    for text, role in runs:
        wide, colors = LETTER * len(text), ROLES[role]
        if role != "plain":
            corner = (left, y - LINE / 2 + 0.015)
            look = {"fc": colors.fill, "ec": "none", "zorder": 1}
            ax.add_patch(Rectangle(corner, wide, LINE - 0.03, **look))
        label(ax, (left, y), text, role=role, size=SMALL, align="left", code=True)
        left += wide
