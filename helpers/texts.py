"""Texts to judge a model by: a story that none has read, questions, a quiz, and summaries.

All but the capitals are written for this course.

Taught in: notebooks/01_language_models.ipynb, notebooks/02_quantization.ipynb
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["capitals", "questions", "quiz", "story", "summaries"]

FOLDER = Path(__file__).parent / "data" / "general"


def story() -> str:
    """Return a short story that was written for this course, so that no base model has read it.

    Returns:
        About 850 words, or 1,000 tokens, of plain English.

    Example:
        >>> story()[:14]
        'The lighthouse'
    """
    return (FOLDER / "story.txt").read_text("utf-8")


def capitals() -> "tuple[list[Conversation], list[str]]":
    """Return questions that a small base model can answer, and the answers to the letter.

    Returns:
        Fifty prompts that ask for a country's capital, and as many expected answers.

    Example:
        >>> prompts, answers = capitals()
        >>> prompts[0][0]["content"], answers[0]
        ('What is the capital of France?', 'The capital of France is Paris.')
    """
    pairs = [(row["country"], row["capital"]) for row in _rows("capitals.jsonl")]
    prompts = [[{"role": "user", "content": f"What is the capital of {c}?"}] for c, _ in pairs]
    return prompts, [f"The capital of {country} is {capital}." for country, capital in pairs]


def questions() -> list[str]:
    """Return ordinary questions and requests that take a sentence or two to answer.

    Returns:
        120 texts, about everyday things: none about countries, capitals or Yoda.

    Example:
        >>> questions()[1]
        'Name a tool for cutting wood.'
    """
    return (FOLDER / "questions.txt").read_text("utf-8").splitlines()


def quiz(kind: str) -> list[dict[str, Any]]:
    """Return questions with four choices each, in the form of a well-known benchmark.

    They're easy, and too few to rank models: they show how such a benchmark is scored.

    Args:
        kind: `"arc-like"`, grade-school science, or `"hellaswag-like"`, how everyday scenes go on.

    Returns:
        30 rows with `kind`, `question`, `choices` (four texts) and `gold` (place of the right one,
        from 0).

    Raises:
        ValueError: There is no such kind.

    Example:
        >>> row = quiz("arc-like")[0]
        >>> row["choices"][row["gold"]]
        'the roots'

    Taught in: notebooks/07_evaluation.ipynb
    """
    rows = _rows("quiz.jsonl")
    found = [row for row in rows if row["kind"] == kind]
    if not found:
        kinds = " or ".join(dict.fromkeys(repr(row["kind"]) for row in rows))
        raise ValueError(f"no quiz of the kind {kind!r}: choose {kinds}")
    return found


def summaries() -> list[dict[str, Any]]:
    """Return short texts, each with three good summaries and one that gets a fact wrong.

    The wrong one shares most of its words with the first good one.

    Returns:
        16 rows with `text` (about 90 words), `references` (three sentences) and `wrong` (one).

    Example:
        >>> summaries()[0]["wrong"][:58]
        "After a petition, Millbrook's council voted to close the l"

    Taught in: notebooks/07_evaluation.ipynb
    """
    return _rows("summaries.jsonl")


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text("utf-8").splitlines()]
