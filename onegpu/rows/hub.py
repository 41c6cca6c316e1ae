"""Rows of a data set on the hub, one at a time."""

import re
from collections.abc import Iterator

from onegpu.rows.row import Row

__all__ = ["is_name", "reach", "stream"]

NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
TIMEOUT = 5  # seconds


def is_name(source: str) -> bool:
    """Return whether something is spelled like a data set on the hub: `owner/name`."""
    return bool(NAME.fullmatch(source))


def reach(name: str) -> None:
    """Ask the hub for a data set, and raise a FileNotFoundError where it is not to be had."""
    from huggingface_hub import HfApi

    try:
        # One short request: without an answer, `load_dataset` tries again for half a minute
        HfApi().dataset_info(name, timeout=TIMEOUT)
    except Exception as error:  # of the network, of the hub, or of the name
        raise FileNotFoundError(
            f"{name} is no file, and no data set that the hub gives: check the name, log in with "
            f"`hf auth login` if it is private, or give a file ({str(error).splitlines()[0][:100]})"
        ) from error


def stream(name: str) -> Iterator[Row]:
    """Yield the rows of the split `train` as they arrive."""
    from datasets import load_dataset

    reach(name)
    number = 0
    try:
        for number, value in enumerate(load_dataset(name, split="train", streaming=True), start=1):
            yield Row(number, value, unit="row")
    except Exception as error:  # of any file format, or of the network
        raise ValueError(
            f"{name}, row {number + 1}: {' '.join(str(error).split())[:300]}; load_dataset() takes "
            "a configuration and a split, and its to_json('rows.jsonl') writes a file to give here"
        ) from error
