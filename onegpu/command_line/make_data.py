"""The command `make-data`."""

import argparse
import contextlib
import dataclasses
import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from onegpu import generation, making, messages, serving
from onegpu.command_line import sides
from onegpu.command_line.arguments import at_least_one
from onegpu.making.pipeline import Writer
from onegpu.making.settings import SplitBy

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]

HELP = "make rows to train on from your own documents"
EXAMPLE = f"""\
example: by template alone, then with a model that writes more, not among the rows to test with
  onegpu make-data manuals/ --out rows.jsonl --report rows.md
  onegpu make-data manuals/ --out more.jsonl --ask http://127.0.0.1:8080 --test-rows test.jsonl

Reads Markdown, text, HTML, CSV, TSV and JSONL. Beside rows.jsonl, the rows to train on, it writes
rows.validation.jsonl, rows.test.jsonl, rows.rejected.jsonl (each with its reason) and
rows.documents.jsonl, its journal. Ended by whatever, call it again: it goes on where it was.

filters, which --without leaves out: {", ".join(making.FILTERS[:5])},
{", ".join(making.FILTERS[5:])}

The exit code is 1 if there are no rows, or a document could not be read or written about.
"""


MAX_NEW_TOKENS = 300  # of a model that writes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the documents, the files, and the settings."""
    default = making.Settings()
    parser.add_argument("documents", metavar="DOCS", help="a file or a folder of documents")
    parser.add_argument("--out", metavar="FILE", required=True, help="the rows, as .jsonl")
    parser.add_argument("--report", metavar="FILE", help="write a page in Markdown")
    parser.add_argument(
        "--ask",
        metavar="MODEL",
        help="a model that writes rows, too: a server's address, a folder or a hub name",
    )
    parser.add_argument(
        "--phrasings",
        type=at_least_one,
        default=1,
        metavar="N",
        help="in how many ways a table's cell is asked for, 1 to 3 (%(default)s)",
    )
    parser.add_argument(
        "--split-by",
        choices=get_args(SplitBy),
        default=default.split_by,
        help="what goes into one split as a whole (%(default)s)",
    )
    for name in ("validation", "test"):
        parser.add_argument(
            f"--{name}-share", type=float, default=0.1, metavar="X", help="0 to 1 (%(default)s)"
        )
    parser.add_argument("--test-rows", metavar="FILE", help="leave out what is in this file")
    parser.add_argument(
        "--min-words",
        type=int,
        default=default.min_words,
        metavar="N",
        help="of an answer (%(default)s)",
    )
    parser.add_argument(
        "--max-words",
        type=int,
        default=default.max_words,
        metavar="N",
        help="of an answer (%(default)s)",
    )
    parser.add_argument(
        "--phone-region",
        metavar="XX",
        help="find phone numbers as they are dialed there, such as US",
    )
    parser.add_argument(
        "--without", action="append", default=[], metavar="FILTER", help="leave out a filter"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Make the rows and print the report; return 1 if there are none, or a document was no use."""
    names = [field.name for field in dataclasses.fields(making.Settings)]
    settings = making.Settings(**{name: getattr(options, name) for name in names})
    writers: list[Writer] = [functools.partial(making.by_template, phrasings=options.phrasings)]
    if options.ask:
        writers.append(making.by_model(_asking(options.ask)))
    found = making.make(options.documents, out=options.out, writers=writers, settings=settings)
    if options.report:
        Path(options.report).write_text(str(found), "utf-8")
    if options.json:
        print(json.dumps(dataclasses.asdict(found), indent=1, default=str))
    else:
        print(repr(found) if options.report else found)
    return int(bool(found.problems) or not found.n_rows)


def _asking(model: str) -> "str | Callable[[generation.Conversation], str]":
    """Return what `by_model` takes for a model as it is typed."""
    if serving.is_address(model):
        return model
    messages.hide_known()
    with contextlib.redirect_stdout(sys.stderr):
        sides.check(model)
        loaded = sides.load(model)
    if isinstance(loaded, str):
        raise ValueError(f"{model}: serve it, with llama-server for example, and give its address")
    return functools.partial(_ask, *loaded)


def _ask(model: Any, tokenizer: Any, prompt: generation.Conversation) -> str:
    return generation.ask(model, tokenizer, prompt=prompt, max_new_tokens=MAX_NEW_TOKENS)
