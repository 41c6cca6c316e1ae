"""Rows and batches shown as the model sees them: colored in a notebook, in brackets elsewhere.

Taught in: notebooks/00_tldr.ipynb, notebooks/04_formatting.ipynb
"""

import dataclasses
import html
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onegpu.chat.batches import first_batch
from onegpu.chat.encoding import IGNORED, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Trainer

__all__ = ["BatchView", "Token", "TokenView", "show", "show_batch"]


@dataclasses.dataclass(frozen=True)
class Token:
    """One token of an example.

    Attributes:
        id: Its row in the vocabulary.
        text: The characters that it is for.
        learned: Whether the loss asks the model to predict it.
    """

    id: int
    text: str
    learned: bool


@dataclasses.dataclass(frozen=True)
class TokenView:
    """The tokens of one example: colored in a notebook, in brackets elsewhere.

    Attributes:
        tokens: All of them, in order.
        n_padding: How many positions of padding are beside them in a batch.
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
            color = learned if token.learned else other
            line_end = "<br>" if "\n" in token.text else ""
            spans.append(f'<span style="{color}">{shown}</span>{line_end}')
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
        example: A row of your data, which `encode` turns into tokens; or a row of
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
    views = []
    if "attention_mask" not in batch:  # one row that holds several sequences, without padding
        ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
        positions = batch["position_ids"][0].tolist()
        starts = [at for at, position in enumerate(positions) if position == 0]
        for start, end in itertools.pairwise([*starts, len(ids)]):
            views.append(_view(tokenizer, ids[start:end], labels[start:end]))
        return BatchView(tuple(views))
    masks = batch["attention_mask"].bool()
    for ids, labels, mask in zip(batch["input_ids"], batch["labels"], masks, strict=True):
        view = _view(tokenizer, ids[mask].tolist(), labels[mask].tolist())
        views.append(dataclasses.replace(view, n_padding=int((~mask).sum())))
    return BatchView(tuple(views))


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
