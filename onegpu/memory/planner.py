"""Will it fit? The peak memory of a training step, before there is a GPU."""

import dataclasses
from typing import TYPE_CHECKING, Any

from onegpu.machine import GIB, MIB
from onegpu.memory.architectures import configuration
from onegpu.memory.cards import Card, card
from onegpu.memory.replay import Moment, Phase, peaks_of, timeline_of
from onegpu.memory.search import largest
from onegpu.memory.training_step import TrainingStep

if TYPE_CHECKING:
    from onegpu.memory.tracer import Event

__all__ = ["Plan", "plan"]

# Reserved memory of a model loaded in NF4 differs from run to run, on one card too. In the recorded
# runs it is between these shares of what the simulation gives.
NF4_RESERVED = (0.86, 1.08)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a training step takes on a card.

    Attributes:
        model: Name of the model, or its kind.
        card: The card.
        step: The settings of the training step.
        phases: The peaks of each phase.
        parts: Bytes of each of `KINDS` at the peak.
        operation: What allocated last before the peak.
        module: The module in which that was.
    """

    model: str
    card: Card
    step: TrainingStep
    phases: tuple[Phase, ...]
    parts: dict[str, int]
    operation: str
    module: str
    _config: Any = dataclasses.field(repr=False, compare=False)
    _events: "tuple[Event, ...]" = dataclasses.field(repr=False, compare=False)

    @property
    def allocated_bytes(self) -> int:
        """Peak of what tensors take."""
        return max(phase.allocated_bytes for phase in self.phases)

    @property
    def reserved_bytes(self) -> tuple[int, int]:
        """Peak of what torch reserves: from, to. The same twice where it is a point."""
        simulated = max(phase.reserved_bytes for phase in self.phases)
        if self.step.quantization is None:
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

    @property
    def not_validated(self) -> tuple[str, ...]:
        """What no measurement has confirmed yet."""
        step, kind = self.step, self._config.model_type
        doubts = {
            f"cards other than a T4 ({self.card.name})": not self.card.is_measured,
            f"{step.precision} weights": step.precision != "fp16",
            "full fine-tuning": step.lora is None,
            "double quantization": step.quantization == "nf4-double",
            step.optimizer: step.optimizer != "adamw_torch",
            "without checkpointing": not step.checkpointing,
            f"the architecture {kind}": kind not in ("llama", "qwen2"),
        }
        return tuple(doubt for doubt, applies in doubts.items() if applies)

    def replan(self, **changed: Any) -> "Plan":
        """Return the plan of another step of this model on this card.

        Args:
            **changed: Fields of `TrainingStep` and their new values.

        Returns:
            The other plan.

        Raises:
            ValueError: A value is unknown or impossible.
        """
        step = dataclasses.replace(self.step, **changed)
        return _plan(self.model, self._config, chosen=self.card, step=step)

    def timeline(self) -> list[Moment]:
        """Return memory after each allocation.

        Returns:
            The moments of loading and of two steps.
        """
        return timeline_of(self._events)

    def largest_batch(self) -> int:
        """Return the most rows of this length that fit.

        Returns:
            The rows; 0 if not even one fits.
        """
        return largest(lambda batch: self.replan(batch=batch).margin_bytes)

    def longest_seq(self, *, step: int = 128) -> int:
        """Return the longest row that fits, in this batch.

        Args:
            step: Of how many tokens the answer is a multiple.

        Returns:
            The tokens, no more than the model has positions; 0 if not even one step fits.
        """
        max_seq = getattr(self._config, "max_position_embeddings", None)
        limit = max_seq // step if max_seq else None
        return step * largest(lambda n: self.replan(seq=step * n).margin_bytes, limit=limit)

    def _settings(self) -> dict[str, Any]:
        """Return the settings other than batch and length, by the names that we print."""
        lora = self.step.lora
        return {
            "LoRA": "none" if lora is None else f"rank {lora.get('r', 8)}",
            "quantization": self.step.quantization,
            "optimizer": self.step.optimizer,
            "checkpointing": self.step.checkpointing,
            "attention": self.step.attention,
            "precision": self.step.precision,
        }

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
            "settings": self._settings(),
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
        chosen = ", ".join(f"{name} {value}" for name, value in self._settings().items())
        lines = [
            f"{self.model} on {self.card.name}, {self.step.batch} rows of {self.step.seq:,} tokens",
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


def plan(model: Any, *, gpu: str | float | Card, **fields: Any) -> Plan:
    """Return the peak memory of a training step, from tracing the model's own code.

    The model is built without weights and run on `meta` tensors, forward and backward and through
    the optimizer; a simulated allocator replays what it would have allocated on a GPU.

    Args:
        model: A name of `ARCHITECTURES`, with or without its owner and `-Instruct`; a folder or a
            `config.json`; a name on the hub, where there is a network; or a configuration of
            transformers.
        gpu: A key of `CARDS`, any card by its GiB, or a `Card`.
        **fields: Those of `TrainingStep`: `seq` and `batch`, and where its defaults are not yours
            `lora`, `quantization`, `optimizer`, `checkpointing`, `attention` and `precision`.

    Returns:
        The plan. Its `repr` is a table.

    Raises:
        ValueError: An argument is unknown, the model is, or they are impossible together.
    """
    step = TrainingStep(**fields)
    chosen, config = card(gpu), configuration(model)
    name = model if isinstance(model, str) else config.model_type
    return _plan(name, config, chosen=chosen, step=step)


def _plan(name: str, config: Any, *, chosen: Card, step: TrainingStep) -> Plan:
    from onegpu.memory.meta_step import trace

    step = step.on(chosen, config)
    events = trace(config, step, card=chosen)
    peaks = peaks_of(events)
    return Plan(
        model=name,
        card=chosen,
        step=step,
        phases=peaks.phases,
        parts=peaks.parts,
        operation=peaks.operation,
        module=peaks.module,
        _config=config,
        _events=tuple(events),
    )
