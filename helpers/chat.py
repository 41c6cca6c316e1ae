"""What the model really sees: the tokens of an example, and which of them are learned.

Taught in: notebooks/00_tldr.ipynb
"""

import dataclasses
import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["IGNORED", "Token", "TokenView", "tokens"]

IGNORED = -100  # the label of a position that the loss leaves out, in torch and transformers


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
    """

    tokens: tuple[Token, ...]

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
        return f"{len(self.tokens)} tokens; the {self.n_learned} learned ones are marked"


def tokens(tokenizer: "PreTrainedTokenizerBase", example: Mapping[str, Sequence[int]]) -> TokenView:
    """Show one tokenized example as the trainer feeds it to the model.

    Args:
        tokenizer: The one that made the tokens.
        example: A row of `trainer.train_dataset`: `input_ids` and `labels`, one integer a token
            each, where a label of -100 means that the position is not learned.

    Returns:
        The tokens, to be shown as the last line of a cell.

    Raises:
        ValueError: The example has no `labels`, or not as many as `input_ids`.

    Taught in: notebooks/00_tldr.ipynb
    """
    if "labels" not in example:
        raise ValueError(
            f"the example has no labels, only {', '.join(example)}: pass a row of "
            "trainer.train_dataset, not of the data set that you gave the trainer"
        )
    ids, labels = list(example["input_ids"]), list(example["labels"])
    if len(ids) != len(labels):
        raise ValueError(f"{len(ids)} input_ids but {len(labels)} labels: they must be as many")
    return TokenView(
        tuple(
            Token(token_id, tokenizer.decode([token_id]), label != IGNORED)
            for token_id, label in zip(ids, labels, strict=True)
        )
    )
