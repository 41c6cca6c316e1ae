"""The check of rows, before any model is loaded."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu import progress
from onegpu.chat import IGNORED, encode, is_conversation, trained_columns, with_answer_marks
from onegpu.preflight import conversations, fidelity
from onegpu.preflight.findings import Findings, Tally
from onegpu.preflight.preferences import Encoded, Preferences, answers
from onegpu.preflight.seen import Seen
from onegpu.preflight.sequences import Sequences
from onegpu.rows import Row, scan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["check_data"]


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
            and `completion`, with `text`, or with `chosen` and `rejected`.
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
            check_row = _RowCheck(tokenizer, tally, sequences, max_length, assistant_only, unmarked)
            for place, row in _scanned(source, name):
                check_row(place, row)
            if tally.n_rows == 0:
                named = source if isinstance(source, str | Path) else name
                raise ValueError(f"{named} holds no rows, so there is nothing to check")
            check_row.finish()
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
        max_length: int | None,
        assistant_only: bool,
        unmarked: str,
    ):
        self.tokenizer, self.tally, self.sequences = tokenizer, tally, sequences
        self.max_length, self.assistant_only = max_length, assistant_only
        self.unmarked = unmarked  # why the template has no marks of answers, where it has none
        self.preferences = Preferences(tally, sequences)
        self.columns: set[str] | None = None

    def finish(self) -> None:
        """Add what only all rows together show."""
        self.sequences.finish()
        self.preferences.finish()

    def __call__(self, place: str, row: Row) -> None:
        self.tally.n_rows += 1
        if row.problem:
            self.tally.add("unreadable", place, row.problem)
            return
        columns = set(row.value)
        self.columns = self.columns or columns
        if columns != self.columns:
            self.tally.add("mixed-columns", place, ", ".join(row.value))
        value = conversations.as_trl_reads(row.value)
        encoded = []
        for part, answer in answers(value):
            encoded += self._check_answer(place + part, answer)
        self.preferences.check(value, encoded, place=place)

    def _check_answer(self, place: str, row: Mapping[str, Any]) -> list[Encoded]:
        found = fidelity.problems(self.tokenizer, row)
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
        if self.max_length and len(ids) > self.max_length:
            is_dropped = all(label == IGNORED for label in labels[: self.max_length])
            code = "rows-dropped" if is_dropped else self.sequences.cut_code(ids, labels)
            self.tally.add(code, place, f"{len(ids):,} tokens")
        self.sequences.check(ids, labels, place=place, in_turns=in_turns)
        return [(ids, labels)]
