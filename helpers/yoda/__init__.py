"""The English-to-Yoda data set: its grammar, and the splits made with it.

Taught in: notebooks/00_tldr.ipynb
"""

from helpers.yoda.data import (
    DATA_FOLDER,
    INSTRUCTION,
    SPLITS,
    load,
    prompt,
    rows,
    to_prompt_completion,
)
from helpers.yoda.grammar import Sentence, generate

__all__ = [
    "DATA_FOLDER",
    "INSTRUCTION",
    "SPLITS",
    "Sentence",
    "generate",
    "load",
    "prompt",
    "rows",
    "to_prompt_completion",
]
