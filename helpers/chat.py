"""What the model really sees: templates, tokens, and which of them are learned.

Taught in: notebooks/00_tldr.ipynb, notebooks/04_formatting.ipynb
"""

import dataclasses
import html
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Trainer

__all__ = [
    "IGNORED",
    "BatchView",
    "Template",
    "Token",
    "TokenView",
    "collate",
    "encode",
    "first_batch",
    "first_rows",
    "is_conversation",
    "n_common",
    "show",
    "show_batch",
    "template",
]

IGNORED = -100  # the label of a position that the loss leaves out, in torch and transformers
MODEL_COLUMNS = ("input_ids", "attention_mask", "labels", "seq_lengths", "position_ids")


# Templates --------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Template:
    """What a chat template writes around the contents of a conversation.

    Attributes:
        start: Before the first question: often a system prompt that nobody asked for.
        answer: Between a question and its answer.
        again: Between an answer and the next question.
        end: After the last answer.
        end_of_turn_id: The token that ends an answer; None where the template writes none.
    """

    start: str
    answer: str
    again: str
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


# From a row to tokens ---------------------------------------------------------------------------


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


# Views ------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Token:
    """One token of an example.

    Attributes:
        id: Its row in the vocabulary.
        text: What it stands for.
        learned: Whether the loss asks the model to predict it.
    """

    id: int
    text: str
    learned: bool


@dataclasses.dataclass(frozen=True)
class TokenView:
    """The tokens of one example: coloured in a notebook, in brackets elsewhere.

    Attributes:
        tokens: All of them, in order.
        n_padding: How many positions of padding stand beside them in a batch.
    """

    tokens: tuple[Token, ...]
    n_padding: int = 0

    @property
    def n_learned(self) -> int:
        """How many tokens are learned."""
        return sum(token.learned for token in self.tokens)

    def __repr__(self) -> str:
        pieces = [f"[{t.text}]" if t.learned else t.text for t in self.tokens]
        return "".join(pieces) + f"\n{self._legend()}, in brackets"

    def _repr_html_(self) -> str:
        style = "display:inline-block;margin:1px;padding:0 3px;border-radius:3px;color:#111;"
        learned = style + "background:#ffd58a;border-bottom:3px solid #b35900"
        other = style + "background:#e3e8ee;border-bottom:3px solid #e3e8ee"
        spans = []
        for token in self.tokens:
            shown = html.escape(token.text).replace(" ", "·").replace("\n", "↵")
            colour = learned if token.learned else other
            line_end = "<br>" if "\n" in token.text else ""
            spans.append(f'<span style="{colour}">{shown}</span>{line_end}')
        return (
            f'<div style="font-family:monospace;line-height:1.9">{"".join(spans)}</div>'
            f"<p>{self._legend()}, underlined</p>"
        )

    def _legend(self) -> str:
        padding = f" and {self.n_padding} of padding" if self.n_padding else ""
        return f"{len(self.tokens)} tokens{padding}; the {self.n_learned} learned ones are marked"


@dataclasses.dataclass(frozen=True)
class BatchView:
    """The sequences of one batch, each shown as `TokenView` shows it.

    Attributes:
        sequences: A view a sequence; a packed batch has several in one row.
    """

    sequences: tuple[TokenView, ...]

    @property
    def efficiency(self) -> float:
        """The part of all positions that holds no padding, from 0 to 1."""
        n_tokens = sum(len(view.tokens) for view in self.sequences)
        return n_tokens / (n_tokens + sum(view.n_padding for view in self.sequences))

    def __repr__(self) -> str:
        return "\n".join([*map(repr, self.sequences), self._legend()])

    def _repr_html_(self) -> str:
        pages = [view._repr_html_() for view in self.sequences]
        return "<hr>".join(pages) + f"<p>{self._legend()}</p>"

    def _legend(self) -> str:
        return f"{len(self.sequences)} sequences, {self.efficiency:.0%} of the positions in use"


def show(tokenizer: "PreTrainedTokenizerBase", example: Mapping[str, Any]) -> TokenView:
    """Show one example as the model sees it.

    Args:
        tokenizer: The one that makes, or made, the tokens.
        example: A row of your data, which is made tokens as `encode` does; or a row of
            `trainer.train_dataset`, with `input_ids` and `labels`.

    Returns:
        The tokens, to be shown as the last line of a cell.

    Raises:
        ValueError: The row has columns of neither kind, or not as many labels as tokens.

    Taught in: notebooks/00_tldr.ipynb, notebooks/04_formatting.ipynb
    """
    if "input_ids" not in example:
        example = encode(tokenizer, example)
    elif "labels" not in example:
        raise ValueError("the example has input_ids and no labels: pass a row of your own data")
    return _view(tokenizer, example["input_ids"], example["labels"])


def show_batch(trainer: "Trainer") -> BatchView:
    """Show the first rows of a trainer's data as one batch, with its padding.

    Args:
        trainer: Before or after `train()`. Nothing in it changes.

    Returns:
        The sequences, to be shown as the last line of a cell.

    Taught in: notebooks/04_formatting.ipynb
    """
    batch = first_batch(trainer)
    tokenizer = trainer.processing_class
    ids, labels = batch["input_ids"].tolist(), batch["labels"].tolist()
    if "attention_mask" not in batch:  # one row that holds several sequences, without padding
        starts = [n for n, p in enumerate(batch["position_ids"][0].tolist()) if p == 0]
        ends = [*starts[1:], len(ids[0])]
        parts = [slice(*bounds) for bounds in zip(starts, ends, strict=True)]
        return BatchView(tuple(_view(tokenizer, ids[0][p], labels[0][p]) for p in parts))
    views = []
    for *row, mask in zip(ids, labels, batch["attention_mask"].bool().tolist(), strict=True):
        view = _view(tokenizer, *(list(itertools.compress(values, mask)) for values in row))
        views.append(dataclasses.replace(view, n_padding=len(mask) - sum(mask)))
    return BatchView(tuple(views))


def first_batch(trainer: "Trainer") -> dict[str, Any]:
    """Return the first rows of a trainer's data as its collator makes them a batch, on the CPU."""
    return collate(trainer, first_rows(trainer))


def first_rows(trainer: "Trainer") -> list[Mapping[str, Any]]:
    """Return the first rows of a trainer's data, at most a batch of them; it may be a stream."""
    size = trainer.args.per_device_train_batch_size
    return list(itertools.islice(trainer.train_dataset, size))


def collate(trainer: "Trainer", rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows as a trainer's collator makes them a batch, on the CPU."""
    return dict(
        trainer.data_collator([{k: row[k] for k in MODEL_COLUMNS if k in row} for row in rows])
    )


def _view(
    tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int], labels: Sequence[int]
) -> TokenView:
    if len(ids) != len(labels):
        raise ValueError(f"{len(ids)} input_ids but {len(labels)} labels: they must be as many")
    return TokenView(
        tuple(
            Token(token_id, tokenizer.decode([token_id]), label != IGNORED)
            for token_id, label in zip(ids, labels, strict=True)
        )
    )
