"""What one side answers: a model, a GGUF file, or a server."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onegpu import serving
from onegpu.parity.answers import Recording
from onegpu.parity.models import record_model
from onegpu.parity.openai_servers import record_openai_server
from onegpu.parity.servers import record_server

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from onegpu.generation import Conversation

    Side = tuple[PreTrainedModel, PreTrainedTokenizerBase] | serving.Server | Path | str | Recording

__all__ = ["record"]


def record(
    side: "Side", prompts: Sequence["Conversation"], *, max_new_tokens: int = 48
) -> Recording:
    """Record what one side answers.

    Args:
        side: A model of Transformers (with an adapter on it or not) and its tokenizer, as a pair;
            a GGUF file, which is served meanwhile; a running server of llama.cpp; the address of
            one, or of any that takes OpenAI's requests, as `http://127.0.0.1:11434#NAME` where it
            serves several models; or a recording, which is returned as it is.
        prompts: Conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.

    Returns:
        The recording, in the order of the prompts.

    Raises:
        ValueError: There are no prompts, the side is none of these, a recording of others, or a
            server without a model of that name.
        ConnectionError: The server does not answer.
        RuntimeError: It answers with an error.

    Taught in: notebooks/06_deployment.ipynb
    """
    if not prompts:
        raise ValueError("no prompts: give some dozens that the model has not seen in training")
    asked = tuple(list(prompt) for prompt in prompts)
    if isinstance(side, Recording):
        if len(side.answers) != len(prompts):
            raise ValueError(f"a recording of {len(side.answers)} prompts, and {len(prompts)} here")
        if side.prompts and side.prompts != asked:
            raise ValueError("a recording of other prompts: record the side again, with these")
        return side
    if isinstance(side, str | Path) and Path(side).suffix == ".gguf":
        with serving.serve(side) as server:
            return record(server, prompts, max_new_tokens=max_new_tokens)
    if isinstance(side, tuple) and len(side) == 2:
        found = record_model(*side, prompts=prompts, max_new_tokens=max_new_tokens)
    elif isinstance(side, serving.Server) or serving.is_address(side):
        found = _record_server(side, prompts, max_new_tokens)
    else:
        raise ValueError(
            f"{side!r} is no side: give (model, tokenizer), a .gguf file, a server, or its address"
        )
    return dataclasses.replace(found, prompts=asked)


def _record_server(
    side: serving.Server | str, prompts: Sequence["Conversation"], max_new_tokens: int
) -> Recording:
    server, model = (side, "") if isinstance(side, serving.Server) else serving.address(side)
    try:  # only llama.cpp tells these
        settings = serving.request(server, "/props")["default_generation_settings"]["params"]
    except (RuntimeError, ValueError, KeyError, TypeError):
        return record_openai_server(server, model, prompts=prompts, max_new_tokens=max_new_tokens)
    return record_server(server, prompts, max_new_tokens=max_new_tokens, settings=settings)
