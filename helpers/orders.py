"""Requests to a parts desk, and the call of a tool that answers each: data for Chapter 8.

Taught in: notebooks/08_data.ipynb
"""

import csv
import json
import random
from importlib.resources import files
from typing import Any

__all__ = ["TOOL", "constrained", "judge", "order_part", "parts", "prompt", "requests"]

NUMBERS = {"a": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
SEEN = (
    "I need {n} {part}, please.",
    "Could you send me {n} {part}?",
    "Please order {n} {part}.",
    "My old one broke. {N} {part}, please!",
    "Hello, I'd like {n} {part}.",
)
NEW = (
    "Hi there, can I get {n} {part}?",
    "We're out of these: {n} {part}.",
    "Put {n} {part} in the mail for me, will you?",
)
EXPRESS = {
    "train": (" It's urgent.", " I need it tomorrow.", " By express, please."),
    "test": (" As fast as you can!", " It can't wait."),
}
SMALL_TALK = {
    "train": (
        ("Thanks a lot!", "You're welcome!"),
        ("Good morning.", "Good morning! What can I do for you?"),
        ("Are you a robot?", "Yes, and I take orders for parts."),
        ("Sorry, wrong number.", "No problem. Have a nice day!"),
        ("That's all for today.", "All right. Goodbye!"),
    ),
    "test": (
        ("Thank you very much.", "You're welcome!"),
        ("Good evening!", "Good evening! What can I do for you?"),
        ("Bye, see you.", "All right. Goodbye!"),
    ),
}


def parts() -> list[dict[str, str]]:
    """Return the rows of the table of parts that the course ships.

    Returns:
        Ten rows with `part`, `number`, `price in euros`, `model` and `in stock`.
    """
    text = (files("helpers") / "data/documents/parts.csv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


TOOL: dict[str, Any] = {
    "name": "order_part",
    "description": "Order spare parts.",
    "parameters": {
        "type": "object",
        "properties": {
            "part": {"type": "string", "enum": [row["part"] for row in parts()]},
            "quantity": {"type": "integer"},
            "express": {"type": "boolean"},
        },
        "required": ["part", "quantity", "express"],
    },
}


def prompt(request: str) -> list[dict[str, str]]:
    """Return the conversation that asks for an answer or a call.

    Args:
        request: What a customer writes.

    Returns:
        A system message that describes the tool, and the request.

    Taught in: notebooks/08_data.ipynb
    """
    rule = "You take orders. To order, answer with a JSON object: name and arguments. The tool:\n"
    return [
        {"role": "system", "content": rule + json.dumps(TOOL)},
        {"role": "user", "content": request},
    ]


def constrained(messages: list[dict[str, str]]) -> dict[str, Any]:
    """Return the body of a request that lets a llama.cpp server write a call and nothing else.

    Args:
        messages: From `prompt`.

    Returns:
        The body, with the tool's JSON schema, from which the server makes a grammar.
    """
    schema = {
        "type": "object",
        "properties": {"name": {"const": TOOL["name"]}, "arguments": TOOL["parameters"]},
        "required": ["name", "arguments"],
    }
    asked = {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}
    return {"messages": messages, "temperature": 0, "max_tokens": 64, "response_format": asked}


def requests(n_requests: int, *, split: str, seed: int) -> list[dict[str, Any]]:
    """Write requests and what is to be said to each. One in six asks for nothing.

    Args:
        n_requests: How many.
        split: `"train"`, or `"test"` with phrases that training does not have.
        seed: Of the choice.

    Returns:
        Rows with `request`, `answer` (the text to be learned) and `call` (the tool's name and
        arguments, None for small talk).

    Raises:
        ValueError: There is no such split.

    Example:
        >>> row = requests(6, split="train", seed=1)[0]
        >>> json.loads(row["answer"]) == row["call"]
        True

    Taught in: notebooks/08_data.ipynb
    """
    if split not in EXPRESS:
        raise ValueError(f"unknown split {split!r}: choose train or test")
    draw, found = random.Random(seed), []
    for number in range(n_requests):
        if number % 6 == 5:
            request, answer = draw.choice(SMALL_TALK[split])
            found.append({"request": request, "answer": answer, "call": None})
            continue
        part, (word, quantity) = draw.choice(parts())["part"], draw.choice(list(NUMBERS.items()))
        plural = part if quantity == 1 else ("brushes" if part == "brush" else f"{part}s")
        express = draw.random() < 0.5
        phrase = draw.choice(SEEN if split == "train" else NEW)
        request = phrase.format(n=word, N=word.capitalize(), part=plural)
        request += draw.choice(EXPRESS[split]) if express else ""
        arguments = {"part": part, "quantity": quantity, "express": express}
        call = {"name": TOOL["name"], "arguments": arguments}
        found.append({"request": request, "answer": json.dumps(call), "call": call})
    return found


def judge(answer: str, row: dict[str, Any]) -> dict[str, bool]:
    """Say how far an answer is right.

    Args:
        answer: The model's.
        row: From `requests`.

    Returns:
        For a call: whether it is `json` at all, has the right `name`, and the right `arguments`.
        For small talk: whether it is `text`, not a call.

    Example:
        >>> judge('{"name": "order_part"}', requests(1, split="train", seed=1)[0])
        {'json': True, 'name': True, 'arguments': False}

    Taught in: notebooks/08_data.ipynb
    """
    try:
        call = json.loads(answer)
    except ValueError:
        call = None
    if row["call"] is None:
        return {"text": call is None and bool(answer.strip())}
    is_object = isinstance(call, dict)
    return {
        "json": is_object,
        "name": is_object and call.get("name") == row["call"]["name"],
        "arguments": is_object and call.get("arguments") == row["call"]["arguments"],
    }


def order_part(part: str, quantity: int, express: bool) -> dict[str, Any]:
    """Order parts: the function behind the tool. It orders nothing.

    Args:
        part: Its name in the table.
        quantity: How many, at least one.
        express: Whether to hurry, for five euros.

    Returns:
        The part's `number` and the `price` of all, in euros.

    Raises:
        ValueError: There is no such part, or the quantity is below one.

    Example:
        >>> order_part("tank cap", 2, True)
        {'number': 'BW-211', 'price': 13.4}

    Taught in: notebooks/08_data.ipynb
    """
    known = {row["part"]: row for row in parts()}
    if part not in known:
        raise ValueError(f"unknown part {part!r}: choose one of {', '.join(known)}")
    if quantity < 1:
        raise ValueError(f"quantity is {quantity}: order at least one")
    price = quantity * float(known[part]["price in euros"]) + (5 if express else 0)
    return {"number": known[part]["number"], "price": round(price, 2)}
