"""Rows turned into tokens and labels as trl does it, without a trainer.

Taught in: notebooks/04_formatting.ipynb
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onegpu.chat.rendering import apply_template, with_answer_marks

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "IGNORED",
    "encode",
    "is_conversation",
    "n_common",
    "trained_columns",
]

IGNORED = -100  # the label of a position that the loss leaves out, in torch and transformers
FORMATS = (("prompt", "completion"), ("messages",), ("text",))  # the first one wins


def is_conversation(value: Any) -> bool:
    """Return whether a cell holds a list of messages.

    Args:
        value: Of any column.

    Returns:
        True for a list that begins with a dictionary.

    Example:
        >>> is_conversation([{"role": "user", "content": "Hello!"}]), is_conversation("Hello!")
        (True, False)
    """
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def trained_columns(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of a row that trl trains on.

    Args:
        row: Any.

    Returns:
        `prompt` and `completion`, else `messages`, else `text`; nothing where there are none.

    Example:
        >>> trained_columns({"text": "Hello!", "prompt": "Hi", "completion": "!"})
        ('prompt', 'completion')
    """
    for columns in FORMATS:
        if all(column in row for column in columns):
            return columns
    return ()


def encode(
    tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any], *, assistant_only: bool = False
) -> dict[str, list[int]]:
    """Turn a row into tokens and labels as `trl.SFTTrainer` does, without a trainer.

    Args:
        tokenizer: With a chat template, if the row holds messages.
        row: `messages`, `prompt` and `completion`, or `text`. Prompt and completion win where
            there are several, as they do in trl.
        assistant_only: Learn only what the assistant says, as `assistant_only_loss` of trl does,
            with the template of `with_answer_marks`.

    Returns:
        `input_ids` and `labels`, one integer a token each; a label of -100 is not learned.

    Raises:
        ValueError: The row has none of these columns, or text where messages are needed; or the
            template refuses it, or marks no answers.

    Taught in: notebooks/04_formatting.ipynb
    """
    columns = trained_columns(row)
    if not columns:
        raise ValueError(
            f"columns {', '.join(row) or 'none'}: expected messages, prompt and completion, or text"
        )
    contents = [row[column] for column in columns]
    are_texts = [isinstance(content, str) for content in contents]
    if any(are_texts) and (assistant_only or columns == ("messages",)):
        raise ValueError(
            f"{columns[-1]} holds text: expected a list of messages, which `messages` and "
            "assistant_only=True need"
        )
    if any(are_texts) != all(are_texts):
        raise ValueError("prompt and completion: expected two texts or two lists of messages")
    if are_texts[-1] and _gets_end(row, columns[-1], tokenizer.eos_token):
        contents[-1] += tokenizer.eos_token
    if assistant_only:
        tokenizer = with_answer_marks(tokenizer)
    content = contents[0] if len(contents) == 1 else contents[0] + contents[1]
    whole = _tokenize(tokenizer, content, row, return_assistant_tokens_mask=assistant_only)
    ids, n_prompt = list(whole["input_ids"]), 0
    if columns == ("prompt", "completion"):
        prompt = _tokenize(tokenizer, contents[0], row, add_generation_prompt=True)
        n_prompt = n_common(prompt["input_ids"], ids)
    labels = [IGNORED] * n_prompt + ids[n_prompt:]
    if assistant_only:
        said = whole["assistant_masks"]
        labels = [label if bit else IGNORED for label, bit in zip(labels, said, strict=True)]
    return {"input_ids": ids, "labels": labels}


def _tokenize(
    tokenizer: "PreTrainedTokenizerBase", content: Any, row: Mapping[str, Any], **options: Any
) -> Mapping[str, list[int]]:
    """Return the tokens of a text or of messages; the options are those of a template."""
    if isinstance(content, str):
        return tokenizer(content)
    return apply_template(tokenizer, content, row=row, return_dict=True, **options)


def _gets_end(row: Mapping[str, Any], column: str, end: str | None) -> bool:
    """Return whether trl puts the EOS token at the end of a text."""
    if not end or row[column].endswith(end):
        return False
    # trl 1.16 ends one column a row: a text that lacks its end, even where it is not trained on
    text = row.get("text")
    return column == "text" or not isinstance(text, str) or text.endswith(end)


def n_common(ids: Sequence[Any], others: Sequence[Any]) -> int:
    """Return how many items two sequences have in common at their beginning.

    Args:
        ids: Tokens, or text.
        others: The same.

    Returns:
        From 0 to the length of the shorter one.

    Example:
        >>> n_common([1, 2, 3], [1, 2, 4, 5])
        2
    """
    n = 0
    for one, other in zip(ids, others, strict=False):
        if one != other:
            break
        n += 1
    return n
