"""How many words a text shares with a reference: ROUGE, with which summaries are scored."""

import collections
import re
import unicodedata
from collections.abc import Sequence

__all__ = ["rouge_l", "rouge_n"]

WORD = re.compile(r"[^\W_]+")  # letters and digits of any script


def rouge_l(answer: str, references: Sequence[str]) -> float:
    """Return how much of an answer's words come in the same order in a reference, 0 to 1 (ROUGE-L).

    The longest common subsequence is the longest run of words that both texts have in the same
    order, with any others between. Its share of the answer is the precision, its share of the
    reference the recall, and the score is their harmonic mean (F1). Of several references the
    closest counts.

    It sees which words are there, not what they say: a summary that loses one "not" scores high.

    A word is a run of letters and digits, in lower case: "Don't" is two words, "3.5" as well. For
    English the scores are those of the package rouge-score without its stemmer. That one drops
    every letter outside a to z and reads "Zürich" as "z rich" and Cyrillic as nothing; here such
    letters count. A script without spaces (Chinese, Japanese, Thai) is no use to either: there
    a whole phrase is one word.

    Args:
        answer: What the model said.
        references: What it could have said, at least one.

    Returns:
        The score, 0 to 1: 1 where all words are the same, 0 where none is, or there are none.

    Raises:
        ValueError: There is no reference, or a single text is given in place of a list.

    Example:
        >>> rouge_l("The cat sat.", ["A dog ran off.", "The old cat sat down."])
        0.75

    Taught in: notebooks/07_evaluation.ipynb
    Source: Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries, equations 2 to 4 with
        beta = 1, https://aclanthology.org/W04-1013/
    """
    words = _words(answer)
    return max(
        _f1(_longest_common(words, reference), len(words), len(reference))
        for reference in map(_words, _checked(references))
    )


def rouge_n(answer: str, references: Sequence[str], *, n: int) -> float:
    """Return how many runs of `n` words an answer shares with a reference, 0 to 1 (ROUGE-N).

    The shared share of the answer's runs is the precision, that of the reference's the recall, and
    the score is their harmonic mean (F1). A run that comes twice counts twice only if both texts
    have it twice. Of several references the closest counts. For what a word is, see `rouge_l`.

    Args:
        answer: What the model said.
        references: What it could have said, at least one.
        n: Words in a run, at least 1: 1 is ROUGE-1, 2 is ROUGE-2.

    Returns:
        The score, 0 to 1; 0 where a text has fewer than `n` words.

    Raises:
        ValueError: There is no reference, a single text is given in place of a list, or `n` is
            less than 1.

    Example:
        >>> rouge_n("The cat sat down.", ["The cat lay down."], n=1)
        0.75
        >>> round(rouge_n("The cat sat down.", ["The cat lay down."], n=2), 3)
        0.333

    Source: Lin 2004, ROUGE: A Package for Automatic Evaluation of Summaries, equation 1 as an F1,
        https://aclanthology.org/W04-1013/
    """
    if n < 1:
        raise ValueError(f"n is {n}: give how many words a run has, at least 1")
    runs = _runs(_words(answer), n)
    return max(
        _f1((runs & wanted).total(), runs.total(), wanted.total())
        for wanted in (_runs(_words(reference), n) for reference in _checked(references))
    )


def _checked(references: Sequence[str]) -> Sequence[str]:
    """Return the references, unless they are none or one text: its letters would be references."""
    if isinstance(references, str):
        raise ValueError(f"references is the text {references!r:.60}: give a list, such as [text]")
    if not references:
        raise ValueError("references is empty: give at least one text that the answer could be")
    return references


def _words(text: str) -> list[str]:
    return WORD.findall(unicodedata.normalize("NFC", text).lower())


def _runs(words: Sequence[str], n: int) -> "collections.Counter[tuple[str, ...]]":
    """Return how often each run of `n` words comes."""
    return collections.Counter(zip(*(words[start:] for start in range(n)), strict=False))


def _longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many words the longest common subsequence has."""
    lengths = [0] * (len(second) + 1)  # of the words of `first` so far and the start of `second`
    for word in first:
        before = lengths
        lengths = [0]
        for place, other in enumerate(second):
            longer = before[place] + 1 if word == other else max(before[place + 1], lengths[place])
            lengths.append(longer)
    return lengths[-1]


def _f1(n_shared: int, n_answer: int, n_reference: int) -> float:
    """Return the harmonic mean of the shared share of both; 0 where nothing is shared."""
    return 2 * n_shared / (n_answer + n_reference) if n_shared else 0.0
