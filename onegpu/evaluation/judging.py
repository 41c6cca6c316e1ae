"""Which of two answers is better, asked in both orders.

Taught in: notebooks/07_evaluation.ipynb
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from onegpu.evaluation.ranking import Match

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["Judge", "Judged", "in_both_orders", "text_of"]

# Takes prompts, the answers shown first and those shown second, each as text; returns for each
# prompt the probability that the answer shown first is the better one.
Judge = Callable[[Sequence[str], Sequence[str], Sequence[str]], Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Judged:
    """Two answers to one prompt, judged in both orders.

    Attributes:
        forward: The verdict in one order.
        swapped: That in the other one.

    Raises:
        ValueError: The two are not the same match with the places exchanged.
    """

    forward: Match
    swapped: Match

    def __post_init__(self) -> None:
        places = self.forward.first, self.forward.second
        if places != (self.swapped.second, self.swapped.first):
            raise ValueError(f"{self.swapped} is not {self.forward} in the other order")

    @property
    def match(self) -> Match:
        """The match, won by whoever wins in both orders; else a tie."""
        agreed = self.forward.winner == self.swapped.winner
        return dataclasses.replace(self.forward, winner=self.forward.winner if agreed else None)

    @property
    def lean(self) -> int:
        """Wins of the place shown first less those of the other; 0 if swapping changes nothing."""
        verdicts = [match for match in (self.forward, self.swapped) if match.winner is not None]
        return sum(1 if match.winner == match.first else -1 for match in verdicts)


def in_both_orders(
    judge: Judge,
    *,
    prompts: "Sequence[str | Conversation]",
    answers: Mapping[str, Sequence[str]],
) -> list[Judged]:
    """Ask a judge about each two answers to each prompt, twice: once in each order.

    Judges of flesh and of silicon favor a place. `.match` of each result counts a win only where
    both orders agree, which is what `bradley_terry` should be given.

    Args:
        judge: A `ModelJudge`, or any function that takes prompts, answers shown first and answers
            shown second, and returns the probability that the first is better, one a prompt.
            Exactly 1/2 is a tie.
        prompts: Text, or conversations up to the answer.
        answers: At least two versions by name, each with an answer a prompt.

    Returns:
        The verdicts, prompt by prompt for the first two versions, then for the next two.

    Raises:
        ValueError: There are no prompts, fewer than two versions, a version has not as many
            answers, or the judge returns something else than probabilities.

    Example:
        >>> longer = lambda prompts, firsts, seconds: [
        ...     float(len(a) > len(b)) for a, b in zip(firsts, seconds)
        ... ]
        >>> answers = {"a": ["Hi"], "b": ["Hello"]}
        >>> (judged,) = in_both_orders(longer, prompts=["Hi!"], answers=answers)
        >>> judged.match.winner
        'b'

    Taught in: notebooks/07_evaluation.ipynb
    Source: Zheng et al. 2023, Judging LLM-as-a-judge with MT-Bench and Chatbot Arena,
        https://arxiv.org/abs/2306.05685
    """
    lengths = {name: len(texts) for name, texts in answers.items()}
    if not len(prompts) or len(answers) < 2 or set(lengths.values()) != {len(prompts)}:
        raise ValueError(
            f"{len(prompts)} prompts, and answers {lengths}: give two versions or more, each with "
            "one answer a prompt"
        )
    asked = [text_of(prompt) for prompt in prompts]
    found = []
    for one, other in itertools.combinations(answers, 2):
        forward = _verdicts(judge, asked, answers, one, other)
        swapped = _verdicts(judge, asked, answers, other, one)
        found += [Judged(*both) for both in zip(forward, swapped, strict=True)]
    return found


def _verdicts(
    judge: Judge, prompts: list[str], answers: Mapping[str, Sequence[str]], first: str, second: str
) -> list[Match]:
    """Return who wins each prompt when the answers are shown in this order."""
    chances = list(judge(prompts, answers[first], answers[second]))
    if len(chances) != len(prompts) or not all(0 <= chance <= 1 for chance in chances):
        raise ValueError(
            f"the judge returned {str(chances)[:60]} for {len(prompts)} prompts: it must return "
            "the probability that the first answer is better, 0 to 1, for each"
        )
    winners = [None if chance == 0.5 else first if chance > 0.5 else second for chance in chances]
    return [Match(first, second, winner) for winner in winners]


def text_of(prompt: "str | Conversation") -> str:
    """Return a prompt as text for a reader: the question alone, or turns with who says them.

    Args:
        prompt: Text, or a conversation up to the answer.

    Returns:
        The text.

    Example:
        >>> text_of([{"role": "user", "content": "2 + 2?"}])
        '2 + 2?'
    """
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
