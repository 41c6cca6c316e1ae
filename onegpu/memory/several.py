"""A training step on several cards of one kind: copies of the model (DDP), or shards (FSDP2)."""

import dataclasses
import functools
from typing import Any

from onegpu.memory.architectures import configuration
from onegpu.memory.cards import Card, card
from onegpu.memory.planner import Plan, _plan
from onegpu.memory.training_step import TrainingStep

__all__ = ["SHARDINGS", "SeveralPlan", "plan_several"]

SHARDINGS = ("ddp", "fsdp2")
UNMEASURED = "several cards: CUDA streams of their own, and what NCCL takes of each card"
PAGED_OR_8_BITS = (
    "optimizer is {!r}, and bitsandbytes' 8-bit optimizers do not work on the shards of FSDP2 "
    "(https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1633): choose adamw_torch, "
    "adamw_torch_fused, or sharding='ddp'"
)
QUANTIZED = (
    "quantization is {!r} and sharding is 'fsdp2': accelerate does not shard weights that are kept "
    "as integers, as bitsandbytes does by default, so every card would have them all. Choose "
    "sharding='ddp', or quantization=None"
)
HALF = (
    "precision is {!r} and autocast is on: with it accelerate keeps what is trained in float32. "
    "For pure 16 bits give autocast=False too"
)
NO_TRAINER = (
    "trainer is {!r}{}, and sharding is 'fsdp2': that keeps a second model or gathers the whole "
    "one, which is not planned. Choose sharding='ddp'{}"
)


@dataclasses.dataclass(frozen=True, repr=False)
class SeveralPlan(Plan):
    """What a training step takes of each of several cards of one kind.

    All figures are those of one card, and `step.batch` is its own: a step of all of them has
    `n_gpus` times as many rows. With shards it is the first card, whose shards are the largest.
    Torch keeps the free blocks of each CUDA stream apart, so with FSDP2, which has several, it
    reserves more than is planned.

    Attributes:
        n_gpus: How many cards there are.
        sharding: `"ddp"` or `"fsdp2"`.
    """

    n_gpus: int
    sharding: str

    @property
    def not_measured(self) -> tuple[str, ...]:
        """The settings that no measurement has confirmed yet: several cards are one of them."""
        return (*super().not_measured, UNMEASURED)

    def replan(self, *, gpu: str | float | Card | None = None, **changed: Any) -> "SeveralPlan":
        """Return the plan of another step of this model, on as many cards.

        Args:
            gpu: Other cards, as in `plan`; None for the same.
            **changed: Fields of `TrainingStep` and their new values.

        Returns:
            The other plan.

        Raises:
            ValueError: A value is unknown or impossible.
        """
        return _plan_several(
            self.model,
            self._config,
            chosen=self.card if gpu is None else card(gpu),
            asked=dataclasses.replace(self._asked, **changed),
            n_gpus=self.n_gpus,
            sharding=self.sharding,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything that JSON knows.

        Returns:
            The plan; sizes are in bytes, and those of one card.
        """
        return {"n_gpus": self.n_gpus, "sharding": self.sharding, **super().to_dict()}

    def __repr__(self) -> str:
        return f"Each of {self.n_gpus} cards, {self.sharding}: {super().__repr__()}"


def plan_several(
    model: Any, *, gpu: str | float | Card, n_gpus: int, sharding: str = "ddp", **fields: Any
) -> SeveralPlan:
    """Return the peak memory of a training step on each of several cards of one kind.

    - `"ddp"`: each card has the whole model, and buckets as large as all gradients.
    - `"fsdp2"`: each card has a share of weights, gradients and states, and gathers one block at a
      time, as accelerate shards a model: blocks, embedding, and the end of the model.

    Args:
        model: As in `plan`.
        gpu: As in `plan`.
        n_gpus: How many such cards, two or more.
        sharding: One of `SHARDINGS`.
        **fields: Those of `TrainingStep`; `batch` is that of one card.

    Returns:
        The plan of one card. Its `repr` is a table.

    Raises:
        ValueError: An argument is unknown, the model is, or they are impossible together.

    Source:
        `torch.nn.parallel.DistributedDataParallel` and `torch.distributed.fsdp.fully_shard` of
        torch 2.13, `accelerate.utils.fsdp_utils.fsdp2_prepare_model` of accelerate 1.15
    """
    if n_gpus < 2:
        raise ValueError(f"n_gpus is {n_gpus}: give 2 or more, or call memory.plan for one card")
    if sharding not in SHARDINGS:
        raise ValueError(f"sharding is {sharding!r}: choose one of {', '.join(SHARDINGS)}")
    step = TrainingStep(**fields)
    chosen, config = card(gpu), configuration(model)
    name = model if isinstance(model, str) else config.model_type
    return _plan_several(name, config, chosen=chosen, asked=step, n_gpus=n_gpus, sharding=sharding)


def _plan_several(
    name: str, config: Any, *, chosen: Card, asked: TrainingStep, n_gpus: int, sharding: str
) -> SeveralPlan:
    from onegpu.memory.tracing.replicas import replicate
    from onegpu.memory.tracing.shards import shard
    from onegpu.memory.tracing.steps import trace

    step = asked.on(chosen, config)
    traced, divide = step, replicate
    if sharding == "fsdp2":
        _check_sharded(step)
        step, traced = _sharded(step, card=chosen)
        divide = functools.partial(shard, n_gpus=n_gpus, step=step)
    events = tuple(trace(config, traced, card=chosen, divide=divide))
    found = _plan(name, config, chosen=chosen, asked=step, events=events)
    fields = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return SeveralPlan(**{**fields, "_asked": asked}, n_gpus=n_gpus, sharding=sharding)


def _check_sharded(step: TrainingStep) -> None:
    if step.lora is None and step.autocast and step.precision != "fp32":
        raise ValueError(HALF.format(step.precision))
    if step.quantization:
        raise ValueError(QUANTIZED.format(step.quantization))
    if step.optimizer not in ("adamw_torch", "adamw_torch_fused"):
        raise ValueError(PAGED_OR_8_BITS.format(step.optimizer))
    if step.trainer == "grpo":
        raise ValueError(NO_TRAINER.format("grpo", "", ""))
    if step.trainer == "dpo" and step.lora is None and not step.precompute_ref:
        reference = " with precompute_ref=False", ", or precompute_ref=True"
        raise ValueError(NO_TRAINER.format("dpo", *reference))


def _sharded(step: TrainingStep, *, card: Card) -> tuple[TrainingStep, TrainingStep]:
    """Return the step as shards are kept, and as gathered weights compute.

    With autocast accelerate keeps the shards of what is trained in float32, and gathers everything
    in 16 bits.
    """
    if not step.autocast:
        return step, step
    trained = "precision" if step.lora is None else "adapter_precision"
    in_16_bits = "bf16" if card.has_bf16 else "fp16"
    gathered = {"precision": in_16_bits, "adapter_precision": in_16_bits}
    return (
        dataclasses.replace(step, **{trained: "fp32"}),
        dataclasses.replace(step, **gathered),
    )
