"""Messages as a chat template writes them, as trl calls it."""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["apply_template", "with_answer_marks"]


def apply_template(
    tokenizer: "PreTrainedTokenizerBase",
    messages: Sequence[Mapping[str, Any]],
    *,
    row: Mapping[str, Any],
    **options: Any,
) -> Any:
    """Apply the chat template of a tokenizer, as trl does it for a row.

    Args:
        tokenizer: With a chat template.
        messages: Of the row.
        row: Its `tools` (a list, or JSON) and `chat_template_kwargs` go to the template too.
        **options: Of `tokenizer.apply_chat_template`.

    Returns:
        What `tokenizer.apply_chat_template` returns.

    Raises:
        ValueError: The template refuses the messages, or what the row gives it.
    """
    try:
        return tokenizer.apply_chat_template(messages, **_options(row), **options)
    except Exception as error:  # a template is somebody's program, and may raise anything
        raise ValueError(f"the chat template refuses the messages: {error}") from error


def _options(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a row gives its template beside its messages."""
    tools = row.get("tools")
    if isinstance(tools, str):
        tools = json.loads(tools)
    return {"tools": tools, **(row.get("chat_template_kwargs") or {})}


def with_answer_marks(tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedTokenizerBase":
    """Return a tokenizer with the template that trl takes for `assistant_only_loss=True`.

    Args:
        tokenizer: Its template may mark answers with `{% generation %}`, or be one of those of
            which trl has a version that does.

    Returns:
        The same tokenizer where its template marks answers; a copy with trl's template if not.

    Raises:
        ValueError: The template marks none, and trl has no version of it.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    if tokenizer.chat_template is None:
        raise ValueError("the tokenizer has no chat template, which assistant_only=True needs")
    if has_generation_markers(tokenizer.chat_template):
        return tokenizer
    try:
        marked = get_training_chat_template(tokenizer)
    except Exception as error:  # it renders messages, and a template may raise anything
        raise ValueError(
            "the chat template marks no answers with {% generation %}, and trl has no version of "
            "it that does: set tokenizer.chat_template to one that does"
        ) from error
    found = copy.copy(tokenizer)
    found.chat_template = marked
    return found
