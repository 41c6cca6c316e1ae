"""The answers of one version of a model, each with its score."""

import dataclasses
from collections.abc import Sequence

from onegpu.evaluation.intervals import interval
from onegpu.evaluation.scores import exact_matches

__all__ = ["METRICS", "Scored", "score_each"]

METRICS = {"exact": "exact match", "chrf": "chrF"}


@dataclasses.dataclass(frozen=True)
class Scored:
    """What one model answered, and how good that was.

    Attributes:
        model: Its name.
        answers: One a prompt.
        exact: Whether each equals its reference.
        chrf: How close each comes to it, 0 to 1.
    """

    model: str
    answers: list[str]
    exact: list[bool]
    chrf: list[float]

    @property
    def mean_chrf(self) -> float:
        """Mean of the answers' chrF, 0 to 100."""
        return 100 * sum(self.chrf) / len(self.chrf)

    def points(self, metric: str) -> list[float]:
        """Return the score of each answer by one of `METRICS`, 0 to 1."""
        return [float(one) for one in (self.exact if metric == "exact" else self.chrf)]

    def __str__(self) -> str:
        n, n_right = len(self.exact), sum(self.exact)
        low, high = (100 * end for end in interval(n_right, n))
        return (
            f"{self.model}\n"
            f"  exact match  {n_right:,} of {n:,} (95 % interval of the share: "
            f"{low:.0f} to {high:.0f} %)\n"
            f"  chrF         {self.mean_chrf:.1f} on average"
        )


def score_each(model: str, answers: Sequence[str], references: Sequence[str]) -> Scored:
    """Score each answer by exact match and by sacrebleu's chrF of a sentence.

    Args:
        model: A name.
        answers: What it said.
        references: What it should have said, as many.

    Returns:
        Answers and scores.

    Raises:
        ValueError: There are no answers, or not as many as references.
    """
    from sacrebleu import sentence_chrf

    exact = exact_matches(answers, references)
    pairs = zip(answers, references, strict=True)
    chrf = [sentence_chrf(answer, [wanted]).score / 100 for answer, wanted in pairs]
    # Where all is right, rounding can make it a hair more than 1
    return Scored(model, list(answers), exact, [min(1.0, one) for one in chrf])
