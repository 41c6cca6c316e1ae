"""Drawings of ideas. Each draws on an `Axes` and returns it."""

from helpers.figures.appendix_a import tunnel
from helpers.figures.appendix_b import bit_fields
from helpers.figures.chapter_0 import journey
from helpers.figures.chapter_1 import decision
from helpers.figures.chapter_2 import dtype_path
from helpers.figures.chapter_3 import adapter_places

__all__ = ["adapter_places", "bit_fields", "decision", "dtype_path", "journey", "tunnel"]
