"""What to change about a plan: what each switch takes, which card to rent, what would fit."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

from onegpu import progress
from onegpu.memory.cards import CARDS, Card, card
from onegpu.memory.planner import Plan
from onegpu.memory.training_step import TrainingStep

__all__ = ["Fit", "Switch", "compare", "explain", "fit"]

SHORTEST = 128  # tokens; shorter rows are not proposed
WORTHWHILE = 0.98  # of the peak; a switch that saves less is not proposed
FEWER, SHORTER = "half the rows", "rows of half the length"


@dataclasses.dataclass(frozen=True)
class Switch:
    """A setting that could be another one.

    Attributes:
        name: What it would be.
        changed: The fields of `TrainingStep`.
        price: What it costs beside memory, or gains.
        plan: With the switch.
        saved_bytes: Of the peak of tensors; below zero if it takes more.
    """

    name: str
    changed: dict[str, Any]
    price: str
    plan: Plan
    saved_bytes: int


@dataclasses.dataclass(frozen=True)
class Fit:
    """Settings that fit, and how they came about.

    Attributes:
        plan: With the settings; it does not fit if nothing does.
        changed: What was changed, in order: the names of switches.
        accumulation: Micro-batches that make up a step of as many rows as were asked for.
    """

    plan: Plan
    changed: tuple[str, ...]
    accumulation: int


# Each returns the changed fields, or none where the switch is set already or makes no sense. Those
# that cost no time come first, then those that cost some, at last those that change what is
# learned.
Change = Callable[[TrainingStep], dict[str, Any]]
SWITCHES: dict[str, tuple[Change, str]] = {
    "trl's chunked loss": (
        lambda step: {"loss": "chunked"} if step.trainer == "sft" and step.loss == "plain" else {},
        "no time; it takes trl's SFTTrainer",
    ),
    "SDPA": (
        lambda step: {"attention": "sdpa"} if step.attention == "eager" else {},
        "no time; the model's own kernel for it must exist",
    ),
    "AdamW in 8 bits": (
        lambda step: (
            {"optimizer": "adamw_bnb_8bit"} if not str(step.optimizer).endswith("8bit") else {}
        ),
        "little time; its states are rounded",
    ),
    FEWER: (
        lambda step: {"batch": step.batch // 2} if step.batch > 1 else {},
        "some time; accumulate two micro-batches and the result stays",
    ),
    "checkpointing": (
        lambda step: {} if step.checkpointing else {"checkpointing": True},
        "a third more computing: each block runs forward twice",
    ),
    "double quantization": (
        lambda step: {"quantization": "nf4-double"} if step.quantization == "nf4" else {},
        "next to no time",
    ),
    "weights in bf16": (
        lambda step: (
            {"precision": "bf16"} if step.lora is None and step.precision == "fp32" else {}
        ),
        "no time; small updates are rounded away",
    ),
    "LoRA of rank 16": (
        lambda step: (
            {"lora": {"r": 16, "target_modules": "all-linear"}, "precision": None}
            if step.lora is None
            else {}
        ),
        "no time; less can be learned",
    ),
    "4 bits": (
        lambda step: (
            {"quantization": "nf4-double"}
            if step.lora is not None and not step.quantization
            else {}
        ),
        "some time, since weights are dequantized for each product; they are rounded",
    ),
    "adapters on q_proj and v_proj": (
        lambda step: (
            {"lora": step.lora | {"target_modules": ["q_proj", "v_proj"]}}
            if isinstance(step.lora, dict) and step.targets != "q_proj, v_proj"
            else {}
        ),
        "less can be learned",
    ),
    SHORTER: (
        lambda step: {"seq": step.seq // 2} if step.seq >= 2 * SHORTEST else {},
        "what is longer is cut off",
    ),
}
# What one could do with room to spare.
GAINS: dict[str, tuple[Change, str]] = {
    "no checkpointing": (
        lambda step: {"checkpointing": False} if step.checkpointing else {},
        "a quarter of the computing less",
    ),
    "no 4 bits": (
        lambda step: {"quantization": None} if step.quantization else {},
        "faster, and nothing is rounded",
    ),
    "twice the rows": (lambda step: {"batch": 2 * step.batch}, "fuller use of the card"),
}


def explain(found: Plan) -> list[Switch]:
    """Return what each setting would save or cost if it were another one, alone.

    Args:
        found: A plan.

    Returns:
        The switches, the one that saves most first.
    """
    offers = [
        (name, changed, price)
        for name, (change, price) in (SWITCHES | GAINS).items()
        if (changed := change(found.step))
    ]
    switches = []
    for name, changed, price in progress.bar(offers, what="planning", unit="switch"):
        plan = _try(found, changed)
        if plan is not None:
            saved = found.allocated_bytes - plan.allocated_bytes
            switches.append(Switch(name, changed, price, plan, saved))
    return sorted(switches, key=lambda switch: -switch.saved_bytes)


def _try(found: Plan, changed: dict[str, Any]) -> Plan | None:
    """Return the changed plan; none if nothing changes, or card or model cannot do it."""
    if not changed:
        return None
    try:
        return found.replan(**changed)
    except ValueError:
        return None


def compare(found: Plan, cards: Iterable[str | float | Card] | None = None) -> list[Plan]:
    """Return the plans of a step on other cards.

    Args:
        found: A plan.
        cards: As in `plan`; all known ones if None.

    Returns:
        The plans, in the order of the cards; cards that cannot compute in the number types that
        were asked for are left out.

    Raises:
        ValueError: A card is unknown.
    """
    chosen = [card(one) for one in (CARDS if cards is None else cards)]
    plans = [
        _try(found, {"gpu": one}) for one in progress.bar(chosen, what="planning", unit="card")
    ]
    return [plan for plan in plans if plan is not None]


def fit(found: Plan) -> Fit:
    """Return settings that fit a card: few changes, those without a price first.

    Rows are made fewer before anything else that has a price, since a step of the same rows can be
    accumulated; then come the other switches, one after the other, and shorter rows at last.

    Args:
        found: A plan.

    Returns:
        The settings. Where nothing fits, all that could be changed without another model.
    """
    plan, chosen, wanted = found, {}, found.step.batch
    for name, (change, _) in SWITCHES.items():
        if plan.fits or name == SHORTER:
            break
        fields = _fewer_rows(plan) if name == FEWER else change(plan.step)
        better = _try(plan, fields)
        if better is not None and better.allocated_bytes < WORTHWHILE * plan.allocated_bytes:
            plan, chosen[name] = better, fields
    for name in list(chosen)[:-1]:  # what a later one made useless
        rest = {key: value for key, value in chosen.items() if key != name}
        without = _try(found, functools.reduce(operator.or_, rest.values()))
        if plan.fits and without is not None and without.fits:
            plan, chosen = without, rest
    changed = tuple(name for name in chosen if name != FEWER)
    if not plan.fits and (seq := plan.longest_seq(step=SHORTEST)):
        plan, changed = plan.replan(seq=seq), (*changed, f"rows of {seq:,} tokens")
    if plan.fits and plan.step.batch < wanted:
        plan = plan.replan(batch=_divisor(wanted, plan.largest_batch(limit=wanted)))
    if plan.is_tight and plan.step.batch > 1:
        plan = plan.replan(batch=_divisor(wanted, plan.step.batch - 1))
    if plan.step.batch < wanted:
        changed = (*changed, f"{plan.step.batch} of {wanted} rows at once")
    return Fit(plan, changed, wanted // plan.step.batch)


def _divisor(number: int, limit: int) -> int:
    """Return the largest divisor of a number up to a limit: micro-batches make up the whole."""
    return next(n for n in range(min(number, limit), 0, -1) if number % n == 0)


def _fewer_rows(plan: Plan) -> dict[str, Any]:
    """Return as many rows as fit, or one; nothing if there is only one."""
    if plan.step.batch == 1:
        return {}
    largest = max(1, plan.largest_batch(limit=plan.step.batch - 1))
    return {"batch": _divisor(plan.step.batch, largest)}
