"""The command `inspect`."""

import argparse
import json

from onegpu import gguf

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]

HELP = "show what is in a GGUF file, and what it lacks"
EXAMPLE = """\
example: is there a chat template, and an end token?
  onegpu inspect model-Q8_0.gguf

The exit code is 1 if something is missing or odd.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file and the form of the output."""
    parser.add_argument("file", metavar="FILE.gguf", help="a model or an adapter for llama.cpp")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace) -> int:
    """Print what is in the file, and return 1 if there are warnings."""
    found = gguf.inspect(options.file)
    if options.json:
        print(json.dumps(_as_dict(found), indent=1, default=str))
    else:
        print(found)
    return int(bool(found.warnings))


def _as_dict(found: gguf.Inspection) -> dict[str, object]:
    """Return what JSON knows of it."""
    tensors = [
        {"name": name, "type": kind, "shape": shape, "bytes": n_bytes}
        for name, kind, shape, n_bytes in found.tensors
    ]
    return {
        "file": str(found.path),
        "metadata": found.metadata,
        "tensors": tensors,
        "warnings": found.warnings,
    }
