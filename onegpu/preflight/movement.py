"""How the weights of a model move in a step, and what is wrong with it."""

import dataclasses
import math
import re
import statistics
from typing import TYPE_CHECKING

from onegpu.preflight.findings import Tally
from onegpu.preflight.schedule import is_adam

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

__all__ = ["Move", "Step", "examine", "falls", "of", "planned"]

LOST = 1 / 3  # of the updates, rounded away
SMALL = 0.1  # of its rate, by which Adam moves a weight whose gradient is far too small
CLIPPED, HALF = 1e-4, 0.5  # of gradients left by clipping, and of the rate that Adam moves then
NOISE = 4  # times the coarseness of the number type
LAYER = re.compile(r"\.(\d+)\.")
ADAPTER = re.compile(r"\.lora_|\.modules_to_save\.")


@dataclasses.dataclass(frozen=True)
class Move:
    """How one weight moved in a step.

    Attributes:
        name: Of the weight.
        is_coarse: Whether it is in a number type of 16 bits.
        n_pushed: How many of its numbers had a gradient.
        n_still: How many of these did not move.
        distance: How far they moved, in sum.
        gain: The sum of their gradients times their moves; below zero if the loss must fall.
        norm: The same sum of absolute values.
    """

    name: str
    is_coarse: bool
    n_pushed: int
    n_still: int
    distance: float
    gain: float
    norm: float


@dataclasses.dataclass(frozen=True)
class Step:
    """What a step did.

    Attributes:
        loss: Before it.
        kept: The part of the gradients that clipping left.
        was_called: Whether the trainer's own model computed the loss.
        moves: Of each trainable weight of the model that is saved.
    """

    loss: float
    kept: float
    was_called: bool
    moves: list[Move]


def of(name: str, weight: "torch.Tensor", before: "torch.Tensor") -> Move:
    """Return how a weight moved.

    Args:
        name: Of the weight.
        weight: After the step, with its gradient.
        before: A copy from before the step.

    Returns:
        The numbers.
    """
    coarse = weight.element_size() < 4
    if weight.grad is None:
        return Move(name, coarse, 0, 0, 0.0, 0.0, 0.0)
    gradient = weight.grad.detach().to_dense().float()
    change = weight.detach().float() - before.float()
    pushed = gradient != 0
    n_pushed = int(pushed.sum())
    n_still = n_pushed - int((pushed & (change != 0)).sum())
    distance = float((change.abs() * pushed).sum())
    product = gradient * change
    return Move(
        name, coarse, n_pushed, n_still, distance, float(product.sum()), float(product.abs().sum())
    )


def planned(trainer: "Trainer", steps: list[Step]) -> float | None:
    """Return by how much the first step must change the loss, in nats a token.

    Args:
        trainer: Whose number types decide what is noise.
        steps: Two.

    Returns:
        None where it is too little to tell, or nothing can be told.
    """
    first = steps[0]
    if not first.kept or not math.isfinite(first.loss):
        return None
    gain = sum(move.gain for move in first.moves) / first.kept
    norm = sum(move.norm for move in first.moves) / first.kept
    noise = NOISE * _coarseness(trainer) * max(1.0, abs(first.loss))
    is_clear = abs(gain) > noise or gain > 0.5 * norm > 0
    return gain if is_clear and math.isfinite(gain) else None


def falls(steps: list[Step]) -> bool:
    """Return whether the first of two steps lowered the loss.

    Args:
        steps: Two.

    Returns:
        Whether the loss before the second is lower.
    """
    return steps[1].loss < steps[0].loss


def _coarseness(trainer: "Trainer") -> float:
    """Return the relative error of the coarsest number type that the model computes in."""
    import torch

    types = {weight.dtype for weight in trainer.model.parameters()}
    types |= {getattr(m, "compute_dtype", None) for m in trainer.model.modules()}
    coarsest = max(torch.finfo(t).eps for t in types if t is not None and t.is_floating_point)
    return max(coarsest, 2**-7 if trainer.args.bf16 else 2**-10 if trainer.args.fp16 else 0.0)


def examine(
    trainer: "Trainer", steps: list[Step], rates: list[float], tally: Tally, *, is_judged: bool
) -> None:
    """Add what is wrong with two steps to a tally.

    Args:
        trainer: With its optimizer.
        steps: Two.
        rates: Of each of the optimizer's groups.
        tally: Where findings go.
        is_judged: Whether more than the gradients is.
    """
    losses = [step.loss for step in steps]
    norms = [sum(move.norm for move in step.moves) for step in steps]
    if not math.isfinite(losses[0]):
        tally.state("loss-too-high", f"it is {losses[0]}")
    elif not math.isfinite(norms[0]):
        tally.state("step-fails", "the gradients hold nan or inf")
    elif not _is_idle(steps, tally) and is_judged:
        _lost(steps, rates, tally)
        if not _is_tiny(trainer, steps, rates, tally):
            _still(steps, rates, tally)


def _is_idle(steps: list[Step], tally: Tally) -> bool:
    """Check for layers that no gradient reaches."""
    pushed: dict[str, bool] = {}
    for step in steps:
        for move in step.moves:
            part = ADAPTER.split(move.name)[0]
            pushed[part] = pushed.get(part, False) or move.n_pushed > 0
    idle = [part for part, is_pushed in pushed.items() if not is_pushed]
    if len(idle) == len(pushed) and not steps[0].was_called:
        tally.state("wrong-copy", "compute_loss does not call trainer.model")
        return True
    layers: dict[str, bool] = {}
    for part, is_pushed in pushed.items():
        number = LAYER.search(part)
        if number:
            layers[number[1]] = layers.get(number[1], False) or is_pushed
    n_counted = sum("expert" not in part for part in pushed)  # no token may be sent to an expert
    n_idle = sum("expert" not in part for part in idle)
    if len(idle) == len(pushed) or 2 * n_idle > n_counted or not all(layers.values()):
        tally.state("no-gradient", f"{len(idle)} of {len(pushed)}, such as {idle[0]}")
    return len(idle) == len(pushed)


def _lost(steps: list[Step], rates: list[float], tally: Tally) -> None:
    """Check for updates that the number type rounds away."""
    last = steps[-1].moves
    n_pushed = sum(move.n_pushed for move in last)
    n_lost = sum(move.n_still for move in last if move.is_coarse)
    if n_lost > LOST * n_pushed:
        where = f"{n_lost / n_pushed:.0%} of the updates at {max(rates):g}"
        tally.state("updates-rounded", where)


def _still(steps: list[Step], rates: list[float], tally: Tally) -> None:
    """Check for weights that have a gradient, and that the optimizer leaves where they are."""
    moves = zip(*(step.moves for step in steps), strict=True)
    still = [
        pair[-1].name
        for pair in moves
        if pair[-1].n_pushed
        and not pair[-1].is_coarse
        and all(move.n_still == move.n_pushed for move in pair)
    ]
    if still and (0.0 in rates or 2 * len(still) > len(steps[0].moves)):
        where = f"{len(still)} of {len(steps[0].moves)}, such as {still[0]}"
        if 0.0 in rates:
            where += "; a group of the optimizer has a rate of 0"
        tally.state("weights-still", where)


def _is_tiny(trainer: "Trainer", steps: list[Step], rates: list[float], tally: Tally) -> bool:
    """Check for gradients that are too small for the optimizer."""
    kept = steps[0].kept
    pushed = [move for move in steps[0].moves if move.n_pushed > move.n_still * move.is_coarse]
    parts = [m.distance / (m.n_pushed - m.n_still * m.is_coarse) / max(rates) for m in pushed]
    is_enough = kept >= CLIPPED
    if is_adam(trainer.optimizer):  # it moves a weight by its rate, however small the gradient is
        is_enough = not parts or statistics.median(parts) >= (SMALL if is_enough else HALF)
    if is_enough:
        return False
    where = f"about as small as adam_epsilon={trainer.args.adam_epsilon:g}"
    if kept < 1:
        where = f"max_grad_norm={trainer.args.max_grad_norm:g} leaves {kept:.1g} of them"
    tally.state("gradients-tiny", where)
    return True
