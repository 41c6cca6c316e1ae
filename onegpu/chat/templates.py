"""Chat templates taken apart.

Taught in: notebooks/04_formatting.ipynb
"""

import dataclasses
from typing import TYPE_CHECKING

from onegpu.chat.encoding import n_common
from onegpu.chat.rendering import apply_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Template", "end_ids", "template"]

CONTENTS = ("First-question", "First-answer", "Second-question", "Second-answer")
ROLES = ("user", "assistant") * 2
THOUGHT = "<think>\nFirst-thought\n</think>\n\n"


@dataclasses.dataclass(frozen=True)
class Template:
    """What a chat template writes around the contents of a conversation.

    Attributes:
        start: Before the first question: often a system prompt that nobody asked for.
        answer: Between a question and its answer.
        next_question: Between an answer and the next question.
        end: After the last answer.
        end_of_turn_id: The token that ends an answer; None where the template writes none.
        opening: What begins every answer: `answer`, but for the empty thought that some add.
    """

    start: str
    answer: str
    next_question: str
    end: str
    end_of_turn_id: int | None
    opening: str


def template(tokenizer: "PreTrainedTokenizerBase") -> Template | None:
    """Take the chat template of a tokenizer apart, by rendering a conversation of two turns.

    Args:
        tokenizer: Any; its template may be missing.

    Returns:
        The texts that the template writes, or None where there is no template, or where it
        refuses a conversation of two turns.

    Taught in: notebooks/04_formatting.ipynb
    """
    pieces = _pieces(tokenizer)
    if pieces is None:
        return None
    thinking = _pieces(tokenizer, thought=THOUGHT) or pieces
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    after = tokenizer(pieces[4], add_special_tokens=False)["input_ids"]
    ends = [token_id for token_id in after if token_id in special]
    return Template(
        start=pieces[0],
        answer=pieces[1],
        next_question=pieces[2],
        end=pieces[4],
        end_of_turn_id=ends[0] if ends else None,
        opening=pieces[1][: n_common(pieces[1], thinking[1])],
    )


def _pieces(tokenizer: "PreTrainedTokenizerBase", *, thought: str = "") -> list[str] | None:
    """Return what the template writes around four contents, if it writes them at all."""
    if tokenizer.chat_template is None:
        return None
    texts = [
        (thought if role == "assistant" else "") + content
        for role, content in zip(ROLES, CONTENTS, strict=True)
    ]
    # Templates of models that see may read nothing but lists of parts
    for contents in (texts, [[{"type": "text", "text": text}] for text in texts]):
        turns = [{"role": r, "content": c} for r, c in zip(ROLES, contents, strict=True)]
        try:
            rest = apply_template(tokenizer, turns, row={}, tokenize=False)
        except ValueError:
            continue
        pieces = []
        for content in CONTENTS:
            piece, found, rest = rest.partition(content)
            if not found:
                break
            pieces.append(piece)
        else:
            return [*pieces, rest]
    return None


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
