"""The same words at the end, or the beginning, of nearly all answers."""

import collections
import re
from collections.abc import Sequence

from onegpu.chat import n_common
from onegpu.preflight.findings import Tally

__all__ = ["examine"]

N_LEAST = 10  # answers
MANY = 0.8  # of them
LENGTH = 60  # characters that are no usual phrase
N_WORDS, LETTERS = 7, 0.75  # of a sentence; JSON, code and markup have fewer
NUMBER, N_AFTER = re.compile(r"\d+"), 40  # and characters without a number at the very end
MARKUP = set("<>{}\\=;`")
MARKS = set(".!?,:·。，、")  # of sentences


def examine(answers: Sequence[str], tally: Tally) -> None:
    """Look for a footer, a disclaimer or a signature, and add it to a tally.

    Args:
        answers: The first of a data set.
        tally: Where findings go.
    """
    if len(answers) < N_LEAST or 2 * len(set(answers)) < len(answers):
        return
    stripped = [answer.strip() for answer in answers]
    if not _shared(stripped, tally):  # a footer may count votes, or name a ticket
        _shared([NUMBER.sub("0", answer) for answer in stripped], tally, n_exact=N_AFTER)


def _shared(answers: Sequence[str], tally: Tally, *, n_exact: int = 0) -> bool:
    """Look for words that nearly all answers share, and add them to a tally.

    Args:
        answers: Without white space around them.
        tally: Where findings go.
        n_exact: How many characters at the very end, or beginning, have no number among them.

    Returns:
        Whether there are any.
    """
    is_found = False
    ways = {"end": [answer[::-1] for answer in answers], "begin": answers}
    for way, texts in ways.items():
        start, count = collections.Counter(text[:LENGTH] for text in texts).most_common(1)[0]
        same = [text for text in texts if text.startswith(start)]
        first, last = min(same), max(same)  # in order, so what these share all share
        shared = first[: n_common(first, last)]
        rests = {text[len(shared) :] for text in same} - {""}
        if len(start) < LENGTH or count < MANY * len(texts) or 2 * len(rests) < count:
            continue
        words = shared[::-1] if way == "end" else shared
        if _is_prose(words) and not NUMBER.search(start[:n_exact]):
            is_found = True
            found = f"{count:,} of {len(texts):,} answers {way} with the same {len(words):,}"
            found += " characters, numbers aside" if n_exact else " characters"
            tally.state("boilerplate", repr(words[-LENGTH:]), found=found)
    return is_found


def _is_prose(text: str) -> bool:
    n_letters = sum(character.isalpha() or character.isspace() for character in text)
    are_words = len(text.split()) >= N_WORDS or not text.isascii()
    are_sentences = MARKUP.isdisjoint(text) and not MARKS.isdisjoint(text)
    return are_words and are_sentences and n_letters >= LETTERS * len(text)
