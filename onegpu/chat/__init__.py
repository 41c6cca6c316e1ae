"""What the model really sees: templates, tokens, and which of them are learned.

Taught in: notebooks/00_tldr.ipynb, notebooks/04_formatting.ipynb
"""

from onegpu.chat.batches import collate, first_batch, first_rows
from onegpu.chat.encoding import (
    IGNORED,
    encode,
    is_conversation,
    n_common,
    trained_columns,
)
from onegpu.chat.rendering import apply_template, with_answer_marks
from onegpu.chat.templates import Template, end_ids, template
from onegpu.chat.views import BatchView, Token, TokenView, show, show_batch

__all__ = [
    "IGNORED",
    "BatchView",
    "Template",
    "Token",
    "TokenView",
    "apply_template",
    "collate",
    "encode",
    "end_ids",
    "first_batch",
    "first_rows",
    "is_conversation",
    "n_common",
    "show",
    "show_batch",
    "template",
    "trained_columns",
    "with_answer_marks",
]
