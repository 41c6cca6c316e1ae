"""What is wrong with the tokens and labels of a row, and with all rows together."""

import array
import collections
import functools
import hashlib
import heapq
import sqlite3
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onegpu.chat import IGNORED, end_ids, template
from onegpu.preflight.findings import Tally

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Seen", "Sequences"]

N_TAIL = 4  # an end token is among the last tokens; templates write a line break after it
N_KEPT = 1000  # places that are kept until it is known which rows stand out
N_LETTERS = 200  # of a row that decide its script
FEW, MANY = 0.02, 0.9  # a script of few rows beside a script of many
TIMES = 20  # as long as the median


class Seen:
    """Which rows and prompts there have been, on disk, so that memory stays constant."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file, gone when closed
        self._database.execute("PRAGMA synchronous = OFF")
        for table in ("rows", "prompts"):
            self._database.execute(f"CREATE TABLE {table} (key INTEGER PRIMARY KEY, place TEXT)")

    def close(self) -> None:
        """Delete everything."""
        self._database.close()

    def add(self, table: str, ids: Sequence[int], place: str) -> str | None:
        """Keep a sequence, and return the place where it has been before, if it has."""
        values = (self._key(ids), place)
        cursor = self._database.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", values)
        return None if cursor.rowcount else self.find(table, ids)

    def find(self, table: str, ids: Sequence[int]) -> str | None:
        """Return the place where a sequence has been, if it has."""
        query = f"SELECT place FROM {table} WHERE key = ?"
        found = self._database.execute(query, (self._key(ids),)).fetchone()
        return found[0] if found else None

    @staticmethod
    def _key(ids: Sequence[int]) -> int:
        digest = hashlib.blake2b(array.array("q", ids).tobytes(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)


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
        self._max_length, self._is_evaluation = max_length, is_evaluation
        self._template = template(tokenizer)
        self._ends = end_ids(tokenizer)
        self._opener = self._first_special(self._template.answer) if self._template else None
        self.max_id = -1
        self.special_ids: set[int] = set()
        self._added = set(tokenizer.added_tokens_decoder)
        self._lengths: collections.Counter[int] = collections.Counter()
        self._longest: list[tuple[int, str]] = []
        self._scripts: dict[str, list[str]] = {}
        self._n_scripts: collections.Counter[str] = collections.Counter()

    def _first_special(self, text: str) -> int | None:
        """Return the first special token of a text that does not end a turn."""
        special = set(self._tokenizer.added_tokens_decoder) - self._ends
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return next((token_id for token_id in ids if token_id in special), None)

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
        self._check_script(learned, place)
        self._check_repetition(ids, labels, place)

    def _check_length(self, ids: Sequence[int], place: str) -> None:
        self._lengths[len(ids)] += 1
        if len(self._longest) < N_KEPT:
            heapq.heappush(self._longest, (len(ids), place))
        elif len(ids) > self._longest[0][0]:  # longer than the shortest that is kept
            heapq.heapreplace(self._longest, (len(ids), place))

    def _check_format(
        self, ids: Sequence[int], labels: Sequence[int], place: str, *, all_learned: bool
    ) -> None:
        """Check for a template, for what is learned of it, and for an end."""
        text, in_format = self._tokenizer.decode(ids), True
        if self._template is not None:
            in_format = "".join(self._template.answer.split()) in "".join(text.split())
            if in_format and all_learned:
                self._tally.add("prompt-learned", place)
        tail = list(zip(ids, labels, strict=True))[-N_TAIL:]
        ended = any(token_id in self._ends and label != IGNORED for token_id, label in tail)
        if self._max_length and len(ids) >= self._max_length and not (ended and in_format):
            self._tally.add("completion-cut", place, f"ends with {text[-20:]!r}")
            return
        if not in_format:
            self._tally.add("template-not-applied", place, f"begins with {text[:20]!r}")
        if not ended:
            self._tally.add("eos-not-learned", place, f"ends with {text[-20:]!r}")

    def _check_nesting(self, ids: Sequence[int], place: str) -> None:
        """Check for a turn that is opened while another is."""
        is_open = False
        for token_id in ids:
            if token_id in self._ends:
                is_open = False
            elif token_id == self._opener:
                if is_open:
                    self._tally.add("template-twice", place)
                    return
                is_open = True

    def _check_script(self, learned: list[int], place: str) -> None:
        script = _script(self._tokenizer.decode(learned[:N_LETTERS]))
        self._n_scripts[script] += 1
        places = self._scripts.setdefault(script, [])
        if len(places) < N_KEPT:
            places.append(place)

    def _check_repetition(self, ids: Sequence[int], labels: Sequence[int], place: str) -> None:
        masked = [i for i, label in zip(ids, labels, strict=True) if label == IGNORED]
        prompt = masked or ids  # where all is learned, the whole row is compared
        if self._is_evaluation:
            if before := self._seen.find("prompts", prompt):
                self._tally.add("train-test-overlap", place, f"as training {before}")
            return
        self._seen.add("prompts", prompt, place)
        if before := self._seen.add("rows", ids, place):
            self._tally.add("duplicate-rows", place, f"as {before}")

    def finish(self) -> None:
        """Add what only all rows together show."""
        n_rows = self._lengths.total()
        if n_rows < 20:
            return
        median = self._median_length()
        for length, place in sorted(self._longest, reverse=True):
            if length > TIMES * median:
                self._tally.add("length-outlier", place, f"{length:,} tokens, median {median:,}")
        script, count = self._n_scripts.most_common(1)[0]
        if count < MANY * n_rows:
            return
        for other, few in self._n_scripts.items():
            if other not in (script, "") and few <= max(1, FEW * n_rows):
                for place in self._scripts[other]:
                    self._tally.add(
                        "script-outlier", place, f"{other.lower()} beside {script.lower()}"
                    )

    def _median_length(self) -> int:
        """Return the length that half of all sequences do not exceed."""
        n_passed = 0
        for length in sorted(self._lengths):
            n_passed += self._lengths[length]
            if 2 * n_passed >= self._lengths.total():
                return length
        return 0


def _script(text: str) -> str:
    """Return the script of most letters of a text, as Unicode names it, such as `LATIN`."""
    counts = collections.Counter(_script_of(character) for character in text[:N_LETTERS])
    del counts[""]
    return counts.most_common(1)[0][0] if counts else ""


@functools.cache
def _script_of(character: str) -> str:
    """Return the script of a letter, and nothing for what is no letter."""
    return unicodedata.name(character, "").split(" ")[0] if character.isalpha() else ""
