"""Which model can I serve on this card? Weights, KV cache and buffers of three engines."""

from onegpu.memory.inference.planner import ServingPlan, plan_serving
from onegpu.memory.inference.serving import ENGINES, Serving

__all__ = ["ENGINES", "Serving", "ServingPlan", "plan_serving"]
