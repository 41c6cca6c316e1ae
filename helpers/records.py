"""What the benchmarks measured: one JSON file each, read here and nowhere else."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read", "rows", "training_ways"]

FOLDER = Path(__file__).parent / "data" / "records"


def read(name: str) -> dict[str, Any]:
    """Return a record.

    Args:
        name: Of the file in `data/records`, without its ending, such as `"memory_t4"`.

    Returns:
        What the benchmark printed: the figures, and what they depend on.

    Raises:
        ValueError: There is no such record.

    Example:
        >>> len(read("memory_t4")["rows"])
        67
    """
    path = FOLDER / f"{name}.json"
    if not path.exists():
        there = ", ".join(sorted(file.stem for file in FOLDER.glob("*.json")))
        raise ValueError(f"no record {name!r}: choose one of {there}")
    return json.loads(path.read_text("utf-8"))


def rows(name: str) -> "pd.DataFrame":
    """Return the runs of a record: one thing trained in several ways, with several seeds.

    Args:
        name: Of a record with a row for each run, such as `"lora_ablation_cpu"`.

    Returns:
        A row for each run, with what was varied and what came of it. A figure that a run does not
        have is missing (NaN).

    Raises:
        ValueError: There is no such record, or it has no such rows.

    Example:
        >>> sorted(rows("lora_ablation_cpu")["seed"].unique().tolist())
        [42, 43, 44]

    Taught in: notebooks/03_lora.ipynb
    """
    import pandas as pd

    found = read(name).get("rows")
    if not isinstance(found, dict):
        raise ValueError(f"record {name!r} has no named rows: use read()")
    return pd.DataFrame(list(found.values()))


def training_ways() -> "pd.DataFrame":
    """Return how trl's defaults, each change alone, and the profile's settings compared on a CPU.

    Returns:
        A row for each way that `benchmarks/training.py` trained, with the columns `seconds`,
        `time` (1 for trl's defaults with the profile's learning rate), `tokens_per_second`,
        `peak_gib` (of the process) and `exact_matches` (of 40).

    Example:
        >>> float(training_ways().loc["rate", "time"])
        1.0

    Taught in: notebooks/05_training.ipynb
    """
    import pandas as pd

    record = read("training_cpu")
    rows = {
        way: {
            "seconds": round(report["train"]["seconds"]),
            "time": record["time_over_rate"][way],
            "tokens_per_second": round(report["train"]["tokens_per_second"]),
            "peak_gib": round(report["train"]["peak_gib"], 1),
            "exact_matches": report["exact_matches"],
        }
        for way, report in record["ways"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")
