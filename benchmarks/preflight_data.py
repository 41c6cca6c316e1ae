"""Check data sets of growing size: time, and the memory that it takes. Prints JSON.

usage: python benchmarks/preflight_data.py > results/preflight_data_cpu.json

Each size runs in a process of its own, so that its peak memory can be read.
"""

import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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
    runs = []
    for size in sizes:
        command = [sys.executable, __file__, str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
    packages = ("torch", "transformers", "tokenizers")
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "runs": runs,
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
