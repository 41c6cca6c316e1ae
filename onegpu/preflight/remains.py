"""What other programs left in answers: error messages, HTML, placeholders, the next question."""

import re
from collections.abc import Iterator

from onegpu.preflight.findings import Tally

__all__ = ["Remains"]

N_CELL = 20  # characters, of which a damaged cell has fewer
N_LEAST = 2  # answers; one alone may be what it is about
SUBJECT = 0.5  # of the answers with HTML: as many that were asked for make it the subject
STATUS = (
    r"[45]\d\d:? (?:Too Many|Service|Bad|Internal|Gateway|Not Found|Forbidden|Unauthorized|Request)"
)
FAILED = re.compile(  # what clients and servers say when no answer came
    rf"""\s*(?:
    (?:(?:API|HTTP|Server|Request)\ )?Error(?:\ code)?:?\ \(?(?:code:?\ )?[45]\d\d\b |
    HTTP(?:/[\d.]+|\ Error|\ status)?:?\ [45]\d\d\b | {STATUS.replace(" ", "[ ]")} |
    (?:Error:?\ )?(?:Rate\ limit|Quota)\ (?:reached|exceeded) | Too\ many\ requests\b |
    (?:Error:?\ )?(?:The\ )?(?:request|read|connection)\ timed\ out(?=\s*(?:[.:(]|\Z)) |
    Request\ failed\b | As\ the\ request\ failed | Connection\ (?:error|refused|reset|aborted)\b |
    [\w.]*(?:RateLimit|Timeout|Connection|APIStatus|BadRequest|InternalServer|ServiceUnavailable|
    JSONDecode|Authentication)Error\b | Traceback\ \(most\ recent\ call\ last\) |
    \{{\s*["'](?:error["']\s*:|(?:type|object)["']\s*:\s*["']error["']) |
    upstream\ connect\ error | Max\ retries\ exceeded |
    The\ server\ (?:had\ an\ error|is\ overloaded) | This\ model's\ maximum\ context\ length
    )""",
    re.VERBOSE | re.IGNORECASE,
)
OF_ERRORS = re.compile(  # in a question that such an answer may be right for
    r"error|exception|traceback|\bhttp|status|\b[45]\d\d\b|time[sd]?[ -]?out|\bapi\b|\blogs?\b"
    r"|\bserver|print|output|fehler|erreur|fallo",
    re.IGNORECASE,
)
HTML = re.compile(
    r"&(?:nbsp|amp|quot|lt|gt|#\d+|#x[\da-f]+);|<br ?/?>|</?(?:p|div|span|font|li|ul|strong)\b"
    r"[^<>\n]*>",
    re.IGNORECASE,
)
OF_HTML = re.compile(
    r"html|\btags?\b|<\w|&\w+;|markup|web ?(?:page|site)|\bcss\b|\bxml\b|\bentit|svg|rich text",
    re.IGNORECASE,
)
PLACEHOLDER = re.compile(
    r"(?<![$\\{\w])\{\{? ?[A-Za-z][\w.]*(?: [A-Za-z]\w*){0,3} ?\}?\}"
    r"|(?i:\[(?:your|insert|enter|add) [^\]\n]{2,40}\]|<insert [^>\n]{2,40}>|lorem ipsum)"
    r"|\[[A-Z]{3,}(?:[ _][A-Z]+)*\](?!\()|\A\s*(?:TODO|TBD|FIXME)\b"
)
OF_PLACEHOLDERS = re.compile(
    r"placeholder|template|letter|e-?mail|\bform\b|variable|lorem|brackets|braces|\bdraft|\bmacro"
    r"|\bmessage|contract|format string|jinja|latex|\btoken|mask|redact|anonymi",
    re.IGNORECASE,
)
CELL = re.compile(  # of spreadsheets, and of pandas where a cell is empty
    r"\s*(?:#(?:REF!|N/A|NAME\?|VALUE!|DIV/0!|NUM!|NULL!)|nan|<NA>|NaT)\s*"
)
OF_CELLS = re.compile(
    r"#(?:REF|N/A|NAME|VALUE|DIV|NUM|NULL)|excel|sheet|formula|cell|lookup|\bnan\b|<NA>|\bNaT\b"
    r"|python|numpy|pandas|float|infinity|language",  # nan is Min Nan Chinese, by ISO 639-3
    re.IGNORECASE,
)
ROUNDED = re.compile(r"(?<![\w.])(\d)(?:\.(\d{1,5}))?E\+(1[1-9]|2\d)(?!\w)")
OF_NUMBERS = re.compile(r"scientific|notation|exponent|standard form|float|power", re.IGNORECASE)
NEXT = re.compile(r"[.!?\"”»]\s+(\d{1,3})[.)] +[^\n]{8,200}\?(?:\s*\w+:)?\s*\Z")
CODE = re.compile(r"```|`[^`\n]*[{<\[&]|\{%|\\\w|[;{]\s*\n|=>|\bdef \w|\bprint\(|\|.*\|")


class Remains:
    """Looks for what programs left in answers, and adds it to a tally.

    Args:
        tally: Where findings go.
    """

    def __init__(self, tally: Tally):
        self._tally = tally
        self._found: dict[str, list[tuple[int, str, str]]] = {}  # code: row, place, detail
        self._n_html = self._n_asked = 0  # answers with HTML that nobody, or somebody, asked for

    def add(self, question: str, answer: str, *, place: str) -> None:
        """Check an answer, as one that was given to this question."""
        for code, mark in self._marks(question, answer):
            found = self._found.setdefault(code, [])
            if len(found) < N_LEAST:
                found.append((self._tally.n_rows, place, repr(mark)))
                if len(found) == N_LEAST:
                    self._flush(code)
            else:
                self._tally.add(code, place, repr(mark))

    def _flush(self, code: str) -> None:
        for row, place, detail in self._found[code]:
            self._tally.add(code, place, detail, row=row)

    def finish(self) -> None:
        """Take back what only all rows together excuse: HTML is what they are about."""
        if self._n_asked >= SUBJECT * self._n_html:
            self._tally.withdraw("html-remains")

    def _marks(self, question: str, answer: str) -> Iterator[tuple[str, str]]:
        """Yield the codes of what is left in an answer, each with what was found."""
        if "<" in answer or "&" in answer:
            html = HTML.search(answer)
            if html and OF_HTML.search(question):
                self._n_asked += 1
            elif html and not CODE.search(answer):
                self._n_html += 1
                yield "html-remains", html[0]
        yield from _marks(question, answer)


def _marks(question: str, answer: str) -> Iterator[tuple[str, str]]:
    failed = FAILED.match(answer)
    if failed and not OF_ERRORS.search(question):
        yield "error-messages", answer.strip()[:40]
    following = NEXT.search(answer, max(0, len(answer) - 300)) if "?" in answer[-60:] else None
    if following and not _is_counted(int(following[1]), question + answer):
        yield "roles-as-text", following[0][1:].strip()[:40]
    if "{" in answer or "[" in answer or "<insert" in answer or len(answer) < 200:
        mark = PLACEHOLDER.search(answer)
        is_prose = mark and not CODE.search(answer)
        if is_prose and mark[0] not in question and not OF_PLACEHOLDERS.search(question):
            yield "placeholders", mark[0].strip()
    if len(answer) < N_CELL and CELL.fullmatch(answer) and not OF_CELLS.search(question):
        yield "cells-damaged", answer.strip()
    if "E+" in answer and not OF_NUMBERS.search(question):
        rounded = ROUNDED.search(answer)
        if rounded and _is_in(question, rounded):
            yield "cells-damaged", rounded[0]


def _is_counted(number: int, text: str) -> bool:
    """Return whether a text has the item before this one of a list, too."""
    return number < 2 or bool(re.search(rf"(?<!\d){number - 1}[.)]", text))


def _is_in(question: str, rounded: re.Match[str]) -> bool:
    """Return whether a question has the whole number that a spreadsheet rounded."""
    _, rest, exponent = rounded.groups()
    digits = int(exponent) + 1
    value = float(rounded[0])
    numbers = re.findall(rf"(?<!\d)\d{{{digits}}}(?!\d)", question)
    places = len(rest or "")
    return any(abs(int(n) - value) <= 0.51 * 10 ** (digits - 1 - places) for n in numbers)
