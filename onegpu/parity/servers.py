"""What a server of llama.cpp answers."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from onegpu import progress, serving
from onegpu.parity.answers import N_LIKELIEST, Answer, Recording, left_out

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["record_server"]

# By which another token than the likeliest is taken, each with the value that does nothing
SETTINGS: Mapping[str, Any] = {
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "dry_multiplier": 0.0,
    "mirostat": 0,
    "logit_bias": [],
    "grammar": "",
    "ignore_eos": False,
}


def record_server(
    server: serving.Server | str,
    prompts: Sequence["Conversation"],
    *,
    max_new_tokens: int,
    settings: Mapping[str, Any],
) -> Recording:
    """Record what a server of llama.cpp answers, taking the likeliest token each time.

    Args:
        server: A server, or its address.
        prompts: Conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.
        settings: Those that it was started with, as it tells of them.

    Returns:
        The recording, with the settings that were left out.
    """
    asking = progress.bar(prompts, what="asking the server", unit="prompt")
    texts: dict[int, str] = {}
    answers = [_ask_server(server, prompt, max_new_tokens, texts) for prompt in asking]
    return Recording(tuple(answers), texts=texts, notes=left_out(settings, SETTINGS))


def _ask_server(
    server: serving.Server | str,
    prompt: "Conversation",
    max_new_tokens: int,
    texts: dict[int, str],
) -> Answer:
    """Return the answer to one prompt, and put the text of its tokens into `texts`."""
    text = serving.request(server, "/apply-template", {"messages": list(prompt)})["prompt"]
    asked = {"content": text, "add_special": True, "parse_special": True}
    ids = serving.request(server, "/tokenize", asked)["tokens"]
    answer = serving.request(
        server,
        "/completion",
        {
            "prompt": text,
            "temperature": -1,  # the likeliest token; probabilities straight from the logits
            "n_predict": max_new_tokens,
            "n_probs": N_LIKELIEST,
            "return_tokens": True,
            "cache_prompt": False,  # nothing is left of the request before
            **SETTINGS,
        },
    )
    # left out where not even one character is whole
    entries = answer.get("completion_probabilities", [])
    for entry in entries:
        texts.update({one["id"]: one["token"] for one in entry["top_logprobs"]})
    ended = answer["stop_type"] == "eos"
    return Answer(
        prompt_text=text,
        prompt_ids=tuple(ids),
        ids=tuple(answer["tokens"][:-1] if ended else answer["tokens"]),
        text=answer["content"],
        end=answer["tokens"][-1] if ended else None,
        likeliest=_told(answer["tokens"], entries),
    )


def _told(
    tokens: Sequence[int], entries: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[int, float], ...]:
    """Return the probabilities at each token: the server has none for a part of a character.

    It has them for the last part, which completes the character, so they are matched from the end.
    """
    places, left = [], list(entries)
    for token in reversed(tokens):
        told = []
        if left and left[-1]["id"] == token:
            told = left.pop()["top_logprobs"]
        place = {}
        for one in told:  # JSON knows no NaN: the server writes null
            place[one["id"]] = math.nan if one["logprob"] is None else one["logprob"]
        places.append(place)
    return tuple(reversed(places))
