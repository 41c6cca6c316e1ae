"""The command `preflight`."""

import argparse
import contextlib
import dataclasses
import json
import sys

from onegpu import preflight, sources
from onegpu.command_line.arguments import at_least_one

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]

HELP = "look for what is wrong with your data, before you train on it"
EXAMPLE = f"""\
example: rows for a model of the hub, which must not be among those that you test with
  onegpu preflight rows.jsonl --evaluation test.jsonl --model Qwen/Qwen2.5-1.5B-Instruct

Rows have `messages`, or `prompt` and `completion`, or `text`; for DPO `chosen` and `rejected`, for
KTO a `label` too. Without --model they are written and split as {sources.EMBEDDED} does
it, a small model with a ChatML template, which is fetched at the first call. The exit code is 1 if
there is an error among the findings; warnings leave it at 0.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the files and what the rows are for."""
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a .jsonl, .json, .csv, .tsv or .parquet file to train on, or a data set of the hub",
    )
    parser.add_argument("--evaluation", metavar="FILE", help="a file to evaluate on")
    parser.add_argument(
        "--model", metavar="NAME", help=f"a folder or a hub name (without it {sources.EMBEDDED})"
    )
    parser.add_argument(
        "--max-length",
        type=at_least_one,
        default=1024,
        metavar="TOKENS",
        help="where rows are cut, as in SFTConfig (%(default)s)",
    )
    parser.add_argument(
        "--assistant-only", action="store_true", help="as assistant_only_loss=True in SFTConfig"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Print the findings, and return 1 if there is an error among them."""
    from transformers import AutoTokenizer

    name = options.model or sources.EMBEDDED
    if not options.model:
        print(f"with the tokenizer of {name}; --model takes another", file=sys.stderr)
    with contextlib.redirect_stdout(sys.stderr):  # what fetching says
        folder = sources.resolve(name)
    found = preflight.check_data(
        options.data,
        AutoTokenizer.from_pretrained(folder),
        evaluation=options.evaluation,
        max_length=options.max_length,
        assistant_only=options.assistant_only,
    )
    if options.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in found], indent=1))
    else:
        print(found)
    return int(any(finding.severity == "error" for finding in found))
