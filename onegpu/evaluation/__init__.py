"""Did it get better: scores, how far to trust them, and two models on the same prompts.

Taught in: notebooks/00_tldr.ipynb, notebooks/02_quantization.ipynb
"""

from onegpu.evaluation.intervals import interval
from onegpu.evaluation.paired import Comparison, compare, compare_groups, n_needed
from onegpu.evaluation.perplexity import token_losses
from onegpu.evaluation.scores import Score, before_and_after, exact_matches, score

__all__ = [
    "Comparison",
    "Score",
    "before_and_after",
    "compare",
    "compare_groups",
    "exact_matches",
    "interval",
    "n_needed",
    "score",
    "token_losses",
]
