"""Which settings of a training step have been measured on a card, by anybody."""

from typing import Any

from onegpu.memory.cards import Card
from onegpu.memory.training_step import TrainingStep

__all__ = ["unmeasured"]

# What the recorded runs had: 88 steps on a T4, 8 on an A100 and 5 on an L40S; see
# `helpers/data/records/memory_t4.json` and `memory_published.json` of the course.
CARDS = {"t4", "a100-80", "l40s"}
ARCHITECTURES = {"llama", "mistral", "qwen2"}
RANKS = range(10, 65)
TARGETS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
LONGEST, LARGEST = 4096, 8
# Settings of which some value was measured, with those.
VALUES: dict[str, set[Any]] = {
    "trainer": {"sft", "loop"},
    "loss": {"plain"},
    "quantization": {None, "nf4", "nf4-double"},
    "optimizer": {"adamw_torch"},
    "adapter_precision": {"fp32"},
}


def unmeasured(step: TrainingStep, *, card: Card, config: Any) -> tuple[str, ...]:
    """Return the settings that no recorded run had.

    Args:
        step: Everything chosen.
        card: What it would run on.
        config: A configuration of transformers.

    Returns:
        Words for each of them, such as `the card h100`.
    """
    found = [
        f"{name.replace('_', ' ')} {getattr(step, name)}"
        for name, known in VALUES.items()
        if getattr(step, name) not in known and getattr(step, name) is not None
    ]
    targets, rank = step.targets, step.rank
    doubts = {
        f"the card {card.name}": card.name not in CARDS,
        f"the architecture {config.model_type}": config.model_type not in ARCHITECTURES,
        "autocast in fp16": bool(step.autocast) and not card.has_bf16,
        "weights trained in fp32": step.lora is None and step.precision == "fp32",
        f"rank {rank}": rank is not None and rank not in RANKS,
        f"adapters on {targets}": bool(targets) and not set(targets.split(", ")) <= TARGETS,
        f"rows of more than {LONGEST:,} tokens": step.seq > LONGEST,
        f"more than {LARGEST} rows": step.batch > LARGEST,
    }
    return (*(doubt for doubt, applies in doubts.items() if applies), *found)
