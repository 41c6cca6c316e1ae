"""Chat templates taken apart.

Taught in: notebooks/04_formatting.ipynb
"""

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Template", "template"]


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
    turns = [{"role": r, "content": c} for r, c in zip(roles, contents, strict=True)]
    pieces, rest = [], tokenizer.apply_chat_template(turns, tokenize=False)
    for content in contents:
        piece, _, rest = rest.partition(content)
        pieces.append(piece)
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    after = tokenizer(rest, add_special_tokens=False)["input_ids"]
    ends = [token_id for token_id in after if token_id in special]
    return Template(pieces[0], pieces[1], pieces[2], rest, ends[0] if ends else None)
