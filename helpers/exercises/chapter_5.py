"""Checks of the exercises in notebooks/05_training.ipynb."""

import math
from collections.abc import Callable

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]


def exercise_1(standing_bytes: Callable[..., float]) -> str | None:
    """Check what stays in memory through a step, for three fine-tunes."""
    for what, given, expected in (
        ("full fine-tuning of 100 weights", (0, 100, 32), 1600),
        ("LoRA: 1,000 weights frozen in 16 bits, 10 trained", (1000, 10, 16), 2160),
        ("QLoRA: 1,000 weights frozen in 4 bits, 10 trained", (1000, 10, 4), 660),
    ):
        found = standing_bytes(*given)
        if not math.isclose(found, expected):
            return f"{what} is {expected} bytes, you say {found}"
    return None


def exercise_2(batch_loss: Callable[..., float]) -> str | None:
    """Check the loss of a batch that was cut into micro-batches."""
    for losses, counts, expected in (
        ([2.0, 1.0], [10, 30], 1.25),
        ([3.0], [7], 3.0),
        ([4.0, 1.0, 1.0], [0, 5, 5], 1.0),
    ):
        found = batch_loss(list(losses), list(counts))
        if not math.isclose(found, expected):
            return f"losses {losses} over {counts} tokens make {expected}, you say {found}"
    return None


def exercise_3(split: Callable[[int, int], tuple[int, int]]) -> str | None:
    """Check micro-batch and accumulation by their product and their size."""
    for batch, largest, expected in (
        (32, 8, (8, 4)),
        (32, 11, (8, 4)),
        (12, 5, (4, 3)),
        (7, 6, (1, 7)),
        (4, 100, (4, 1)),
    ):
        micro, accumulation = split(batch, largest)
        given = f"for a batch of {batch} where {largest} fit"
        if micro > largest:
            return f"{given}, {micro} do not fit"
        if micro * accumulation != batch:
            return f"{given}, {micro} x {accumulation} is not {batch}"
        if (micro, accumulation) != expected:
            return f"{given}, {expected[0]} x {expected[1]} takes fewer passes than {micro} rows do"
    return None


def exercise_4(rate_at: Callable[..., float]) -> str | None:
    """Check a cosine schedule with warmup where it begins, peaks, is half way, and ends."""
    for step, expected, where in (
        (0, 0.0, "the first step of the warmup"),
        (5, 0.5, "half of the warmup"),
        (10, 1.0, "the end of the warmup"),
        (60, 0.5, "half way from there to the end"),
        (35, 0.5 + 0.5**1.5, "a quarter of the way"),
        (110, 0.0, "the end"),
    ):
        found = rate_at(step, 110, 10, 1.0)
        if not math.isclose(found, expected, abs_tol=1e-9):
            return f"at step {step} of 110, {where}, it is {expected:.3f}, you say {found}"
    return None
