"""The check of a trainer: its rows, its settings, and its first batch."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.chat import IGNORED, n_common, with_answer_marks
from onegpu.preflight import batch, conversations, fidelity, setup
from onegpu.preflight.findings import KINDS, Findings, Tally
from onegpu.preflight.preferences import Encoded, Preferences, answers, is_labeled_bad
from onegpu.preflight.seen import Seen
from onegpu.preflight.sequences import N_TAIL, Sequences
from onegpu.preflight.streams import checked_rows, evaluation_sets

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Trainer

__all__ = ["check"]

TOKENIZED = ("input_ids", "completion_ids", "chosen_ids")  # one of them: SFT, KTO, DPO and reward
IN_PIECES = ("wrapped", "bfd_split")  # packing whose sequences begin and end anywhere


def check(trainer: "Trainer") -> Findings:
    """Find what would go wrong without an error, in everything that a trainer holds.

    It reads the tokenized rows, the first batch, the tokenizer, the model, the adapter and the
    settings, and computes the loss and the gradients of one batch. Nothing is changed. Of a stream
    it reads the first 10,000 rows. There, and in a `KTOTrainer`, it cannot see those that trl
    dropped: `check_data` finds them.

    Args:
        trainer: Before `train()`: an `SFTTrainer`, `DPOTrainer`, `KTOTrainer` or `RewardTrainer`,
            or a `Trainer` of a causal language model. Of a `RewardTrainer` it takes no step.

    Returns:
        What was found, errors first; empty where nothing was.

    Raises:
        ValueError: The trainer's rows are not tokenized as these do it: a `GRPOTrainer`, say.

    Taught in: notebooks/04_formatting.ipynb
    """
    first = next(iter(trainer.train_dataset), None)
    if first is not None and not any(column in first for column in TOKENIZED):
        raise ValueError(
            f"the trainer's rows have {', '.join(first)}, not input_ids: check() reads the rows of "
            "a Trainer, or of trl's SFT, DPO, KTO or reward trainer; for another trainer give your "
            "rows to check_data()"
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
    if getattr(args, "assistant_only_loss", False):
        tokenizer = with_answer_marks(tokenizer)
    max_length, packing = getattr(args, "max_length", None), getattr(args, "packing", False)
    if is_evaluation and getattr(args, "eval_packing", None) is not None:
        packing = args.eval_packing
    sequences = Sequences(
        tokenizer, tally, max_length=max_length, seen=seen, is_evaluation=is_evaluation
    )
    weights = None
    if hasattr(args, "desirable_weight"):
        weights = args.desirable_weight, args.undesirable_weight
    preferences = Preferences(tally, sequences, weights=weights)
    n_before = tally.n_rows
    for number, row in enumerate(checked_rows(rows)):
        place = f"{name}[{number}]"
        if packing and args.packing_strategy in IN_PIECES:
            tally.n_rows += 1
            sequences.measure(row["input_ids"])
        elif packing:
            for part, ids, labels in _sequences(row):
                tally.n_rows += 1
                sequences.check(ids, labels, place=place + part)
                preferences.check({}, [(ids, labels)], place=place + part)
        else:
            tally.n_rows += 1
            in_turns = _check_columns(tokenizer, row, place, tally)
            encoded = _encoded(row, max_length)
            for ids, labels in encoded:
                if in_turns is None:
                    sequences.measure(ids)
                else:
                    sequences.check(ids, labels, place=place, in_turns=in_turns)
            if in_turns is not None:
                preferences.check({} if "input_ids" in row else _given(row), encoded, place=place)
    if tally.n_rows == n_before:
        n_dropped = rows.data.num_rows if hasattr(rows, "data") else 0
        tally.state("no-rows", f"{name}; trl dropped {n_dropped:,}" if n_dropped else name)
    sequences.finish()
    preferences.finish()
    return sequences


def _check_columns(
    tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any], place: str, tally: Tally
) -> bool | None:
    """Check what a tokenized row was made of, and return whether it is in turns.

    None where its tokens are not what is meant.
    """
    if "input_ids" in row and is_labeled_bad(row):
        tally.add("bad-answers-learned", place)
    found = []
    for part, answer in [("", row)] if "input_ids" in row else answers(_given(row)):
        for code, detail in fidelity.problems(tokenizer, answer):
            if code != "unknown-columns":  # tokenized rows need no others
                tally.add(code, place + part, detail)
                found.append((code, detail))
    return conversations.is_in_turns(found) if conversations.is_encodable(found) else None


def _given(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row as it was before a RewardTrainer put the prompt before both answers."""
    prompt, chosen, rejected = (row.get(name) for name in ("prompt", "chosen", "rejected"))
    if not prompt or not chosen or "prompt_ids" in row or chosen[: len(prompt)] != prompt:
        return row
    return {**row, "chosen": chosen[len(prompt) :], "rejected": rejected[len(prompt) :]}


def _sequences(row: Mapping[str, Any]) -> Iterator[tuple[str, list[int], list[int]]]:
    """Yield the sequences that were packed into a row, each with what to add to its place."""
    ids = row["input_ids"]
    labels = row.get("labels", ids)
    start = 0
    for number, length in enumerate(row.get("seq_lengths", [len(ids)])):
        stop = start + length
        yield f", sequence {number}", ids[start:stop], labels[start:stop]
        start = stop


def _encoded(row: Mapping[str, Any], max_length: int | None) -> list[Encoded]:
    """Return the sequences that the collator makes of a row: one, or the answers of a pair."""
    if "input_ids" in row:
        return [(row["input_ids"], row.get("labels", row["input_ids"]))]
    if "completion_ids" in row:
        parts = [(row["prompt_ids"], row["completion_ids"])]
    elif "prompt_ids" in row:
        parts = [(row["prompt_ids"], row[name]) for name in ("chosen_ids", "rejected_ids")]
    else:  # of a reward model: what both begin with is the prompt
        pair = row["chosen_ids"], row["rejected_ids"]
        n = max(0, min(n_common(*pair), *(len(ids) - N_TAIL for ids in pair)))
        parts = [(ids[:n], ids[n:]) for ids in pair]
    return [
        ([*prompt, *answer][:max_length], [*([IGNORED] * len(prompt)), *answer][:max_length])
        for prompt, answer in parts
    ]


def _dropped(trainer: "Trainer", tally: Tally) -> None:
    """Compare the rows left with those before trl's filter, which leaves the table as it was."""
    rows, args = trainer.train_dataset, trainer.args
    if not hasattr(rows, "data") or getattr(args, "packing", False):
        return
    before = rows.data.num_rows
    if getattr(args, "max_length", None) and before > len(rows) > 0:
        found = f"{before - len(rows):,} of {before:,} rows {KINDS['rows-dropped'].what}"
        tally.state("rows-dropped", f"max_length={args.max_length}", found=found)
