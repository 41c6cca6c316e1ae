"""The same words at the end, or the beginning, of nearly all answers."""

import collections
from collections.abc import Sequence

from onegpu.chat import n_common
from onegpu.preflight.findings import Tally

__all__ = ["examine"]

N_LEAST = 10  # answers
MANY = 0.8  # of them
LENGTH = 60  # characters that are no usual phrase
N_WORDS, LETTERS = 7, 0.75  # of a sentence; JSON, code and markup have fewer
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
    ways = {"end": [answer[::-1] for answer in stripped], "begin": stripped}
    for way, texts in ways.items():
        start, count = collections.Counter(text[:LENGTH] for text in texts).most_common(1)[0]
        same = [text for text in texts if text.startswith(start)]
        first, last = min(same), max(same)  # in order, so what these share all share
        shared = first[: n_common(first, last)]
        rests = {text[len(shared) :] for text in same} - {""}
        if len(start) < LENGTH or count < MANY * len(texts) or 2 * len(rests) < count:
            continue
        words = shared[::-1] if way == "end" else shared
        if _is_prose(words):
            found = f"{count:,} of {len(texts):,} answers {way} with the same {len(words):,}"
            tally.state("boilerplate", repr(words[-LENGTH:]), found=f"{found} characters")


def _is_prose(text: str) -> bool:
    n_letters = sum(character.isalpha() or character.isspace() for character in text)
    are_words = len(text.split()) >= N_WORDS or not text.isascii()
    are_sentences = MARKUP.isdisjoint(text) and not MARKS.isdisjoint(text)
    return are_words and are_sentences and n_letters >= LETTERS * len(text)
