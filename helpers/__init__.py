"""The companion library of the course Fine-Tuning LLMs on One GPU: what its notebooks share.

The tools that are of use without the course are in `onegpu`. Import what you need by name, as in
`from helpers import yoda`. Nothing heavy is imported until a function needs it.
"""

__all__ = [
    "adapters",
    "bits",
    "doctor",
    "environment",
    "exercises",
    "figures",
    "flashcards",
    "models",
    "number_formats",
    "plots",
    "recipe",
    "records",
    "texts",
    "yoda",
]
