"""The check of rows, before any model is loaded."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu import progress
from onegpu.chat import IGNORED, encode, is_conversation, trained_columns
from onegpu.preflight import conversations
from onegpu.preflight.findings import Findings, Tally
from onegpu.preflight.sequences import Seen, Sequences
from onegpu.rows import Row, from_sharegpt, scan

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
    `trl.SFTTrainer` does it.

    Args:
        rows: A file that `rows.scan` reads, or rows: dictionaries with `messages`, with `prompt`
            and `completion`, with `text`, or with `conversations` as ShareGPT writes them.
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
    found = Findings()
    with contextlib.closing(Seen()) as seen:
        for name, source in (("rows", rows), ("evaluation", evaluation)):
            if source is None:
                continue
            tally = Tally()
            sequences = Sequences(
                tokenizer, tally, max_length=None, seen=seen, is_evaluation=name == "evaluation"
            )
            check_row = _RowCheck(tokenizer, tally, sequences, max_length, assistant_only)
            for place, row in _scanned(source, name):
                check_row(place, row)
            if tally.n_rows == 0:
                named = source if isinstance(source, str | Path) else name
                raise ValueError(f"{named} holds no rows, so there is nothing to check")
            sequences.finish()
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
    ):
        self.tokenizer, self.tally, self.sequences = tokenizer, tally, sequences
        self.max_length, self.assistant_only = max_length, assistant_only
        self.columns: set[str] | None = None

    def __call__(self, place: str, row: Row) -> None:
        self.tally.n_rows += 1
        if row.problem:
            self.tally.add("unreadable", place, row.problem)
            return
        columns = set(row.value)
        self.columns = self.columns or columns
        if columns != self.columns:
            self.tally.add("mixed-columns", place, ", ".join(row.value))
        value = row.value
        if "conversations" in value:
            with contextlib.suppress(ValueError, TypeError):
                value = from_sharegpt(value)
        found = conversations.problems(value)
        for code, detail in found:
            self.tally.add(code, place, detail)
        if conversations.is_encodable(found):
            self._check_tokens(place, value, is_clean=not found)

    def _check_tokens(self, place: str, row: Mapping[str, Any], *, is_clean: bool) -> None:
        from jinja2 import TemplateError

        has_messages = is_conversation(row[trained_columns(row)[0]])
        if has_messages and self.tokenizer.chat_template is None:
            self.tally.add("no-template", place)
            return
        if self.assistant_only and not has_messages:
            self.tally.add("nothing-learned", place, "assistant_only needs messages")
            return
        try:
            tokens = encode(self.tokenizer, row, assistant_only=self.assistant_only)
            differs = is_clean and conversations.prompt_differs(self.tokenizer, row)
        # TypeError and ValueError: of tools and chat_template_kwargs that are none
        except (TemplateError, TypeError, ValueError) as error:
            self.tally.add("template-refuses", place, str(error)[:80])
            return
        if differs:
            self.tally.add("prompt-differs", place)
        if self.max_length and len(tokens["input_ids"]) > self.max_length:
            kept = tokens["labels"][: self.max_length]
            code = "completion-cut" if any(k != IGNORED for k in kept) else "rows-dropped"
            self.tally.add(code, place, f"{len(tokens['input_ids']):,} tokens")
        self.sequences.check(tokens["input_ids"], tokens["labels"], place=place, in_turns=is_clean)
