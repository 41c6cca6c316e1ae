"""Will it fit? The peak memory of a training step, before there is a GPU."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from onegpu.machine import GIB, MIB
from onegpu.memory.allocator import CachingAllocator
from onegpu.memory.architectures import configuration
from onegpu.memory.cards import Card, card

if TYPE_CHECKING:
    from onegpu.memory.tracer import Event

__all__ = ["KINDS", "Moment", "Phase", "Plan", "as_text", "plan", "sweep"]

KINDS = (
    "weights",
    "adapters",
    "gradients",
    "optimizer",
    "activations",
    "logits",
    "temporaries",
)
# Reserved memory of a model loaded in NF4 differs from run to run, on one card too. In the recorded
# runs it is between these shares of what the simulation gives.
NF4_RESERVED = (0.86, 1.08)


@dataclasses.dataclass(frozen=True)
class Phase:
    """The peaks of one phase of training.

    Attributes:
        name: `load`, `forward`, `backward` or `optimizer`.
        allocated_bytes: What tensors take.
        reserved_bytes: What torch holds for them.
    """

    name: str
    allocated_bytes: int
    reserved_bytes: int


@dataclasses.dataclass(frozen=True)
class Moment:
    """Memory after one allocation.

    Attributes:
        phase: As in `Phase`.
        step: The training step; 0 while loading.
        parts: Bytes of each of `KINDS`.
    """

    phase: str
    step: int
    parts: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training step takes on a card.

    Attributes:
        model: Name of the model, or its kind.
        card: The card.
        seq: Tokens a row.
        batch: Rows a step.
        max_seq: The longest row that the model has positions for; None where it does not say.
        settings: The other settings, by name.
        phases: The peaks of each phase.
        parts: Bytes of each of `KINDS` at the peak.
        operation: What allocated last before the peak.
        module: The module in which that was.
        not_validated: What no measurement has confirmed yet.
        replan: Makes the plan with another `seq` and `batch`.
    """

    model: str
    card: Card
    seq: int
    batch: int
    max_seq: int | None
    settings: dict[str, Any]
    phases: tuple[Phase, ...]
    parts: dict[str, int]
    operation: str
    module: str
    not_validated: tuple[str, ...]
    _events: "tuple[Event, ...]" = dataclasses.field(repr=False, compare=False)
    replan: Callable[..., "Plan"] = dataclasses.field(repr=False, compare=False)

    @property
    def allocated_bytes(self) -> int:
        """Peak of what tensors take."""
        return max(phase.allocated_bytes for phase in self.phases)

    @property
    def reserved_bytes(self) -> tuple[int, int]:
        """Peak of what torch reserves: from, to. The same twice where it is a point."""
        simulated = max(phase.reserved_bytes for phase in self.phases)
        if not self.settings["quantization"]:
            return simulated, simulated
        low, high = (int(share * simulated) for share in NF4_RESERVED)
        return max(low, self.allocated_bytes), high

    @property
    def process_bytes(self) -> int:
        """At most what the process takes of the card: the upper end of reserved, and CUDA's own."""
        return self.reserved_bytes[1] + int(self.card.context_mib * MIB)

    @property
    def margin_bytes(self) -> int:
        """What is left of the card; below zero if it does not fit."""
        return int(self.card.memory_gib * GIB) - self.process_bytes

    @property
    def fits(self) -> bool:
        """Whether it fits."""
        return self.margin_bytes >= 0

    def timeline(self) -> list[Moment]:
        """Return memory after each allocation, loading and two steps long."""
        parts, moments, kinds = dict.fromkeys(KINDS, 0), [], {}
        phase, step = "load", 0
        for event in self._events:
            if event.action == "phase":
                phase, step = event.operation, step + (event.operation == "forward")
            elif event.action == "allocate":
                kinds[event.key] = event.kind, event.n_bytes
                parts[event.kind] += event.n_bytes
                moments.append(Moment(phase, step, dict(parts)))
            elif event.action == "free":
                kind, n_bytes = kinds.pop(event.key)
                parts[kind] -= n_bytes
        return moments

    def largest_batch(self) -> int:
        """Return the most rows of this length that fit, or 0."""
        return _largest(lambda batch: self.replan(seq=self.seq, batch=batch).margin_bytes)

    def longest_seq(self, *, step: int = 128) -> int:
        """Return the longest row that fits, in this batch, as a multiple of `step`, or 0."""
        limit = self.max_seq // step if self.max_seq else None
        return step * _largest(
            lambda n: self.replan(seq=step * n, batch=self.batch).margin_bytes, limit=limit
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything that JSON knows, sizes in bytes."""
        return {
            "model": self.model,
            "card": dataclasses.asdict(self.card),
            "seq": self.seq,
            "batch": self.batch,
            "settings": self.settings,
            "fits": self.fits,
            "margin_bytes": self.margin_bytes,
            "allocated_bytes": self.allocated_bytes,
            "reserved_bytes": list(self.reserved_bytes),
            "process_bytes": self.process_bytes,
            "phases": [dataclasses.asdict(phase) for phase in self.phases],
            "parts_bytes": self.parts,
            "operation": self.operation,
            "module": self.module,
            "not_validated": list(self.not_validated),
        }

    def __repr__(self) -> str:
        low, high = (round(n / MIB) for n in self.reserved_bytes)
        reserved = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        verdict = "fits" if self.fits else "DOES NOT FIT"
        chosen = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [
            f"{self.model} on {self.card.name}, {self.batch} rows of {self.seq:,} tokens",
            f"({chosen})",
            f"{verdict}: {self.process_bytes / GIB:.2f} of {self.card.memory_gib:.2f} GiB, "
            f"{abs(self.margin_bytes) / GIB:.2f} GiB {'left' if self.fits else 'missing'}",
            f"peak allocated {self.allocated_bytes / MIB:,.0f} MiB, reserved {reserved} MiB, "
            f"CUDA {self.card.context_mib:.0f} MiB",
            *(f"  {p.name:10} {p.allocated_bytes / MIB:>9,.0f} MiB" for p in self.phases),
            f"at the peak, in {self.operation} of {self.module or 'the loss'}:",
            *(f"  {kind:12} {n / MIB:>9,.0f} MiB" for kind, n in self.parts.items() if n),
        ]
        if self.not_validated:
            lines.append(f"not validated by a measurement yet: {'; '.join(self.not_validated)}")
        return "\n".join(lines)


def _largest(margin: Callable[[int], int], *, limit: int | None = None) -> int:
    """Return the largest number, up to a limit, whose margin is not negative; 0 if there is none.

    Memory grows almost in a straight line, so each guess comes from the two margins before it.
    """
    low, high = 0, None if limit is None else limit + 1
    guess, before = 1, None
    while high is None or high - low > 1:
        found = margin(guess)
        slope = (before[1] - found) / (guess - before[0]) if before else 0
        before = guess, found
        if found >= 0:
            low = guess
        else:
            high = guess
        guess += round(found / slope - 0.5) if slope > 0 else 1
        guess = max(guess, low + 1)
        if high is not None:
            guess = min(guess, high - 1)
    return low


def sweep(
    found: Plan, *, batches: Sequence[int] = (1, 2, 4, 8), seqs: Sequence[int] = (512, 1024, 2048)
) -> dict[str, dict[str, float]]:
    """Return what the process takes for some batches and lengths, the other settings the same.

    Args:
        found: A plan.
        batches: Rows a step.
        seqs: Tokens a row.

    Returns:
        For each length, by batch, GiB of the card; both as text, as JSON has them.
    """
    return {
        str(seq): {
            str(batch): round(found.replan(seq=seq, batch=batch).process_bytes / GIB, 2)
            for batch in batches
        }
        for seq in seqs
    }


def as_text(table: dict[str, dict[str, float]]) -> str:
    """Return a sweep as a table: a row for each length, a column for each batch, in GiB."""
    batches = list(next(iter(table.values())))
    lines = ["GiB        " + "".join(f"{'batch ' + batch:>10}" for batch in batches)]
    for seq, row in table.items():
        lines.append(f"{seq + ' tokens':11}" + "".join(f"{row[batch]:>10.2f}" for batch in batches))
    return "\n".join(lines)


def plan(
    model: Any,
    *,
    gpu: str | float,
    seq: int,
    batch: int,
    lora: dict[str, Any] | None = None,
    quantization: str | None = None,
    optimizer: str = "adamw_torch",
    checkpointing: bool = True,
    attention: str = "sdpa",
    precision: str | None = None,
) -> Plan:
    """Return the peak memory of a training step, from tracing the model's own code.

    The model is built without weights and run on `meta` tensors, forward and backward and through
    the optimizer; a simulated allocator replays what it would have allocated on a GPU.

    Args:
        model: See `architectures.configuration`.
        gpu: A key of `cards.CARDS`, or any card by its GiB.
        seq: Tokens a row.
        batch: Rows a step (a micro-batch, if gradients are accumulated).
        lora: Keyword arguments of `peft.LoraConfig`, such as `r` and `target_modules`; None for
            full fine-tuning. Trainable weights are float32.
        quantization: None, `"nf4"`, or `"nf4-double"` for double quantization.
        optimizer: `"adamw_torch"`, `"adamw_torch_fused"`, `"adamw_bnb_8bit"` or
            `"paged_adamw_8bit"`, as in `TrainingArguments(optim=...)`.
        checkpointing: Whether activations are computed again in the backward pass.
        attention: `"sdpa"` or `"eager"`.
        precision: Number type of the weights that are not packed: `"bf16"`, `"fp16"`, `"fp32"`;
            without it bf16, or fp16 on a card that computes no bf16.

    Returns:
        The plan. Its `repr` is a table.

    Raises:
        ValueError: An argument is unknown, the model is, or they are impossible together.
    """
    import torch

    from onegpu.memory.optimizers import OPTIMIZERS
    from onegpu.memory.step import trace

    dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    chosen, config = card(gpu), configuration(model)
    has_bf16 = chosen.capability >= 8
    precision = precision or ("bf16" if has_bf16 else "fp16")
    for name, value, allowed in (
        ("precision", precision, tuple(dtypes)),
        ("optimizer", optimizer, tuple(OPTIMIZERS)),
        ("attention", attention, ("sdpa", "eager")),
        ("quantization", quantization, (None, "nf4", "nf4-double")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}: choose one of {', '.join(map(str, allowed))}")
    if seq < 1 or batch < 1:
        raise ValueError(f"seq is {seq} and batch is {batch}: both must be 1 or more")
    if quantization and lora is None:
        raise ValueError("packed weights cannot be trained: give lora={'r': 16, ...}")
    if precision == "bf16" and not has_bf16:
        raise ValueError(
            f"precision is 'bf16', and a {chosen.name} of capability {chosen.capability} only "
            "emulates it: choose fp16 or fp32"
        )
    max_seq = getattr(config, "max_position_embeddings", None)
    if max_seq and seq > max_seq:
        raise ValueError(
            f"seq is {seq:,}, and the model has {max_seq:,} positions: no more than that"
        )
    if quantization and getattr(config, "num_local_experts", None):
        raise ValueError(
            f"quantization is {quantization!r}, and {config.model_type} keeps its experts in "
            "weights that bitsandbytes does not pack: plan it without"
        )
    events = trace(
        config,
        chosen,
        seq=seq,
        batch=batch,
        lora=lora,
        quantization=quantization,
        checkpointing=checkpointing,
        attention=attention,
        dtype=dtypes[precision],
        optimizer=optimizer,
    )
    replan = functools.partial(
        plan,
        config,
        gpu=gpu,
        lora=lora,
        quantization=quantization,
        optimizer=optimizer,
        checkpointing=checkpointing,
        attention=attention,
        precision=precision,
    )
    name = model if isinstance(model, str) else config.model_type
    settings = {
        "LoRA": "none" if lora is None else f"rank {lora.get('r', 8)}",
        "quantization": quantization,
        "optimizer": optimizer,
        "checkpointing": checkpointing,
        "attention": attention,
        "precision": precision,
    }
    return Plan(
        name,
        chosen,
        seq,
        batch,
        max_seq,
        settings,
        *_replay(events),
        _not_validated(chosen, config, settings),
        tuple(events),
        replan,
    )


def _replay(events: "list[Event]") -> tuple[tuple[Phase, ...], dict[str, int], str, str]:
    """Return the peaks of each phase, and what there was at the highest one."""
    allocator, peaks = CachingAllocator(), {}
    live, parts, highest = {}, dict.fromkeys(KINDS, 0), 0
    at_peak: tuple[dict[str, int], str, str] = ({}, "", "")
    phase = ""
    for event in events:
        if event.action == "phase":
            phase = event.operation
        elif event.action == "empty_cache":
            allocator.empty_cache()
        elif event.action == "free":
            allocator.free(event.key)
            kind, n_bytes = live.pop(event.key)
            parts[kind] -= n_bytes
        else:
            allocator.allocate(event.key, event.n_bytes)
            live[event.key] = event.kind, event.n_bytes
            parts[event.kind] += event.n_bytes
            if allocator.allocated > highest:
                highest = allocator.allocated
                at_peak = dict(parts), event.operation, event.module
        allocated, reserved = peaks.get(phase, (0, 0))
        peaks[phase] = max(allocated, allocator.allocated), max(reserved, allocator.reserved)
    return tuple(Phase(name, *peak) for name, peak in peaks.items()), *at_peak


def _not_validated(chosen: Card, config: Any, settings: dict[str, Any]) -> tuple[str, ...]:
    """Return which of the settings no measurement stands behind."""
    doubts = {
        f"cards other than a T4 ({chosen.name})": not chosen.is_measured,
        f"{settings['precision']} weights": settings["precision"] != "fp16",
        "full fine-tuning": settings["LoRA"] == "none",
        "double quantization": settings["quantization"] == "nf4-double",
        settings["optimizer"]: settings["optimizer"] != "adamw_torch",
        "without checkpointing": not settings["checkpointing"],
        f"the architecture {config.model_type}": config.model_type not in ("llama", "qwen2"),
    }
    return tuple(doubt for doubt, applies in doubts.items() if applies)
