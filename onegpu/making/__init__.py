"""Rows to train on, made from your own documents.

Taught in: notebooks/08_data.ipynb
"""

from onegpu.making.alike import Alike
from onegpu.making.chunking import Chunk, chunks
from onegpu.making.documents import Document, Section
from onegpu.making.filters import REASONS, not_answerable, not_grounded, refusal
from onegpu.making.model_writer import by_model, question_and_answer
from onegpu.making.personal import personal
from onegpu.making.pipeline import make
from onegpu.making.reading import read
from onegpu.making.reporting import Report
from onegpu.making.settings import FILTERS, Settings
from onegpu.making.templates import by_template
from onegpu.making.writing import row, split_of

__all__ = [
    "FILTERS",
    "REASONS",
    "Alike",
    "Chunk",
    "Document",
    "Report",
    "Section",
    "Settings",
    "by_model",
    "by_template",
    "chunks",
    "make",
    "not_answerable",
    "not_grounded",
    "personal",
    "question_and_answer",
    "read",
    "refusal",
    "row",
    "split_of",
]
