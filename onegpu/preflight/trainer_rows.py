"""The check of the rows of a trainer: as they were written, and as they are tokenized."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from onegpu.chat import IGNORED, n_common, trained_columns, with_answer_marks
from onegpu.preflight import conversations, fidelity, tokenized
from onegpu.preflight.answers import Answers, question_and_answer
from onegpu.preflight.findings import Tally
from onegpu.preflight.pairing import Pairing
from onegpu.preflight.preferences import Encoded, Preferences, answers, is_labeled_bad
from onegpu.preflight.seen import Seen
from onegpu.preflight.sequences import N_TAIL, Sequences
from onegpu.preflight.streams import N_OF_STREAM, checked_rows
from onegpu.preflight.texts import Texts

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["Rows"]

TOKENIZED = ("input_ids", "completion_ids", "chosen_ids")  # one of them: SFT, KTO, DPO and reward
FEW = 10  # different rows, of which a stream may begin again on purpose
IN_PIECES = ("wrapped", "bfd_split")  # packing whose sequences begin and end anywhere


class Rows:
    """Checks the rows of one data set of a trainer, and adds what is wrong to a tally.

    Args:
        trainer: See `preflight.check`.
        tally: Where findings go.
        seen: Rows and prompts of the training data.
        is_evaluation: Whether these are the rows of the evaluation.
    """

    def __init__(
        self, trainer: "Trainer", tally: Tally, seen: Seen, *, is_evaluation: bool = False
    ):
        args, tokenizer = trainer.args, trainer.processing_class
        if getattr(args, "assistant_only_loss", False):
            tokenizer = with_answer_marks(tokenizer)
        self._tokenizer, self._tally = tokenizer, tally
        self._max_length = getattr(args, "max_length", None)
        packing = getattr(args, "packing", False)
        if is_evaluation and getattr(args, "eval_packing", None) is not None:
            packing = args.eval_packing
        self._packing = args.packing_strategy if packing else ""
        weights = None
        if hasattr(args, "desirable_weight"):
            weights = args.desirable_weight, args.undesirable_weight
        self.sequences = Sequences(
            tokenizer, tally, max_length=self._max_length, seen=seen, is_evaluation=is_evaluation
        )
        self._preferences = Preferences(tally, self.sequences, weights=weights)
        self._texts, self._answers = Texts(tokenizer), Answers(tally, seen, tokenizer)
        self._pairing = Pairing(tally)

    def check(self, rows: Iterable[Mapping[str, Any]], name: str) -> None:
        """Check every row of a data set, or the first rows of a stream."""
        n_before, n_stated = self._tally.n_rows, self._tally.n_stated
        for number, row in enumerate(self._read(rows, name)):
            self._check_row(row, f"{name}[{number}]")
        if self._tally.n_rows == n_before and self._tally.n_stated == n_stated:
            n_dropped = rows.data.num_rows if hasattr(rows, "data") else 0
            where = f"{name}; trl dropped {n_dropped:,}" if n_dropped else name
            self._tally.state("no-rows", where)
        n_rows, n_new = self._tally.n_rows - n_before, self.sequences.n_until_new - n_before
        if n_rows == N_OF_STREAM and not hasattr(rows, "__len__") and FEW <= n_new <= n_rows / 2:
            self._tally.withdraw("duplicate-rows")  # a stream that begins again is an epoch
        for part in (self.sequences, self._preferences, self._answers, self._pairing):
            part.finish()

    def _read(self, rows: Iterable[Mapping[str, Any]], name: str) -> Iterator[Mapping[str, Any]]:
        """Yield rows up to an error of the data set, which is somebody's program."""
        try:
            yield from checked_rows(rows)
        except Exception as error:
            self._tally.state("step-fails", f"{name}: {type(error).__name__}: {str(error)[:200]}")

    def _check_row(self, row: Mapping[str, Any], place: str) -> None:
        if not isinstance(row, Mapping):  # only its collator knows what it is
            self._tally.n_rows += 1
        elif self._packing in IN_PIECES:
            self._tally.n_rows += 1
            self.sequences.measure(row["input_ids"])
        elif self._packing:
            for part, ids, labels in _sequences(row):
                self._tally.n_rows += 1
                self.sequences.check(ids, labels, place=place + part)
                self._preferences.check({}, [(ids, labels)], place=place + part)
        else:
            self._tally.n_rows += 1
            self._check_one(row, place)

    def _check_one(self, row: Mapping[str, Any], place: str) -> None:
        """Check a row that is not packed."""
        is_tokenized = any(column in row for column in TOKENIZED)
        problem = tokenized.problem(row, len(self._tokenizer)) if "input_ids" in row else None
        if problem:
            self._tally.add(problem[0], place, problem[1])
        if problem and problem[0] != "unknown-ids":
            return
        in_turns = self._check_columns(row, place) if is_tokenized or trained_columns(row) else None
        encoded = _encoded(row, self._max_length) if is_tokenized else []
        for ids, labels in encoded:
            if in_turns is None:
                self.sequences.measure(ids)
            else:
                self.sequences.check(ids, labels, place=place, in_turns=in_turns)
        if in_turns is None:
            return
        given = {} if "input_ids" in row else _given(row)
        self._preferences.check(given, encoded, place=place)
        if not self._preferences.are_labeled and len(encoded) == 1:
            self._check_together(row, encoded[0], place)

    def _check_together(self, row: Mapping[str, Any], encoded: Encoded, place: str) -> None:
        """Keep the answer of a row for the checks of all answers."""
        if trained_columns(row):
            self._answers.check(row, place=place)
            question, answer = question_and_answer(row)
        else:
            pairs = list(zip(*encoded, strict=True))
            texts = [[i for i, n in pairs if (n == IGNORED) is asked] for asked in (True, False)]
            question, answer = (self._tokenizer.decode(t, skip_special_tokens=True) for t in texts)
        if not self.sequences.is_evaluation:
            self._pairing.add(question, answer, place=place)

    def _check_columns(self, row: Mapping[str, Any], place: str) -> bool | None:
        """Check what a tokenized row was made of, and return whether it is in turns.

        None where its tokens are not what is meant.
        """
        if "input_ids" in row and is_labeled_bad(row):
            self._tally.add("bad-answers-learned", place)
        found = []
        for part, answer in [("", row)] if "input_ids" in row else answers(_given(row)):
            of_answer = fidelity.problems(self._tokenizer, answer)
            if conversations.is_encodable(of_answer):
                of_answer += self._texts.problems(answer)
            for code, detail in of_answer:
                if code != "unknown-columns":  # tokenized rows need no others
                    self._tally.add(code, place + part, detail)
                    found.append((code, detail))
        return conversations.is_in_turns(found) if conversations.is_encodable(found) else None


def _given(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a row as it was before a RewardTrainer put the prompt before both answers."""
    prompt, chosen, rejected = (row.get(name) for name in ("prompt", "chosen", "rejected"))
    if not prompt or not chosen or "prompt_ids" in row or chosen[: len(prompt)] != prompt:
        return row
    return {**row, "chosen": chosen[len(prompt) :], "rejected": rejected[len(prompt) :]}


def _sequences(row: Mapping[str, Any]) -> Iterator[tuple[str, list[int], list[int]]]:
    """Yield the sequences that were packed into a row, each with what to add to its place."""
    ids = row["input_ids"]
    labels = row.get("labels", ids)
    start = 0
    for number, length in enumerate(row.get("seq_lengths", [len(ids)])):
        stop = start + length
        yield f", sequence {number}", ids[start:stop], labels[start:stop]
        start = stop


def _encoded(row: Mapping[str, Any], max_length: int | None) -> list[Encoded]:
    """Return the sequences that the collator makes of a row: one, or the answers of a pair."""
    if "input_ids" in row:
        return [(row["input_ids"], row.get("labels", row["input_ids"]))]
    if "completion_ids" in row:
        parts = [(row["prompt_ids"], row["completion_ids"])]
    elif "prompt_ids" in row:
        parts = [(row["prompt_ids"], row[name]) for name in ("chosen_ids", "rejected_ids")]
    else:  # of a reward model: what both begin with is the prompt
        pair = row["chosen_ids"], row["rejected_ids"]
        n = max(0, min(n_common(*pair), *(len(ids) - N_TAIL for ids in pair)))
        parts = [(ids[:n], ids[n:]) for ids in pair]
    return [
        ([*prompt, *answer][:max_length], [*([IGNORED] * len(prompt)), *answer][:max_length])
        for prompt, answer in parts
    ]
