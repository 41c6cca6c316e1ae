"""Whether the tokens of rows are those of their text."""

import collections
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onegpu.chat import encode, n_common, trained_columns
from onegpu.preflight.answers import question_and_answer
from onegpu.preflight.findings import Tally

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["N_ROWS", "examine"]

N_ROWS = 100
N_LETTERS = 20  # of an answer that are not found elsewhere by chance
SAME = 0.8  # of the tokens of an answer
MANY = 0.3  # of the rows
AGAIN = 0.94  # of the tokens that are the same when their text is tokenized again
N_TOKENS = 200  # that tell whether they are


def examine(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Mapping[str, Any]], tally: Tally
) -> None:
    """Compare token ids with the text beside them, or with what they are as text.

    Args:
        tokenizer: Of the trainer.
        rows: With `input_ids`, each one sequence.
        tally: Where findings go.
    """
    known = [row for row in rows[:N_ROWS] if _answer(row)]
    other = [row for row in known if not _is_said(tokenizer, row)]
    if len(other) >= 2 and len(other) > MANY * len(known):
        swapped = [row for row in other if _says_another(tokenizer, row, known)]
        code = "answers-swapped" if 2 * len(swapped) > len(other) else "tokens-differ"
        tally.state(code, f"{len(other)} of the first {len(known)} rows, against their text")
    elif not known:
        share, n_tokens = _again(tokenizer, rows[:N_ROWS])
        if share < AGAIN and n_tokens >= N_TOKENS:
            where = f"{1 - share:.0%} are others when their text is tokenized again"
            tally.state("tokens-differ", where)


def _answer(row: Mapping[str, Any]) -> str:
    """Return the answer or text of a row without white space, if it still has one."""
    columns = trained_columns(row)
    try:
        text = row["text"] if columns == ("text",) else question_and_answer(row)[1]
        return _squeezed(text)
    except (AttributeError, IndexError, KeyError, TypeError):  # of other types
        return ""


def _squeezed(text: str) -> str:
    return "".join(text.split())


def _is_said(tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any]) -> bool:
    """Return whether the tokens of a row are those of its answer, perhaps in another format."""
    ids, answer = list(row["input_ids"]), _answer(row)
    try:
        expected = encode(tokenizer, row)["input_ids"]
    except ValueError:
        expected = []
    for one, other in ((expected, ids), (expected[::-1], ids[::-1])):  # cut at either end
        if expected and n_common(one, other) == min(len(one), len(other)):
            return True
    decoded = _squeezed(tokenizer.decode(ids))
    if any(part in decoded for part in (answer[:N_LETTERS], answer[-N_LETTERS:])):
        return True
    wanted = collections.Counter(tokenizer(answer, add_special_tokens=False)["input_ids"])
    return (wanted & collections.Counter(ids)).total() >= SAME * wanted.total()


def _says_another(
    tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> bool:
    decoded = _squeezed(tokenizer.decode(row["input_ids"]))
    return any(
        _answer(other) in decoded for other in rows if other is not row and len(_answer(other)) > 3
    )


def _again(
    tokenizer: "PreTrainedTokenizerBase", rows: Sequence[Mapping[str, Any]]
) -> tuple[float, int]:
    """Return which share of tokens is the same when their text is tokenized, and their number."""
    n_same = n_tokens = 0
    special = set(tokenizer.added_tokens_decoder)
    for row in rows:
        plain = itertools.filterfalse(special.__contains__, row["input_ids"])
        ids = [token_id for token_id in plain if 0 <= token_id < len(tokenizer)]
        again = tokenizer(tokenizer.decode(ids), add_special_tokens=False)["input_ids"]
        n_same += (collections.Counter(ids) & collections.Counter(again)).total()
        n_tokens += len(ids)
    return n_same / max(1, n_tokens), n_tokens
