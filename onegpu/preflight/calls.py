"""Tools that are called and not offered: as tool calls, or as text in the contents."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from onegpu.chat import is_conversation, trained_columns
from onegpu.preflight.forms import functions, with_texts

__all__ = ["unknown_tools"]

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
