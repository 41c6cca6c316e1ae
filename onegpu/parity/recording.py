"""What one side answers: a model, a GGUF file, or a server."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onegpu import progress, serving
from onegpu.generation import evaluating, stop_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from onegpu.generation import Conversation

    Side = (
        tuple[PreTrainedModel, PreTrainedTokenizerBase] | serving.Server | Path | str | "Recording"
    )

__all__ = ["N_LIKELIEST", "Answer", "Recording", "record"]

N_LIKELIEST = 200  # tokens whose probability is compared at each place; the others as one
N_WITHOUT = 8  # prompts that are asked with the adapter switched off, too


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one side made of one prompt.

    Attributes:
        prompt_text: The conversation as its template renders it.
        prompt_ids: The same as tokens.
        ids: Its answer, taking the likeliest token each time, without the end token.
        text: The same as text.
        end: The token that ended it; None where it was cut.
        likeliest: For each place of the answer the log-probabilities (nats) of the likeliest
            tokens, by token id; nothing where the side does not tell.
    """

    prompt_text: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    text: str
    end: int | None
    likeliest: tuple[Mapping[int, float], ...]

    def token(self, place: int) -> int | None:
        """Return what was taken at a place: a token of the answer, its end, or nothing."""
        return self.ids[place] if place < len(self.ids) else self.end

    def equals(self, other: "Answer") -> bool:
        """Return whether two answers have the same tokens, and both ended or both were cut."""
        return self.ids == other.ids and (self.end is None) == (other.end is None)


@dataclasses.dataclass(frozen=True)
class Recording:
    """The answers of one side, to compare others with once it is gone.

    Attributes:
        answers: One a prompt.
        without_adapter: Of the first prompts, with the adapter switched off; none where there is
            no adapter.
        prompts: What was asked; empty where that was not kept.
    """

    answers: tuple[Answer, ...]
    without_adapter: tuple[Answer, ...] = ()
    prompts: tuple["Conversation", ...] = ()


def record(
    side: "Side", prompts: Sequence["Conversation"], *, max_new_tokens: int = 48
) -> Recording:
    """Record what one side answers.

    Args:
        side: A model of Transformers (with an adapter on it or not) and its tokenizer, as a pair;
            a GGUF file, which is served meanwhile; a running server of llama.cpp, or its address;
            or a recording, which is returned as it is.
        prompts: Conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.

    Returns:
        The recording, in the order of the prompts.

    Raises:
        ValueError: There are no prompts, the side is none of these, or a recording of others.
        ConnectionError: The server does not answer.

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
    if isinstance(side, tuple) and len(side) == 2:
        answers = _ask_model(*side, prompts, max_new_tokens)
        if not hasattr(side[0], "disable_adapter"):
            return Recording(tuple(answers), prompts=asked)
        with side[0].disable_adapter():
            without = _ask_model(*side, prompts[:N_WITHOUT], max_new_tokens)
        return Recording(tuple(answers), tuple(without), asked)
    if isinstance(side, str | Path) and Path(side).suffix == ".gguf":
        with serving.serve(side) as server:
            return record(server, prompts, max_new_tokens=max_new_tokens)
    if isinstance(side, serving.Server) or str(side).startswith(("http://", "https://")):
        asking = progress.bar(prompts, what="asking the server", unit="prompt")
        answers = [_ask_server(side, prompt, max_new_tokens) for prompt in asking]
        return Recording(tuple(answers), prompts=asked)
    raise ValueError(
        f"{side!r} is no side: give (model, tokenizer), a .gguf file, a server, or its address"
    )


def _ask_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence["Conversation"],
    max_new_tokens: int,
    batch_size: int = 20,
) -> list[Answer]:
    import torch

    answers = []
    texts = [
        tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    starts = range(0, len(texts), batch_size)
    for start in progress.bar(starts, what="asking the model", unit="batch"):
        batch = texts[start : start + batch_size]
        encoding = tokenizer(
            batch, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
        ).to(model.device)
        with evaluating(model), torch.inference_mode():
            made = model.generate(
                **encoding,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                return_dict_in_generate=True,
                output_logits=True,
            )
        logits = torch.stack(made.logits, dim=1).float()  # (batch, new tokens, vocab)
        top = logits.log_softmax(-1).topk(min(N_LIKELIEST, logits.shape[-1]))
        new = made.sequences[:, encoding["input_ids"].shape[1] :].tolist()
        for row, text in enumerate(batch):
            is_prompt = encoding["attention_mask"][row].bool()
            answers.append(
                _answer(
                    tokenizer,
                    prompt_text=text,
                    prompt_ids=encoding["input_ids"][row][is_prompt].tolist(),
                    new_ids=new[row],
                    ends=stop_ids(model),
                    likeliest=_by_token(top.indices[row].tolist(), top.values[row].tolist()),
                )
            )
    return answers


def _answer(
    tokenizer: "PreTrainedTokenizerBase",
    *,
    prompt_text: str,
    prompt_ids: list[int],
    new_ids: list[int],
    ends: list[int],
    likeliest: list[dict[int, float]],
) -> Answer:
    """Return one answer of a model, without the padding behind its end."""
    n = 0
    while n < len(new_ids) and new_ids[n] not in ends:
        n += 1
    return Answer(
        prompt_text=prompt_text,
        prompt_ids=tuple(prompt_ids),
        ids=tuple(new_ids[:n]),
        text=tokenizer.decode(new_ids[:n]),
        end=new_ids[n] if n < len(new_ids) else None,
        likeliest=tuple(likeliest[: n + 1]),
    )


def _by_token(ids: list[list[int]], logarithms: list[list[float]]) -> list[dict[int, float]]:
    """Return the log-probabilities of each place by token; both are (place, likeliest)."""
    return [
        dict(zip(ids_here, logarithms_here, strict=True))
        for ids_here, logarithms_here in zip(ids, logarithms, strict=True)
    ]


def _ask_server(
    server: serving.Server | str, prompt: "Conversation", max_new_tokens: int
) -> Answer:
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
        },
    )
    ended = answer["stop_type"] == "eos"
    return Answer(
        prompt_text=text,
        prompt_ids=tuple(ids),
        ids=tuple(answer["tokens"][:-1] if ended else answer["tokens"]),
        text=answer["content"],
        end=answer["tokens"][-1] if ended else None,
        # left out where not even one character is whole
        likeliest=_likeliest(answer["tokens"], answer.get("completion_probabilities", [])),
    )


def _likeliest(
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
