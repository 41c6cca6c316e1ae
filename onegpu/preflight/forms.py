"""The forms that contents, tools and tool calls come in: text or parts, objects or JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["Turn", "decoded", "filled_in", "functions", "with_objects", "with_texts"]

Turn = Mapping[str, Any]


def with_texts(turns: Sequence[Turn]) -> list[Turn]:
    """Return turns whose contents are texts: nothing for null, the joined texts for parts."""
    plain = []
    for turn in turns:
        content = turn.get("content")
        if not isinstance(content, str):
            parts = content or []
            text = "".join(part["text"] for part in parts if part.get("type") == "text")
            turn = {**turn, "content": text}
        plain.append(turn)
    return plain


def with_objects(turns: Sequence[Turn]) -> list[Turn]:
    """Return turns whose tool calls have objects as arguments, not JSON."""
    plain = []
    for turn in turns:
        calls = decoded(turn.get("tool_calls"))
        if isinstance(calls, list):
            turn = {**turn, "tool_calls": [_with_object(call) for call in calls]}
        plain.append(turn)
    return plain


def _with_object(call: Any) -> Any:
    if not isinstance(call, Mapping):
        return call
    if isinstance(call.get("function"), Mapping):
        return {**call, "function": _with_object(call["function"])}
    if "arguments" not in call:
        return call
    return {**call, "arguments": decoded(call["arguments"])}


def decoded(value: Any) -> Any:
    """Return the list or object that a text holds as JSON, and what is none as it is."""
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value
    return found if isinstance(found, list | dict) else value


def functions(values: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the functions that tools or tool calls are about; what is neither is left out."""
    found = decoded(values)
    for value in found if isinstance(found, list) else []:
        function = value.get("function", value) if isinstance(value, Mapping) else None
        if isinstance(function, Mapping):
            yield function


def filled_in(turns: Sequence[Turn], tools: Any) -> str:
    """Return which parameter, null in one tool, belongs to another; a table gives all to all."""
    known: dict[str, Mapping[str, Any]] = {}
    for tool in functions(tools):
        parameters = tool.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
        if isinstance(properties, Mapping):
            known[str(tool.get("name"))] = properties
    nulls = [(name, key) for name in known for key, value in known[name].items() if value is None]
    for turn in turns:
        for call in functions(turn.get("tool_calls")):
            name, arguments = str(call.get("name")), call.get("arguments")
            if name in known and isinstance(arguments, Mapping):
                nulls += [
                    (name, key)
                    for key, value in arguments.items()
                    if value is None and known[name].get(key) is None
                ]
    return f"{nulls[0][1]} of {nulls[0][0]}" if nulls else ""
