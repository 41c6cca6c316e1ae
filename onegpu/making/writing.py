"""One row, as every writer yields it, and the split that it goes to."""

import hashlib
from typing import Any

from onegpu.making.documents import Document

__all__ = ["answer_of", "fraction_of", "question_of", "row", "split_of"]


def row(
    document: Document, question: str, answer: str, *, writer: str, quote: str = ""
) -> dict[str, Any]:
    """Return a row: a question about a document and its answer.

    Args:
        document: What it is about.
        question: What the user says.
        answer: What the assistant should say.
        writer: Who wrote it, such as `"template"`.
        quote: The passage of the document that answers; all of its text without it.

    Returns:
        `prompt` and `completion`, a message each, `source`, `quote` and `writer`.

    Example:
        >>> swamp = Document("swamp.txt", text="Wet, it is.")
        >>> row(swamp, "How is it?", "Wet.", writer="me")["source"]
        'swamp.txt'

    Taught in: notebooks/08_data.ipynb
    """
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
        "source": document.name,
        "quote": quote or document.text,
        "writer": writer,
    }


def question_of(row: dict[str, Any]) -> str:
    """Return all that comes before the answer of a row."""
    return "\n".join(turn["content"] for turn in row["prompt"])


def answer_of(row: dict[str, Any]) -> str:
    """Return the answer of a row."""
    return row["completion"][-1]["content"]


def split_of(name: str, *, validation_share: float = 0.1, test_share: float = 0.1) -> str:
    """Return the split that a document belongs to, by the hash of its name.

    The same name always gives the same split, whatever other documents there are, so a document
    that comes later moves no other one. Few documents may all be in one split.

    Args:
        name: Of the document.
        validation_share: Of all documents, 0 to 1.
        test_share: Of all documents, 0 to 1.

    Returns:
        `"train"`, `"validation"` or `"test"`.

    Example:
        >>> [split_of(f"{number}.md", test_share=0.5) for number in range(5)]
        ['train', 'train', 'validation', 'train', 'test']
    """
    fraction = fraction_of(name)
    if fraction < test_share:
        return "test"
    return "validation" if fraction < test_share + validation_share else "train"


def fraction_of(text: str) -> float:
    """Return a number from 0 up to 1 that looks random and is always the same for a text."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48
