"""The command `eval`."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu import evaluation, messages
from onegpu.command_line import sides
from onegpu.command_line.arguments import at_least_one
from onegpu.command_line.parity import prompt_of
from onegpu.evaluation.scored import METRICS, Scored, score_each
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
    parser.add_argument(
        "--report", metavar="FOLDER", help="write a page into it: evaluation.html and evaluation.md"
    )
    parser.add_argument("--json", action="store_true", help="print scores and answers as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the scores, and return 0; with another model 0, 1 or 2 as it is better, worse, or not.

    Without enough prompts to tell it is 2.
    """
    messages.hide_known()
    models = [options.model, *([options.against] if options.against else [])]
    _check_report(options.report, models)
    prompts, references = _read(options.data, options.train)
    prompts, references = prompts[: options.limit], references[: options.limit]
    recorded = sides.record(models, prompts, max_new_tokens=options.max_new_tokens)
    scored = [
        score_each(model, [answer.text for answer in one.answers], references)
        for model, one in zip(models, recorded, strict=True)
    ]
    found = None
    if options.against:
        found = evaluation.compare(*(one.points(options.metric) for one in scored))
    if options.json:
        print(json.dumps(_shown(scored, found), indent=1))
    else:
        for one in scored:
            print(one)
        if found:
            print(f"is {options.against} better, by {METRICS[options.metric]}? {found}")
        _print_wrong(scored[-1], prompts, references, n=options.show)
    if options.report:
        _write_report(options, scored, prompts, references)
    return EXIT_CODES[found.verdict] if found else 0


def _check_report(folder: str | None, models: list[str]) -> None:
    """Raise before minutes of work why a page could not be written at their end."""
    if folder and Path(folder).exists() and not Path(folder).is_dir():
        raise ValueError(f"--report {folder} is a file: give a folder")
    if folder and len(set(models)) < len(models):
        raise ValueError(f"--report tells versions by their names: {models[0]} is given twice")


def _write_report(
    options: argparse.Namespace,
    scored: list[Scored],
    prompts: "list[Conversation]",
    references: list[str],
) -> None:
    named = [Path(file) for file in (options.data, options.train) if file]
    written = evaluation.report(
        options.report,
        title=f"{scored[-1].model} on {Path(options.data).name}",
        prompts=prompts,
        references=references,
        answers={one.model: one.answers for one in scored},
        files=[path for path in named if path.is_file()],  # not data sets of the hub
        metric=options.metric,
    )
    print(f"{written.html} and {written.markdown.name} are written", file=sys.stderr)


def _read(path: str, train: str | None) -> "tuple[list[Conversation], list[str]]":
    """Read what is asked, and what should be answered; no row of which was trained on."""
    rows = list(_rows(path))
    if not rows:
        raise ValueError(f"{path} holds no rows: give some dozens that no model was trained on")
    if train:
        known = {_key(prompt, wanted) for _, prompt, wanted in _rows(train)}
        seen = [place for place, prompt, wanted in rows if _key(prompt, wanted) in known]
        if seen:
            raise ValueError(
                f"{len(seen):,} rows of {path} are in {train}, too ({seen[0]} is the first): "
                "remove them from one of the two, or the score says what the model remembers"
            )
    return [prompt for _, prompt, _ in rows], [wanted for _, _, wanted in rows]


def _rows(path: str) -> "Iterator[tuple[str, Conversation, str]]":
    """Yield of each row of a file its place, what it asks, and what should be answered."""
    for row in readable(path):
        try:
            wanted = reference_of(row.value)
            yield row.place, prompt_of(row.value), wanted
        except ValueError as error:
            raise ValueError(f"{path}, {row.place}: {error}") from error


def _key(prompt: "Conversation", wanted: str) -> str:
    return json.dumps([prompt, wanted.strip()], sort_keys=True)


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
