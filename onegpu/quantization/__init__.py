"""Blockwise quantization in four bits, its error, and what a quantized model is made of.

Taught in: notebooks/02_quantization.ipynb
"""

from onegpu.quantization.blocks import FORMATS, Blocks, codebook, quantize, relative_error
from onegpu.quantization.layers import ModuleInfo, dequantize, inspect, keep_trainable

__all__ = [
    "FORMATS",
    "Blocks",
    "ModuleInfo",
    "codebook",
    "dequantize",
    "inspect",
    "keep_trainable",
    "quantize",
    "relative_error",
]
