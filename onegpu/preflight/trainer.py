"""The check of a trainer: its rows, its settings, its first batches, and two steps."""

import contextlib
from typing import TYPE_CHECKING

from onegpu.preflight import batch, rehearsal, setup
from onegpu.preflight.findings import KINDS, Findings, Tally
from onegpu.preflight.seen import Seen
from onegpu.preflight.streams import evaluation_sets
from onegpu.preflight.trainer_rows import Rows

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["check"]


def check(trainer: "Trainer") -> Findings:
    """Find what would go wrong without an error, in everything that a trainer holds.

    It reads the rows, the first batches, the tokenizer, the model, the adapter and the settings;
    compares what the trainer's own loss teaches with what it should; and rehearses two steps.
    Nothing is changed. Of a stream it reads the first 10,000 rows. There, and in a `KTOTrainer`, it
    cannot see those that trl dropped: `check_data` finds them. An error of the model, the collator
    or the data is a finding too.

    Args:
        trainer: Before `train()`: an `SFTTrainer`, `DPOTrainer`, `KTOTrainer`, `RewardTrainer` or
            `GRPOTrainer`, or a `Trainer` of a causal language model.

    Returns:
        What was found, errors first; empty where nothing was.

    Raises:
        ValueError: It is no trainer of transformers or trl, or it has no tokenizer.

    Taught in: notebooks/04_formatting.ipynb
    """
    from transformers import Trainer

    if not isinstance(trainer, Trainer):
        raise ValueError(
            f"check() got a {type(trainer).__name__}: it takes a Trainer of transformers, or trl's "
            "SFT, DPO, KTO, reward or GRPO trainer; for another trainer give your rows to "
            "check_data()"
        )
    if trainer.processing_class is None:
        raise ValueError(
            "the trainer has no processing_class: give it the tokenizer that made its rows, which "
            "check() needs to read them"
        )
    tally, of_evaluation = Tally(), Tally()
    with contextlib.closing(Seen()) as seen:
        rows = Rows(trainer, tally, seen)
        rows.check(trainer.train_dataset, "train_dataset")
        for name, evaluated in evaluation_sets(trainer).items():
            Rows(trainer, of_evaluation, seen, is_evaluation=True).check(evaluated, name)
    _dropped(trainer, tally)
    setup.examine(trainer, rows.sequences, tally)
    if batch.examine(trainer, rows.sequences, tally):
        rehearsal.examine(trainer, rows.sequences, tally)
    return tally.findings().joined(of_evaluation.findings())


def _dropped(trainer: "Trainer", tally: Tally) -> None:
    """Compare the rows left with those before trl's filter, which leaves the table as it was."""
    rows, args = trainer.train_dataset, trainer.args
    if not hasattr(rows, "data") or getattr(args, "packing", False):
        return
    before = rows.data.num_rows
    if getattr(args, "max_length", None) and before > len(rows) > 0:
        found = f"{before - len(rows):,} of {before:,} rows {KINDS['rows-dropped'].what}"
        tally.state("rows-dropped", f"max_length={args.max_length}", found=found)
