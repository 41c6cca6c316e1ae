"""What the benchmarks measured: one JSON file each, read here and nowhere else."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["lora_ablation", "read", "training_ways"]

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


def lora_ablation() -> "pd.DataFrame":
    """Return how the Yoda task went with other settings, as recorded on two CPU cores.

    Returns:
        A row for each variant that `benchmarks/lora_ablation.py` trained, with the columns
        `trainable` (parameters), `validation_loss` (nats a token) and `exact_matches` (of 40).

    Example:
        >>> lora_ablation().loc["chapter", "trainable"]
        np.int64(4884480)

    Taught in: notebooks/03_lora.ipynb
    """
    import pandas as pd

    variants = read("lora_ablation_cpu")["variants"]
    columns = ["trainable", "validation_loss", "exact_matches"]
    return pd.DataFrame.from_dict(variants, orient="index")[columns]


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
