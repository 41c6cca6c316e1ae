"""Rows of your own data: read from a file one at a time, and made into conversations.

Taught in: notebooks/04_formatting.ipynb
"""

from onegpu.rows.converters import from_alpaca, from_pair, from_sharegpt
from onegpu.rows.dataset import load_texts
from onegpu.rows.reading import Row, read, scan

__all__ = ["Row", "from_alpaca", "from_pair", "from_sharegpt", "load_texts", "read", "scan"]
