"""Answers that should be JSON like the others, and are Python's repr, or broken."""

import ast
import json
import re
import warnings

from onegpu.preflight.findings import Tally

__all__ = ["BrokenJson"]

N_LEAST = 2  # answers that cannot be parsed
SHARE = 0.4  # of the answers that look like JSON: those that can
N_KEPT = 1000  # places that are kept until it is known that most can be parsed
FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*(?:```\s*)?\Z", re.DOTALL | re.IGNORECASE)
START = re.compile(r"""\{\s*["'}]|\[\s*(?:\{\s*["']|["'])""")
OF_PYTHON = re.compile(
    r"python|\bdict|\brepr\b|json5|\byaml|javascript|typescript|\bjs\b|invalid|broken|malformed",
    re.IGNORECASE,
)


class BrokenJson:
    """Looks for answers that cannot be parsed where most can, and adds them to a tally.

    Args:
        tally: Where findings go.
    """

    def __init__(self, tally: Tally):
        self._tally = tally
        self._n_right = self._n_broken = 0
        self._broken: list[tuple[int, str, str]] = []  # row, place, why

    def add(self, question: str, answer: str, *, place: str) -> None:
        """Check an answer, as one that was given to this question."""
        if "{" not in answer[:20] and "[" not in answer[:20]:
            return
        fenced = FENCE.match(answer)
        text = (fenced[1] if fenced else answer).strip()
        if not START.match(text):
            return
        why = _why_broken(text)
        if not why:
            self._n_right += 1
        elif not OF_PYTHON.search(question):
            self._n_broken += 1
            if len(self._broken) < N_KEPT:
                self._broken.append((self._tally.n_rows, place, why))

    def finish(self) -> None:
        """Add what only all rows together show."""
        if self._n_broken < N_LEAST or self._n_right < N_LEAST:
            return
        if self._n_right >= SHARE * (self._n_right + self._n_broken):
            for row, place, why in self._broken:
                self._tally.add("json-broken", place, why, row=row)


def _why_broken(text: str) -> str:
    """Return why a text is not JSON, nothing where it is, or begins with it, or is lines of it."""
    try:
        json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        where = f"{error.msg.lower()} at character {error.pos + 1:,}"
        is_cut = error.pos >= len(text.rstrip()) - 1 or error.msg.startswith("Unterminated")
    except (ValueError, RecursionError):  # a number of thousands of digits, or deep lists
        return ""
    else:
        return ""
    try:
        with warnings.catch_warnings(action="ignore"):  # of its escapes
            ast.literal_eval(text)
    except (SyntaxError, TypeError, ValueError, MemoryError, RecursionError):
        return f"it is cut: {where}" if is_cut else where
    return "Python's repr"
