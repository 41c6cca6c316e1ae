"""The check of a trainer: its rows, its settings, and its first batch."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.preflight import batch, conversations, setup
from onegpu.preflight.findings import KINDS, Findings, Tally
from onegpu.preflight.sequences import Seen, Sequences
from onegpu.preflight.streams import checked_rows, evaluation_sets

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["check"]


def check(trainer: "Trainer") -> Findings:
    """Find what would go wrong without an error, in everything that a trainer holds.

    It reads the tokenized rows, the first batch, the tokenizer, the model, the adapter and the
    settings, and computes the loss and the gradients of one batch. Nothing is changed. Of a stream
    it reads the first 10,000 rows, and cannot see those that trl dropped: `check_data` finds them.

    Args:
        trainer: Before `train()`: an `SFTTrainer`, or a `Trainer` of a causal language model.

    Returns:
        What was found, errors first; empty where nothing was.

    Raises:
        ValueError: The trainer's rows are not tokenized as these two do it: a `DPOTrainer`, say.

    Taught in: notebooks/04_formatting.ipynb
    """
    columns = next(iter(trainer.train_dataset), {"input_ids": []})
    if "input_ids" not in columns:
        raise ValueError(
            f"the trainer's rows have {', '.join(columns)}, not input_ids: check() reads the rows "
            "of an SFTTrainer or a Trainer; for another trainer give your rows to check_data()"
        )
    tally, of_evaluation = Tally(), Tally()
    with contextlib.closing(Seen()) as seen:
        sequences = _check_rows(trainer, trainer.train_dataset, "train_dataset", tally, seen)
        for name, rows in evaluation_sets(trainer).items():
            _check_rows(trainer, rows, name, of_evaluation, seen, is_evaluation=True)
    _dropped(trainer, tally)
    setup.examine(trainer, sequences, tally)
    batch.examine(trainer, sequences, tally)
    return tally.findings().joined(of_evaluation.findings())


def _check_rows(
    trainer: "Trainer",
    rows: Iterable[Mapping[str, Any]],
    name: str,
    tally: Tally,
    seen: Seen,
    *,
    is_evaluation: bool = False,
) -> Sequences:
    """Check every row of a tokenized data set, or the first rows of a stream."""
    args, tokenizer = trainer.args, trainer.processing_class
    sequences = Sequences(
        tokenizer,
        tally,
        max_length=getattr(args, "max_length", None),
        seen=seen,
        is_evaluation=is_evaluation,
    )
    is_packed = getattr(args, "packing", False)
    for number, row in enumerate(checked_rows(rows)):
        place = f"{name}[{number}]"
        tally.n_rows += 1
        found = conversations.problems(row)
        for code, detail in found:
            if code != "unknown-columns":  # tokenized rows need no others
                tally.add(code, place, detail)
        wrong_turns = any(code == "wrong-roles" for code, _ in found)
        if not found and conversations.prompt_differs(tokenizer, row):
            tally.add("prompt-differs", place)
        if is_packed and "seq_lengths" not in row:
            sequences.measure(row["input_ids"])  # wrapped: rows begin and end anywhere
            continue
        for part, ids, labels in _parts(row):
            sequences.check(ids, labels, place=place + part, in_turns=not wrong_turns)
    sequences.finish()
    return sequences


def _parts(row: Mapping[str, Any]) -> Iterator[tuple[str, list[int], list[int]]]:
    """Yield the sequences of a row: one, or those that were packed into it."""
    ids = row["input_ids"]
    labels = row.get("labels", ids)
    if "seq_lengths" not in row:
        yield "", ids, labels
        return
    start = 0
    for number, length in enumerate(row["seq_lengths"]):
        stop = start + length
        yield f", sequence {number}", ids[start:stop], labels[start:stop]
        start = stop


def _dropped(trainer: "Trainer", tally: Tally) -> None:
    """Compare the rows left with those before trl's filter, which leaves the table as it was."""
    rows, args = trainer.train_dataset, trainer.args
    if not hasattr(rows, "data") or getattr(args, "packing", False):
        return
    before = rows.data.num_rows
    if getattr(args, "max_length", None) and before > len(rows):
        found = f"{before - len(rows):,} of {before:,} rows {KINDS['rows-dropped'].what}"
        tally.state("rows-dropped", f"max_length={args.max_length}", found=found)
