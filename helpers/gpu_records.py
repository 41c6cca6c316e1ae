"""What was measured on a GPU, as tables that stand beside the figures of a CPU.

`benchmarks/gpu.py` writes the records, one for each part. Where a record is missing its table is a
line that says so: no figure of a GPU is shown that no GPU gave.

Taught in: notebooks/02_quantization.ipynb, notebooks/05_training.ipynb
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from helpers import records

__all__ = ["NOT_MEASURED", "GpuTable", "quantization"]

NOT_MEASURED = "Not measured on a GPU yet. On a machine that has one, `make gpu` does it."
Figure = Callable[[Mapping[str, Any]], Any]  # from a row of a record to what a cell shows


@dataclasses.dataclass(frozen=True)
class GpuTable:
    """A table in Markdown, for a notebook and for a page.

    Attributes:
        columns: Their headings; none where nothing was measured.
        rows: What the cells show, a tuple for each row.
        caption: The card and the versions, or the line that nothing was measured.

    Example:
        >>> GpuTable(("card",), (("T4",),), "By hand.")
        | card |
        |---|
        | T4 |
        <BLANKLINE>
        By hand.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str

    def __repr__(self) -> str:
        if not self.rows:
            return self.caption
        lines = [self.columns, *self.rows]
        table = [f"| {' | '.join(cells)} |" for cells in lines]
        return "\n".join([table[0], "|---" * len(self.columns) + "|", *table[1:], "", self.caption])

    def _repr_markdown_(self) -> str:
        return repr(self)


def _table(part: str, columns: Mapping[str, Figure]) -> GpuTable:
    """Return the table of a part, or the line that there is none."""
    try:
        record = records.read(f"gpu_{part}")
    except ValueError:
        return GpuTable((), (), NOT_MEASURED)
    found = record["environment"]
    versions = ", ".join(f"{name} {found[name]}" for name in ("torch", "transformers", "trl"))
    return GpuTable(
        columns=tuple(columns),
        rows=tuple(_cells(row, list(columns.values())) for row in record["rows"]),
        caption=f"Measured by `make gpu` on one {found['gpu']}, with {versions}.",
    )


def _cells(row: Mapping[str, Any], figures: list[Figure]) -> tuple[str, ...]:
    """Return what a row shows: its name, and its figures or why there are none."""
    name, *others = figures
    if "out_of_memory" in row:
        return (str(name(row)), "out of memory", *("" for _ in others[1:]))
    if "error" in row:
        return (str(name(row)), "failed", *("" for _ in others[1:]))
    return tuple(str(figure(row)) for figure in figures)


def quantization() -> GpuTable:
    """Return what fewer bits cost the small model on a card.

    Returns:
        A row for each way to load it, measured as Chapter 2 does on this machine: megabytes, the
        perplexity of the story, the loss above FP32's with its 95 % interval, capitals, and the
        milliseconds of a pass over the story and of an answer of 16 tokens, for one user and for
        sixteen at once.

    Taught in: notebooks/02_quantization.ipynb
    """

    def milliseconds(figure: str, batch: int) -> Figure:
        return lambda row: f"{row['batches'][str(batch)][figure]['median']:.1f}"

    return _table(
        "quantization",
        {
            "weights": lambda row: row["setting"]["variant"],
            "MB": lambda row: f"{row['weights_bytes'] / 1e6:.0f}",
            "perplexity": lambda row: f"{row['perplexity']:.2f}",
            "nats more": lambda row: f"{row['nats_more']:.3f} ± {row['half_interval']:.3f}",
            "right of 50": lambda row: row["right_of_50"],
            "a pass (ms)": milliseconds("pass_ms", 1),
            "16 passes at once": milliseconds("pass_ms", 16),
            "an answer (ms)": milliseconds("generation_ms", 1),
            "16 answers at once": milliseconds("generation_ms", 16),
        },
    )
