"""One fine-tune, timed: the same rows for every trainer, and a stopwatch that goes into each.

Also imported by the process of Unsloth, which patches what it finds. So nothing of transformers,
trl or datasets is imported before it is needed.
"""

import math
import random
import time
from typing import Any

import torch

__all__ = ["LORA_TARGETS", "row_lengths", "row_set", "timed", "word_tokenizer"]

SPECIAL = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
# What "all-linear" means in these models; Unsloth is told the names.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def row_lengths(n_rows: int, *, median: int, shortest: int, longest: int) -> list[int]:
    """Return lengths that vary as those of chat rows do: many short ones, a few long ones.

    Args:
        n_rows: How many.
        median: Tokens, of the log-normal distribution they are drawn from.
        shortest: Tokens; shorter rows get as many.
        longest: Tokens; longer rows are cut.

    Returns:
        Tokens of each row, the same at every call.
    """
    source = random.Random(0)
    drawn = (round(source.lognormvariate(math.log(median), 0.8)) for _ in range(n_rows))
    return [min(max(length, shortest), longest) for length in drawn]


def row_set(lengths: list[int], *, vocabulary: int) -> Any:
    """Return rows of random tokens, already tokenized, as a `datasets.Dataset`.

    Args:
        lengths: Tokens of each row.
        vocabulary: Ids are below this.

    Returns:
        `input_ids` and `labels`, which are the same: every token is learned.
    """
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    source = random.Random(1)
    ids = [[source.randrange(len(SPECIAL), vocabulary) for _ in range(n)] for n in lengths]
    return Dataset.from_dict({"input_ids": ids, "labels": ids})


def word_tokenizer(vocabulary: int) -> Any:
    """Return a tokenizer whose words are numbers: the rows need none, but trainers ask for one.

    Args:
        vocabulary: Number of words, special ones included, which come first.

    Returns:
        A tokenizer of transformers.
    """
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = [*SPECIAL.values(), *map(str, range(len(SPECIAL), vocabulary))]
    ids = {word: index for index, word in enumerate(words)}
    model = models.WordLevel(ids, unk_token=SPECIAL["unk_token"])
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **SPECIAL)


def timed(trainer: Any, *, device: str) -> dict[str, Any]:
    """Train; return what each pass over the rows took, and the peak of memory.

    Args:
        trainer: An `SFTTrainer` for two epochs or more; in the first, kernels are compiled.
        device: `"cuda"` or `"cpu"`.

    Returns:
        `seconds` of each pass but the first, between synchronizations; `warm_up_seconds` of the
        first; `steps` of a pass; the mean `loss`, to see that something was trained; and the
        highest bytes of the whole run, `None` on a CPU.
    """
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    watch = _stopwatch(device)
    trainer.add_callback(watch)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    loss = trainer.train().training_loss
    on_gpu = device == "cuda"
    return {
        "seconds": watch.seconds[1:],
        "warm_up_seconds": watch.seconds[0],
        "steps": trainer.state.global_step // len(watch.seconds),
        "loss": loss,
        "allocated_bytes": torch.cuda.max_memory_allocated() if on_gpu else None,
        "reserved_bytes": torch.cuda.max_memory_reserved() if on_gpu else None,
    }


def _stopwatch(device: str) -> Any:
    """Return a callback that notes the seconds of each epoch."""
    from transformers import TrainerCallback

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    class Stopwatch(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.start = 0.0

        def on_epoch_begin(self, args, state, control, **kwargs):
            self.start = now()

        def on_epoch_end(self, args, state, control, **kwargs):
            self.seconds.append(now() - self.start)

    return Stopwatch()
