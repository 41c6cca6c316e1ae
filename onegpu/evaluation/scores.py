"""How close answers come to what they should have been: exact match and chrF."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Score", "before_and_after", "exact_matches", "score"]


@dataclasses.dataclass(frozen=True)
class Score:
    """How close answers come to their references.

    Attributes:
        n_answers: How many answers were scored.
        n_exact: How many equal their reference to the letter.
        chrf: Character n-gram F-score, 0 to 100.
    """

    n_answers: int
    n_exact: int
    chrf: float

    @property
    def exact_match(self) -> float:
        """Share of answers that equal their reference, 0 to 1."""
        return self.n_exact / self.n_answers


def exact_matches(answers: Sequence[str], references: Sequence[str]) -> list[bool]:
    """Return for each answer whether it equals its reference, white space at the ends aside.

    Args:
        answers: What the model said.
        references: What it should have said, as many.

    Returns:
        One truth value an answer.

    Raises:
        ValueError: There are no answers, or not as many as references.

    Example:
        >>> exact_matches(["Strong, you are.", "You are strong."], ["Strong, you are."] * 2)
        [True, False]

    Taught in: notebooks/00_tldr.ipynb
    """
    if not answers or len(answers) != len(references):
        raise ValueError(
            f"{len(answers)} answers for {len(references)} references: give one answer each, "
            "and at least one"
        )
    return [a.strip() == r.strip() for a, r in zip(answers, references, strict=True)]


def score(answers: Sequence[str], references: Sequence[str]) -> Score:
    """Score answers by exact match and chrF.

    Args:
        answers: What the model said.
        references: What it should have said, as many.

    Returns:
        The score of the whole set; chrF is sacrebleu's, with its defaults (character n-grams up
        to 6, no word n-grams, beta 2).

    Raises:
        ValueError: There are no answers, or not as many as references.

    Example:
        >>> score(["Strong, you are."], ["Strong, you are."])
        Score(n_answers=1, n_exact=1, chrf=100.0)

    Taught in: notebooks/06_deployment.ipynb
    Source: Popović 2015, chrF: character n-gram F-score for automatic MT evaluation,
        https://aclanthology.org/W15-3049/
    """
    from sacrebleu import CHRF

    n_exact = sum(exact_matches(answers, references))
    return Score(len(answers), n_exact, CHRF().corpus_score(answers, [references]).score)


def before_and_after(
    before: Sequence[str],
    after: Sequence[str],
    *,
    references: Sequence[str],
    groups: Mapping[str, Sequence[bool]],
) -> "pd.DataFrame":
    """Score the answers before and after training, all together and group by group.

    Args:
        before: Answers of the base model.
        after: Answers of the tuned model, to the same prompts.
        references: What both should have said.
        groups: For each group's name, which of the answers belong to it.

    Returns:
        A row for all answers and one a group, with the columns `sentences`, `exact before`,
        `exact after` (counts), `chrF before` and `chrF after` (0 to 100).

    Raises:
        ValueError: There are not as many answers as references, or as many truth values in a
            group; or a group is empty.

    Example:
        >>> table = before_and_after(["a"], ["b"], references=["b"], groups={"short": [True]})
        >>> table.loc["short", "exact after"]
        np.int64(1)

    Taught in: notebooks/00_tldr.ipynb
    """
    import pandas as pd

    for name, answers in (("before", before), ("after", after)):
        if len(answers) != len(references):
            raise ValueError(
                f"{name} has {len(answers)} answers for {len(references)} references: give one "
                "answer each"
            )
    rows = {}
    for name, chosen in {"all": [True] * len(references), **groups}.items():
        if len(chosen) != len(references) or not any(chosen):
            raise ValueError(
                f"group {name!r} marks {sum(chosen)} of {len(chosen)} answers: give one truth "
                f"value for each of the {len(references)}, at least one of them true"
            )
        members = [number for number, is_member in enumerate(chosen) if is_member]
        wanted = [references[number] for number in members]
        old = score([before[number] for number in members], wanted)
        new = score([after[number] for number in members], wanted)
        rows[name] = {
            "sentences": new.n_answers,
            "exact before": old.n_exact,
            "exact after": new.n_exact,
            "chrF before": old.chrf,
            "chrF after": new.chrf,
        }
    return pd.DataFrame.from_dict(rows, orient="index")
