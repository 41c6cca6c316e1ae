"""Check data sets of growing size: time, and the memory that it takes. Prints JSON.

Each size runs in a process of its own, so that its peak memory can be read.

usage: python benchmarks/preflight_data.py > helpers/data/records/preflight_data_cpu.json
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from measuring import alone, header

from helpers import environment, models, yoda
from onegpu import preflight

KIB = 1024


def write(path: Path, n_rows: int) -> None:
    """Write different rows: the sentences of the course, numbered."""
    sentences = yoda.rows("train")
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_rows):
            row = sentences[number % len(sentences)]
            question = f"{number}. {row['sentence']}"
            pair = {
                "prompt": [{"role": "user", "content": question}],
                "completion": [{"role": "assistant", "content": row["translation"]}],
            }
            file.write(json.dumps(pair) + "\n")


def measure(n_rows: int) -> dict[str, float]:
    """Return seconds and peak memory of the check alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        write(path, n_rows)
        tokenizer = models.load_tokenizer(environment.profile("cpu"))
        start = time.monotonic()
        found = preflight.check_data(path, tokenizer)
        seconds = time.monotonic() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB
        return {
            "rows": n_rows,
            "file_mb": round(path.stat().st_size / 1e6, 1),
            "seconds": round(seconds, 1),
            "peak_mb": round(peak / 1e6),
            "findings": found.codes,
        }


def main() -> None:
    """Measure each size in a process of its own, and print the results as JSON."""
    sizes = [int(n) for n in sys.argv[1:]] or [10_000, 100_000, 1_000_000]
    if len(sizes) == 1:
        print(json.dumps(measure(sizes[0])))
        return
    report = {"environment": header(), "runs": [alone(__file__, str(size)) for size in sizes]}
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
