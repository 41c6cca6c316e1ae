"""Will it fit? The peak memory of a training step, traced before there is a GPU."""

from onegpu.memory.architectures import ARCHITECTURES
from onegpu.memory.cards import CARDS
from onegpu.memory.measurement import Measurement, measure
from onegpu.memory.planner import KINDS, Plan, as_text, plan, sweep

__all__ = [
    "ARCHITECTURES",
    "CARDS",
    "KINDS",
    "Measurement",
    "Plan",
    "as_text",
    "measure",
    "plan",
    "sweep",
]
