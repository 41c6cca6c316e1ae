"""Rows by template: from headings, tables, and answers that people gave."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from onegpu.making.documents import Document, Section
from onegpu.making.writing import fraction_of, row

__all__ = ["by_template"]

CELL = (
    "What is the {column} of the {key} “{subject}”?",
    "Please look up the {column} of the {key} “{subject}”.",
    "The {key} “{subject}”: {column}?",
)
ODD_CELL = (  # where the column is a question itself, or the answer yes or no
    "The {key} “{subject}”: {column}?",
    "What does the table say for the {key} “{subject}” under “{column}”?",
    "Please look up “{column}” for the {key} “{subject}”.",
)
PASSAGE = (
    "What does “{title}” say about “{heading}”?",
    "Please explain “{heading}” from “{title}”.",
    "I'm reading “{title}”. What do I need to know about “{heading}”?",
)
WHOLE = "What is “{title}” about?"
ASKING = re.compile(r"(?:what|how|why|when|where|which|who|is|are|does|can)\b", re.IGNORECASE)
YES_OR_NO = {"yes", "no", "true", "false"}
ASKED = re.compile(  # Q: ... A: ...
    r"^(?:Q|Question)[:.)] *(\S.*?)\n+(?:A|Answer)[:.)] *(\S.*?)"
    r"(?=\n+(?:Q|Question)[:.)]|\n\s*\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
RULE = re.compile(r"[\s|:-]+")  # between the header of a table and its rows
ANSWERING = re.compile(r"\b(?:agent|support|assistant|gpt|bot|staff|operator|helpdesk)\b", re.I)
QUESTIONS, ANSWERS = ("question", "q", "instruction"), ("answer", "a", "output")


def by_template(document: Document, *, phrasings: int = 1) -> Iterator[dict[str, Any]]:
    """Write rows without any model: what a document holds as question and answer already.

    - A heading that ends in a question mark is answered by its passage, as in an FAQ. Another one
      is put into a question. Lines of `Q:` and `A:` are taken as they are.
    - Of a record, each cell answers a question made from its column and the first cell; the
      columns `question` and `answer` are taken as they are. Tables in Markdown and HTML count too.
    - Of a thread, whoever speaks first asks, and each turn of another is an answer to all before.

    Args:
        document: Any.
        phrasings: In how many ways, 1 to 3, each cell is asked for.

    Yields:
        Rows; of the same document always the same ones.

    Raises:
        ValueError: `phrasings` is not between 1 and 3.

    Taught in: notebooks/08_data.ipynb
    """
    if not 1 <= phrasings <= len(CELL):
        raise ValueError(f"phrasings is {phrasings}: give 1 to {len(CELL)}")
    if document.kind == "thread":
        yield from _thread(document)
    elif document.kind == "record":
        yield from _record(document, phrasings)
    for section in document.sections:
        yield from _section(document, section, phrasings)


def _thread(document: Document) -> Iterator[dict[str, Any]]:
    first = next((who for who, _ in document.turns if not ANSWERING.search(who)), "")
    turns: list[dict[str, str]] = []
    for speaker, said in document.turns:
        role = "user" if speaker == first else "assistant"
        if turns and turns[-1]["role"] == role:
            turns[-1] = {"role": role, "content": f"{turns[-1]['content']}\n{said}"}
        elif turns or role == "user":  # a greeting before the question is no answer
            turns.append({"role": role, "content": said})
    for place in range(1, len(turns), 2):
        made = row(document, "", "", writer="template")
        yield made | {"prompt": turns[:place], "completion": turns[place : place + 1]}


def _record(document: Document, phrasings: int) -> Iterator[dict[str, Any]]:
    by_name = {column.casefold(): value for column, value in document.cells}
    question = next((by_name[name] for name in QUESTIONS if name in by_name), "")
    answer = next((by_name[name] for name in ANSWERS if name in by_name), "")
    if question and answer:
        yield row(document, question, answer, writer="template")
    elif document.cells:
        (key, subject), *others = document.cells
        for column, value in others:
            for asked in _asked(key, subject, column, value, phrasings):
                yield row(document, asked, value, writer="template")


def _asked(key: str, subject: str, column: str, value: str, phrasings: int) -> list[str]:
    """Return questions for a cell; which way comes first differs from cell to cell."""
    is_odd = ASKING.match(column) or value.casefold() in YES_OR_NO
    ways = ODD_CELL if is_odd else CELL
    first = int(fraction_of(f"{subject}\n{column}") * len(ways))
    named = {"key": key, "subject": subject, "column": column}
    return [ways[(first + n) % len(ways)].format(**named) for n in range(phrasings)]


def _section(document: Document, section: Section, phrasings: int) -> Iterator[dict[str, Any]]:
    passage = document.text[section.body : section.end].strip()
    quote = document.text[section.start : section.end].strip()
    pairs = ASKED.findall(passage)
    table = _table(passage)
    if pairs:
        for question, answer in pairs:
            yield row(document, question.strip(), answer.strip(), writer="template", quote=quote)
    elif table:
        (key, *columns), *records = table
        for subject, *values in records:
            for column, value in zip(columns, values, strict=False):
                for asked in _asked(key, subject, column, value, phrasings) if value else ():
                    yield row(document, asked, value, writer="template", quote=quote)
    elif passage and section.headings:
        question = _question(document, section.headings)
        yield row(document, question, passage, writer="template", quote=quote)


def _table(passage: str) -> Sequence[list[str]]:
    """Return the cells of a passage that is a table and nothing else, the header first."""
    lines = [line.strip() for line in passage.split("\n") if line.strip()]
    if len(lines) < 2 or not all(line.startswith("|") for line in lines):
        return ()
    lines = [line for line in lines if not RULE.fullmatch(line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _question(document: Document, headings: tuple[str, ...]) -> str:
    *outer, heading = headings
    if heading.endswith("?"):
        return heading
    first = document.sections[0].headings or document.sections[-1].headings
    title = outer[0] if outer else first[0]
    if heading == title:
        return WHOLE.format(title=title)
    way = PASSAGE[int(fraction_of(f"{title}\n{heading}") * len(PASSAGE))]
    return way.format(title=title, heading=": ".join((*outer[1:], heading)))
