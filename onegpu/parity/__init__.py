"""Whether two deployments of one model are the same model: tokens, answers, probabilities."""

from onegpu.parity.answers import N_LIKELIEST, Answer, Recording
from onegpu.parity.comparison import Difference, Report, compare
from onegpu.parity.recording import record
from onegpu.parity.verdict import SAME_KL

__all__ = [
    "N_LIKELIEST",
    "SAME_KL",
    "Answer",
    "Difference",
    "Recording",
    "Report",
    "compare",
    "record",
]
