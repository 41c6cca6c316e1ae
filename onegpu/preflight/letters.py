"""Words that have lost letters: ligatures as PDF files are read, accents as text becomes ASCII."""

import collections
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from onegpu.preflight.findings import Tally

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["examine"]

N_LEAST = 5  # texts, and different words
TIMES = 3  # as many words as with letters that no file loses
LIGATURES = ("ffi", "ffl", "ff", "fi", "fl")
OTHERS = ("ta", "li", "sh", "ti", "er")  # as frequent, and lost by no program
WITH_LIGATURE = re.compile("f[filFIL]|[\ufb00-\ufb06]")
PLAIN, WORD = re.compile("[a-z]{3,}"), re.compile(r"[^\W\d_]+")
N_EXPECTED, RATE = 20, 0.25  # letters with accents, by the prompts, and the share that is there
N_BARE = 3  # different words without the accents that they have in other prompts
ASKED = re.compile(r"(?<=[^\W\d_])\?+(?=[^\W\d_])")  # inside of a word
IN_WORD = re.compile(r"\W*[^\W\d_]+(?:[?'’-]+[^\W\d_]+)+\W*")  # and no address or code
SHARE = 0.1  # of the texts
FIRST = re.compile(r"[\s'’]*([a-z]+) ([a-z]{2,})\b")
MOST = 0.6  # of the answers
SAME = 0.3  # of the words of answers are in other prompts, too, if they are of one language


def examine(
    rows: Sequence[tuple[str, str]], tokenizer: "PreTrainedTokenizerBase", tally: Tally
) -> None:
    """Look for words that are words again with letters put back, and add them to a tally.

    Args:
        rows: Questions and answers; no question where there are only texts.
        tokenizer: Its vocabulary is the dictionary.
        tally: Where findings go.
    """
    if len(rows) < N_LEAST:
        return
    _question_marks(rows, tally)
    answers = [answer for _, answer in rows]
    _ligatures(answers, tokenizer, tally)
    _beginnings(answers, tokenizer, tally)
    n_accents, n_letters = _accents(question for question, _ in rows)
    n_answered, n_said = _accents(answer for _, answer in rows)
    expected = n_accents / max(1, n_letters) * n_said
    if expected < N_EXPECTED or n_answered > RATE * expected:
        return
    bare = _bare_words(rows)
    if len(bare) >= N_BARE:
        found = f"answers have {n_answered:,} letters with accents, and prompts {n_accents:,}"
        examples = ", ".join(f"{word} for {right}" for word, right in list(bare.items())[:3])
        tally.state("letters-lost", examples, found=found)


def _question_marks(rows: Sequence[tuple[str, str]], tally: Tally) -> None:
    """Look for letters that an encoding lacks, as programs write them: as question marks."""
    texts = [text for row in rows for text in row if ASKED.search(text)]
    found = [[word for word in text.split() if _is_asked(word)] for text in texts]
    n_texts, words = sum(map(bool, found)), {word: "" for some in found for word in some}
    if len(words) >= N_LEAST and n_texts >= max(N_LEAST, SHARE * len(rows)):
        text = f"{n_texts:,} texts have question marks in place of letters"
        tally.state("letters-lost", ", ".join(list(words)[:3]), found=text)


def _is_asked(word: str) -> bool:
    return bool(ASKED.search(word) and IN_WORD.fullmatch(word))


def _beginnings(answers: Sequence[str], tokenizer: "PreTrainedTokenizerBase", tally: Tally) -> None:
    """Look for answers that lack their first letter, by their first words and the second."""
    matched = [words for answer in answers if (words := FIRST.match(answer))]
    if len(matched) < max(N_LEAST, MOST * len(answers)):
        return
    known = _known(tokenizer)
    longer = {word[1:]: word for word in sorted(known, reverse=True)}
    n_cut = [sum(m[n] not in known and m[n] in longer for m in matched) for n in (1, 2)]
    cut = {m[1]: longer[m[1]] for m in matched if m[1] not in known and m[1] in longer}
    if len(cut) >= N_LEAST and n_cut[0] >= max(N_LEAST, TIMES * n_cut[1]):
        where = ", ".join(f"{word} for {whole}" for word, whole in list(cut.items())[:3])
        found = f"{len(matched):,} of {len(answers):,} answers seem to lack their first letter"
        tally.state("answers-cut", where, found=found)


def _known(tokenizer: "PreTrainedTokenizerBase") -> set[str]:
    """Return the words of a vocabulary, in small letters."""
    return {t[1:].lower() for t in tokenizer.get_vocab() if t[:1] in "Ġ▁" and t[1:].isalpha()}


def _ligatures(texts: Iterable[str], tokenizer: "PreTrainedTokenizerBase", tally: Tally) -> None:
    """Look for texts without any fi, fl or ff, and with words that lack one."""
    without = [set(PLAIN.findall(t)) for t in texts if not WITH_LIGATURE.search(t)]
    if len(without) < N_LEAST:
        return
    known = _known(tokenizer)
    cut, other = _cut_words(known, LIGATURES), _cut_words(known, OTHERS)
    found = {word: cut[word] for words in without for word in words if word in cut}
    n_others = len({word for words in without for word in words if word in other})
    n_texts = sum(not words.isdisjoint(found) for words in without)
    if len(found) < max(N_LEAST, TIMES * n_others) or n_texts < N_LEAST:
        return
    examples = ", ".join(f"{word} for {found[word]}" for word in sorted(found, key=len)[-3:])
    text = f"{n_texts:,} texts have no fi, fl or ff, and {len(found):,} words that lack one"
    tally.state("letters-lost", examples, found=text)


def _cut_words(known: set[str], parts: Sequence[str]) -> dict[str, str]:
    """Return what is no word, but one without a part of it, each with that word."""
    cut: dict[str, str] = {}
    for part in parts:
        for word in known:
            if part in word and (rest := word.replace(part, "", 1)) not in known:
                cut.setdefault(rest, word)
    return cut


def _accents(texts: Iterable[str]) -> tuple[int, int]:
    """Return how many letters have accents that can be taken off, and how many there are."""
    n_accents = n_letters = 0
    for text in texts:
        n_letters += len(text)
        if not text.isascii():
            n_accents += len(unicodedata.normalize("NFD", text)) - len(text)
    return n_accents, n_letters


def _bare_words(rows: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return words of answers that other prompts write with accents, if they are of one language.

    Those of its own prompt may be what an answer is about: a name, or a text to convert.
    """
    asked = [WORD.findall(question.casefold()) for question, _ in rows]
    counts = collections.Counter(word for words in asked for word in set(words))
    accented = {_plain(word): word for word in counts if _plain(word) not in counts}
    bare: dict[str, str] = {}
    n_said = n_known = 0
    for words, (_, answer) in zip(asked, rows, strict=True):
        own, own_plain = set(words), {_plain(word) for word in words}
        for word in WORD.findall(answer):
            n_said += 1
            n_known += counts[word.casefold()] > (word.casefold() in own)
            if word in accented and word not in own_plain:
                bare[word] = accented[word]
    return bare if n_known >= SAME * n_said else {}


def _plain(word: str) -> str:
    """Return a word without its accents."""
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
