"""Rows of your own data: read from a file one at a time, and made into conversations.

Taught in: notebooks/04_formatting.ipynb
"""

from onegpu.rows.agents import from_openai, from_sharegpt
from onegpu.rows.converters import (
    from_alpaca,
    from_document,
    from_encoded,
    from_messages,
    from_pair,
    from_scores,
)
from onegpu.rows.dataset import load_texts
from onegpu.rows.reading import read, scan
from onegpu.rows.row import Row

__all__ = [
    "Row",
    "from_alpaca",
    "from_document",
    "from_encoded",
    "from_messages",
    "from_openai",
    "from_pair",
    "from_scores",
    "from_sharegpt",
    "load_texts",
    "read",
    "scan",
]
