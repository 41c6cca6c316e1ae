"""Will it fit? The peak memory of a training step, before there is a GPU."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu.machine import GIB, MIB
from onegpu.memory.architectures import configuration, stored_quantization
from onegpu.memory.cards import Card, card
from onegpu.memory.measured import unmeasured
from onegpu.memory.reading import read_step
from onegpu.memory.replay import Failure, Moment, Phase, peaks_of, timeline_of
from onegpu.memory.search import largest
from onegpu.memory.training_step import TrainingStep

if TYPE_CHECKING:
    from transformers import Trainer

    from onegpu.memory.tracing.tracer import Event

__all__ = ["Plan", "plan", "plan_trainer"]

# Reserved memory of a model loaded in NF4 differs from run to run, on one card too. In the recorded
# runs it is between these shares of what the simulation gives.
NF4_RESERVED = (0.86, 1.08)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training step takes on a card.

    Attributes:
        model: Name of the model, or its kind.
        card: The card.
        step: The settings of the training step, with what was left open chosen.
        phases: The peaks of each phase, as if the card had no end.
        parts: Bytes of each of `KINDS` at the peak.
        operation: What allocated last before the peak.
        module: The module in which that was.
        failure: Where the card's memory runs out; None if the step fits.
    """

    model: str
    card: Card
    step: TrainingStep
    phases: tuple[Phase, ...]
    parts: dict[str, int]
    operation: str
    module: str
    failure: Failure | None
    _asked: TrainingStep = dataclasses.field(repr=False, compare=False)
    _config: Any = dataclasses.field(repr=False, compare=False)
    _events: "tuple[Event, ...]" = dataclasses.field(repr=False, compare=False)

    @property
    def allocated_bytes(self) -> int:
        """Peak of what tensors take."""
        return max(phase.allocated_bytes for phase in self.phases)

    @property
    def reserved_bytes(self) -> tuple[int, int]:
        """Peak of what torch reserves, on a card that is large enough: from, to.

        The same twice where it is a point.
        """
        simulated = max(phase.reserved_bytes for phase in self.phases)
        low, high = _reserved(simulated, self.step)
        return max(low, self.allocated_bytes), high

    @property
    def process_bytes(self) -> int:
        """At most what the process takes of the card, with what CUDA takes for itself.

        Torch gives back what it caches before it takes more than there is, so this is never more
        than the card, unless the step does not fit.
        """
        wanted = self.reserved_bytes[1] + self.card.context_bytes
        return wanted if self.failure else min(wanted, self.card.memory_bytes)

    @property
    def margin_bytes(self) -> int:
        """What is left of the card; below zero if the step does not fit: what is missing."""
        if self.failure is None:
            return self.card.memory_bytes - self.process_bytes
        for_tensors = self.card.memory_bytes - self.card.context_bytes - self.allocated_bytes
        return min(for_tensors, self.failure.free_bytes - self.failure.asked_bytes)

    @property
    def fits(self) -> bool:
        """Whether it fits."""
        return self.failure is None

    @property
    def is_tight(self) -> bool:
        """Whether it fits only as torch may have to give back what it caches."""
        wanted = self.reserved_bytes[1] + self.card.context_bytes
        return self.fits and wanted > self.card.memory_bytes

    @property
    def verdict(self) -> str:
        """What to expect, in words."""
        if not self.fits:
            return "does not fit"
        return "fits, tight: close other programs" if self.is_tight else "fits"

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the card, and of what is not as one would expect."""
        text = self._config.get_text_config()
        experts = ("num_local_experts", "num_experts", "n_routed_experts")
        notes = {
            f"{self.card.name}: {self.card.note}": bool(self.card.note),
            "the weights of experts have three dimensions and stay in 16 bits: bitsandbytes "
            "quantizes linear layers": bool(self.step.quantization)
            and any(getattr(text, name, None) for name in experts),
            "the text part of the model alone is planned: what sees or hears takes more": (
                self._config.model_type.endswith("_text")
            ),
            "linear attention is planned as transformers computes it without the packages "
            "flash-linear-attention and causal-conv1d": "linear_attention"
            in (getattr(text, "layer_types", None) or ()),
        }
        return tuple(note for note, applies in notes.items() if applies)

    @property
    def not_measured(self) -> tuple[str, ...]:
        """The settings that no measurement has confirmed yet."""
        return unmeasured(self.step, card=self.card, config=self._config)

    def replan(self, *, gpu: str | float | Card | None = None, **changed: Any) -> "Plan":
        """Return the plan of another step of this model.

        Args:
            gpu: Another card, as in `plan`; None for the same.
            **changed: Fields of `TrainingStep` and their new values. What was left open is chosen
                again.

        Returns:
            The other plan.

        Raises:
            ValueError: A value is unknown or impossible.
        """
        asked = dataclasses.replace(self._asked, **changed)
        chosen = self.card if gpu is None else card(gpu)
        step = asked.on(chosen, self._config)
        is_known = step == self.step and chosen.is_like(self.card)
        events = self._events if is_known else None
        return _plan(self.model, self._config, chosen=chosen, asked=asked, events=events)

    def timeline(self) -> list[Moment]:
        """Return memory after each allocation.

        Returns:
            The moments of loading and of two steps.
        """
        return timeline_of(self._events)

    def largest_batch(self, *, limit: int | None = None) -> int:
        """Return the most rows of this length that fit.

        Args:
            limit: The most rows that are of interest.

        Returns:
            The rows; 0 if not even one fits.
        """
        return largest(lambda batch: _distance(self.replan(batch=batch)), limit=limit)

    def longest_seq(self, *, step: int = 128) -> int:
        """Return the longest row that fits, in this batch.

        Args:
            step: Of how many tokens the answer is a multiple.

        Returns:
            The tokens, no more than the model has positions; 0 if not even one step fits.
        """
        max_seq = getattr(self._config, "max_position_embeddings", None)
        limit = max_seq // step if max_seq else None
        return step * largest(lambda n: _distance(self.replan(seq=step * n)), limit=limit)

    def to_dict(self) -> dict[str, Any]:
        """Return everything that JSON knows.

        Returns:
            The plan; sizes are in bytes.
        """
        return {
            "model": self.model,
            "card": dataclasses.asdict(self.card),
            "seq": self.step.seq,
            "batch": self.step.batch,
            "settings": self.step.to_dict(),
            "verdict": self.verdict,
            "fits": self.fits,
            "margin_bytes": self.margin_bytes,
            "allocated_bytes": self.allocated_bytes,
            "reserved_bytes": list(self.reserved_bytes),
            "process_bytes": self.process_bytes,
            "phases": [dataclasses.asdict(phase) for phase in self.phases],
            "parts_bytes": self.parts,
            "operation": self.operation,
            "module": self.module,
            "failure": None if self.failure is None else dataclasses.asdict(self.failure),
            "notes": list(self.notes),
            "not_measured": list(self.not_measured),
        }

    def _rows(self) -> str:
        """Return what a step is given, in words."""
        units = {"dpo": "pair of rows", "reward": "pair of rows", "grpo": "completion"}
        one = units.get(self.step.trainer, "row")
        many = one.replace("pair", "pairs") if " " in one else f"{one}s"
        tokens = f"{self.step.seq:,} tokens"
        if self.step.trainer in ("dpo", "grpo"):
            tokens += ", prompt and answer together"
        return f"{self.step.batch} {one if self.step.batch == 1 else many} of {tokens}"

    def _missing(self) -> str:
        """Return what is missing, in words: memory, or a piece of it that is large enough."""
        wanted, there = self.allocated_bytes + self.card.context_bytes, self.card.memory_bytes
        if wanted > there:
            return f"{(wanted - there) / GIB:.2f} GiB more than the {there / GIB:.2f} of the card"
        asked, free = self.failure.asked_bytes / MIB, self.failure.free_bytes / MIB
        return (
            f"tensors take {wanted / GIB:.2f} of {there / GIB:.2f} GiB, but what is free lies in "
            f"pieces: in {self.failure.phase}, {asked:,.0f} MiB are asked for in one piece and "
            f"{free:,.0f} are left; PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True may help"
        )

    def __repr__(self) -> str:
        low, high = (round(n / MIB) for n in self.reserved_bytes)
        reserved = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        memory_gib = self.card.memory_gib
        memory_gib, context = self.card.memory_gib, f"CUDA {self.card.context_mib:.0f} MiB"
        if not self.card.is_measured:
            context += ", as on a T4"
        room = f"{self.process_bytes / GIB:.2f} of {memory_gib:.2f} GiB"
        if not self.fits:
            room = self._missing()
        lines = [
            f"{self.model} on {self.card.name}, {self._rows()}",
            f"({self.step})",
            f"{self.verdict if self.fits else self.verdict.upper()}: {room}",
            f"peak allocated {self.allocated_bytes / MIB:,.0f} MiB, reserved {reserved} MiB, "
            f"{context}",
            *(f"  {p.name:10} {p.allocated_bytes / MIB:>9,.0f} MiB" for p in self.phases),
            f"at the peak, in {self.operation} of {self.module or 'the loss'}:",
            *(f"  {kind:12} {n / MIB:>9,.0f} MiB" for kind, n in self.parts.items() if n),
        ]
        lines += self.notes
        if self.not_measured:
            lines.append(f"not measured yet: {'; '.join(self.not_measured)}")
        return "\n".join(lines)


def _reserved(simulated: int, step: TrainingStep) -> tuple[int, int]:
    """Return between what and what torch reserves, where the simulation says so much."""
    if step.quantization is None:
        return simulated, simulated
    return int(NF4_RESERVED[0] * simulated), int(NF4_RESERVED[1] * simulated)


def _distance(found: Plan) -> int:
    """Return a number that falls in a straight line as a step grows, below zero if no fit."""
    left = found.card.memory_bytes - found.card.context_bytes - found.allocated_bytes
    return left if found.fits else min(left, -1)


def plan(model: Any, *, gpu: str | float | Card, **fields: Any) -> Plan:
    """Return the peak memory of a training step, from tracing the model's own code.

    The model is built without weights and run on `meta` tensors, forward and backward and through
    the optimizer; a simulated allocator replays what it would have allocated on a GPU.

    Args:
        model: A name of `ARCHITECTURES`, with or without its owner and `-Instruct`; a folder or a
            `config.json`; a name on the hub, where there is a network; or a configuration of
            transformers. What is stored in 4 or 8 bits of bitsandbytes stays so.
        gpu: A key of `CARDS`, any card by its GiB, or a `Card`.
        **fields: Those of `TrainingStep`: `seq` and `batch`, and where its defaults are not yours
            `lora`, `trainer`, `quantization`, `precision`, `checkpointing` and others.

    Returns:
        The plan. Its `repr` is a table.

    Raises:
        ValueError: An argument is unknown, the model is, or they are impossible together.
    """
    chosen, config = card(gpu), configuration(model)
    if fields.get("lora") is not None and not fields.get("quantization"):
        fields["quantization"] = stored_quantization(model, config)
    step = TrainingStep(**fields)
    name = model if isinstance(model, str) else config.model_type
    return _plan(name, config, chosen=chosen, asked=step)


def plan_trainer(trainer: "Trainer", *, gpu: str | float | Card, seq: int | None = None) -> Plan:
    """Return the peak memory of the training step that a trainer would do, before it does.

    Everything is read from the trainer: model, number types, adapter, batch, loss and optimizer,
    and from its training data the longest row.

    Args:
        trainer: Of transformers, or trl's for SFT, DPO, rewards or GRPO. It may be on a computer
            without a GPU, and is not changed.
        gpu: As in `plan`.
        seq: Tokens of the longest row, where the data don't say it: those of GRPO, or a stream.

    Returns:
        The plan.

    Raises:
        ValueError: The card is unknown, or the trainer does what cannot be planned.
    """
    step = read_step(trainer, seq=seq)
    chosen, config = card(gpu), trainer.model.config
    if trainer.args.bf16 and not chosen.has_bf16:
        raise ValueError(
            f"bf16 is True, and a {chosen.name} of capability {chosen.capability} only emulates "
            "it: set bf16=False and fp16=True"
        )
    name = Path(getattr(config, "_name_or_path", "")).name or config.model_type
    return _plan(name, configuration(config), chosen=chosen, asked=step)


def _plan(
    name: str,
    config: Any,
    *,
    chosen: Card,
    asked: TrainingStep,
    events: "tuple[Event, ...] | None" = None,
) -> Plan:
    from onegpu.memory.tracing.steps import trace

    step = asked.on(chosen, config)
    events = events or tuple(trace(config, step, card=chosen))
    peaks, failure = peaks_of(events), None
    capacity = chosen.memory_bytes - chosen.context_bytes
    if _reserved(max(phase.reserved_bytes for phase in peaks.phases), step)[1] > capacity:
        failure = peaks_of(events, capacity).failure
    return Plan(
        model=name,
        card=chosen,
        step=step,
        phases=peaks.phases,
        parts=peaks.parts,
        operation=peaks.operation,
        module=peaks.module,
        failure=failure,
        _asked=asked,
        _config=config,
        _events=events,
    )
