"""The companion library of the course Fine-Tuning LLMs on One GPU.

Each module answers one question of one chapter: import what you need by name, as in
`from helpers import yoda`. Nothing heavy is imported until a function needs it.
"""

__all__ = [
    "bits",
    "chat",
    "environment",
    "evaluation",
    "exercises",
    "figures",
    "flashcards",
    "generation",
    "gguf",
    "llama_build",
    "llama_cpp",
    "lora",
    "memory",
    "models",
    "parity",
    "plots",
    "preflight",
    "processes",
    "quantization",
    "rows",
    "runs",
    "serving",
    "training",
    "yoda",
]
