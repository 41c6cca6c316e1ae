"""What is wrong with a row that was made from a document.

Each function takes a row and its document, and returns what it found; nothing where nothing is.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from onegpu.making.chunking import NO_SPACES
from onegpu.making.documents import Document
from onegpu.making.writing import answer_of, question_of

__all__ = ["REASONS", "not_answerable", "not_grounded", "refusal"]

REASONS = {
    "unreadable": "the document could not be read",
    "no-text": "the document has no text",
    "writer-failed": "the writer raised an error, or what it wrote is no row",
    "no-answer": "the model did not answer, twice",
    "bad-answer": "the model's answer was no question with an answer, twice",
    "too-short": "the answer has fewer words than asked for, or no letter and no digit",
    "too-long": "the answer has more words than allowed",
    "refusal": "the answer refuses to answer, as a chat model does",
    "not-answerable": "the question is empty, is about something else, or points at a text unseen",
    "not-grounded": "numbers or words of the answer are not in the passage that it quotes",
    "personal-data": "an e-mail address, phone number, card number or IBAN",
    "duplicate": "the same question and answer have been there before",
    "in-test-set": "the test rows have this question, or nearly this row",
    "near-duplicate": "nearly the same question and answer have been there before",
}
SHARE = 0.3  # of an answer's words that need not be in its passage
LETTERS = re.compile(r"[^\W\d_]+")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
ONES = (
    "zero _ two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety hundred"
COUNTED = {word: str(n) for n, word in enumerate(ONES.split())}  # "one" is more often no number
COUNTED |= {word: str(10 * n) for n, word in enumerate(TENS.split())}
COMMON_WORDS = """
about after also answer because been before being both could does each else from have here however
into just know like make many more most much must need only other over please question said same
says should show some such tell than that their them then there these they this those very want were
what when where which while will with would your
"""
COMMON = set(COMMON_WORDS.split())
THING = r"(?:text|passage|paragraph|excerpt|document|article|section|context|figure|table)"
POINTS = re.compile(
    rf"\b{THING} (?:above|below)\b|\b(?:above|following|given|provided) {THING}\b"
    rf"|\baccording to (?:the|this) {THING}\b|\bthis (?:text|passage|paragraph|excerpt)\b"
    rf"|\bin the (?:text|passage|paragraph|excerpt)\b"
    r"|\b(?:mentioned|described|shown|listed) above\b",
    re.IGNORECASE,
)
CANNOT = r"(?:can(?:no|['’])t|can not|won['’]t|(?:am |['’]m )(?:not able|unable) to)"
HELP = "(?:help|assist|answer|provide|fulfill|comply|create|generate|discuss|respond)"
AM, MODEL = r"I(?:['’]| a)m", r"an? (?:ai\b|(?:large )?language model)"
REFUSES = re.compile(
    rf"\bas {MODEL}|\b{AM} (?:just |only )?{MODEL}"
    rf"|^\W*{AM} (?:very )?sorry,? but I ?{CANNOT}|^\W*(?:(?:{AM} )?sorry, )?I ?{CANNOT} {HELP}"
    r"|\bI (?:do not|don['’]t) have (?:enough information|access to|personal|real-time)"
    r"|^\W*the (?:text|passage|context) does(?: not|n['’]t) (?:mention|say|provide|contain|state)",
    re.IGNORECASE,
)


def refusal(row: Mapping[str, Any], document: Document) -> str:
    """Return the refusal in an answer, such as `As an AI`; what a person says at work is none.

    Args:
        row: Of a writer.
        document: What it is about; not looked at.

    Returns:
        What was found, nothing where nothing was.
    """
    found = REFUSES.search(answer_of(row))
    return found[0].strip() if found else ""


def not_answerable(row: Mapping[str, Any], document: Document) -> str:
    """Return why a question cannot be answered by itself, or not from its passage.

    Args:
        row: Of a writer.
        document: What it is about. Its title may be asked about, too.

    Returns:
        What was found, nothing where nothing was.
    """
    question = question_of(row)
    if not any(letter.isalnum() for letter in question):
        return "the question is empty"
    if found := POINTS.search(question):
        return f"whoever asks does not see it: {found[0]!r}"
    asked = _stems(question)
    title = next((section.headings[0] for section in document.sections if section.headings), "")
    if asked and not asked.keys() & _stems(f"{title}\n{row['quote']}").keys():
        return f"the passage has none of: {', '.join(asked.values())}"
    return ""


def not_grounded(row: Mapping[str, Any], document: Document) -> str:
    """Return what an answer says that its passage does not.

    Every number must be in the passage, and 70 % of the words that have four letters or more and
    are not common English, by their first five letters. So an invented figure is found; an added
    "not", or two names that changed places, are not. Words of scripts without spaces are not looked
    at.

    Args:
        row: Of a writer.
        document: What the quote must be in.

    Returns:
        What was found, nothing where nothing was.
    """
    answer, quote = answer_of(row), row["quote"]
    if " ".join(quote.split()) not in " ".join(document.text.split()):
        return "the quote is not in the document"
    known = _numbers(quote)
    if invented := [number for number in _numbers(answer) if number not in known]:
        return f"numbers not in the passage: {', '.join(invented)}"
    said, there = _stems(answer), _stems(quote)
    absent = [word for stem, word in said.items() if stem not in there]
    if len(absent) > SHARE * len(said):
        return f"words not in the passage: {', '.join(absent)}"
    return ""


def _stems(text: str) -> dict[str, str]:
    """Return the words that carry meaning, by what stands for their forms."""
    words = LETTERS.findall(unicodedata.normalize("NFKC", text).casefold())
    return {
        word[:5]: word
        for word in words
        if len(word) > 3 and word not in COMMON and not re.search(f"[{NO_SPACES}]", word)
    }


def _numbers(text: str) -> dict[str, None]:
    """Return the numbers in a text, in digits or words, in one form each and in order."""
    found = [_plain(number) for number in NUMBER.findall(text)]
    words = (COUNTED.get(word) for word in LETTERS.findall(text.casefold()))
    return dict.fromkeys([*found, *filter(None, words)])


def _plain(number: str) -> str:
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+", number):
        number = number.replace(",", "")
    number = number.replace(",", ".")
    if number.count(".") == 1:
        number = number.rstrip("0").rstrip(".")
    return number.lstrip("0") or "0"
