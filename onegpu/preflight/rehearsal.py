"""Two steps of a training, taken in place and taken back."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.machine import memory_bytes
from onegpu.preflight import copies, movement, schedule
from onegpu.preflight.findings import Tally
from onegpu.preflight.movement import Step
from onegpu.preflight.restoring import restoring, restoring_weights, unique_weights
from onegpu.preflight.sequences import Sequences
from onegpu.preflight.steps import errors_stated, without_a_trace

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

__all__ = ["examine"]

N_STEPS = 2  # an adapter's matrix A gets no gradient before B has moved
SMALLER = (0.1, 0.01)  # of the rate, at which a loss must fall that did not
IN_BACKWARD = ("layerwise", "lomo")  # in the names of optimizers that work within backward()
SCALE = 1024.0  # of a loss in fp16: small enough for the first step not to overflow
FALL = 0.01  # nats, by which a run lowers the loss of a batch at least
PART = 0.5  # of the memory, that copies of weights and what an optimizer keeps may take


def examine(trainer: "Trainer", sequences: Sequences, tally: Tally) -> None:
    """Take two steps as a trainer would, put everything back, and add what is wrong to a tally.

    The trainer's own optimizer takes them, at the highest rate of its schedule, on its first
    batch, without dropout. Nothing is saved, logged or told to a callback.

    Args:
        trainer: See `preflight.check`.
        sequences: What its rows were found to hold.
        tally: Where findings go.
    """
    with errors_stated(trainer, tally):
        row = next(iter(trainer.train_dataset), None)
        if row is None or not _is_ready(trainer, sequences):
            return
        if any(name in str(trainer.args.optim).lower() for name in IN_BACKWARD):
            tally.state("not-rehearsed", "updates in the backward pass")  # hooks, that would stay
            return
        with without_a_trace(trainer):
            _rehearse(trainer, row, tally)


def _is_ready(trainer: "Trainer", sequences: Sequences) -> bool:
    """Return whether a step can be taken; where it cannot, other findings say why."""
    import torch

    types = {weight.dtype for weight in trainer.model.parameters() if weight.requires_grad}
    n_embeddings = trainer.model.get_input_embeddings().weight.shape[0]
    return bool(types) and torch.float16 not in types and sequences.max_id < n_embeddings


def _rehearse(trainer: "Trainer", row: Mapping[str, Any], tally: Tally) -> None:
    import torch

    loader = trainer.get_train_dataloader()
    n_updates = trainer.set_initial_training_values(trainer.args, loader)[-1]
    is_own = trainer.optimizer is None
    if getattr(trainer, "_created_lr_scheduler", False):  # of an earlier run
        trainer.lr_scheduler = None
    trainer.create_optimizer()
    trainer.create_scheduler(num_training_steps=n_updates)
    rates = schedule.highest_rates(trainer, tally, n_updates=n_updates, is_own=is_own)
    if not copies.examine(trainer, tally) or not any(rates) or _is_too_large(trainer, tally):
        return
    if hasattr(trainer, "reward_funcs"):  # a GRPOTrainer would have to write its own rows
        return
    if trainer.accelerator.scaler is not None:
        device = trainer.args.device.type
        trainer.accelerator.scaler = torch.amp.GradScaler(device, init_scale=SCALE)
    samples, n_items = trainer.get_batch_samples(iter(loader), 1, trainer.args.device)
    if not samples:
        raise ValueError("the data loader gives no batch, of too few rows with drop_last, say")
    batch = samples[0], n_items
    steps = _take(trainer, batch, rates)
    is_low = max(rates) < schedule.LOW_RATE
    is_judged = "input_ids" in row and not is_low  # DPO's rates, say, are not
    movement.examine(trainer, steps, rates, tally, is_judged=is_judged)
    if is_low and "input_ids" in row and not schedule.is_of_preferences(trainer):
        _fall(steps, max(rates), n_updates, tally)
    if is_judged:
        _direction(trainer, batch, rates, steps, tally)


def _fall(steps: list[Step], rate: float, n_updates: int, tally: Tally) -> None:
    """Check for a rate at which all updates together would hardly lower the loss."""
    gains = [sum(move.gain for move in step.moves) / step.kept for step in steps if step.kept]
    fall = -n_updates * min(gains, default=0.0)
    if 0 <= fall < FALL:
        where = f"{rate:.2g}: in {n_updates:,} updates a loss falls by about {fall:.1g} nats"
        tally.state("learning-rate", where, found="the learning rate is too small for this run")


def _direction(
    trainer: "Trainer", batch: tuple[Any, Any], rates: list[float], steps: list[Step], tally: Tally
) -> None:
    """Check whether the loss falls; where it does not, at a smaller rate."""
    for part in SMALLER:
        if movement.planned(trainer, steps) is None or movement.falls(steps):
            return
        steps = _take(trainer, batch, [rate * part for rate in rates])
        planned = movement.planned(trainer, steps)
        if planned is None or movement.falls(steps):
            return
        if planned > 0 or -planned < steps[0].loss / 2:
            first, second = (step.loss for step in steps)
            where = f"from {first:.4f} to {second:.4f} nats a token, at {part:.0%} of the rate"
            tally.state("loss-rises", where)
            return


def _is_too_large(trainer: "Trainer", tally: Tally) -> bool:
    """Return whether there is no memory for copies of what is trained, and say so."""
    if trainer.accelerator.num_processes > 1 or trainer.args.n_gpu > 1:
        tally.state("not-rehearsed", "several processes or GPUs")
        return True
    weights = [weight for weight in unique_weights(trainer) if weight.requires_grad]
    needed = sum(weight.nbytes for weight in weights)
    if trainer.args.device.type == "cpu":  # gradients, the copy of a step, and AdamW's averages
        needed = 3 * needed + 8 * sum(weight.numel() for weight in weights)
    with contextlib.suppress(OSError):
        there = memory_bytes()
        if needed > PART * there:
            where = f"{needed / 1e9:.0f} GB of copies, {there / 1e9:.0f} GB of memory"
            tally.state("not-rehearsed", where)
            return True
    return False


def _take(trainer: "Trainer", batch: tuple[Any, Any], rates: list[float]) -> list[Step]:
    """Take steps on a batch, and put weights and optimizer back."""
    weights = [weight for weight in unique_weights(trainer) if weight.requires_grad]
    with restoring(trainer), restoring_weights(weights):
        return list(_steps(trainer, batch, rates))


def _steps(trainer: "Trainer", batch: tuple[Any, Any], rates: list[float]) -> Iterator[Step]:
    import torch

    model, optimizer = trainer.model_wrapped, trainer.optimizer
    weights = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad]
    calls: list[Any] = []
    hook = model.register_forward_pre_hook(lambda module, inputs: calls.append(module))
    for _ in range(N_STEPS):
        before = [weight.detach().clone() for _, weight in weights]
        with trainer.accelerator.autocast(), torch.enable_grad():
            loss = trainer.training_step(model, *batch)
        kept = _clipped(trainer, model)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        optimizer.step()
        moved = [movement.of(n, p, b) for (n, p), b in zip(weights, before, strict=True)]
        yield Step(float(loss), kept, bool(calls), moved)
        for weight in unique_weights(trainer):
            weight.grad = None
    hook.remove()


def _clipped(trainer: "Trainer", model: "torch.nn.Module") -> float:
    """Clip gradients as the trainer does, and return the part of them that is left."""
    import torch

    weights = [weight for weight in model.parameters() if weight.grad is not None]
    if trainer.accelerator.scaler is not None:
        for weight in weights:
            weight.grad /= SCALE
    largest = trainer.args.max_grad_norm
    if not largest or largest <= 0 or not weights:
        return 1.0
    norm = float(torch.nn.utils.clip_grad_norm_(weights, largest))
    return min(1.0, largest / norm) if norm else 1.0
