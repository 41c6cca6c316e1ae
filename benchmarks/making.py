"""Make rows from 1,000 and from 10,000 documents: CPU time, and the memory that a row takes.

Each size runs in a process of its own, so that its peak memory can be read. A second run adds the
sizes that are missing.

usage: python benchmarks/making.py [--out FILE]
"""

import argparse
import functools
import importlib.metadata
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import ROOT, alone, fill

RECORD = ROOT / "helpers" / "data" / "records" / "making_cpu.json"
SIZES = (1_000, 10_000)  # documents
KIB = 1024
SYLLABLES = (
    "ba",
    "ce",
    "di",
    "fu",
    "gu",
    "ha",
    "je",
    "ki",
    "lo",
    "mu",
    "na",
    "pe",
    "ri",
    "so",
    "tu",
)


def write(folder: Path, n_documents: int) -> None:
    """Write pages of three sections, whose words and numbers are drawn by lot."""
    draw = random.Random(0)
    words = ["".join(draw.choices(SYLLABLES, k=3)) for _ in range(3_000)]
    for number in range(n_documents):
        parts = [f"# Page {number}"]
        for _ in range(3):
            heading, passage = draw.choices(words, k=2), draw.choices(words, k=40)
            parts += [f"## {' '.join(heading)}", f"{' '.join(passage)} {draw.randrange(10**6)}."]
        (folder / f"{number:06}.md").write_text("\n\n".join(parts), "utf-8")


def measure(n_documents: int) -> dict[str, Any]:
    """Return CPU seconds and peak memory of making rows alone."""
    from onegpu import making

    with tempfile.TemporaryDirectory() as folder:
        documents = Path(folder) / "documents"
        documents.mkdir()
        write(documents, n_documents)
        start = time.process_time()
        report = making.make(documents, out=Path(folder) / "rows.jsonl")
        seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
    return {
        "documents": n_documents,
        "rows": report.n_rows,
        "rejected": report.rejected,
        "cpu_seconds": round(seconds, 1),
        "peak_mb": round(peak / 1e6, 1),
    }


def main() -> None:
    """Measure the sizes that the record lacks, and print what a row takes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RECORD, help="the record")
    parser.add_argument("--alone", type=int, metavar="N", help="measure one size, and print it")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.alone)))
        return
    jobs = {f"{n} documents": functools.partial(alone, __file__, "--alone", str(n)) for n in SIZES}
    record = fill(options.out, jobs, datasketch=importlib.metadata.version("datasketch"))
    few, many = (record["rows"][name] for name in jobs)
    more_kb = (many["peak_mb"] - few["peak_mb"]) * 1000
    print(f"{more_kb / (many['rows'] - few['rows']):.2f} KB a row", file=sys.stderr)


if __name__ == "__main__":
    main()
