"""Drawings of ideas. Each draws on an `Axes` and returns it."""

from helpers.figures.appendix_b import bit_fields
from helpers.figures.chapter_2 import dtype_path
from helpers.figures.chapter_3 import adapter_places
from helpers.figures.decisions import choose_format, decision
from helpers.figures.memory import block_memory, step_memory
from helpers.figures.recomputation import checkpointing
from helpers.figures.remote import tunnel
from helpers.figures.road import journey
from helpers.figures.steps import step_dtypes, training_step
from helpers.figures.symptoms import triage
from helpers.figures.transformer import transformer_block

__all__ = [
    "adapter_places",
    "bit_fields",
    "block_memory",
    "checkpointing",
    "choose_format",
    "decision",
    "dtype_path",
    "journey",
    "step_dtypes",
    "step_memory",
    "training_step",
    "transformer_block",
    "triage",
    "tunnel",
]
