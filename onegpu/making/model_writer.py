"""Rows that a language model writes about chunks of a document."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from onegpu import serving
from onegpu.making.chunking import Chunk, chunks
from onegpu.making.documents import Document
from onegpu.making.writing import row

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["by_model", "question_and_answer"]

ASK = """\
Read the passage. Write one question that it answers, and the answer, in the passage's own words.
Name what you ask about: the reader of the question does not see the passage.
Reply with JSON alone: {{"question": "...", "answer": "..."}}

Passage{where}:
{text}"""
AGAIN = 'That can\'t be used: {why}. Reply with JSON alone: {{"question": "...", "answer": "..."}}'
NAMES = {"question": "question", "q": "question", "answer": "answer", "a": "answer"}
LABEL = r"\b(?:%s)\b[\"'*]*\s*:"
LABELED = re.compile(f"{LABEL % 'question|q'}(.+?){LABEL % 'answer|a'}(.+)", re.I | re.S)
MARKS = " \t\n\"'*,{}`"  # around what has a label
MAX_TOKENS = 300


def by_model(
    ask: "str | Callable[[Conversation], str]",
    *,
    max_words: int = 150,
    overlap_words: int = 0,
    timeout_s: float = 60,
) -> Callable[[Document], Iterator[dict[str, Any]]]:
    """Return a writer that asks a model for a question and its answer to each chunk.

    What cannot be used is told to the model, which is asked once more; then the row is rejected, as
    `no-answer` or `bad-answer`. Nothing that a model says is known to be right: the filters find
    answers that are not in the passage, not those that twist what it says.

    Args:
        ask: A function that takes messages and returns the answer, such as
            `lambda messages: generation.ask(model, tokenizer, prompt=messages)`; it raises a
            TimeoutError when it takes too long. Or the address of a server that takes OpenAI's
            requests, such as `"http://127.0.0.1:8080"` or `"http://127.0.0.1:11434#llama3.2"`.
        max_words: How long a chunk may be.
        overlap_words: How many words of a chunk the next one may repeat.
        timeout_s: Seconds that a server may take for an answer.

    Returns:
        A function that takes a document and yields rows. It raises a ConnectionError where no
        server answers.

    Taught in: notebooks/08_data.ipynb
    """
    answer = _server(ask, timeout_s) if isinstance(ask, str) else ask

    def model(document: Document) -> Iterator[dict[str, Any]]:
        for chunk in chunks(document, max_words=max_words, overlap_words=overlap_words):
            yield from _asked(document, chunk, answer)

    return model


def _asked(
    document: Document, chunk: Chunk, ask: "Callable[[Conversation], str]"
) -> Iterator[dict[str, Any]]:
    where = f" ({': '.join(chunk.headings)})" if chunk.headings else ""
    asked = [{"role": "user", "content": ASK.format(where=where, text=chunk.text)}]
    reason = detail = ""
    for _ in range(2):
        try:
            said = ask(asked)
        except ConnectionError:
            raise
        except Exception as error:  # of any client: a timeout, a refusal of the server
            reason, detail = "no-answer", f"{type(error).__name__}: {error}"
            continue
        try:
            pairs = question_and_answer(said)
        except ValueError as error:
            reason, detail = "bad-answer", str(error)
            turns = (("assistant", said), ("user", AGAIN.format(why=detail)))
            asked = asked[:1] + [{"role": role, "content": content} for role, content in turns]
            continue
        for question, answer in pairs:
            yield row(document, question, answer, writer="model", quote=chunk.text)
        return
    rejected = row(document, "", "", writer="model", quote=chunk.text)
    yield rejected | {"reason": reason, "detail": detail}


def _server(typed: str, timeout_s: float) -> "Callable[[Conversation], str]":
    if not serving.is_address(typed):
        raise ValueError(f"ask is {typed!r}: give a function, or an address such as http://...")
    url, model = serving.address(typed)

    def ask(messages: "Conversation") -> str:
        nonlocal model
        model = model or serving.request(url, "/v1/models", timeout=timeout_s)["data"][0]["id"]
        body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS}
        told = serving.request(url, "/v1/chat/completions", body, timeout=timeout_s)
        return told["choices"][0]["message"]["content"] or ""

    return ask


def question_and_answer(text: str) -> list[tuple[str, str]]:
    """Read what a model said: JSON with other text around it, or lines of Question and Answer.

    Args:
        text: The model's answer.

    Returns:
        Each question with its answer, at least one.

    Raises:
        ValueError: There is none, or one of the two is empty or no text.

    Example:
        >>> question_and_answer('Sure! {"question": "How wet?", "answer": "Very."}')
        [('How wet?', 'Very.')]
    """
    found = []
    for value in _objects(text):
        named = {NAMES.get(str(key).casefold()): one for key, one in value.items()}
        if {"question", "answer"} <= named.keys():
            found.append((named["question"], named["answer"]))
    if not found and (labeled := LABELED.search(text)):
        found.append((labeled[1].strip(MARKS), labeled[2].strip(MARKS)))
    pairs = []
    for question, answer in found:
        if isinstance(answer, int | float) and not isinstance(answer, bool):
            answer = str(answer)
        if not all(isinstance(one, str) and one.strip() for one in (question, answer)):
            raise ValueError(f"question or answer is empty or no text: {question!r}, {answer!r}")
        pairs.append((question.strip(), answer.strip()))
    if not pairs:
        raise ValueError(f"no question and answer in {text.strip()[:80]!r}")
    return pairs


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects in a text, of JSON or as Python writes them."""
    decoder, at = json.JSONDecoder(strict=False), 0
    while (at := text.find("{", at)) >= 0:
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = text.find("}", at) + 1
            try:
                value = ast.literal_eval(text[at:end])
            except (ValueError, SyntaxError, MemoryError, RecursionError):
                value = None
            at += 1
        if isinstance(value, dict):
            yield value
