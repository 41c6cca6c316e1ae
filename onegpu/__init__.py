"""Tools for fine-tuning on one GPU: will it fit, will it learn, is it the same model?

Each module answers one question: import what you need by name, as in `from onegpu import memory`.
Nothing heavy is imported until a function needs it.
"""

from __future__ import annotations  # as in `onegpu.__main__`

import importlib
from typing import Any

__all__ = [
    "chat",
    "command_line",
    "doctor",
    "downloads",
    "evaluation",
    "generation",
    "gguf",
    "llama_build",
    "llama_cpp",
    "lora",
    "losses",
    "machine",
    "making",
    "memory",
    "messages",
    "parity",
    "preflight",
    "processes",
    "progress",
    "quantization",
    "rows",
    "runs",
    "serving",
    "sources",
    "training",
]


def __getattr__(name: str) -> Any:
    """Import a module when it is first used; and tell the installed version."""
    if name == "__version__":
        from importlib import metadata

        from onegpu.downloads import PROJECT

        return metadata.version(PROJECT)
    if name in __all__:
        return importlib.import_module(f"onegpu.{name}")
    raise AttributeError(f"module 'onegpu' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
