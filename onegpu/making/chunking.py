"""Documents cut into chunks that a model can be asked about."""

import dataclasses
import re
from collections.abc import Iterator

from onegpu.making.documents import Document, Section

__all__ = ["Chunk", "chunks", "n_words"]

NO_SPACES = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff"  # Thai, Lao, Japanese, Chinese
WORD = re.compile(rf"[{NO_SPACES}]|[^\s{NO_SPACES}]{{1,100}}")
BREAK = re.compile(  # between two sentences, paragraphs, items of a list or rows of a table
    r"(?<=[.!?…])[\"'”’»)\]]*\s+(?![a-z\s])|(?<=[。！？])|\n\s*\n|\n(?=(?:[-*+•]|\d{1,3}[.)]) |\|)"
)


@dataclasses.dataclass(frozen=True)
class Chunk:
    """A part of a document, of whole sentences where that goes.

    Attributes:
        document: The document's name.
        headings: Those that it is under, the outermost first.
        text: What it says: the document's text from `start` to `end`.
        start: Where it begins.
        end: Where it ends.
    """

    document: str
    headings: tuple[str, ...]
    text: str
    start: int
    end: int


def n_words(text: str) -> int:
    """Return how many words a text has; in a script without spaces each character is one.

    Args:
        text: Any.

    Returns:
        The number. What is longer than 100 characters counts as several.

    Example:
        >>> n_words("Wet, they are."), n_words("沼は湿っている")
        (3, 7)
    """
    return sum(1 for _ in WORD.finditer(text))


def chunks(document: Document, *, max_words: int = 150, overlap_words: int = 0) -> Iterator[Chunk]:
    """Cut a document into chunks that lose nothing; none reaches into the next section.

    Args:
        document: Any.
        max_words: How long a chunk may be. A longer sentence is cut between two words.
        overlap_words: So many words at most, whole sentences, are at the end of a chunk and at the
            beginning of the next.

    Yields:
        The chunks, in order.

    Raises:
        ValueError: `max_words` is below 1, or `overlap_words` is not between 0 and `max_words`.

    Example:
        >>> from onegpu.making import Document
        >>> swamp = Document("swamp.txt", text="It is wet. It is green. Frogs like it.")
        >>> [chunk.text for chunk in chunks(swamp, max_words=6, overlap_words=3)]
        ['It is wet. It is green.', 'It is green. Frogs like it.']

    Taught in: notebooks/08_data.ipynb
    """
    if not 0 <= overlap_words < max(1, max_words) or max_words < 1:
        raise ValueError(
            f"max_words={max_words}, overlap_words={overlap_words}: give at least one word a chunk "
            "and an overlap that is shorter"
        )
    text = document.text
    for section in document.sections or (Section((), 0, 0, len(text)),):
        window: list[tuple[int, int, int]] = []  # start, end and words of each sentence
        total = 0  # words in the window
        for start, end, n in _sentences(text, section, max_words):
            if total + n > max_words:
                yield from _chunk(document, section, window)
                while total > min(overlap_words, max_words - n):
                    total -= window.pop(0)[2]
            window.append((start, end, n))
            total += n
        yield from _chunk(document, section, window)


def _chunk(
    document: Document, section: Section, window: list[tuple[int, int, int]]
) -> Iterator[Chunk]:
    """Yield the chunk of some sentences, unless they are empty, without space at its ends."""
    if not window:
        return
    whole = document.text[window[0][0] : window[-1][1]]
    start = window[0][0] + len(whole) - len(whole.lstrip())
    if found := whole.strip():
        yield Chunk(document.name, section.headings, found, start, start + len(found))


def _sentences(text: str, section: Section, max_words: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, end and words of each sentence, and of the parts of those that are too long."""
    start = section.start
    while start < section.end:
        found = BREAK.search(text, start + 1, section.end)
        stop = found.end() if found else section.end
        n = 0
        for word in WORD.finditer(text, start, stop):
            if n == max_words:
                yield start, word.start(), n
                start, n = word.start(), 0
            n += 1
        yield start, stop, n
        start = stop
