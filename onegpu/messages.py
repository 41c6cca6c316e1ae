"""Messages of libraries that one can do nothing about."""

import logging
import warnings

__all__ = ["hide_known"]

KNOWN = (
    "Failed to load CPU gemm_4bit_forward",
    "MatMul8bitLt: inputs will be cast",
    "The modules are dequantized",
    "falling back to its reference PyTorch implementation",
)


def hide_known() -> None:
    """Hide messages of bitsandbytes and transformers that one can do nothing about.

    - bitsandbytes asks for the optional package `kernels` on processors with AVX512-BF16, and
      says for each 8-bit layer that it casts the input, which it always does.
    - transformers says which type it dequantizes 4-bit weights to, and which kernels for linear
      attention are not installed; 5.23 warns of a rename inside PEFT, trl and itself.
    """
    for name in (
        "bitsandbytes.backends.cpu.ops",
        "bitsandbytes.autograd._functions",
        "transformers.integrations.bitsandbytes",
        "transformers.integrations.hub_kernels",
    ):
        logging.getLogger(name).addFilter(_is_news)
    warnings.filterwarnings("ignore", message=r".*gradient_checkpointing. is deprecated")


def _is_news(record: logging.LogRecord) -> bool:
    return not any(message in record.getMessage() for message in KNOWN)
