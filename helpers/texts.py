"""Texts to judge a model by: a story that none has read, and fifty questions that most can answer.

Taught in: notebooks/01_language_models.ipynb, notebooks/02_quantization.ipynb
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["capitals", "story"]

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
    rows = map(json.loads, (FOLDER / "capitals.jsonl").read_text("utf-8").splitlines())
    pairs = [(row["country"], row["capital"]) for row in rows]
    prompts = [[{"role": "user", "content": f"What is the capital of {c}?"}] for c, _ in pairs]
    return prompts, [f"The capital of {country} is {capital}." for country, capital in pairs]
