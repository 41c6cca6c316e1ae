"""What is wrong with the tokens and labels of a row, and with all rows together."""

import collections
import functools
import heapq
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onegpu.chat import IGNORED, end_ids, template
from onegpu.preflight.findings import Tally
from onegpu.preflight.seen import Seen

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["N_TAIL", "Sequences"]

N_TAIL = 4  # an end token is among the last tokens; templates write a line break after it
N_KEPT = 1000  # places that are kept until it is known which rows stand out
N_LETTERS = 200  # of a row that decide its script
FEW, MANY = 0.02, 0.9  # a script of few rows beside a script of many
TIMES = 20  # as long as the median
SCRIPTS = {  # by the first words of Unicode's names
    **dict.fromkeys(("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"), "JAPANESE"),
    **dict.fromkeys(("CJK", "IDEOGRAPHIC", "BOPOMOFO"), "CHINESE"),
    "HANGUL": "KOREAN",
}
WITH_HAN = ("JAPANESE", "KOREAN")  # and with Chinese characters, even with nothing else


class Sequences:
    """Checks one sequence after another, and adds what is wrong to a tally.

    Args:
        tokenizer: The one that made the tokens.
        tally: Where findings go.
        max_length: Where the trainer cuts; None where it does not.
        seen: Rows and prompts of the training data.
        is_evaluation: Whether these are the rows of the evaluation.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        tally: Tally,
        *,
        max_length: int | None,
        seen: Seen,
        is_evaluation: bool = False,
    ):
        self._tokenizer, self._tally, self._seen = tokenizer, tally, seen
        self._max_length, self.is_evaluation = max_length, is_evaluation
        self._template = template(tokenizer)
        self._ends = end_ids(tokenizer)
        self._opener, self._closers = self._turn_marks()
        self.max_id = -1
        self.n_until_new = 0  # rows up to the last one that had not been there before
        self.special_ids: set[int] = set()
        self._added = set(tokenizer.added_tokens_decoder)
        self._lengths: collections.Counter[int] = collections.Counter()
        self._longest: list[tuple[int, int, str]] = []  # length, row, place
        self._scripts: dict[str, list[tuple[int, str]]] = {}
        self._n_scripts: collections.Counter[str] = collections.Counter()

    @property
    def are_in_turns(self) -> bool:
        """Whether a turn was opened in what was measured, as far as a token tells."""
        return self._opener is None or self._opener in self.special_ids

    def _turn_marks(self) -> tuple[int | None, set[int]]:
        """Return the special token that opens a turn, and those that may end one."""
        if self._template is None:
            return None, self._ends
        start, answer = map(self._specials, (self._template.start, self._template.answer))
        # A user's turn may have an end of its own, which comes before what opens the answer's
        opener = next((i for i in (*start, *answer) if i in answer), None)
        n_before = answer.index(opener) if opener is not None else 0
        return opener, self._ends | set(answer[:n_before])

    def _specials(self, text: str) -> list[int]:
        """Return the special tokens of a text that end no answer."""
        special = set(self._tokenizer.added_tokens_decoder) - self._ends
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return [token_id for token_id in ids if token_id in special]

    def measure(self, ids: Sequence[int]) -> None:
        """Keep the highest token and the added ones of a sequence, whatever its kind."""
        self.max_id = max(self.max_id, max(ids, default=-1))
        self.special_ids |= self._added.intersection(ids)

    def check(
        self, ids: Sequence[int], labels: Sequence[int], *, place: str, in_turns: bool = True
    ) -> None:
        """Check one sequence: as many labels as token ids; `in_turns` if its roles are right."""
        learned = [i for i, label in zip(ids, labels, strict=True) if label != IGNORED]
        self.measure(ids)
        self._check_length(ids, place)
        if not learned:
            self._tally.add("nothing-learned", place)
            return
        has_double_bos = list(ids[:2]) == [self._tokenizer.bos_token_id] * 2
        if has_double_bos:
            self._tally.add("double-bos", place)
        if in_turns:
            self._check_format(ids, labels, place, all_learned=len(learned) == len(ids))
        self._check_nesting(ids[1:] if has_double_bos else ids, place)
        asked = [i for i, label in zip(ids, labels, strict=True) if label == IGNORED]
        self._check_script(asked, learned, place)

    def _check_length(self, ids: Sequence[int], place: str) -> None:
        self._lengths[len(ids)] += 1
        entry = (len(ids), self._tally.n_rows, place)
        if len(self._longest) < N_KEPT:
            heapq.heappush(self._longest, entry)
        elif len(ids) > self._longest[0][0]:  # longer than the shortest that is kept
            heapq.heapreplace(self._longest, entry)

    def _check_format(
        self, ids: Sequence[int], labels: Sequence[int], place: str, *, all_learned: bool
    ) -> None:
        """Check for a template, for what is learned of it, and for an end."""
        text, in_format = self._tokenizer.decode(ids), True
        if self._template is not None:
            in_format = "".join(self._template.opening.split()) in "".join(text.split())
            if in_format and all_learned:
                self._tally.add("prompt-learned", place)
        tail = list(zip(ids, labels, strict=True))[-N_TAIL:]
        ended = any(token_id in self._ends and label != IGNORED for token_id, label in tail)
        if self._max_length and len(ids) >= self._max_length and not (ended and in_format):
            self._tally.add(self.cut_code(ids, labels), place, f"ends with {text[-20:]!r}")
            return
        if not in_format:
            self._tally.add("template-not-applied", place, f"begins with {text[:20]!r}")
        if not ended:
            self._tally.add("eos-not-learned", place, f"ends with {text[-20:]!r}")

    def cut_code(self, ids: Sequence[int], labels: Sequence[int]) -> str:
        """Return the code of a sequence that `max_length` cut: it has an answer, or is a text."""
        if any(label == IGNORED for label in labels):
            return "completion-cut"
        start = self._template.start.strip() if self._template else ""
        n = 8  # characters, of which no text has the first ones of a template by chance
        is_text = not start or not self._tokenizer.decode(ids[:n]).lstrip().startswith(start[:n])
        return "document-cut" if is_text else "completion-cut"

    def _check_nesting(self, ids: Sequence[int], place: str) -> None:
        """Check for a turn that is opened while another is."""
        is_open = False
        for token_id in ids:
            if token_id in self._closers:
                is_open = False
            elif token_id == self._opener:
                if is_open:
                    self._tally.add("template-twice", place)
                    return
                is_open = True

    def _check_script(self, asked: list[int], learned: list[int], place: str) -> None:
        text = self._tokenizer.decode(learned[:N_LETTERS], skip_special_tokens=True)
        script = _script(text)
        self._n_scripts[script] += 1
        places = self._scripts.setdefault(script, [])
        if len(places) < N_KEPT and not self._is_asked(script, asked):
            places.append((self._tally.n_rows, place))

    def _is_asked(self, script: str, asked: list[int]) -> bool:
        """Return whether a prompt is in a script, too, which is not that of most templates."""
        if script in ("LATIN", ""):
            return False
        return script in map(_script_of, self._tokenizer.decode(asked[-N_LETTERS:]))

    def check_repetition(
        self, prompt: Sequence[int], row: Sequence[int], *, place: str, opposite: Sequence[int] = ()
    ) -> None:
        """Check whether a row has been there before.

        Args:
            prompt: Its tokens that are not learned; all where all are.
            row: All its tokens.
            place: Where it is.
            opposite: The row that says the opposite, if it says something that has one.
        """
        if self.is_evaluation:
            if before := self._seen.row(row) or self._seen.question(prompt):
                self._tally.add("train-test-overlap", place, f"as training {before}")
            return
        self._seen.add_prompt(prompt, place)
        if before := self._seen.add_row(row, place):
            self._tally.add("duplicate-rows", place, f"as {before}")
            return
        self.n_until_new = self._tally.n_rows
        if opposite and (before := self._seen.row(opposite)):
            self._tally.add("answers-contradict", place, f"unlike {before}")

    def finish(self) -> None:
        """Add what only all rows together show."""
        n_rows = self._lengths.total()
        if n_rows < 20:
            return
        median, details = self._median_length(), {}
        for length, row, place in sorted(self._longest, reverse=True):
            if length > TIMES * median:
                details.setdefault(row, (place, f"{length:,} tokens, median {median:,}"))
        for row, (place, detail) in details.items():
            self._tally.add("length-outlier", place, detail, row=row)
        script, count = self._most_common_script()
        if count < MANY * n_rows:
            return
        for other, few in self._n_scripts.items():
            if other not in (script, "") and few <= max(1, FEW * n_rows):
                for row, place in self._scripts[other]:
                    detail = f"{other.lower()} beside {script.lower()}"
                    self._tally.add("script-outlier", place, detail, row=row)

    def _most_common_script(self) -> tuple[str, int]:
        """Return the script of most sequences and their number, those in Han alone among them."""
        for script in WITH_HAN:
            if self._n_scripts[script] > self._n_scripts["CHINESE"]:
                self._n_scripts[script] += self._n_scripts.pop("CHINESE", 0)
        return next(iter(self._n_scripts.most_common(1)), ("", 0))

    def _median_length(self) -> int:
        """Return the length that half of all sequences do not exceed."""
        n_passed = 0
        for length in sorted(self._lengths):
            n_passed += self._lengths[length]
            if 2 * n_passed >= self._lengths.total():
                return length
        return 0


def _script(text: str) -> str:
    """Return the script of most letters of a text, such as `LATIN`; what is written with Han too.

    A tenth of Japanese or Korean letters is enough: no other text has as many.
    """
    counts = collections.Counter(_script_of(character) for character in text[:N_LETTERS])
    del counts[""]
    for script in WITH_HAN:
        if counts["CHINESE"] <= 9 * counts[script]:
            counts[script] += counts.pop("CHINESE", 0)
    script, count = counts.most_common(1)[0] if counts else ("", 0)
    return script if count else ""


@functools.cache
def _script_of(character: str) -> str:
    """Return the script of a letter, and nothing for what is no letter."""
    if not character.isalpha():
        return ""
    plain = unicodedata.normalize("NFKC", character)[:1]  # of wide, narrow and bold letters
    script = unicodedata.name(plain, "").split(" ")[0]
    return SCRIPTS.get(script, script)
