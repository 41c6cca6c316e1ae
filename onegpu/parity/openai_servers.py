"""What any server answers that takes OpenAI's requests: Ollama, vLLM, and others.

Only `/v1/chat/completions` is asked: it is what a chat uses, and Ollama tells probabilities nowhere
else. vLLM also tells the ids of all tokens, of the prompt's too. Others tell an answer's tokens as
text, and how many the prompt has.

Sources: https://platform.openai.com/docs/api-reference/chat/object,
https://github.com/vllm-project/vllm/blob/main/vllm/entrypoints/openai/chat_completion/protocol.py,
https://github.com/ollama/ollama/blob/main/openai/openai.go
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onegpu import progress, serving
from onegpu.parity.answers import Answer, Recording, Token

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["record_openai_server"]

BODY = {
    "temperature": 0,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "repetition_penalty": 1.0,  # vLLM takes that of generation_config.json without it
    "logprobs": True,
    "top_logprobs": 20,  # the most that these servers tell
    "return_token_ids": True,  # this and what follows: vLLM's own, which others ignore
    "return_tokens_as_token_ids": True,
    "return_prompt_text": True,
}


def record_openai_server(
    url: str, model: str, *, prompts: Sequence["Conversation"], max_new_tokens: int
) -> Recording:
    """Record what a server answers at temperature 0.

    Args:
        url: Its address, without `/v1`.
        model: The model's name there; may be empty where it serves one only.
        prompts: Conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.

    Returns:
        The recording, with notes of what the server does not tell.

    Raises:
        ValueError: It serves no model of that name, or several and none is named.
        RuntimeError: It answers with an error.
    """
    names = [one["id"] for one in serving.request(url, "/v1/models")["data"]]
    if not model and len(names) == 1:
        model = names[0]
    if model not in names:
        raise ValueError(
            f"{url} serves {', '.join(names) or 'no model'}, and {model!r} was asked for: put one "
            f"of these names behind the address, such as {url}#{names[0] if names else 'NAME'}"
        )
    body = {**BODY, "model": model, "max_tokens": max_new_tokens}
    asking = progress.bar(prompts, what="asking the server", unit="prompt")
    answers = []
    for prompt in asking:
        asked = {**body, "messages": list(prompt)}
        answers.append(_answer(serving.request(url, "/v1/chat/completions", asked)))
    return Recording(tuple(answers), notes=_untold(answers))


def _answer(told: dict[str, Any]) -> Answer:
    choice = told["choices"][0]
    text = choice["message"]["content"] or ""
    ended = choice["finish_reason"] == "stop"
    end: Token | None = "" if ended else None
    entries = (choice.get("logprobs") or {}).get("content") or []
    tokens = [_token(entry["token"]) for entry in entries]
    if isinstance(choice.get("stop_reason"), str):  # vLLM met a stop string, and no end token
        end = None
    elif ended and tokens and _has_end(tokens, text):
        end = tokens.pop()
    prompt_ids = told.get("prompt_token_ids")
    if prompt_ids is None:
        prompt_ids = [None] * (told.get("usage", {}).get("prompt_tokens") or 1)
    return Answer(
        prompt_text=told.get("prompt_text") or "",
        prompt_ids=tuple(prompt_ids),
        ids=tuple(tokens) if entries else (text,),
        text=text,
        end=end,
        likeliest=tuple(
            {_token(one["token"]): one["logprob"] for one in (*entry["top_logprobs"], entry)}
            for entry in entries
        ),
    )


def _token(told: str) -> Token:
    """Return an id, which vLLM writes as `token_id:17`, or a text."""
    number = told.removeprefix("token_id:")
    return int(number) if number != told and number.isdigit() else told


def _has_end(tokens: list[Token], text: str) -> bool:
    """Return whether the last token is the end: where they are ids, or the text is without it."""
    if isinstance(tokens[-1], int):
        return True
    whole, before = ("".join(map(str, some)).strip() for some in (tokens, tokens[:-1]))
    return whole != text.strip() == before


def _untold(answers: Sequence[Answer]) -> tuple[str, ...]:
    """Return notes of what a server did not tell."""
    notes = []
    if not any(answer.likeliest for answer in answers):
        notes.append("its server tells no probabilities, so that only texts are compared")
    if any(None in answer.prompt_ids for answer in answers):
        notes.append(
            "its server tells how many tokens a prompt has, and not which: another template that "
            "writes as many is not seen here"
        )
    return tuple(notes)
