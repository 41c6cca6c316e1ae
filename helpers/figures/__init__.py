"""Drawings of ideas. Each draws on an `Axes` and returns it."""

from helpers.figures.adapters import adapter_places, adapter_uses, lora_matrices, rounded_back
from helpers.figures.appendix_b import bit_fields, integer_circle, shared_scales
from helpers.figures.batches import label_shift, row_to_batch
from helpers.figures.decisions import choose_format, decision
from helpers.figures.deployment import deployment_path, super_blocks
from helpers.figures.engines import parity
from helpers.figures.generation import generation_loop, rotary_positions
from helpers.figures.judging import agreement, improvement_loop, three_splits
from helpers.figures.making import rows_pipeline, two_splits
from helpers.figures.memory import block_memory, step_memory
from helpers.figures.packing import attention_masks, padding_packing
from helpers.figures.plans import planning
from helpers.figures.quantized import block_scales, number_line, quantized_layer
from helpers.figures.recomputation import checkpointing
from helpers.figures.remote import tunnel
from helpers.figures.road import journey
from helpers.figures.steps import step_dtypes, training_step
from helpers.figures.templates import template_roles
from helpers.figures.transformer import transformer_block

__all__ = [
    "adapter_places",
    "adapter_uses",
    "agreement",
    "attention_masks",
    "bit_fields",
    "block_memory",
    "block_scales",
    "checkpointing",
    "choose_format",
    "decision",
    "deployment_path",
    "generation_loop",
    "improvement_loop",
    "integer_circle",
    "journey",
    "label_shift",
    "lora_matrices",
    "number_line",
    "padding_packing",
    "parity",
    "planning",
    "quantized_layer",
    "rotary_positions",
    "rounded_back",
    "row_to_batch",
    "rows_pipeline",
    "shared_scales",
    "step_dtypes",
    "step_memory",
    "super_blocks",
    "template_roles",
    "three_splits",
    "training_step",
    "transformer_block",
    "tunnel",
    "two_splits",
]
