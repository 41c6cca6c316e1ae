"""Answers that have lost their line breaks, or the indentation or brackets of their code."""

import ast
import re
import warnings
from collections.abc import Sequence

from onegpu.preflight.findings import Tally

__all__ = ["examine"]

N_LEAST = 5  # answers
MANY = 0.5  # of them: those that need line breaks
IN_FENCE = re.compile(r"```\w*[ \t]+(\S.{30,}?)[ \t]*(?:```|\Z)")
CODE = re.compile(r"(?:def \w+\(|class \w+[:(]|from [\w.]+ import |import \w+ |#include ?<|@\w+ )")
NUMBERED = [re.compile(rf"(?:\A|[.!?:;] ){n}\. \S") for n in (1, 2, 3)]
DASHED = re.compile(r"(?:\A|[.!?:] )([-*•]) (?=[A-Z])")
TABLE = re.compile(r"\| ?:?-{3,}:? ?\|")
HEADER = re.compile(  # of Python; in Scala, a type and = come next
    r"(?:async )?def \w+\([^\n]*?\)(?: ?-> ?[^:\n]+)?: (?!\w+(?:\[[^\n]*?\])* ?=)\S"
)
BARE = re.compile(  # C++ and Rust without what stands in angle brackets
    r"^[ \t]*#[ \t]*include[ \t]*$|\.\w+::\(\)|\bstd::(?:vector|map|set|deque)& ?\w"
    r"|^[ \t]*std::(?:vector|map|set|deque|(?:unique|shared)_ptr) \w+;[ \t]*$",
    re.MULTILINE,
)
BLOCK = re.compile(
    r"^([ \t]*)(?:def \w+\([^\n]*|class \w+(?:\([^\n]*)?):[ \t]*\n+([ \t]*)\S", re.MULTILINE
)


def examine(answers: Sequence[str], tally: Tally) -> None:
    """Look for code and lists that are one line, and add them to a tally.

    Args:
        answers: The first of a data set.
        tally: Where findings go.
    """
    bare = [mark for mark in map(BARE.search, answers) if mark]
    if len(bare) > 1:
        found = f"code in {len(bare):,} answers has lost what stood in angle brackets"
        tally.state("layout-lost", repr(bare[0][0].strip()), found=found)
    if len(answers) < N_LEAST:
        return
    if not any("\n" in answer.strip() for answer in answers):
        flat = [answer for answer in answers if _is_flat(answer.strip())]
        if len(flat) >= max(N_LEAST, MANY * len(answers)):
            found = f"{len(flat):,} of {len(answers):,} answers hold code or a list in one line"
            tally.state("layout-lost", repr(flat[0].strip()[:40]), found=found)
        return
    joined = [answer for answer in answers if _is_joined(answer.strip())]
    if len(joined) >= N_LEAST:
        found = f"{len(joined):,} of {len(answers):,} answers hold Python in one line"
        tally.state("layout-lost", repr(joined[0].strip()[:40]), found=found)
    blocks = [BLOCK.search(answer) for answer in answers if "\n" in answer]
    bodies = [block for block in blocks if block]
    flush = [block for block in bodies if len(block[2]) <= len(block[1])]
    if len(flush) == len(bodies) >= N_LEAST:
        found = f"the Python of {len(flush):,} answers has no indentation"
        tally.state("layout-lost", repr(flush[0][0][:40]), found=found)


def _is_flat(line: str) -> bool:
    """Return whether one line holds what needs several."""
    fenced = IN_FENCE.match(line)
    code = fenced[1] if fenced else line
    if CODE.match(code) and not _is_python(code):
        return True
    if TABLE.search(line) or len(DASHED.findall(line)) > 2:
        return True
    place = 0
    for number in NUMBERED:
        item = number.search(line, place)
        if not item:
            return False
        place = item.end()
    return True


def _is_joined(text: str) -> bool:
    """Return whether a text is a function in one line, and no Python as such."""
    if "\n" in text:
        return False
    fenced = IN_FENCE.match(text)
    code = fenced[1] if fenced else text
    return bool(HEADER.match(code)) and not _is_python(code)


def _is_python(code: str) -> bool:
    try:
        with warnings.catch_warnings(action="ignore"):  # of its escapes
            ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return True
