"""Multiple-choice questions: how likely a model finds each choice, and which one that picks.

The score of a choice is the log-likelihood of its tokens after the prompt, split and summed as
EleutherAI's lm-evaluation-harness does it, so that the numbers can be compared.

Taught in: notebooks/07_evaluation.ipynb
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from onegpu.generation import evaluating

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["ChoiceScore", "Question", "score_choices"]


@dataclasses.dataclass(frozen=True)
class Question:
    r"""A question with a few answers to choose from.

    Attributes:
        prompt: The text before the answer, such as `"Question: What is wet?\nAnswer:"`.
        choices: At least two answers, without the space that separates them from the prompt.
        gold: Which of them is right, counted from 0.

    Raises:
        ValueError: The prompt or a choice is empty, there are fewer than two choices, or `gold`
            is none of them.
        TypeError: The choices are one string.

    Example:
        >>> Question("The sky is", ("blue", "green"), gold=0).choices[0]
        'blue'
    """

    prompt: str
    choices: tuple[str, ...]
    gold: int

    def __post_init__(self) -> None:
        if isinstance(self.choices, str):
            raise TypeError(f"choices is the string {self.choices!r}: give a tuple of strings")
        object.__setattr__(self, "choices", tuple(self.choices))
        if not self.prompt.strip():
            raise ValueError(f"prompt is {self.prompt!r}: give the text before the answer")
        if len(self.choices) < 2:
            raise ValueError(f"choices is {self.choices!r}: give at least two to choose from")
        if empty := [n for n, choice in enumerate(self.choices) if not choice.strip()]:
            raise ValueError(f"choice {empty[0]} is {self.choices[empty[0]]!r}: give it a text")
        if self.gold not in range(len(self.choices)):
            raise ValueError(
                f"gold is {self.gold!r}: give the place of the right choice, "
                f"0 to {len(self.choices) - 1}"
            )


@dataclasses.dataclass(frozen=True)
class ChoiceScore:
    """How likely a model finds each choice of a question.

    Attributes:
        log_likelihoods: Of each choice: the sum over its tokens, in nats, at most 0.
        n_tokens: Of each choice: how many tokens were summed.
        n_characters: Of each choice, without the space before it.
        gold: Which choice is right, counted from 0.
    """

    log_likelihoods: tuple[float, ...]
    n_tokens: tuple[int, ...]
    n_characters: tuple[int, ...]
    gold: int

    @property
    def per_character(self) -> tuple[float, ...]:
        """Log-likelihood of each choice per character, in nats."""
        pairs = zip(self.log_likelihoods, self.n_characters, strict=True)
        return tuple(log_likelihood / n for log_likelihood, n in pairs)

    @property
    def picked(self) -> int:
        """The likeliest choice; the first of equals."""
        return self.log_likelihoods.index(max(self.log_likelihoods))

    @property
    def picked_by_length(self) -> int:
        """The likeliest choice per character; the first of equals."""
        return self.per_character.index(max(self.per_character))

    @property
    def is_right(self) -> bool:
        """Whether the likeliest choice is right: what lm-eval averages as `acc`."""
        return self.picked == self.gold

    @property
    def is_right_by_length(self) -> bool:
        """Whether the likeliest choice per character is right: lm-eval's `acc_norm`."""
        return self.picked_by_length == self.gold


def score_choices(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    questions: Sequence[Question],
    chat: bool = False,
    batch_size: int = 8,
) -> list[ChoiceScore]:
    r"""Return how likely a model finds each choice of each question, a batch at a time.

    The naive formula, for a choice of the tokens $c_1, \dots, c_n$ after the tokens $p$ of the
    prompt, is $\sum_i \log P(c_i \mid p, c_1, \dots, c_{i-1})$. As in lm-eval, a choice's tokens
    are what the prompt with the choice has beyond the tokens of the prompt alone; white space at
    the end of the prompt counts as part of the choice; and no end-of-text token is scored. With a
    template that ends in a line break, that line break is thus scored with each choice.
    Choices that differ in their last token alone, such as letters, share one run of the model.

    Args:
        model: A causal language model, with or without an adapter. Its mode is kept.
        tokenizer: Its tokenizer; with a chat template if `chat` is true.
        questions: What to ask.
        chat: Puts the prompt into the chat template as the user's turn, and the choice right
            behind where the assistant's turn begins. Otherwise the prompt is plain text, and a
            space comes before the choice.
        batch_size: How many texts the model reads at once.

    Returns:
        One score a question, in the same order. Log-probabilities are taken in float32.

    Raises:
        ValueError: `batch_size` is below 1, the tokenizer has no chat template, or a prompt with
            its choice is longer than the model can read, where lm-eval would cut its beginning.

    Taught in: notebooks/07_evaluation.ipynb
    Source: lm-evaluation-harness 0.4.13, `TemplateLM._encode_pair` in lm_eval/api/model.py and
        `process_results` in lm_eval/api/task.py,
        https://github.com/EleutherAI/lm-evaluation-harness
    """
    import torch

    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be 1 or more")
    if chat and tokenizer.chat_template is None:
        raise ValueError(
            "the tokenizer has no chat template: give chat=False, or take an instruct model"
        )
    pairs = [_encode(tokenizer, q, choice, chat) for q in questions for choice in q.choices]
    _check_lengths(model, pairs)
    with evaluating(model), torch.inference_mode():
        sums = _sum_all(model, pairs, batch_size)
    scores, done = [], 0
    for question in questions:
        mine = slice(done, done + len(question.choices))
        n_tokens = tuple(len(pair.choice) for pair in pairs[mine])
        lengths = tuple(len(choice) for choice in question.choices)
        scores.append(ChoiceScore(tuple(sums[mine]), n_tokens, lengths, question.gold))
        done = mine.stop
    return scores


class _Pair(NamedTuple):
    """The tokens of a prompt, and those of a choice after it."""

    prompt: tuple[int, ...]
    choice: tuple[int, ...]

    @property
    def read(self) -> tuple[int, ...]:
        """What the model reads: all but the last token, after which nothing is predicted."""
        return (self.prompt + self.choice)[:-1]


def _encode(
    tokenizer: "PreTrainedTokenizerBase", question: Question, choice: str, chat: bool
) -> _Pair:
    """Return the tokens of a prompt and a choice, split where lm-eval splits them."""
    text, answer = question.prompt, f" {choice}"
    if chat:
        turn = [{"role": "user", "content": question.prompt}]
        text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        answer = choice
    whole, prompt = text + answer, text.rstrip()
    # A template may have written the token that the tokenizer would put first
    begins = bool(tokenizer.bos_token) and prompt.startswith(tokenizer.bos_token)
    prompt_tokens = tokenizer.encode(prompt, add_special_tokens=not begins)
    tokens = tokenizer.encode(whole, add_special_tokens=not begins)[len(prompt_tokens) :]
    if not prompt_tokens or not tokens:
        raise ValueError(
            f"{choice!r} after {prompt[-30:]!r} has {len(tokens)} tokens, the prompt "
            f"{len(prompt_tokens)}: both need one. Does the tokenizer add an end-of-text token?"
        )
    return _Pair(tuple(prompt_tokens), tuple(tokens))


def _check_lengths(model: "PreTrainedModel", pairs: Sequence[_Pair]) -> None:
    n_read = max((len(pair.read) for pair in pairs), default=0)
    longest = getattr(model.config, "max_position_embeddings", None) or n_read
    if n_read > longest:
        raise ValueError(
            f"a prompt with its choice has {n_read + 1} tokens: the model reads at most {longest} "
            "and predicts one more. Leave that question out, or shorten it"
        )


def _sum_all(model: "PreTrainedModel", pairs: Sequence[_Pair], batch_size: int) -> list[float]:
    """Return the log-likelihood of the choice of each pair, in nats."""
    readers: dict[tuple[int, ...], list[int]] = {}
    for number, pair in enumerate(pairs):
        readers.setdefault(pair.read, []).append(number)
    texts = sorted(readers, key=len, reverse=True)  # neighbors of like length need little padding
    sums = [0.0] * len(pairs)
    for start in range(0, len(texts), batch_size):
        batch = texts[start : start + batch_size]
        shortest = min(len(pairs[number].prompt) for text in batch for number in readers[text])
        logits = _last_logits(model, batch, len(batch[0]) + 1 - shortest)
        for row, text in enumerate(batch):
            for number in readers[text]:
                sums[number] = _sum_one(logits[row], pairs[number], len(batch[0]))
    return sums


def _last_logits(
    model: "PreTrainedModel", texts: Sequence[tuple[int, ...]], n_places: int
) -> "torch.Tensor":
    """Return the logits of texts padded on the right, at the last places alone.

    Shape (batch, `n_places`, vocab). Text follows padding nowhere, so it never attends to it.
    """
    import torch

    width = len(texts[0])  # the longest comes first
    tokens = torch.tensor([[*text, *[0] * (width - len(text))] for text in texts])  # (batch, seq)
    mask = (torch.arange(width) < torch.tensor([[len(text)] for text in texts])).long()
    inputs = {"input_ids": tokens.to(model.device), "attention_mask": mask.to(model.device)}
    return model(**inputs, use_cache=False, logits_to_keep=n_places).logits


def _sum_one(logits: "torch.Tensor", pair: _Pair, width: int) -> float:
    """Return the log-likelihood of a choice from the logits (places, vocab) of its text's row."""
    import torch

    first = len(pair.prompt) - 1 - (width - len(logits))  # the place that predicts its first token
    chosen = logits[first : first + len(pair.choice)].float().log_softmax(-1)
    wanted = torch.tensor(pair.choice, device=logits.device)[:, None]
    return chosen.gather(-1, wanted).sum().item()
