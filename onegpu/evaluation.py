"""Is it better: exact match, chrF and perplexity, before against after.

Taught in: notebooks/00_tldr.ipynb, notebooks/02_quantization.ipynb
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from onegpu.generation import evaluating

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


__all__ = [
    "Score",
    "compare",
    "exact_matches",
    "interval",
    "score",
    "token_losses",
]


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


def interval(n_right: int, n_answers: int) -> tuple[float, float]:
    """Return a 95 % interval of the share of right answers, which a few answers can't tell exactly.

    It is Wilson's: unlike a share plus or minus 1.96 standard errors it stays within 0 and 1, and
    has a width when none or all of the answers are right.

    Args:
        n_right: How many answers were right.
        n_answers: Of how many, at least one.

    Returns:
        Lower and upper end, 0 to 1.

    Raises:
        ValueError: There are no answers, or not that many to be right.

    Example:
        >>> [round(end, 3) for end in interval(38, 40)]
        [0.835, 0.986]

    Taught in: notebooks/00_tldr.ipynb
    Source: Wilson 1927, Probable inference, the law of succession, and statistical inference,
        https://doi.org/10.1080/01621459.1927.10502953
    """
    if not 0 <= n_right <= n_answers or n_answers < 1:
        raise ValueError(f"{n_right} of {n_answers} right: give at least one answer, and no more")
    share, z = n_right / n_answers, 1.959964  # of a normal distribution, 95 % is within z
    center = share + z**2 / (2 * n_answers)
    half = z * (share * (1 - share) / n_answers + z**2 / (4 * n_answers**2)) ** 0.5
    low, high = ((center + side) / (1 + z**2 / n_answers) for side in (-half, half))
    # Exact at the ends, where rounding left an end of 0.9999999999999998 below a share of 1.
    return 0.0 if n_right == 0 else low, 1.0 if n_right == n_answers else high


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


def compare(
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
        >>> table = compare(["a"], ["b"], references=["b"], groups={"short": [True]})
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


def token_losses(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", *, text: str
) -> "torch.Tensor":
    """Return how surprised a model is by each token of a text, in nats.

    The perplexity of the text is `token_losses(...).mean().exp()`. Two models with the same
    tokenizer can be compared token by token, which is far more exact than comparing two means.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        text: Plain text, no conversation.

    Returns:
        Negative log-likelihood of every token but the first, float32, shape (tokens - 1,).

    Raises:
        ValueError: The text has fewer than two tokens, or more than the model can read at once.

    Taught in: notebooks/02_quantization.ipynb
    """
    import torch

    tokens = tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)  # (1, seq)
    longest = getattr(model.config, "max_position_embeddings", None) or tokens.shape[1]
    if not 2 <= tokens.shape[1] <= longest:
        raise ValueError(
            f"the text has {tokens.shape[1]} tokens: give at least 2, and at most {longest}, "
            "which is what the model reads at once"
        )
    with evaluating(model), torch.inference_mode():
        logits = model(tokens).logits[0, :-1].float()  # (seq - 1, vocab)
    return torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="none").cpu()
