"""What is in the texts of a row: characters and marks that a model should not learn to write."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.chat import is_conversation, trained_columns
from onegpu.preflight.calls import unknown_tools
from onegpu.preflight.conversations import Problem
from onegpu.preflight.forms import with_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Texts"]

# Form feeds part the pages of documents, and escapes color logs; U+FFFD is a lost character
CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f\ufeff\ufffd]")
SPECIAL = re.compile(  # what other families of models write around turns
    r"<[|｜][\w▁]+[|｜]>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</s>\s*\Z"
)
ANSWERS = ("assistant", "completion")
WRITTEN = {  # in answers, unless they were asked for it
    "citation-marks": re.compile(
        r"【\d+(?::\d+)?†|cite\W?turn\d+[a-z]+\d|contentReference\[|\[oaicite:"
    ),
    "roles-as-text": re.compile(
        r"\A(?:### ?)?(?:Assistant|ChatGPT|Response):|\n\n(?:User|Human):", re.IGNORECASE
    ),
}
SHAPED = re.compile("[\ufb00-\ufb06\ufb50-\ufd3d\ufe70-\ufefc]")  # fi and fl; Arabic
REVERSED = re.compile(  # forms that only end words, at the beginning of one: Hebrew, Arabic
    "[ךםןףץة](?<![א-תء-ي\"'׳״].)(?=[א-תء-ي])"
)
ENDING = re.compile("(?<=[א-ת])[ךםןףץ](?![א-ת])|(?<=[ء-ي])ة(?![ء-ي])")
N_REVERSED = 3  # times as many as words that end with such a form
SIDE_BY_SIDE = re.compile("[Ͱ-ԯ](?:(?<=[A-Za-zÀ-ɏ].)|(?=[A-Za-zÀ-ɏ]))")
WORD = re.compile(r"[^\W\d_]+")
ALIKE = {  # letters of Cyrillic or Greek that look like Latin ones, and the other way round
    "other": set("аеорсухіјѕАВЕЅІЈКМНОРСТХΑΒΕΖΗΙΚΜΝΟΡΤΥΧο"),
    "latin": set("aceopxyijsABCEHIJKMOPSTXYZN"),
}
# Bytes as cp1252 reads them, and those that it has no character for as Latin-1 does
AS_BYTES = {ord(bytes([b]).decode("cp1252", "ignore") or chr(b)): b for b in range(128, 256)}
CONTINUING = "".join(chr(letter) for letter, byte in AS_BYTES.items() if byte < 0xC0)
MISREAD = re.compile(f"[Â-ô][{CONTINUING}\x80-\x9f]")


class Texts:
    """Checks the texts of one row after another.

    Args:
        tokenizer: Of the model to be trained.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase"):
        self._known = set(tokenizer.added_tokens_encoder)
        self._template = str(tokenizer.chat_template or "")
        ends = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
        self._structural = {t for t in self._known if t in ends or t in self._template}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._normalizer = getattr(backend, "normalizer", None)

    def problems(self, row: Mapping[str, Any]) -> list[Problem]:
        """Return what is wrong with the texts of a row.

        Args:
            row: One that can be turned into tokens.

        Returns:
            Codes and details, each code once.
        """
        found: dict[str, str] = {}
        asked = ""
        are_contents = any(is_conversation(row[column]) for column in trained_columns(row))
        for name, text in _texts(row):
            for code, detail, right in self._of_text(text, is_content=are_contents):
                if name in ANSWERS or not right or not _is_said(right, row):
                    found.setdefault(code, f"{detail} in {name}")
            if name not in ANSWERS:
                asked += text
                continue
            for code, pattern in WRITTEN.items():
                mark = pattern.search(text)
                if mark and not pattern.search(asked):  # if there, it is the subject
                    found.setdefault(code, f"{mark[0].strip()!r} in {name}")
        for name in unknown_tools(row):
            found.setdefault("unknown-tool", name)
        return list(found.items())

    def _of_text(self, text: str, *, is_content: bool) -> Iterator[tuple[str, str, str]]:
        """Yield codes and details, each with the word as it should be, where that is known."""
        control = CONTROL.search(text)
        if control:
            yield "control-characters", f"U+{ord(control[0]):04X}", ""
        for special in SPECIAL.finditer(text):
            token = special[0].rstrip()
            is_html = token == "</s>" and "<s>" in text
            if token in self._structural and is_content:
                yield "template-twice", token, ""
            if token not in self._known and token not in self._template and not is_html:
                yield "foreign-tokens", token, ""
        if text.isascii():
            return
        read = _read_rightly(text)
        if read:
            yield "mojibake", read, read.rpartition(" for ")[2]
            return
        word = _mixed_word(text)
        if word:
            yield "mixed-scripts", word, ""
        shaped = SHAPED.search(text)
        if shaped and SHAPED.search(self._normalized(text)):
            word = next(word for word in text.split() if shaped[0] in word)
            yield "presentation-forms", shaped[0], word
        word = _decomposed_word(text)
        if word and _decomposed_word(self._normalized(text)):
            yield "decomposed", word, word
        word = _reversed_word(text)
        if word:
            yield "letters-reversed", word, word[::-1]

    def _normalized(self, text: str) -> str:
        """Return a text as the tokenizer reads it."""
        return self._normalizer.normalize_str(text) if self._normalizer else text


def _texts(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the texts of a row, each with its column or role."""
    for column in trained_columns(row):
        if is_conversation(row[column]):
            for turn in with_texts(row[column]):
                yield turn["role"], turn["content"]
        else:
            yield column, row[column]


def _is_said(word: str, row: Mapping[str, Any]) -> bool:
    """Return whether an answer of a row has a word, which then was to be repaired."""
    said = "".join(text for name, text in _texts(row) if name in ANSWERS)
    return _letters(word) in _letters(said)


def _letters(text: str) -> str:
    """Return the letters and digits of a text, in one form."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def _read_rightly(text: str) -> str:
    """Return how a text begins to differ, if it was UTF-8 and was read as cp1252."""
    if not MISREAD.search(text):
        return ""
    read = text.translate(AS_BYTES).encode("latin-1", "replace").decode(errors="replace")
    n_gained, new = len(text) - len(read), set(read) - {*text, "\ufffd"}
    if 3 * read.count("\ufffd") > n_gained:
        return ""
    # In capitals, a last letter and a quotation mark may be a letter of another alphabet
    if n_gained < 5 and all("\u0180" <= letter <= "\u0fff" for letter in new):
        return ""
    words = zip(text.split(" "), read.split(" "), strict=True)
    return next((f"{a} for {b}"[:80] for a, b in words if len(b) < len(a)), "")


def _mixed_word(text: str) -> str:
    """Return the first word that mixes letters which look alike, if there is one."""
    if not SIDE_BY_SIDE.search(text):
        return ""
    for word in WORD.findall(text):
        other = {letter for letter in word if "\u0370" <= letter <= "\u052f"}
        latin = set(word) - other
        if not other or not latin:
            continue
        if "".join(latin).isupper() and "".join(other).islower():
            continue  # SMSы: an abbreviation with an ending
        if other <= ALIKE["other"] or (len(other) > 2 and latin <= ALIKE["latin"]):
            return word
    return ""


def _decomposed_word(text: str) -> str:
    """Return the first word with a letter and a mark that one character could be."""
    if unicodedata.is_normalized("NFC", text):
        return ""
    words = (word for word in text.split() if len(unicodedata.normalize("NFC", word)) < len(word))
    return next(words, "")


def _reversed_word(text: str) -> str:
    """Return the first word whose last letter is its first, if a text has more such than others."""
    first = REVERSED.search(text)
    if not first or len(REVERSED.findall(text)) <= N_REVERSED * len(ENDING.findall(text)):
        return ""
    return text[first.start() :].split()[0]
