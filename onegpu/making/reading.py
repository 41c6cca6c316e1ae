"""Documents of a file or a folder, read one at a time.

What cannot be read is yielded, too, and says why.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from onegpu import rows
from onegpu.making import pages
from onegpu.making.documents import NO_TEXT, Document, Heading, sections_of

__all__ = ["read"]

PAGES = {
    **{".md": pages.markdown, ".markdown": pages.markdown, ".txt": pages.plain},
    **{".html": pages.html, ".htm": pages.html},
}
RECORDS = {".csv", ".tsv", ".jsonl", ".ndjson", ".json"}
LARGEST = 200_000_000  # bytes of a page, which is in memory as a whole
MARKS = {
    **{
        codecs.BOM_UTF8: "utf-8",
        codecs.BOM_UTF32_LE: "utf-32-le",
        codecs.BOM_UTF32_BE: "utf-32-be",
    },
    **{codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"},
}
CHARSET = re.compile(rb"""<meta[^>]{0,200}charset=["']?([\w-]{1,40})""", re.IGNORECASE)
SPOKEN = re.compile(  # [2026-03-02 14:05] Mara: text; 3/2/26, 2:05 PM - Mara: text
    r"\[?(\d{1,4}[-./]\d{1,2}[-./]\d{1,4})[,T]? *\d{1,2}:\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?\]?"
    r"(?: -)? ([^:\n]{1,40}): (.*)"
)
SPEAKERS = ("from", "role", "speaker", "author", "sender", "name")
SAID = ("text", "content", "value", "message", "body")
BODIES = ("text", "body", "content", "document")  # columns that hold a page
TITLES = ("title", "heading", "subject", "name")


def read(path: str | Path) -> Iterator[Document]:
    """Yield the documents of a file or a folder, the files in the order of their names.

    A page (`.md`, `.txt`, `.html`) is a document, and in memory as a whole. So is each line of a
    table (`.csv`, `.tsv`) and each object of `.jsonl` or `.json`: a record, or a thread if it holds
    a list of messages. An exported chat in a `.txt` becomes threads of two people each.

    Args:
        path: A file or a folder. Hidden files are left out.

    Yields:
        The documents. One with a `problem` could not be read, or has no text.

    Raises:
        FileNotFoundError: There is no such file or folder.

    Taught in: notebooks/08_data.ipynb
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: give a file or a folder of documents")
    folder = path if path.is_dir() else path.parent
    for file in _files(path):
        name, found = file.relative_to(folder).as_posix(), False
        try:
            for document in _documents(file, name):
                found = True
                yield document if document.text.strip() or document.problem else _empty(document)
            if not found:
                yield Document(name, problem=NO_TEXT)
        except OSError as error:
            yield Document(name, problem=f"cannot be opened: {error.strerror or error}")
        except (ValueError, RecursionError) as error:
            yield Document(name, problem=str(error))


def _files(path: Path) -> Iterable[Path]:
    if not path.is_dir():
        return [path]
    found = (file for file in path.rglob("*") if not file.is_dir())
    return sorted(
        file
        for file in found
        if not any(part.startswith(".") for part in file.relative_to(path).parts)
    )


def _empty(document: Document) -> Document:
    return Document(document.name, document.kind, problem=NO_TEXT)


def _documents(file: Path, name: str) -> Iterator[Document]:
    ending = file.suffix.lower()
    if ending in RECORDS:
        for row in rows.scan(file):
            named = f"{name}#{row.number}"
            if row.problem:
                yield Document(named, "record", problem=f"{row.place}: {row.problem}")
            else:
                yield _record(named, row.value)
        return
    if ending not in PAGES:
        kinds = ", ".join([*PAGES, *sorted(RECORDS)])
        raise ValueError(f"of a kind that is not read here: save it as one of {kinds}")
    if file.stat().st_size > LARGEST:
        raise ValueError(f"over {LARGEST / 1e6:.0f} MB: split it into several files")
    text = _decoded(file.read_bytes(), is_html=PAGES[ending] is pages.html)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if ending == ".txt" and _is_chat(text):
        yield from _conversations(name, text)
    else:
        yield PAGES[ending](name, text)


def _decoded(content: bytes, *, is_html: bool) -> str:
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    if b"\0" in content:
        raise ValueError("NUL characters in it: UTF-16, or no text at all; save it as UTF-8")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        if is_html and (declared := _declared(content)):
            return content.decode(declared)
        shown = content[max(0, error.start - 20) : error.start + 10].decode("cp1252", "replace")
        raise ValueError(
            f"not UTF-8 at byte {error.start:,}: save it as UTF-8. (Read as cp1252, of Windows, "
            f"that place is {shown!r})"
        ) from error


def _declared(page: bytes) -> str:
    """Return the encoding that a page of HTML says it has, if Python knows it."""
    found = CHARSET.search(page[:4096])
    try:
        name = codecs.lookup(found[1].decode()).name if found else ""
    except LookupError:
        return ""
    return "" if name == "utf-8" else name


# Records ------------------------------------------------------------------------------------------


def _record(name: str, value: Mapping[str, Any]) -> Document:
    for cell in value.values():
        if turns := _turns(cell):
            return _thread(name, turns)
    filled = {column: cell for column, cell in value.items() if cell not in (None, "", [], {})}
    for column in BODIES:
        if isinstance(filled.get(column), str):
            titles = (str(filled[title]) for title in TITLES if title in filled)
            return _titled(name, next(titles, ""), filled[column])
    cells = tuple((column.strip(), _shown(cell).strip()) for column, cell in filled.items())
    text = "\n".join(f"{column}: {cell}" for column, cell in cells if cell)
    return Document(name, "record", text, cells=tuple(pair for pair in cells if pair[1]))


def _shown(cell: Any) -> str:
    return cell if isinstance(cell, str) else json.dumps(cell, ensure_ascii=False)


def _titled(name: str, title: str, body: str) -> Document:
    text = f"{title}\n\n{body}" if title else body
    headings = [Heading(1, title, 0, len(title))] if title else []
    return Document(name, text=text, sections=sections_of(text, headings))


def _turns(cell: Any) -> list[tuple[str, str]]:
    """Return who says what, if a cell is a list of messages."""
    if not isinstance(cell, list) or not all(isinstance(turn, Mapping) for turn in cell):
        return []
    found = []
    for turn in cell:
        speaker = next((turn[key] for key in SPEAKERS if isinstance(turn.get(key), str)), None)
        said = next((turn[key] for key in SAID if isinstance(turn.get(key), str)), None)
        if speaker is None or said is None:
            return []
        found.append((speaker, said.strip()))
    return found


def _thread(name: str, turns: list[tuple[str, str]]) -> Document:
    text = "\n".join(f"{speaker}: {said}" for speaker, said in turns if said)
    return Document(name, "thread", text, turns=tuple(turn for turn in turns if turn[1]))


# Chats --------------------------------------------------------------------------------------------


def _is_chat(text: str) -> bool:
    lines = [line for line in text[:4000].split("\n") if line.strip()][:20]
    return 2 * sum(bool(SPOKEN.match(line)) for line in lines) >= max(4, len(lines))


def _conversations(name: str, text: str) -> Iterator[Document]:
    """Yield a thread for each conversation, which ends with the day or when a third one speaks."""
    turns: list[tuple[str, str]] = []
    day, first = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        spoken = SPOKEN.match(line)
        if not spoken:
            if line.strip():  # goes on with what was said last, or stands before all
                speaker, said = turns.pop() if turns else ("", "")
                turns.append((speaker, f"{said}\n{line}".strip()))
            continue
        others = {speaker for speaker, _ in turns} - {spoken[2]}
        if turns and (spoken[1] != day or len(others) > 1 or "" in others):
            yield _thread(f"{name}#{first}", turns)
            turns, first = [], number
        day = spoken[1]
        turns.append((spoken[2], spoken[3].strip()))
    if turns:
        yield _thread(f"{name}#{first}", turns)
