"""Answers that are compared or labeled: what trl's DPO, reward and KTO trainers train on."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from onegpu.chat import IGNORED, is_conversation, n_common
from onegpu.preflight.conversations import SYSTEM_COLUMNS, Problem
from onegpu.preflight.findings import Tally
from onegpu.preflight.judged import Judged
from onegpu.preflight.sequences import Sequences

__all__ = ["Encoded", "Preferences", "answers", "is_labeled_bad"]

Encoded = tuple[Sequence[int], Sequence[int]]  # token ids and labels
PAIR = ("chosen", "rejected")
OF_ROW = ("tools", "chat_template_kwargs", *SYSTEM_COLUMNS)  # that both answers have in common
QUESTIONS = ("question", "instruction", "input", "query")  # columns that trl does not read
LABELS = {"true": True, "desirable": True, "false": False, "undesirable": False}
SCORES = ("score", "rating", "reward")
ONE_SIDED = 4  # times as many labels of one kind as of the other


def answers(row: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the answers of a row, each with its prompt, as rows of their own.

    Args:
        row: Of any format.

    Returns:
        Of a pair the chosen and the rejected answer, with what to add to the row's place; none
        where it is no pair that trl can separate. Of another row itself.
    """
    if not all(name in row for name in PAIR):
        return [("", row)]
    prompt, pair, problem = _split(row)
    if problem and problem[0] != "prompt-repeated":
        return []
    others = {name: row[name] for name in OF_ROW if name in row}
    return [
        (f", {name}", {**others, "prompt": prompt, "completion": answer})
        for name, answer in zip(PAIR, pair, strict=True)
    ]


def is_labeled_bad(row: Mapping[str, Any]) -> bool:
    """Return whether a row's label calls its answer bad."""
    label = row.get("label")
    return label is False or (isinstance(label, str) and LABELS.get(label.lower()) is False)


class Preferences:
    """Checks rows with all their answers, and adds what is wrong to a tally.

    Args:
        tally: Where findings go.
        sequences: What the tokens of the same rows were found to hold.
        weights: Those that a KTO trainer gives good and bad answers; without them, the first row
            decides whether a column `label` is meant for such a trainer.
    """

    def __init__(
        self, tally: Tally, sequences: Sequences, *, weights: tuple[float, float] | None = None
    ):
        self._tally, self._sequences = tally, sequences
        self._weights, self._labeled = weights or (1.0, 1.0), bool(weights) or None
        self._judged = Judged(tally)
        self._n_labels = {True: 0, False: 0}

    @property
    def are_labeled(self) -> bool:
        """Whether the rows so far have labels that call their answers good or bad."""
        return bool(self._labeled)

    def check(self, row: Mapping[str, Any], encoded: Sequence[Encoded], *, place: str) -> None:
        """Check a row whose answers were checked one by one.

        Args:
            row: As it is in the data.
            encoded: Of its answers those that could be turned into tokens.
            place: Where it is.
        """
        if all(name in row for name in PAIR):
            for code, detail in _problems_of_pair(row):
                self._tally.add(code, place, detail)
        label = self._label(row, place)
        if len(encoded) == len(PAIR):
            self._check_pair(encoded, place)
            if all(name in row for name in PAIR):  # not of a trainer that has tokenized them
                self._judged.add_pair(*(answer for _, answer in answers(row)))
        elif len(encoded) == 1:
            ids, labels = encoded[0]
            mark = [] if label is None else [-1, int(label)]
            opposite = [] if label is None else [*ids, -1, int(not label)]
            self._sequences.check_repetition(
                _prompt(ids, labels), [*ids, *mark], place=place, opposite=opposite
            )

    def _label(self, row: Mapping[str, Any], place: str) -> bool | None:
        """Return whether a row's answer is a good one, if it has a label that says so."""
        if "label" not in row or "completion" not in row:
            return None
        label = row["label"]
        meant = LABELS.get(label.lower()) if isinstance(label, str) else label
        if self._labeled is None:
            self._labeled = isinstance(meant, bool)
        if not self._labeled:
            self._judged.add_rating(label, row["completion"])
            return None
        if isinstance(label, str) or label not in (0, 1):
            self._tally.add("label-not-bool", place, repr(label)[:20])
        if meant not in (0, 1):
            return None
        self._n_labels[bool(meant)] += 1
        self._judged.add_scores(row, is_good=bool(meant))
        return bool(meant)

    def _check_pair(self, encoded: Sequence[Encoded], place: str) -> None:
        (chosen, chosen_labels), (rejected, rejected_labels) = encoded
        if list(chosen) == list(rejected):
            self._tally.add("equal-answers", place)
            return
        self._judged.add_lengths(_n_learned(chosen_labels), _n_learned(rejected_labels))
        self._sequences.check_repetition(
            _prompt(chosen, chosen_labels),
            [*chosen, -1, *rejected],
            place=place,
            opposite=[*rejected, -1, *chosen],
        )

    def finish(self) -> None:
        """Add what only all rows of the training data together show."""
        if self._sequences.is_evaluation:
            return
        self._judged.finish()
        good, bad = self._n_labels[True], self._n_labels[False]
        for_good, for_bad = good * self._weights[0], bad * self._weights[1]
        is_one_sided = max(for_good, for_bad) > ONE_SIDED * min(for_good, for_bad)
        if is_one_sided and good + bad > ONE_SIDED:
            rare = "bad" if for_bad < for_good else "good"
            weight = "undesirable_weight" if rare == "bad" else "desirable_weight"
            even = for_good / bad if rare == "bad" and bad else for_bad / max(good, 1)
            where = (
                f"{weight}={even:.3g} would even them out" if good and bad else f"no {rare} ones"
            )
            found = f"{good:,} rows are labeled true, {bad:,} false"
            self._tally.state("labels-one-sided", where, found=found)


def _split(row: Mapping[str, Any]) -> tuple[Any, tuple[Any, Any], Problem | None]:
    """Return the prompt and both answers of a pair as trl separates them, and what is wrong.

    A prompt that an answer repeats is taken out of it, so that nothing else is found there.
    """
    pair = tuple(row[name] for name in PAIR)
    kinds = ["messages" if is_conversation(answer) else type(answer).__name__ for answer in pair]
    if kinds not in (["messages"] * 2, ["str"] * 2):
        code = "mixed-formats" if set(kinds) == {"messages", "str"} else "not-text"
        return "", pair, (code, f"chosen holds {kinds[0]}, rejected {kinds[1]}")
    are_turns = kinds[0] == "messages"
    n = _n_shared(*pair)
    if "prompt" not in row:
        asked = [name for name in QUESTIONS if name in row]
        if n == 0 or asked or (are_turns and any(_asks(answer[n:]) for answer in pair)):
            detail = f"no column prompt, but {asked[0]}" if asked else "they begin differently"
            return "", pair, ("no-prompt", detail)
        return pair[0][:n], (pair[0][n:], pair[1][n:]), None
    prompt = row["prompt"]
    if isinstance(prompt, str) and are_turns:  # as data sets of an older trl have it
        if any(turn.get("content") == prompt for turn in pair[0][:n] if isinstance(turn, Mapping)):
            return pair[0][:n], (pair[0][n:], pair[1][n:]), ("prompt-repeated", "as messages")
    elif isinstance(prompt, str):
        if prompt.strip() and all(len(a) > len(prompt) and a.startswith(prompt) for a in pair):
            n = len(prompt)
            return prompt, (pair[0][n:], pair[1][n:]), ("prompt-repeated", repr(prompt[:20]))
    elif is_conversation(prompt) and are_turns:
        n_repeated = [_n_repeated(prompt, answer) for answer in pair]
        if any(n_repeated):
            rest = tuple(answer[n:] for answer, n in zip(pair, n_repeated, strict=True))
            which = " and ".join(name for name, n in zip(PAIR, n_repeated, strict=True) if n)
            return prompt, rest, ("prompt-repeated", which)
    return prompt, pair, None


def _n_shared(chosen: Sequence[Any], rejected: Sequence[Any]) -> int:
    """Return how many turns or characters trl takes for the prompt of a pair without one."""
    n = max(0, min(n_common(chosen, rejected), len(chosen) - 1, len(rejected) - 1))
    return n - 1 if n and chosen[n - 1] == " " else n


def _n_repeated(prompt: Sequence[Any], answer: Sequence[Any]) -> int:
    """Return how many of the prompt's last turns an answer begins with, and goes on."""
    for n in range(min(len(prompt), len(answer) - 1), 0, -1):
        if answer[:n] == prompt[-n:]:
            return n
    return 0


def _asks(turns: Sequence[Any]) -> bool:
    return isinstance(turns[0], Mapping) and turns[0].get("role") == "user"


def _stripped(answer: Any) -> Any:
    """Return an answer without white space around its contents."""
    if isinstance(answer, list):
        return [_stripped(turn) for turn in answer]
    if isinstance(answer, Mapping):
        return {**answer, "content": _stripped(answer.get("content"))}
    return answer.strip() if isinstance(answer, str) else answer


def _problems_of_pair(row: Mapping[str, Any]) -> Iterator[Problem]:
    _, pair, problem = _split(row)
    if problem:
        yield problem
    if _stripped(pair[0]) == _stripped(pair[1]):
        yield "equal-answers", ""
    for name, score in row.items():
        if "chosen" in str(name) and any(word in name for word in SCORES):
            other = row.get(name.replace(*PAIR))
            if all(isinstance(s, int | float) for s in (score, other)) and score < other:
                yield "scores-contradict", f"{name} {score:g}, the other {other:g}"


def _prompt(ids: Sequence[int], labels: Sequence[int]) -> list[int]:
    """Return the tokens that are not learned, or all where all are."""
    return [i for i, label in zip(ids, labels, strict=True) if label == IGNORED] or list(ids)


def _n_learned(labels: Sequence[int]) -> int:
    return sum(label != IGNORED for label in labels)
