"""Texts that have been there before, exactly or nearly."""

import hashlib
import itertools
import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Alike"]

N_PERMUTATIONS = 128
N_BANDS = 16  # of 8 values each: of pairs with a similarity of 0.8, 95 % share a band, at 0.9 all
LEAST = 0.8  # from which on two texts are nearly the same


class Alike:
    """Texts that there have been, kept on disk, so that memory stays as it is.

    Two texts are the same if only case, white space and marks differ. They are nearly the same if
    they have the same numbers and share 80 % of their pairs of neighboring words (the Jaccard index
    of the two sets), as MinHash estimates it: a signature of 128 values, 512 bytes a text. Texts
    that differ in a number state different facts.

    Example:
        >>> seen = Alike()
        >>> seen.add("Wet, the swamp is.", label="row 1")
        >>> seen.same("wet the swamp is"), seen.like("Dry, the desert is.")
        ('row 1', '')

    Source: Broder 1997, On the resemblance and containment of documents
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file, gone when closed
        self._database.executescript(
            "PRAGMA synchronous = OFF; CREATE TABLE same (key INTEGER PRIMARY KEY, label TEXT);"
            "CREATE TABLE texts (number INTEGER PRIMARY KEY, signature BLOB, label TEXT);"
            "CREATE TABLE bands (key INTEGER, number INTEGER, PRIMARY KEY (key, number))"
            " WITHOUT ROWID"
        )
        self._permutations: tuple[np.ndarray, ...] | None = None

    def close(self) -> None:
        """Delete everything."""
        self._database.close()

    def add(self, text: str, *, label: str) -> None:
        """Keep a text.

        Args:
            text: Any.
            label: What later texts that are alike are told.
        """
        words = _words(text)
        found = (_key(" ".join(words)), label)
        self._database.execute("INSERT OR IGNORE INTO same VALUES (?, ?)", found)
        if words:
            signature = self._signature(words)
            query = "INSERT INTO texts (signature, label) VALUES (?, ?)"
            number = self._database.execute(query, (signature.tobytes(), label)).lastrowid
            bands = ((key, number) for key in _bands(words, signature))
            self._database.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", bands)

    def same(self, text: str) -> str:
        """Return the label of a text that is the same, nothing where there is none."""
        query = "SELECT label FROM same WHERE key = ?"
        found = self._database.execute(query, (_key(" ".join(_words(text))),)).fetchone()
        return found[0] if found else ""

    def like(self, text: str) -> str:
        """Return the label of the text that is most alike, nothing where none is."""
        import numpy as np

        words = _words(text)
        if not words:
            return ""
        signature = self._signature(words)
        keys = list(_bands(words, signature))
        query = (
            "SELECT signature, label FROM texts WHERE number IN"
            f" (SELECT number FROM bands WHERE key IN ({','.join('?' * len(keys))}))"
        )
        best = (-LEAST, "")
        for kept, label in self._database.execute(query, keys):
            share = float(np.mean(np.frombuffer(kept, signature.dtype) == signature))
            if share >= LEAST and (not best[1] or (-share, label) < best):
                best = (-share, label)
        return best[1]

    def _signature(self, words: Sequence[str]) -> "np.ndarray":
        from datasketch import MinHash

        sketch = MinHash(N_PERMUTATIONS, permutations=self._permutations, scheme="affine32")
        self._permutations = sketch.permutations
        pairs = {f"{one} {other}" for one, other in itertools.pairwise(words)}
        sketch.update_batch([pair.encode() for pair in pairs or words])
        return sketch.hashvalues


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def _bands(words: Sequence[str], signature: "np.ndarray") -> Iterator[int]:
    """Yield a key for each band of a signature; with other numbers in the text, other keys."""
    numbers = " ".join(sorted(word for word in words if not word.isalpha()))
    size = N_PERMUTATIONS // N_BANDS
    for band in range(N_BANDS):
        values = signature[band * size : (band + 1) * size].tobytes()
        yield _key(f"{numbers}\n{band}", values)


def _key(text: str, values: bytes = b"") -> int:
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass") + values, digest_size=8)
    return int.from_bytes(digest.digest(), signed=True)
