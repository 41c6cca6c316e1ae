"""Check cells: tell the reader of a chapter whether an answer is right, and if not, what is wrong.

The checks of a chapter are in the module of its name; each is a function `exercise_<number>`
that takes the answer and returns what is wrong with it, or nothing.
"""

import dataclasses
import html
import importlib
from typing import Any

__all__ = ["Verdict", "check"]

CHAPTERS = {
    "B": "appendix_b",
    "0": "chapter_0",
    "1": "chapter_1",
    "2": "chapter_2",
    "3": "chapter_3",
    "4": "chapter_4",
    "5": "chapter_5",
    "6": "chapter_6",
    "7": "chapter_7",
    "8": "chapter_8",
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a check says, shown as the last line of a cell.

    Attributes:
        exercise: Its number, as in the chapter.
        status: `right`, `wrong` or `open`.
        message: What is wrong; empty for a right answer.
    """

    exercise: str
    status: str
    message: str = ""

    def __repr__(self) -> str:
        signs = {"right": "right ✓", "wrong": "not yet:", "open": "still open:"}
        return f"Exercise {self.exercise}: {signs[self.status]} {self.message}".rstrip()

    def _repr_html_(self) -> str:
        color = {"right": "#00664b", "wrong": "#a34700", "open": "#555555"}[self.status]
        edge = f"border-left:4px solid {color};padding:2px 10px"
        return f'<div style="{edge}">{html.escape(repr(self))}</div>'


def check(exercise: str, answer: Any) -> Verdict:
    """Check the answer to an exercise.

    Args:
        exercise: Chapter and number, as in `B.1`.
        answer: What the exercise asks for; mostly a function of the reader's.

    Returns:
        The verdict. An answer that raises an error is wrong, and the verdict names the error; one
        that is `...`, or a function that returns nothing, is still open.

    Raises:
        ValueError: There is no such exercise.

    Example:
        >>> check("B.1", ...)
        Exercise B.1: still open: write your answer in place of the dots
    """
    chapter, _, number = exercise.partition(".")
    module = CHAPTERS.get(chapter)
    checks = importlib.import_module(f"helpers.exercises.{module}") if module else None
    judge = getattr(checks, f"exercise_{number}", None)
    if judge is None:
        raise ValueError(f"no exercise {exercise!r}: give chapter and number, such as 'B.1'")
    if answer is ...:
        return Verdict(exercise, "open", "write your answer in place of the dots")
    try:
        wrong = judge(_answering(answer))
    except _NothingReturned as nothing:
        return Verdict(exercise, "open", str(nothing))
    except Exception as error:
        return Verdict(exercise, "wrong", f"it raised {type(error).__name__}: {error}")
    return Verdict(exercise, "wrong", wrong) if wrong else Verdict(exercise, "right")


class _NothingReturned(Exception):  # noqa: N818 - a signal, not an error
    """The reader's function returned nothing."""


def _answering(answer: Any) -> Any:
    """Return the answer; a function is made to say so when it returns nothing."""
    if not callable(answer):
        return answer

    def answered(*args: Any) -> Any:
        result = answer(*args)
        if result is None:
            raise _NothingReturned(
                "your function returns nothing: write your answer in place of the dots, with a "
                "return on every way through it"
            )
        return result

    return answered
