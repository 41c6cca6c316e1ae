"""Ask the model: one prompt, many at once, and the same prompts before and after training.

A prompt is a conversation as chat templates take it: a list of `{"role": ..., "content": ...}`.

Taught in: notebooks/00_tldr.ipynb
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Conversation", "ask", "ask_all", "before_and_after"]

Conversation = list[dict[str, str]]


def ask(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    prompt: Conversation,
    max_new_tokens: int = 32,
) -> str:
    """Return the model's answer to one prompt, taking the likeliest token each time.

    Args:
        model: A causal language model, with or without an adapter.
        tokenizer: Its tokenizer, with a chat template.
        prompt: The conversation up to the answer.
        max_new_tokens: Where an answer that does not end is cut.

    Returns:
        The answer, without special tokens.

    Raises:
        ValueError: The tokenizer has no chat template.

    Taught in: notebooks/00_tldr.ipynb
    """
    return ask_all(model, tokenizer, prompts=[prompt], max_new_tokens=max_new_tokens)[0]


def ask_all(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    prompts: Sequence[Conversation],
    max_new_tokens: int = 32,
    batch_size: int = 20,
) -> list[str]:
    """Return the answers to many prompts, a batch at a time, padded on the left.

    Generation goes on at the right end of every row, so the padding must stand at the left:
    padded on the right, a model has to go on after padding, which it never saw in training.

    Args:
        model: A causal language model, with or without an adapter.
        tokenizer: Its tokenizer, with a chat template.
        prompts: The conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.
        batch_size: How many prompts are answered at once.

    Returns:
        One answer a prompt, in the same order, without special tokens.

    Raises:
        ValueError: The tokenizer has no chat template, or `batch_size` is below 1.

    Taught in: notebooks/00_tldr.ipynb
    """
    import torch

    if tokenizer.chat_template is None:
        raise ValueError(
            "the tokenizer has no chat template: take that of an instruct model, "
            "or set tokenizer.chat_template"
        )
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: it must be 1 or more")
    answers, was_training = [], model.training
    model.eval()
    for start in range(0, len(prompts), batch_size):
        encoding = tokenizer.apply_chat_template(
            list(prompts[start : start + batch_size]),
            add_generation_prompt=True,
            padding=True,
            return_dict=True,
            return_tensors="pt",
            tokenizer_kwargs={"padding_side": "left"},
        ).to(model.device)
        with torch.inference_mode():
            tokens = model.generate(**encoding, max_new_tokens=max_new_tokens, do_sample=False)
        new_tokens = tokens[:, encoding["input_ids"].shape[1] :]  # (batch, new tokens)
        answers += tokenizer.batch_decode(new_tokens, skip_special_tokens=True)
    model.train(was_training)
    return answers


def before_and_after(
    model: "PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    *,
    prompts: Sequence[Conversation],
    max_new_tokens: int = 32,
) -> tuple[list[str], list[str]]:
    """Ask the same prompts with the adapter switched off, then on.

    Args:
        model: A model with an adapter.
        tokenizer: Its tokenizer, with a chat template.
        prompts: The conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.

    Returns:
        The answers of the base model, and those of the tuned one.

    Raises:
        ValueError: The tokenizer has no chat template.

    Taught in: notebooks/00_tldr.ipynb
    """
    with model.disable_adapter():
        before = ask_all(model, tokenizer, prompts=prompts, max_new_tokens=max_new_tokens)
    return before, ask_all(model, tokenizer, prompts=prompts, max_new_tokens=max_new_tokens)
