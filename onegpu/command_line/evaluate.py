"""The command `eval`."""

import argparse
import contextlib
import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu import evaluation, messages, parity
from onegpu.command_line import sides
from onegpu.command_line.arguments import at_least_one
from onegpu.command_line.parity import prompt_of
from onegpu.rows.reading import readable

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["EXAMPLE", "HELP", "add_arguments", "reference_of", "run"]

HELP = "score a model on prompts with known answers, and say whether another one is better"
EXAMPLE = """\
example: an adapter against its base, on rows that neither was trained on
  onegpu eval SmolLM2-135M-Instruct --data test.jsonl --against runs/adapter --train train.jsonl

A model is a folder of a model, or of an adapter (which is put on the base that it names), a name on
the hub, a .gguf file, or the address of a server. Each row of the file has `prompt` and
`completion`, or `messages`, whose last turn is the answer. An answer is right if it equals that to
the letter, white space at its ends aside; chrF gives part of the points for similar characters.

how it ends:
  0  scored; with --against: the other model is better
  1  the other model is worse
  2  not enough prompts to tell; or it could not do its work
"""
EXIT_CODES = {"better": 0, "worse": 1, "not enough to tell": 2}
METRICS = {"exact": "exact match", "chrf": "chrF"}


@dataclasses.dataclass(frozen=True)
class Scored:
    """What one model answered, and how good that was.

    Attributes:
        model: As typed.
        answers: One a prompt.
        exact: Whether each equals its reference.
        chrf: How close each comes to it, 0 to 1.
    """

    model: str
    answers: list[str]
    exact: list[bool]
    chrf: list[float]

    def __str__(self) -> str:
        n, n_right = len(self.exact), sum(self.exact)
        low, high = (100 * end for end in evaluation.interval(n_right, n))
        return (
            f"{self.model}\n"
            f"  exact match  {n_right:,} of {n:,} (95 % interval of the share: "
            f"{low:.0f} to {high:.0f} %)\n"
            f"  chrF         {100 * sum(self.chrf) / n:.1f} on average"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the rows, and what it is compared with."""
    parser.add_argument("model", metavar="MODEL", help="what is scored")
    parser.add_argument("--data", metavar="FILE", required=True, help="prompts and their answers")
    parser.add_argument("--against", metavar="MODEL", help="another model: is it better?")
    parser.add_argument("--train", metavar="FILE", help="refuse rows that are in this file, too")
    parser.add_argument(
        "--metric",
        choices=METRICS,
        default="exact",
        help="by which the two are compared (%(default)s)",
    )
    parser.add_argument(
        "--limit", type=at_least_one, metavar="N", help="ask the first N prompts only"
    )
    parser.add_argument(
        "--max-new-tokens",
        type=at_least_one,
        default=64,
        metavar="TOKENS",
        help="where answers that do not end are cut (%(default)s)",
    )
    parser.add_argument(
        "--show", type=int, default=3, metavar="N", help="so many wrong answers (%(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print scores and answers as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the scores, and return 0; with another model 0, 1 or 2 as it is better, worse, or not.

    Without enough prompts to tell it is 2.
    """
    messages.hide_known()
    prompts, references = _read(options.data)
    if options.train:
        _check_held_out(options.data, options.train)
    prompts, references = prompts[: options.limit], references[: options.limit]
    models = [options.model, *([options.against] if options.against else [])]
    with contextlib.redirect_stdout(sys.stderr):  # what fetching and compiling say
        for model in models:
            sides.check(model)
        scored = [
            _scored(model, prompts, references, options.max_new_tokens)
            for model in models  # one after the other, so that only one is in memory
        ]
    found = None
    if options.against:
        found = evaluation.compare(*(_points(one, options.metric) for one in scored))
    if options.json:
        print(json.dumps(_shown(scored, found), indent=1))
    else:
        for one in scored:
            print(one)
        if found:
            print(f"is {options.against} better, by {METRICS[options.metric]}? {found}")
        _print_wrong(scored[-1], prompts, references, n=options.show)
    return EXIT_CODES[found.verdict] if found else 0


def _points(scored: Scored, metric: str) -> list[float]:
    return [float(one) for one in (scored.exact if metric == "exact" else scored.chrf)]


def _scored(
    model: str, prompts: "list[Conversation]", references: list[str], max_new_tokens: int
) -> Scored:
    from sacrebleu import sentence_chrf

    recorded = parity.record(sides.load(model), prompts, max_new_tokens=max_new_tokens)
    answers = [answer.text for answer in recorded.answers]
    pairs = zip(answers, references, strict=True)
    chrf = [sentence_chrf(answer, [wanted]).score / 100 for answer, wanted in pairs]
    return Scored(model, answers, evaluation.exact_matches(answers, references), chrf)


def _read(path: str | Path) -> "tuple[list[Conversation], list[str]]":
    """Read what is asked, and what should be answered."""
    prompts, references = [], []
    for row in readable(path):
        try:
            references.append(reference_of(row.value))
            prompts.append(prompt_of(row.value))
        except ValueError as error:
            raise ValueError(f"{path}, {row.place}: {error}") from error
    if not prompts:
        raise ValueError(f"{path} holds no rows: give some dozens that no model was trained on")
    return prompts, references


def reference_of(row: Mapping[str, Any]) -> str:
    """Take from a row what should be answered.

    Args:
        row: With `completion` (text or messages) or `messages`.

    Returns:
        The answer as text.

    Raises:
        ValueError: It has neither, or the answer is empty or no text.

    Example:
        >>> reference_of({"prompt": "2 + 2?", "completion": "4"})
        '4'
    """
    column = next((name for name in ("completion", "messages") if name in row), None)
    if column is None:
        raise ValueError(f"expected completion or messages, found {', '.join(row)}")
    value = row[column]
    if not isinstance(value, str):
        last = value[-1] if isinstance(value, list) and value else None
        is_answer = isinstance(last, Mapping) and last.get("role") == "assistant"
        value = last.get("content") if is_answer else None
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{column} holds no answer of the assistant: {str(row[column])[:40]!r}")
    return value


def _check_held_out(path: str, train: str) -> None:
    """Raise where a row was trained on: its score would be memory."""
    known = {_key(row.value) for row in readable(train)}
    seen = [row.place for row in readable(path) if _key(row.value) in known]
    if seen:
        raise ValueError(
            f"{len(seen):,} rows of {path} are in {train}, too ({seen[0]} is the first): remove "
            "them from one of the two, or the score says what the model remembers"
        )


def _key(row: Mapping[str, Any]) -> str:
    return json.dumps([prompt_of(row), reference_of(row).strip()], sort_keys=True)


def _print_wrong(
    scored: Scored, prompts: "list[Conversation]", references: list[str], *, n: int
) -> None:
    wrong = [place for place, is_right in enumerate(scored.exact) if not is_right]
    for place in sorted(wrong, key=lambda place: scored.chrf[place])[:n]:
        print(f"prompt {place + 1}: {prompts[place][-1]['content']}")
        print(f"  said:   {scored.answers[place].strip()!r}\n  wanted: {references[place]!r}")


def _shown(scored: list[Scored], found: evaluation.Comparison | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"models": [dataclasses.asdict(one) for one in scored]}
    if found:
        shown["comparison"] = dataclasses.asdict(found) | {"verdict": found.verdict}
    return shown
