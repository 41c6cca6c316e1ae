"""Will it fit? The peak memory of a training step, traced before there is a GPU."""

from onegpu.memory.architectures import ARCHITECTURES
from onegpu.memory.cards import CARDS, Card
from onegpu.memory.measurement import Measurement, measure
from onegpu.memory.planner import Plan, plan
from onegpu.memory.replay import KINDS, Moment, Phase
from onegpu.memory.table import as_text, sweep
from onegpu.memory.training_step import CHOICES, TrainingStep

__all__ = [
    "ARCHITECTURES",
    "CARDS",
    "CHOICES",
    "KINDS",
    "Card",
    "Measurement",
    "Moment",
    "Phase",
    "Plan",
    "TrainingStep",
    "as_text",
    "measure",
    "plan",
    "sweep",
]
