"""Rows and prompts that have been there before."""

import array
import hashlib
import sqlite3
from collections.abc import Sequence

__all__ = ["Seen"]


class Seen:
    """Which rows and prompts there have been, on disk, so that memory stays constant."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file, gone when closed
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute("CREATE TABLE answers (key INTEGER PRIMARY KEY, place, answer)")
        for table in ("rows", "prompts", "texts"):
            columns = "key INTEGER PRIMARY KEY, place TEXT, n INTEGER"
            self._database.execute(f"CREATE TABLE {table} ({columns})")
        self.n_prompts = 0

    def close(self) -> None:
        """Delete everything."""
        self._database.close()

    def add_prompt(self, ids: Sequence[int], place: str) -> None:
        """Keep the prompt of a row, and how many rows have it."""
        self.n_prompts += 1
        key = self._key(ids)
        if not self._insert("prompts", key, place):
            self._database.execute("UPDATE prompts SET n = n + 1 WHERE key = ?", (key,))

    def add_row(self, ids: Sequence[int], place: str) -> str:
        """Keep a row, and return the place where it has been before, if it has."""
        return "" if self._insert("rows", self._key(ids), place) else self.row(ids)

    def add_answer(self, question: str, answer: str, place: str) -> str:
        """Keep the answer to a question, and return the place of another one, if there is one."""
        key = self._hash(question.encode())
        query = "INSERT OR IGNORE INTO answers VALUES (?, ?, ?)"
        if self._database.execute(query, (key, place, answer)).rowcount:
            return ""
        query = "SELECT place FROM answers WHERE key = ? AND answer != ?"
        return (self._database.execute(query, (key, answer)).fetchone() or ("",))[0]

    def add_text(self, text: str, place: str) -> None:
        """Keep a row as text."""
        self._insert("texts", self._hash(text.encode()), place)

    def text(self, text: str) -> str:
        """Return the place where a row has been as text, if it has."""
        return self._find("texts", self._hash(text.encode()))[0]

    def row(self, ids: Sequence[int]) -> str:
        """Return the place where a row has been, if it has."""
        return self._find("rows", self._key(ids))[0]

    def question(self, ids: Sequence[int]) -> str:
        """Return the place where a prompt has been, if it has, and is no task of many rows."""
        place, n = self._find("prompts", self._key(ids))
        is_task = n > 1 and n >= min(50, max(5, self.n_prompts / 20), self.n_prompts / 2)
        return "" if is_task else place

    def _insert(self, table: str, key: int, place: str) -> bool:
        values = (key, place)
        query = f"INSERT OR IGNORE INTO {table} VALUES (?, ?, 1)"
        return bool(self._database.execute(query, values).rowcount)

    def _find(self, table: str, key: int) -> tuple[str, int]:
        query = f"SELECT place, n FROM {table} WHERE key = ?"
        return self._database.execute(query, (key,)).fetchone() or ("", 0)

    def _key(self, ids: Sequence[int]) -> int:
        return self._hash(array.array("q", ids).tobytes())

    @staticmethod
    def _hash(content: bytes) -> int:
        digest = hashlib.blake2b(content, digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)
