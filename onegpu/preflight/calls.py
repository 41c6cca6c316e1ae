"""Tools that are called and not offered, and calls with other arguments than a tool takes."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from onegpu.chat import is_conversation, trained_columns
from onegpu.preflight.findings import Tally
from onegpu.preflight.forms import decoded, functions, with_texts

__all__ = ["Arguments", "unknown_tools"]

N_LEAST = 2  # rows
TYPES: dict[str, tuple[type, ...]] = {  # of JSON Schema; a truth value is no number
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (Mapping,),
}

CALLED = re.compile(  # what models write to call a tool, up to its name
    r"""(?:<tool_call>|\[TOOL_CALLS\]|<\|python_tag\|>|<functioncall>|\A\s*(?:```json\s*)?)\s*\[?\s*
    \{\s*(?:"type"\s*:\s*"function"\s*,\s*)?(?:"function"\s*:\s*\{\s*)?
    "(?:name|tool|function)"\s*:\s*"([\w.-]+)"\s*,\s*"(?:arguments|parameters|args)"
    | <function=([\w.-]+)>""",
    re.VERBOSE,
)
OFFERED = re.compile(  # what declares a tool
    r"""\{\s*"name"\s*:\s*"([\w.-]+)"\s*,\s*"(?:description|parameters|inputSchema|input_schema)"
    | ^[ \t]*(?:[-*]|\d+\.)?[ \t]*`?([A-Za-z_]\w*)\([^)\n]*\)`?[ \t]*(?:$|[-:–—>])""",
    re.VERBOSE | re.MULTILINE,
)
MARKS = ('"arguments"', '"parameters"', '"args"', "<function=")


class Arguments:
    """Compares the arguments of tool calls with the parameters that their tools declare.

    Args:
        tally: Where findings go.
    """

    def __init__(self, tally: Tally):
        self._tally = tally
        self._odd: list[str] = []
        self._n_odd = 0

    def add(self, row: Mapping[str, Any], *, place: str) -> None:
        """Check the calls of a row that declares tools."""
        if not row.get("tools"):
            return
        odd = next(_odd_arguments(row), "")
        self._n_odd += bool(odd)
        if odd and len(self._odd) < N_LEAST + 1:
            self._odd.append(f"{place}: {odd}")

    def finish(self) -> None:
        """Add what all rows together show."""
        if self._n_odd >= N_LEAST:
            found = f"{self._n_odd:,} rows call a tool with other arguments than it declares"
            fix = "give what the tool requires, under its names and in its types"
            self._tally.state("unknown-tool", "; ".join(self._odd), found=found, fix=fix)


def _odd_arguments(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what calls lack of their tool's parameters, or give in another form."""
    declared = {str(tool.get("name")): tool.get("parameters") for tool in functions(row["tools"])}
    for column in trained_columns(row):
        for turn in row[column] if is_conversation(row[column]) else ():
            for call in functions(turn.get("tool_calls")):
                name, given = str(call.get("name")), decoded(call.get("arguments"))
                schema = declared.get(name)
                if isinstance(schema, Mapping) and isinstance(given, Mapping):
                    yield from (f"{name}, {what}" for what in _unlike(given, schema))


def _unlike(given: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield how arguments differ from what a tool declares in JSON Schema."""
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, Mapping) or not properties:
        return
    for key in required if isinstance(required, list) else ():
        if key not in given:
            yield f"no {key}"
    for key, value in given.items():
        if value is None:
            continue
        if key not in properties:
            if not schema.get("additionalProperties"):
                yield f"unknown {key}"
        elif isinstance(properties[key], Mapping):
            kind, choices = properties[key].get("type"), properties[key].get("enum")
            if isinstance(kind, str) and kind in TYPES and not _is_of(value, kind):
                yield f"{key} is {value!r:.20}, no {kind}"
            elif isinstance(choices, list) and value not in choices:
                yield f"{key} is {value!r:.20}, none of its values"


def _is_of(value: Any, kind: str) -> bool:
    """Return whether a value is of a type of JSON Schema."""
    if isinstance(value, bool):
        return kind == "boolean"
    is_whole = isinstance(value, float) and value.is_integer()
    return isinstance(value, TYPES[kind]) or (kind == "integer" and is_whole)


def unknown_tools(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tools that a row calls and does not offer, if it offers any.

    Args:
        row: One that can be turned into tokens.

    Yields:
        Their names.
    """
    declared = [str(tool.get("name")) for tool in functions(row.get("tools"))]
    asked = ""
    for column in trained_columns(row):
        if not is_conversation(row[column]):
            if column == "completion":
                yield from _of_text(row[column], asked, declared)
            asked += str(row[column])
            continue
        for turn in with_texts(row[column]):
            if "None" not in declared and declared:
                names = (str(call.get("name")) for call in functions(turn.get("tool_calls")))
                yield from (name for name in names if name not in declared)
            if turn.get("role") == "assistant":
                yield from _of_text(turn["content"], asked, declared)
            else:
                asked += turn["content"] + "\n"


def _of_text(answer: str, asked: str, declared: list[str]) -> Iterator[str]:
    """Yield the tools that a text calls, if others are offered and these are not even named."""
    if not any(mark in answer for mark in MARKS):
        return
    offered = [a or b for a, b in OFFERED.findall(asked)] + declared
    for called in CALLED.finditer(answer) if offered else ():
        name = called[1] or called[2]
        is_named = re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", asked)
        if name not in offered and not is_named:
            yield name
