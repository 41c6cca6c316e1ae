"""Ask the model: one prompt, or many at once.

A prompt is a conversation as chat templates take it: a list of `{"role": ..., "content": ...}`.

Taught in: notebooks/00_tldr.ipynb
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Conversation", "ask", "ask_all", "evaluating", "keeping_modes", "stop_ids"]

Conversation = list[dict[str, str]]  # messages, each with its role and content


@contextlib.contextmanager
def keeping_modes(model: "torch.nn.Module") -> Iterator[None]:
    """Put each module of a model back into training or evaluation mode at the end of a block.

    Args:
        model: Any module. Some of its parts may be in training mode and others not, as in a
            model whose frozen part stays in evaluation mode.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def evaluating(model: "torch.nn.Module") -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back afterwards, come what may.

    Args:
        model: Any module.

    Example:
        >>> import torch
        >>> model = torch.nn.Dropout().train()
        >>> with evaluating(model):
        ...     print(model.training)
        False
        >>> model.training
        True
    """
    with keeping_modes(model):
        model.eval()
        yield


def stop_ids(model: "PreTrainedModel") -> list[int]:
    """Return the tokens at which a model stops to generate.

    Args:
        model: With its generation config.

    Returns:
        Their ids; none where the config names none.
    """
    ids = model.generation_config.eos_token_id
    if ids is None:
        return []
    return ids if isinstance(ids, list) else [ids]


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

    Generation goes on at the right end of every row, so the padding must be on the left:
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
    answers = []
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(prompts), batch_size):
            encoding = tokenizer.apply_chat_template(
                list(prompts[start : start + batch_size]),
                add_generation_prompt=True,
                padding=True,
                return_dict=True,
                return_tensors="pt",
                tokenizer_kwargs={"padding_side": "left"},
            ).to(model.device)
            tokens = model.generate(**encoding, max_new_tokens=max_new_tokens, do_sample=False)
            new_tokens = tokens[:, encoding["input_ids"].shape[1] :]  # (batch, new tokens)
            answers += tokenizer.batch_decode(new_tokens, skip_special_tokens=True)
    return answers
