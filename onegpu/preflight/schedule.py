"""The learning rates of a run, as its optimizer and its schedule will give them."""

import inspect
import itertools
import warnings
from typing import TYPE_CHECKING, Any

from onegpu.preflight.findings import Tally

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["LOW_RATE", "highest_rates", "is_adam", "is_of_preferences"]

N_SEEN = 10_000  # updates whose rates are computed
LORA_RATES, FULL_RATES = (5e-5, 5e-3), (1e-7, 5e-4)  # outside of them, a learning rate is unusual
LOW_RATE, SHRUNK = 1e-6, 0.01  # a tiny rate, and a tiny part of the one that was given
OTHER_RATES = (5e-5, 1.0)  # of prompts, and of adapters that only scale what is there


def highest_rates(trainer: "Trainer", tally: Tally, *, n_updates: int, is_own: bool) -> list[float]:
    """Check the learning rates of a run, and return those of its highest update.

    It moves the schedule, so `restoring` must be around it.

    Args:
        trainer: With its optimizer and its schedule.
        tally: Where findings go.
        n_updates: How many updates the run has.
        is_own: Whether the trainer made the optimizer, from its settings.

    Returns:
        A rate for each of the optimizer's groups.
    """
    if n_updates == 1:
        tally.state("one-update", f"{_n_rows(trainer)}effective batch of {_batch_size(trainer)}")
    rates = _rates(trainer, n_updates)
    highest = max(rates, key=sum)
    if not any(highest):
        if len(rates) == n_updates:
            tally.state("rate-zero", _of_warmup(trainer, n_updates))
        return highest
    groups = [
        g for g in zip(trainer.optimizer.param_groups, highest, strict=True) if g[0]["params"]
    ]
    is_reached = not _warmup(rates, trainer, n_updates, tally)
    if is_own or is_reached:
        _size(trainer, [trainer.args.learning_rate] if is_own else [r for _, r in groups], tally)
    if is_reached:
        _shrunk([float(g.get("initial_lr", 0)) for g, _ in groups], highest, trainer, tally)
    return highest


def is_adam(optimizer: Any) -> bool:
    """Return whether an optimizer moves each weight by about its learning rate.

    Args:
        optimizer: Any.

    Returns:
        Whether it is one of Adam's family, by its name.
    """
    return "adam" in type(getattr(optimizer, "optimizer", optimizer)).__name__.lower()


def is_of_preferences(trainer: "Trainer") -> bool:
    """Return whether a trainer takes rates far below those of others.

    Args:
        trainer: Any.

    Returns:
        True for DPO, KTO and GRPO.
    """
    return hasattr(trainer.args, "beta")


def _rates(trainer: "Trainer", n_updates: int) -> list[list[float]]:
    """Return the rates of each group at each update."""
    schedule, groups = trainer.lr_scheduler, trainer.optimizer.param_groups
    rates = [[float(group["lr"]) for group in groups]]
    if "metrics" in inspect.signature(schedule.step).parameters:  # it follows the evaluation
        return rates * min(n_updates, N_SEEN)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no optimizer takes a step in between
        while len(rates) < min(n_updates, N_SEEN):
            schedule.step()
            rates.append([float(group["lr"]) for group in groups])
    return rates


def _warmup(rates: list[list[float]], trainer: "Trainer", n_updates: int, tally: Tally) -> bool:
    """Check for a warm-up that goes on to the last update."""
    sums = [sum(rate) for rate in rates]
    base = sum(float(group.get("initial_lr", 0)) for group in trainer.optimizer.param_groups)
    if len(sums) < 2 or any(b <= a for a, b in itertools.pairwise(sums)):
        return False
    n_needed = base / (sums[-1] - sums[-2])
    is_too_long = n_needed > n_updates + 0.5
    if is_too_long:
        reached = f"{sums[-1] / base:.0%} of the rate is reached"
        tally.state("warmup-too-long", f"{_of_warmup(trainer, n_updates)}; {reached}")
    return is_too_long


def _shrunk(given: list[float], highest: list[float], trainer: "Trainer", tally: Tally) -> None:
    """Check for a schedule that multiplies the rate with something tiny, such as the rate."""
    rate, most = max(highest), max(given, default=0.0)
    if rate < min(LOW_RATE, SHRUNK * most) and not is_of_preferences(trainer):
        where = f"at most {rate:.2g}, where {most:g} was given"
        tally.state("learning-rate", where, found="the schedule makes the learning rate tiny")


def _size(trainer: "Trainer", rates: list[float], tally: Tally) -> None:
    """Check a rate that is unusual for what is trained."""
    kind, (low, high) = _usual(trainer)
    if is_of_preferences(trainer):
        low /= 100
    if not rates or not is_adam(trainer.optimizer):
        return
    if max(rates) < low:
        tally.state("learning-rate", f"learning_rate={max(rates):g}", found=f"small for {kind}")
    if min(rates) > high:
        tally.state("learning-rate", f"learning_rate={min(rates):g}", found=f"large for {kind}")


def _usual(trainer: "Trainer") -> tuple[str, tuple[float, float]]:
    configs = list((getattr(trainer.model, "peft_config", None) or {}).values())
    if not configs:
        return "full fine-tuning", FULL_RATES
    kinds = {str(config.peft_type).rpartition(".")[2] for config in configs}
    return ("LoRA", LORA_RATES) if kinds == {"LORA"} else (", ".join(sorted(kinds)), OTHER_RATES)


def _of_warmup(trainer: "Trainer", n_updates: int) -> str:
    n_warmup = trainer.args.get_warmup_steps(n_updates)
    warmup = f", {n_warmup:,} of warm-up" if n_warmup else ""
    plural = "s" if n_updates > 1 else ""
    rate = f"learning_rate={trainer.args.learning_rate:g}"
    return f"{n_updates:,} update{plural}{warmup}, {rate}"


def _n_rows(trainer: "Trainer") -> str:
    rows = trainer.train_dataset
    return f"{len(rows):,} rows, " if hasattr(rows, "__len__") else ""


def _batch_size(trainer: "Trainer") -> int:
    return trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps
