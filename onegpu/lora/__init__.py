"""What an adapter adds to a model, layer by layer, how large its update is, and whether it fits.

Taught in: notebooks/03_lora.ipynb
"""

from onegpu.lora.layers import AdaptedLayer, inspect, linear_layers
from onegpu.lora.targets import matching_layers, n_parameters
from onegpu.lora.verification import verify_adapter

__all__ = [
    "AdaptedLayer",
    "inspect",
    "linear_layers",
    "matching_layers",
    "n_parameters",
    "verify_adapter",
]
