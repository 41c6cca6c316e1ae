"""Rows made tokens and labels as trl does it, without a trainer.

Taught in: notebooks/04_formatting.ipynb
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["IGNORED", "encode", "is_conversation", "n_common"]

IGNORED = -100  # the label of a position that the loss leaves out, in torch and transformers


def is_conversation(value: Any) -> bool:
    """Return whether a cell holds a list of messages.

    Example:
        >>> is_conversation([{"role": "user", "content": "Hello!"}]), is_conversation("Hello!")
        (True, False)
    """
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def encode(
    tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any], *, assistant_only: bool = False
) -> dict[str, list[int]]:
    """Make a row tokens and labels as `trl.SFTTrainer` does, without a trainer.

    Args:
        tokenizer: With a chat template, if the row holds messages.
        row: `messages`, `prompt` and `completion`, or `text`. Prompt and completion win where
            there are several, as they do in trl.
        assistant_only: Learn only what the assistant says, as `assistant_only_loss` of trl does.
            The template must mark it with `{% generation %}`.

    Returns:
        `input_ids` and `labels`, one integer a token each; a label of -100 is not learned.

    Raises:
        ValueError: The row has none of these columns.

    Taught in: notebooks/04_formatting.ipynb
    """
    options = dict(row.get("chat_template_kwargs") or {})
    if row.get("tools"):
        tools = row["tools"]
        options["tools"] = json.loads(tools) if isinstance(tools, str) else tools

    def tokenize(content: Any, **more: Any) -> dict[str, list[int]]:
        if isinstance(content, str):
            return tokenizer(content)
        return tokenizer.apply_chat_template(content, return_dict=True, **options, **more)

    mask = {"return_assistant_tokens_mask": True} if assistant_only else {}
    n_prompt = 0
    if "prompt" in row and "completion" in row:
        prompt, completion = row["prompt"], row["completion"]
        if isinstance(completion, str):
            completion = _ended(completion, tokenizer)
        whole = tokenize(prompt + completion, **mask)
        generation = {} if isinstance(prompt, str) else {"add_generation_prompt": True}
        alone = tokenize(prompt, **generation)["input_ids"]
        n_prompt = n_common(alone, whole["input_ids"])
    elif "messages" in row:
        whole = tokenize(row["messages"], **mask)
    elif "text" in row:
        whole = tokenize(_ended(row["text"], tokenizer))
    else:
        raise ValueError(
            f"columns {', '.join(row) or 'none'}: expected messages, prompt and completion, or text"
        )
    ids = list(whole["input_ids"])
    learned = whole["assistant_masks"] if assistant_only else [1] * len(ids)
    labels = [
        token_id if bit and position >= n_prompt else IGNORED
        for position, (token_id, bit) in enumerate(zip(ids, learned, strict=True))
    ]
    return {"input_ids": ids, "labels": labels}


def _ended(text: str, tokenizer: "PreTrainedTokenizerBase") -> str:
    end = tokenizer.eos_token or ""
    return text if text.endswith(end) else text + end


def n_common(ids: Sequence[Any], others: Sequence[Any]) -> int:
    """Return how many items two sequences have in common at their beginning.

    Args:
        ids: Tokens, or text.
        others: The same.

    Example:
        >>> n_common([1, 2, 3], [1, 2, 4, 5])
        2
    """
    pairs = enumerate(zip(ids, others, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(ids), len(others)))
