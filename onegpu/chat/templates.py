"""Chat templates taken apart.

Taught in: notebooks/04_formatting.ipynb
"""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Template", "end_ids", "template"]


@dataclasses.dataclass(frozen=True)
class Template:
    """What a chat template writes around the contents of a conversation.

    Attributes:
        start: Before the first question: often a system prompt that nobody asked for.
        answer: Between a question and its answer.
        next_question: Between an answer and the next question.
        end: After the last answer.
        end_of_turn_id: The token that ends an answer; None where the template writes none.
    """

    start: str
    answer: str
    next_question: str
    end: str
    end_of_turn_id: int | None


def template(tokenizer: "PreTrainedTokenizerBase") -> Template | None:
    """Take the chat template of a tokenizer apart, by rendering a conversation of two turns.

    Args:
        tokenizer: Any; its template may be missing.

    Returns:
        The texts that the template writes, or None where there is no template.

    Taught in: notebooks/04_formatting.ipynb
    """
    if tokenizer.chat_template is None:
        return None
    contents = ["First-question", "First-answer", "Second-question", "Second-answer"]
    roles = ["user", "assistant"] * 2
    turns = [
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=True)
    ]
    rest = tokenizer.apply_chat_template(turns, tokenize=False)
    pieces = []
    for content in contents:
        piece, _, rest = rest.partition(content)
        pieces.append(piece)
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    after = tokenizer(rest, add_special_tokens=False)["input_ids"]
    ends = [token_id for token_id in after if token_id in special]
    return Template(pieces[0], pieces[1], pieces[2], rest, ends[0] if ends else None)


def end_ids(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Return the tokens that end an answer in training: the EOS, and what the template writes.

    Args:
        tokenizer: Any; it may lack a template, or an EOS token.

    Returns:
        At most two ids.
    """
    parts = template(tokenizer)
    turn_end = parts.end_of_turn_id if parts else None
    return {tokenizer.eos_token_id, turn_end} - {None}
