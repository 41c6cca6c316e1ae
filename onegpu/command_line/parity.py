"""The command `parity`."""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu import messages, parity, rows
from onegpu.chat import is_conversation
from onegpu.command_line import sides
from onegpu.command_line.arguments import at_least_one

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["EXAMPLE", "HELP", "add_arguments", "prompt_of", "prompts_of", "run"]

HELP = "say whether two deployments are the same model, by what they answer"
EXAMPLE = """\
example: an adapter beside the file that was made of it, on questions that neither was trained on
  onegpu parity runs/adapter merged-Q8_0.gguf --prompts test.jsonl --limit 40

A side is a folder of a model, or of an adapter (which is put on the base that it names), a name on
the hub, a .gguf file, or the address of a server: llama.cpp's, http://127.0.0.1:8080, or another
that takes OpenAI's requests, Ollama or vLLM, say, with the model's name where it serves several:
http://127.0.0.1:11434#yoda:latest. Folders are loaded as they were saved; without a GPU in float32.

Prompts are rows of a .jsonl, .json or .csv file: a column `prompt`, of text or of messages;
`messages`, which are asked up to the last turn of the assistant; or `text`.

how it ends:
  0  THE SAME MODEL, also where it says: but for near-ties
  1  NOT THE SAME, or ALIKE, as after quantization
  2  CANNOT TELL, or THE SAME ANSWERS with too few probabilities; or it could not do its work
"""
EXIT_CODES = {True: 0, False: 1, None: 2}  # by whether the two are the same; None cannot tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the two sides and what they are asked."""
    parser.add_argument("reference", metavar="REFERENCE", help="what was trained")
    parser.add_argument("candidate", metavar="CANDIDATE", help="what is deployed")
    parser.add_argument("--prompts", metavar="FILE", required=True, help="what both are asked")
    parser.add_argument(
        "--limit", type=at_least_one, metavar="N", help="ask the first N prompts only"
    )
    parser.add_argument(
        "--max-new-tokens",
        type=at_least_one,
        default=48,
        metavar="TOKENS",
        help="where answers that do not end are cut (%(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the report, and return 0 for the same model, 1 for another, 2 if it cannot tell."""
    messages.hide_known()
    prompts = prompts_of(options.prompts)[: options.limit]
    both = options.reference, options.candidate
    recorded = sides.record(both, prompts, max_new_tokens=options.max_new_tokens)
    report = parity.compare(*recorded, prompts, max_new_tokens=options.max_new_tokens)
    print(json.dumps(dataclasses.asdict(report), indent=1) if options.json else report)
    return EXIT_CODES[report.same]


def prompts_of(path: str | Path) -> list["Conversation"]:
    """Read the prompts in a file.

    Args:
        path: See `rows.scan`.

    Returns:
        Conversations up to the answer.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file of another kind, no row, or one that cannot be read or holds no prompt.
    """
    found = []
    for row in rows.scan(path):
        try:
            if row.problem:
                raise ValueError(row.problem)
            found.append(prompt_of(row.value))
        except ValueError as error:
            raise ValueError(f"{path}, {row.place}: {error}") from error
    if not found:
        raise ValueError(f"{path} holds no rows: give some dozens of prompts")
    return found


def prompt_of(row: Mapping[str, Any]) -> "Conversation":
    """Take from a row what it asks.

    Args:
        row: `prompt` (messages or text), `messages`, or `text`; the first of them that it has.

    Returns:
        A conversation up to the answer.

    Raises:
        ValueError: It has none of these columns, or holds something else in it.

    Example:
        >>> prompt_of({"prompt": "2 + 2?", "completion": "4"})
        [{'role': 'user', 'content': '2 + 2?'}]
    """
    column = next((name for name in ("prompt", "messages", "text") if name in row), None)
    if column is None:
        raise ValueError(f"expected a column prompt, messages or text, found {', '.join(row)}")
    value = row[column]
    if not value:
        raise ValueError(f"{column} is empty")
    if isinstance(value, str) and column != "messages":
        return [{"role": "user", "content": value}]
    if not is_conversation(value):
        raise ValueError(f"{column} holds neither text nor messages, but {str(value)[:40]!r}")
    if not all(map(_is_turn, value)):
        raise ValueError(f"{column}: every message needs a role and a content that are text")
    if column == "prompt":
        return value
    ends = [place for place, turn in enumerate(value) if turn["role"] == "assistant"]
    asked = value[: ends[-1]] if ends else value
    if not asked:
        raise ValueError("messages: nothing comes before the assistant's turn")
    return asked


def _is_turn(value: Any) -> bool:
    """Return whether a value is a message whose content is text."""
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(value.get(key), str) for key in ("role", "content"))
