"""All filters together, with what they remember of the rows before."""

from collections.abc import Mapping
from typing import Any

from onegpu.making import filters
from onegpu.making.alike import Alike
from onegpu.making.chunking import n_words
from onegpu.making.documents import Document
from onegpu.making.personal import personal
from onegpu.making.settings import FILTERS, Settings
from onegpu.making.writing import answer_of, question_of
from onegpu.preflight.answers import question_and_answer
from onegpu.rows.reading import readable

__all__ = ["Sieve"]


class Sieve:
    """Says what is wrong with one row after another.

    Args:
        settings: Which filters there are, and their limits.

    Raises:
        FileNotFoundError: There are no such test rows.
        ValueError: A test row cannot be read, or there is none.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._seen, self._tests = Alike(), Alike()
        self._names = [name for name in FILTERS if name not in settings.without]
        if settings.test_rows:
            self._read_tests(settings.test_rows)

    def _read_tests(self, path: str) -> None:
        n_read = 0
        for row in readable(path):
            question, answer = question_and_answer(row.value)
            if not question.strip():
                raise ValueError(
                    f"{path}, {row.place}: expected prompt and completion, or messages"
                )
            for text in (question, f"{question}\n{answer}"):
                self._tests.add(text, label=row.place)
            n_read += 1
        if not n_read:
            raise ValueError(f"{path} holds no rows: give those that you test with")

    def close(self) -> None:
        """Forget all rows."""
        self._seen.close()
        self._tests.close()

    def keep(self, row: Mapping[str, Any]) -> None:
        """Remember a row that was kept."""
        question = question_of(row)
        self._seen.add(f"{question}\n{answer_of(row)}", label=f"{row['source']}: {question[:80]}")

    def why_not(self, row: Mapping[str, Any], document: Document) -> tuple[str, str]:
        """Return why a row is rejected, and what was found; two empty texts where it is kept."""
        for name in self._names:
            if found := self._found(name, row, document):
                return name, found
        return "", ""

    def _found(self, name: str, row: Mapping[str, Any], document: Document) -> str:
        match name:
            case "too-short" | "too-long":
                return self._length(name, answer_of(row))
            case "refusal":
                return filters.refusal(row, document)
            case "not-answerable":
                return filters.not_answerable(row, document)
            case "not-grounded":
                return filters.not_grounded(row, document)
            case "personal-data":
                text = "\n".join((question_of(row), answer_of(row), row["quote"]))
                found = personal(text, phone_region=self._settings.phone_region)
                return ", ".join(dict.fromkeys(found))
        question = question_of(row)
        text = f"{question}\n{answer_of(row)}"
        if name == "duplicate":
            return self._seen.same(text)
        if name == "near-duplicate":
            return self._seen.like(text)
        tests = self._tests
        return tests.same(question) or tests.same(text) or tests.like(question) or tests.like(text)

    def _length(self, name: str, answer: str) -> str:
        n = n_words(answer)
        if name == "too-long":
            return f"{n:,} words" if n > self._settings.max_words else ""
        is_empty = not any(letter.isalnum() for letter in answer)
        return f"{n:,} words" if n < self._settings.min_words or is_empty else ""
