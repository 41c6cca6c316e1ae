"""The check of rows, before any model is loaded."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu import progress
from onegpu.chat import (
    IGNORED,
    encode,
    is_conversation,
    n_common,
    trained_columns,
    with_answer_marks,
)
from onegpu.preflight import conversations, fidelity, tokenized
from onegpu.preflight.answers import Answers
from onegpu.preflight.cells import Cells, is_table
from onegpu.preflight.findings import Findings, Tally
from onegpu.preflight.overlap import Overlap
from onegpu.preflight.preferences import Encoded, Preferences, answers
from onegpu.preflight.seen import Seen
from onegpu.preflight.sequences import Sequences
from onegpu.preflight.texts import Texts
from onegpu.rows import Row, scan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["check_data"]

FEW = 0.02  # of the rows: prompts that merge with their answers, too few for a habit


def check_data(
    rows: str | Path | Iterable[Mapping[str, Any]],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    evaluation: str | Path | Iterable[Mapping[str, Any]] | None = None,
    max_length: int | None = 1024,
    assistant_only: bool = False,
) -> Findings:
    """Find what is wrong with your own rows, before any model is loaded.

    Rows are read one at a time, in constant memory. Each is turned into tokens and labels as
    `trl.SFTTrainer` does it; with `chosen` and `rejected` each answer, as `trl.DPOTrainer` does it,
    and with a `label` that is true or false, as `trl.KTOTrainer` does it.

    Args:
        rows: A file that `rows.scan` reads, or rows: dictionaries with `messages`, with `prompt`
            and `completion`, with `text`, with `chosen` and `rejected`, or with `input_ids`.
        tokenizer: That of the model to be trained.
        evaluation: The rows to evaluate on, which must not be among those to train on.
        max_length: As in `SFTConfig`: where rows will be cut; None for nowhere.
        assistant_only: As `assistant_only_loss` in `SFTConfig`.

    Returns:
        What was found, errors first; empty where nothing was.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file of another kind, or one without rows.

    Taught in: notebooks/04_formatting.ipynb
    """
    found, unmarked = Findings(), ""
    if assistant_only and tokenizer.chat_template is not None:
        try:
            tokenizer = with_answer_marks(tokenizer)
        except ValueError:
            unmarked = "the chat template marks no answers, and trl has no version that does"
    with contextlib.closing(Seen()) as seen:
        for name, source in (("rows", rows), ("evaluation", evaluation)):
            if source is None:
                continue
            tally = Tally()
            sequences = Sequences(
                tokenizer, tally, max_length=None, seen=seen, is_evaluation=name == "evaluation"
            )
            together = Answers(tally, seen, tokenizer)
            check_row = _RowCheck(
                tokenizer, tally, sequences, together, max_length, assistant_only, unmarked
            )
            cells = Cells(tally)
            if evaluation is not None:
                check_row.overlap = Overlap(tally, seen, is_evaluation=name == "evaluation")
            for place, row in _scanned(source, name):
                check_row(place, row)
                if is_table(source) and not row.problem:
                    cells.check(row.value, place=place)
            if tally.n_rows == 0:
                named = source if isinstance(source, str | Path) else name
                raise ValueError(f"{named} holds no rows, so there is nothing to check")
            check_row.finish()
            cells.finish()
            found = found.joined(tally.findings())
    return found


def _scanned(source: Any, name: str) -> Iterator[tuple[str, Row]]:
    if isinstance(source, str | Path):
        what = f"checking {Path(source).name}"
        for row in progress.bar(scan(source), what=what, unit="row"):
            yield f"{Path(source).name}, {row.place}", row
        return
    for number, value in enumerate(source):
        yield f"{name}[{number}]", Row(number, value)


class _RowCheck:
    """Checks one row after another: as it is written, and as the tokens it becomes."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        tally: Tally,
        sequences: Sequences,
        together: Answers,
        max_length: int | None,
        assistant_only: bool,
        unmarked: str,
    ):
        self.tokenizer, self.tally, self.sequences = tokenizer, tally, sequences
        self.together = together
        self.max_length, self.assistant_only = max_length, assistant_only
        self.unmarked = unmarked  # why the template has no marks of answers, where it has none
        self.preferences, self.texts = Preferences(tally, sequences), Texts(tokenizer)
        self.columns: set[str] | None = None
        self.overlap: Overlap | None = None
        self.n_merged = 0

    def finish(self) -> None:
        """Add what only all rows together show, and take back what they excuse."""
        if self.n_merged < FEW * self.tally.n_rows:
            self.tally.withdraw("prompt-merges")
        self.sequences.finish()
        self.preferences.finish()
        self.together.finish()

    def __call__(self, place: str, row: Row) -> None:
        self.tally.n_rows += 1
        if row.problem:
            self.tally.add("unreadable", place, row.problem)
            return
        if row.differs:
            self.tally.add("reads-differently", place, row.differs)
        columns = set(row.value)
        self.columns = self.columns or columns
        if columns != self.columns:
            self.tally.add("mixed-columns", place, ", ".join(row.value))
        value = conversations.as_trl_reads(row.value)
        encoded = []
        if "input_ids" in value:
            encoded = self._check_tokenized(place, value)
        else:
            for part, answer in answers(value):
                encoded += self._check_answer(place + part, answer)
            self._check_converted(place, row.value, encoded)
            rest = _merged(self.tokenizer, value, encoded)
            if rest:
                self.n_merged += 1
                self.tally.add("prompt-merges", place, repr(rest))
        self.preferences.check(value, encoded, place=place)
        is_answer = len(encoded) == 1 and "input_ids" not in value
        if is_answer and not self.preferences.are_labeled and trained_columns(value):
            self.together.check(value, place=place)
            if self.overlap:
                self.overlap.check(value, place=place)

    def _check_converted(self, place: str, row: Mapping[str, Any], encoded: list[Encoded]) -> None:
        """Check the texts of a row of which nothing is learned as long as it stays as it is."""
        found = None if encoded or "label" in row else conversations.converted(row)
        if found is None:
            return
        for code, detail in self.texts.problems(found):
            self.tally.add(code, place, detail)
        self.together.check(found, place=place)

    def _check_answer(self, place: str, row: Mapping[str, Any]) -> list[Encoded]:
        found = fidelity.problems(self.tokenizer, row)
        if conversations.is_encodable(found):
            found += self.texts.problems(row)
        for code, detail in found:
            self.tally.add(code, place, detail)
        if not conversations.is_encodable(found):
            return []
        return self._check_tokens(place, row, in_turns=conversations.is_in_turns(found))

    def _check_tokens(self, place: str, row: Mapping[str, Any], *, in_turns: bool) -> list[Encoded]:
        """Check the tokens of one answer, and return them with their labels, if it has any."""
        has_messages = is_conversation(row[trained_columns(row)[0]])
        if has_messages and self.tokenizer.chat_template is None:
            self.tally.add("no-template", place)
            return []
        if self.assistant_only and (self.unmarked or not has_messages):
            why = self.unmarked if has_messages else "text, not messages"
            self.tally.add("no-answer-mask", place, why)
            return []
        try:
            tokens = encode(self.tokenizer, row, assistant_only=self.assistant_only)
        except ValueError as error:
            if in_turns:  # if not, that is why, and has been reported
                self.tally.add("template-refuses", place, str(error.__cause__ or error)[:80])
            return []
        ids, labels = tokens["input_ids"], tokens["labels"]
        self._check_ids(place, ids, labels, in_turns=in_turns)
        return [(ids, labels)]

    def _check_tokenized(self, place: str, row: Mapping[str, Any]) -> list[Encoded]:
        """Check a row of token ids, and return them with their labels."""
        problem = tokenized.problem(row, len(self.tokenizer))
        if problem:
            self.tally.add(problem[0], place, problem[1])
            return []
        ids, labels = row["input_ids"], tokenized.labels(row)
        self._check_ids(place, ids, labels, in_turns=True)
        return [(ids, labels)]

    def _check_ids(
        self, place: str, ids: Sequence[int], labels: Sequence[int], *, in_turns: bool
    ) -> None:
        if self.max_length and len(ids) > self.max_length:
            is_dropped = all(label == IGNORED for label in labels[: self.max_length])
            code = "rows-dropped" if is_dropped else self.sequences.cut_code(ids, labels)
            self.tally.add(code, place, f"{len(ids):,} tokens")
        self.sequences.check(ids, labels, place=place, in_turns=in_turns)


def _merged(
    tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any], encoded: Sequence[Encoded]
) -> str:
    """Return the end of a text prompt that becomes one token with the beginning of an answer."""
    prompt = row.get("prompt")
    parts = [row[name] for name in ("completion", "chosen", "rejected") if name in row]
    is_trained = trained_columns(row) in ((), ("prompt", "completion"))
    are_texts = all(isinstance(text, str) for text in (prompt, *parts))
    if not encoded or not is_trained or not are_texts:
        return ""
    if all(part.startswith(" ") for part in parts) and not prompt[-1:].isspace():
        return ""  # no token has a space in it after something else
    alone = tokenizer(prompt)["input_ids"]
    n_prompt = min(n_common(alone, ids) for ids, _ in encoded)
    return tokenizer.decode(alone[n_prompt:])
