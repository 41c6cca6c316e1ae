"""Logs of agents, with the tools they called, made into messages.

Taught in: notebooks/04_formatting.ipynb
"""

import json
from collections.abc import Mapping
from typing import Any

from onegpu.rows.checked import messages_of, require, text_of

__all__ = ["from_openai", "from_sharegpt"]

ROLES = {"human": "user", "gpt": "assistant", "observation": "tool", "function": "tool"}


def from_sharegpt(row: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a ShareGPT row into a list of messages.

    Tools and arguments differ from row to row: `Dataset.from_list(rows, on_mixed_types="use_json")`
    keeps them; without it, each gets the names of all others, set to None.

    Args:
        row: `conversations`, a list of `from` (`human`, `gpt`, `system`; `function_call` and
            `observation` for tools) and `value`, and perhaps `system` and `tools`.

    Returns:
        `messages`, a list of `role` and `content`, and `tools` where there are any; a call is in
        `tool_calls`, with its arguments as an object.

    Raises:
        ValueError: A column is missing or holds something else, or a call is no JSON.

    Example:
        >>> from_sharegpt({"conversations": [{"from": "human", "value": "Hello!"}]})["messages"]
        [{'role': 'user', 'content': 'Hello!'}]

    Taught in: notebooks/04_formatting.ipynb
    """
    messages = []
    if row.get("system"):
        messages.append({"role": "system", "content": row["system"]})
    for turn in messages_of(row, "conversations", "from", "value"):
        if turn["from"] == "function_call":
            calls = _json(turn["value"], "a function_call")
            calls = calls if isinstance(calls, list) else [calls]
            messages.append(_calling("", [{"function": call} for call in calls]))
        else:
            messages.append({"role": _role(turn, "from"), "content": turn["value"]})
    return {"messages": messages, **_tools(row.get("tools"))}


def from_openai(row: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a row as OpenAI's API writes it, such as an agent's log, into what templates read.

    Tools and arguments differ from row to row: `Dataset.from_list(rows, on_mixed_types="use_json")`
    keeps them; without it, each gets the names of all others, set to None.

    Args:
        row: `messages`, or `input`, `preferred_output` and `non_preferred_output`, and perhaps
            `tools`. (The older `functions` and `function_call` are understood too.)

    Returns:
        `messages`, or `prompt`, `chosen` and `rejected`, and `tools` where there are any. The
        arguments of a call are an object instead of JSON, which most templates would encode
        again, and content that is null is empty.

    Raises:
        ValueError: A column is missing or holds something else, or arguments are no JSON.

    Example:
        >>> call = {"function": {"name": "look_up", "arguments": '{"word": "swamp"}'}}
        >>> turn = {"role": "assistant", "content": None, "tool_calls": [call]}
        >>> from_openai({"messages": [turn]})["messages"][0]["tool_calls"][0]["function"]
        {'name': 'look_up', 'arguments': {'word': 'swamp'}}

    Taught in: notebooks/04_formatting.ipynb
    """
    if "preferred_output" in row:
        require(row, "input", "non_preferred_output")
        given = row["input"]
        if not isinstance(given, Mapping):
            raise ValueError(f"column 'input': expected an object with messages, got {given!r:.80}")
        return {
            "prompt": _messages(given, "messages"),
            "chosen": _messages(row, "preferred_output"),
            "rejected": _messages(row, "non_preferred_output"),
            **_tools(given.get("tools")),
        }
    messages = _messages(row, "messages")
    return {"messages": messages, **_tools(row.get("tools") or row.get("functions"))}


def _role(turn: Mapping[str, Any], key: str) -> str:
    name = text_of(turn, key)
    return ROLES.get(name, name)


def _messages(row: Mapping[str, Any], column: str) -> list[dict[str, Any]]:
    messages = []
    for turn in messages_of(row, column, "role"):
        message = {**turn, "role": _role(turn, "role")}
        single = message.pop("function_call", None)
        calls = message.pop("tool_calls", None) or ([{"function": single}] if single else [])
        if turn.get("content") is None:
            message["content"] = ""
        messages.append({**message, **_calling(message["content"], calls)} if calls else message)
    return messages


def _calling(content: Any, calls: Any) -> dict[str, Any]:
    """Return an assistant's message that calls tools, the arguments as objects."""
    found = []
    for call in messages_of({"tool_calls": calls}, "tool_calls", "function"):
        function = call["function"]
        if not isinstance(function, Mapping):
            raise ValueError(f"a call: expected name and arguments, got {function!r:.80}")
        require(function, "name", "arguments")
        arguments = _json(function["arguments"], f"the arguments of {function['name']}")
        found.append({"type": "function", **call, "function": {**function, "arguments": arguments}})
    return {"role": "assistant", "content": content, "tool_calls": found}


def _tools(tools: Any) -> dict[str, Any]:
    """Return the column `tools`, each wrapped as templates expect it; nothing without tools."""
    tools = _json(tools, "tools") if tools else []
    if not tools:
        return {}
    found = []
    for tool in messages_of({"tools": tools}, "tools"):
        found.append(tool if "function" in tool else {"type": "function", "function": tool})
    return {"tools": found}


def _json(value: Any, what: str) -> Any:
    """Return what a text holds as JSON; what is no text is returned as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{what}: expected JSON, got {value[:80]!r} ({error})") from error
