"""Will it fit? The peak memory of a training step, traced before there is a GPU."""

from helpers.memory.architectures import ARCHITECTURES
from helpers.memory.cards import CARDS
from helpers.memory.plan import KINDS, Plan, as_text, plan, sweep

__all__ = ["ARCHITECTURES", "CARDS", "KINDS", "Plan", "as_text", "plan", "sweep"]
