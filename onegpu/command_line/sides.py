"""A model as it is typed: a folder, a name on the hub, a GGUF file, or the address of a server."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onegpu import llama_cpp, parity, serving, sources

if TYPE_CHECKING:
    from onegpu.generation import Conversation
    from onegpu.parity.recording import Side

__all__ = ["check", "load", "record"]


def record(
    typed: Sequence[str], prompts: "Sequence[Conversation]", *, max_new_tokens: int
) -> list[parity.Recording]:
    """Record what each side answers, one after the other, so that only one is in memory.

    What fetching and compiling say goes to stderr.

    Args:
        typed: The sides, as typed.
        prompts: Conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.

    Returns:
        A recording of each side.

    Raises:
        ValueError: A side cannot be loaded, or its chat template refuses a prompt.
    """
    from jinja2 import TemplateError

    with contextlib.redirect_stdout(sys.stderr):
        for side in typed:
            check(side)
        try:
            return [
                parity.record(load(side), prompts, max_new_tokens=max_new_tokens) for side in typed
            ]
        except TemplateError as error:
            raise ValueError(f"a chat template refuses these prompts: {error}") from error


def check(side: str) -> None:
    """Raise what can be known of a side before minutes of work; compile llama.cpp for a file.

    Args:
        side: As typed: a folder, a name, a file or an address.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: There is no such model.
        ConnectionError: The server does not answer.
    """
    if serving.is_address(side):
        serving.request(serving.address(side)[0], "/v1/models")
    elif side.endswith(".gguf"):
        if not Path(side).is_file():
            raise FileNotFoundError(f"{side} is no file")
        llama_cpp.install()
    elif not _is_adapter(side):
        sources.resolve(side)


def load(side: str) -> "Side":
    """Return a side as `parity.record` takes it.

    Args:
        side: As typed: a folder, a name, a file or an address.

    Returns:
        A model and its tokenizer; a file or an address as it is.

    Raises:
        ValueError: The folder cannot be loaded.
    """
    if serving.is_address(side) or side.endswith(".gguf"):
        return side
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    device, dtype = "cpu", torch.float32  # few CPUs compute in 16 bits
    if torch.cuda.is_available():
        device, dtype = "cuda", "auto"
    name = PeftConfig.from_pretrained(side).base_model_name_or_path if _is_adapter(side) else side
    try:
        source = sources.resolve(name)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, device_map=device)
        if _is_adapter(side):
            model = PeftModel.from_pretrained(model, side)
            if (Path(side) / "tokenizer_config.json").exists():
                source = side
        return model, AutoTokenizer.from_pretrained(source)
    except Exception as error:  # of any library that reads a part of a folder
        raise ValueError(f"{side} cannot be loaded: {error}") from error


def _is_adapter(side: str) -> bool:
    """Return whether a side is a folder of an adapter alone."""
    folder = Path(side)
    return (folder / "adapter_config.json").exists() and not (folder / "config.json").exists()
