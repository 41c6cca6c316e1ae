"""Will it fit? The peak memory of a training step, traced before there is a GPU."""

from onegpu.memory.answers import SWITCHES, Fit, Switch, compare, explain, fit
from onegpu.memory.architectures import ARCHITECTURES
from onegpu.memory.cards import CARDS, Card
from onegpu.memory.inference import ENGINES, Serving, ServingPlan, plan_serving
from onegpu.memory.inference.gguf_weights import gguf_types
from onegpu.memory.measurement import Measurement, measure
from onegpu.memory.planner import Plan, plan, plan_trainer
from onegpu.memory.replay import KINDS, Moment, Phase
from onegpu.memory.several import SHARDINGS, SeveralPlan, plan_several
from onegpu.memory.table import as_text, sweep
from onegpu.memory.training_step import CHOICES, TrainingStep

__all__ = [
    "ARCHITECTURES",
    "CARDS",
    "CHOICES",
    "ENGINES",
    "KINDS",
    "SHARDINGS",
    "SWITCHES",
    "Card",
    "Fit",
    "Measurement",
    "Moment",
    "Phase",
    "Plan",
    "Serving",
    "ServingPlan",
    "SeveralPlan",
    "Switch",
    "TrainingStep",
    "as_text",
    "compare",
    "explain",
    "fit",
    "gguf_types",
    "measure",
    "plan",
    "plan_serving",
    "plan_several",
    "plan_trainer",
    "sweep",
]
