"""Will it fit? The peak memory of a training step, traced before there is a GPU."""

from helpers.memory.architectures import ARCHITECTURES
from helpers.memory.cards import CARDS
from helpers.memory.measure import Measurement, measure
from helpers.memory.plan import KINDS, Plan, as_text, plan, sweep

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
