"""The files that rows are written to, and the journal that says how far they are complete.

A document's rows are written first, its line in the journal, with the size of each file, last. So
whatever is cut short, what the journal knows is whole, and the rest is cut off at the next start.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from onegpu.making.documents import Document

__all__ = ["REJECTED", "Output"]

REJECTED = "rejected"


class Output:
    """The files of one run, opened to go on where they end.

    Args:
        out: The file of the rows to train on; the others are beside it.
        splits: The splits that there are, `"train"` first.
        described: What all rows are made with, as JSON has it.

    Raises:
        RuntimeError: Another process writes them.
        ValueError: They were made with something else, not by this program, or have been changed.
    """

    def __init__(self, out: Path, splits: Iterable[str], described: Mapping[str, Any]):
        from filelock import FileLock, Timeout

        if out.suffix != ".jsonl":
            raise ValueError(f"--out is {out}: give a name that ends in .jsonl")
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = {name: out.with_name(f"{out.stem}.{name}.jsonl") for name in (*splits, REJECTED)}
        self.files = {**beside, "train": out}
        self.journal = out.with_name(f"{out.stem}.documents.jsonl")
        self._lock = FileLock(out.with_name(f".{out.stem}.lock"))
        self._done = sqlite3.connect("")  # a temporary file
        self._done.execute("CREATE TABLE done (name TEXT PRIMARY KEY, digest TEXT)")
        self._open: dict[str, BinaryIO] = {}
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise RuntimeError(f"another process writes {out}: wait for it, or end it") from error
        try:
            self._resume(json.loads(json.dumps(described)))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all files."""
        for file in self._open.values():
            file.close()
        self._done.close()
        self._lock.release()

    def is_done(self, document: Document) -> bool:
        """Return whether a document's rows are written.

        Args:
            document: As it is now.

        Returns:
            True where there is nothing left to do.

        Raises:
            ValueError: They are written, and the document has changed since.
        """
        query = "SELECT digest FROM done WHERE name = ?"
        found = self._done.execute(query, (document.name,)).fetchone()
        if found and found[0] != _digest(document):
            raise ValueError(
                f"{document.name} has changed since its rows were made: give another --out"
            )
        return bool(found)

    def write(self, document: Document, rows: Mapping[str, list[dict[str, Any]]]) -> None:
        """Write all rows of a document, by the file that they go to."""
        if not self._is_new:  # or a cut after this would look like a change by hand
            self._note(resumed=True)
        for name, some in rows.items():
            errors = "replace" if name == REJECTED else "strict"
            lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in some)
            self._open[name].write("".join(lines).encode("utf-8", errors))
            self._open[name].flush()
        reasons: dict[str, int] = {}
        for row in rows.get(REJECTED, ()):
            reasons[row["reason"]] = reasons.get(row["reason"], 0) + 1
        kept = {name: len(some) for name, some in rows.items() if name != REJECTED}
        self._note(document=document.name, digest=_digest(document), rows=kept, rejected=reasons)

    def finish(self) -> None:
        """Note that there are no more documents, unless that is noted already."""
        if self._is_new:
            self._note(finished=True)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows that were kept before, with all splits one after the other."""
        for name, file in self.files.items():
            if name != REJECTED and file.exists():
                with file.open(encoding="utf-8") as lines:
                    yield from map(json.loads, lines)

    def _note(self, **entry: Any) -> None:
        ends = {name: file.tell() for name, file in self._open.items() if name != "journal"}
        line = json.dumps({**entry, "ends": ends}, ensure_ascii=False) + "\n"
        self._open["journal"].write(line.encode("utf-8", "replace"))
        self._open["journal"].flush()
        self._is_new = "finished" not in entry

    def _resume(self, described: Mapping[str, Any]) -> None:
        header = self._header()
        if header is None:
            taken = [file for file in self.files.values() if file.exists()]
            if taken:
                raise ValueError(f"{taken[0]} is there and has no journal: give another --out")
            self.journal.write_bytes(json.dumps(described).encode() + b"\n")
        elif header != described:
            differs = [key for key in described if header.get(key) != described[key]]
            was, now = ({key: one.get(key) for key in differs} for one in (header, described))
            raise ValueError(f"{self.journal} was made with {was}, not {now}: give another --out")
        ends = self._complete()
        for name, file in (*self.files.items(), ("journal", self.journal)):
            self._open[name] = file.open("ab")
            self._open[name].truncate(ends[name])
            self._open[name].seek(0, os.SEEK_END)

    def _header(self) -> dict[str, Any] | None:
        """Return the first line of the journal, if it is there and whole."""
        if not self.journal.exists():
            return None
        with self.journal.open("rb") as lines:
            return _entry(lines.readline())

    def _complete(self) -> dict[str, int]:
        """Return where each file ends that is complete, and learn which documents are done."""
        sizes = {name: f.stat().st_size if f.exists() else 0 for name, f in self.files.items()}
        ends, is_finished = dict.fromkeys(self.files, 0), False
        with self.journal.open("rb") as lines:
            end = len(lines.readline())
            for line in lines:
                entry = _entry(line)
                if entry is None or any(entry["ends"][name] > sizes[name] for name in sizes):
                    break
                ends, end, is_finished = entry["ends"], end + len(line), "finished" in entry
                if "document" in entry:
                    done = entry["document"], entry["digest"]
                    self._done.execute("INSERT OR REPLACE INTO done VALUES (?, ?)", done)
            for later in lines if not is_finished else ():
                if "finished" in (entry := _entry(later) or {}):
                    ends, is_finished = entry["ends"], True
        self._is_new = not is_finished
        if is_finished and ends != sizes:
            changed = [str(self.files[name]) for name in sizes if ends[name] != sizes[name]]
            raise ValueError(
                f"{', '.join(changed)} changed after the run was finished: give another --out"
            )
        return {**ends, "journal": end}


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return what a line of the journal says; None where it was cut short."""
    try:
        return json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None


def _digest(document: Document) -> str:
    content = f"{document.text}\n{document.problem}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=8).hexdigest()
