"""From documents to files of rows: written, filtered, split, and told."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onegpu import progress
from onegpu.making.documents import NO_TEXT, Document
from onegpu.making.output import REJECTED, Output
from onegpu.making.reading import read
from onegpu.making.reporting import Report, report
from onegpu.making.settings import Settings
from onegpu.making.sieve import Sieve
from onegpu.making.templates import by_template
from onegpu.making.writing import answer_of, question_of, split_of

__all__ = ["Writer", "make"]

Writer = Callable[[Document], Iterable[dict[str, Any]]]


def make(
    path: str | Path,
    *,
    out: str | Path,
    writers: Sequence[Writer] = (by_template,),
    settings: Settings | None = None,
) -> Report:
    """Make rows from documents, and write them to files as they come.

    Beside `rows.jsonl`, the rows to train on, there are `rows.validation.jsonl`, `rows.test.jsonl`,
    `rows.rejected.jsonl` with a reason for each row, and `rows.documents.jsonl`, the journal.
    Called again after whatever ended it, it goes on behind the last document that was complete; no
    row is lost, there twice, or cut. Documents that have come since are added.

    Args:
        path: A file or a folder: see `read`.
        out: The file of the rows to train on; it ends in `.jsonl`.
        writers: Functions that take a document and yield rows (see `row`): `by_template`, what
            `by_model` returns, or your own. A row of your own needs `prompt` and `completion`. What
            one raises is kept as a rejected row, and the others go on.
        settings: How rows are split and filtered.

    Returns:
        What was made. As text it is a page in Markdown.

    Raises:
        ConnectionError: The server of a writer does not answer; what was made until then is kept.
        FileNotFoundError: There are no such documents, or no such test rows.
        RuntimeError: Another process writes the same files.
        ValueError: `out` is among the documents, or was made from others or with other settings.

    Taught in: notebooks/08_data.ipynb
    """
    path, out, settings = Path(path), Path(out), settings or Settings()
    if path.resolve() in out.resolve().parents:
        raise ValueError(f"{out} is among the documents in {path}: give a place outside")
    described = _described(path, writers, settings)
    with (
        contextlib.closing(Sieve(settings)) as sieve,
        contextlib.closing(Output(out, settings.splits, described)) as output,
    ):
        for row in output.rows():
            sieve.keep(row)
        try:
            for document in progress.bar(read(path), what="making rows", unit="document"):
                if not output.is_done(document):
                    output.write(document, _sorted(document, writers, sieve, settings))
        except ConnectionError as error:
            kept = f"{out} keeps what was made; call it again to go on"
            raise ConnectionError(f"{error}: {kept}") from error
        output.finish()
    return report(output.journal, output.files)


def _described(path: Path, writers: Sequence[Writer], settings: Settings) -> dict[str, Any]:
    """Return what all rows are made with, by which a journal is known again."""
    described = dataclasses.asdict(settings) | {"without": sorted(settings.without)}
    if settings.test_rows:
        content = Path(settings.test_rows).read_bytes()
        described["test_rows"] = f"{settings.test_rows} {hashlib.sha256(content).hexdigest()[:16]}"
    return {"documents": path.name, "writers": [_name(one) for one in writers], **described}


def _name(writer: Writer) -> str:
    inner = getattr(writer, "func", writer)  # of functools.partial
    return getattr(inner, "__name__", type(inner).__name__)


def _sorted(
    document: Document, writers: Sequence[Writer], sieve: Sieve, settings: Settings
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a document by the file that they go to."""
    found: dict[str, list[dict[str, Any]]] = {}
    shares = {"validation_share": settings.validation_share, "test_share": settings.test_share}
    for row in _written(document, writers):
        reason, detail = row.get("reason", ""), row.get("detail", "")
        if not reason:
            reason, detail = sieve.why_not(row, document)
        if reason:
            found.setdefault(REJECTED, []).append({**row, "reason": reason, "detail": detail})
            continue
        sieve.keep(row)
        name = document.name
        if settings.split_by == "row":
            name = "\n".join((name, question_of(row), answer_of(row)))
        found.setdefault(split_of(name, **shares), []).append(row)
    return found


def _written(document: Document, writers: Sequence[Writer]) -> Iterator[dict[str, Any]]:
    """Yield the rows of all writers; what a document or a writer lacks is a row with a reason."""
    base = {"source": document.name, "quote": document.text}
    if document.problem:
        reason = "no-text" if document.problem == NO_TEXT else "unreadable"
        yield {**base, "reason": reason, "detail": document.problem}
        return
    for writer in writers:
        name = _name(writer)
        try:
            for row in writer(document):
                made = {**row, **({} if row.get("source") else base)}
                made = {**made, "quote": row.get("quote") or document.text}
                yield _checked({**made, "writer": row.get("writer") or name})
        except ConnectionError:
            raise
        except Exception as error:  # of any code: one document must not end the work on others
            detail = f"{type(error).__name__}: {error}"
            yield {**base, "writer": name, "reason": "writer-failed", "detail": detail}


def _checked(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row if it is one; with a reason of its own it may be anything."""
    if row.get("reason"):
        return dict(row)
    for column in ("prompt", "completion"):
        turns = row.get(column)
        if not isinstance(turns, list) or not turns or not all(map(_is_turn, turns)):
            raise ValueError(
                f"{column}: expected messages with role and content, got {turns!r:.80}"
            )
    json.dumps(row, ensure_ascii=False).encode("utf-8")
    return dict(row)


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, Mapping) and all(
        isinstance(turn.get(key), str) for key in ("role", "content")
    )
