"""A language model as judge of two answers.

Taught in: notebooks/07_evaluation.ipynb
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onegpu.evaluation.judging import text_of
from onegpu.generation import evaluating

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from onegpu.generation import Conversation

__all__ = ["ModelJudge"]

QUESTION = """\
Which answer to the question is the better one, A or B?

Question: {prompt}

Answer A: {first}

Answer B: {second}

Reply with one letter, A or B."""


@dataclasses.dataclass(frozen=True)
class ModelJudge:
    """A language model that is asked which of two answers is better, A or B.

    Nothing is sampled: it reads the question once, and what it would say next decides.

    Attributes:
        model: A causal language model that follows instructions.
        tokenizer: Its tokenizer, with a chat template.
        question: What it is asked, with `{prompt}`, `{first}` and `{second}` where these go; it
            must ask for the letter A or B.
        batch_size: How many pairs it reads at once.

    Example:
        >>> judge = ModelJudge(model, tokenizer)  # doctest: +SKIP
        >>> judge(["2 + 2?"], ["4"], ["Fish"])  # doctest: +SKIP
        [0.97]

    Taught in: notebooks/07_evaluation.ipynb
    """

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    question: str = QUESTION
    batch_size: int = 8

    def __call__(
        self,
        prompts: "Sequence[str | Conversation]",
        firsts: Sequence[str],
        seconds: Sequence[str],
    ) -> list[float]:
        """Return the probability that the answer shown first is better, for each prompt, 0 to 1."""
        letters = self.letter_logprobs(prompts, firsts, seconds)
        return (letters[:, 0] - letters[:, 1]).sigmoid().tolist()

    def letter_logprobs(
        self,
        prompts: "Sequence[str | Conversation]",
        firsts: Sequence[str],
        seconds: Sequence[str],
    ) -> "torch.Tensor":
        """Return log-probabilities of the letters A and B, of all tokens that could come next.

        Where their probabilities add up to little, the model would say something else than a
        letter, and is no judge.

        Args:
            prompts: Text, or conversations up to the answer.
            firsts: The answers that are shown as A, one a prompt.
            seconds: Those that are shown as B.

        Returns:
            Log-probabilities in nats, float32, shape (prompts, 2).

        Raises:
            ValueError: There are no prompts, not as many answers, or the tokenizer has no chat
                template, or no single token for each letter.
        """
        import torch

        if not len(prompts) or not len(prompts) == len(firsts) == len(seconds):
            raise ValueError(
                f"{len(prompts)} prompts, {len(firsts)} and {len(seconds)} answers: give one "
                "prompt or more, and two answers to each"
            )
        texts = [
            self._asked(*three)
            for three in zip(map(text_of, prompts), firsts, seconds, strict=True)
        ]
        letters = self._letters(texts[0])
        found = []
        with evaluating(self.model), torch.inference_mode():
            for start in range(0, len(texts), self.batch_size):
                logits = self._next_logits(texts[start : start + self.batch_size])
                found.append(logits.float().log_softmax(dim=-1)[:, letters].cpu())
        return torch.cat(found)

    def _asked(self, prompt: str, first: str, second: str) -> str:
        """Return the question as the model reads it, up to where its answer begins."""
        if self.tokenizer.chat_template is None:
            raise ValueError("the tokenizer has no chat template: take an instruct model as judge")
        content = self.question.format(prompt=prompt, first=first, second=second)
        turns = [{"role": "user", "content": content}]
        return self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)

    def _letters(self, text: str) -> list[int]:
        """Return the tokens that A and B are after a text, which can be others than alone."""
        before, with_a, with_b = (
            self.tokenizer(text + letter, add_special_tokens=False)["input_ids"]
            for letter in ("", "A", "B")
        )
        if with_a[:-1] != before or with_b[:-1] != before:
            raise ValueError("the tokenizer has no single token for A or B after the question")
        return [with_a[-1], with_b[-1]]

    def _next_logits(self, texts: list[str]) -> "torch.Tensor":
        """Return the logits of what comes after each text, shape (texts, vocab)."""
        encoding = self.tokenizer(
            texts,
            add_special_tokens=False,  # the template has written them
            padding=True,
            padding_side="left",
            return_tensors="pt",
        ).to(self.model.device)
        return self.model.generate(
            **encoding,
            max_new_tokens=1,
            do_sample=False,
            return_dict_in_generate=True,
            output_logits=True,
        ).logits[0]
