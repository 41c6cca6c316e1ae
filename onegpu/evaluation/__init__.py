"""Did it get better: scores, how far to trust them, and two models on the same prompts.

Taught in: notebooks/00_tldr.ipynb, notebooks/02_quantization.ipynb
"""

from onegpu.evaluation.choices import ChoiceScore, Question, score_choices
from onegpu.evaluation.intervals import interval
from onegpu.evaluation.judging import Judged, in_both_orders
from onegpu.evaluation.model_judge import ModelJudge
from onegpu.evaluation.overlap import rouge_l, rouge_n
from onegpu.evaluation.paired import Comparison, compare, compare_groups, n_needed
from onegpu.evaluation.perplexity import token_losses
from onegpu.evaluation.ranking import Match, Strength, bradley_terry, elo
from onegpu.evaluation.reliability import Agreement, PositionBias, agreement, position_bias
from onegpu.evaluation.reporting import Report, report
from onegpu.evaluation.scores import Score, before_and_after, exact_matches, score

__all__ = [
    "Agreement",
    "ChoiceScore",
    "Comparison",
    "Judged",
    "Match",
    "ModelJudge",
    "PositionBias",
    "Question",
    "Report",
    "Score",
    "Strength",
    "agreement",
    "before_and_after",
    "bradley_terry",
    "compare",
    "compare_groups",
    "elo",
    "exact_matches",
    "in_both_orders",
    "interval",
    "n_needed",
    "position_bias",
    "report",
    "rouge_l",
    "rouge_n",
    "score",
    "score_choices",
    "token_losses",
]
