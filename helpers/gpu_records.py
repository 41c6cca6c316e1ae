"""What was measured on a GPU, as tables that stand beside the figures of a CPU.

`benchmarks/gpu.py` writes the records, one for each part. Where a record is missing its table is a
line that says so: no figure of a GPU is shown that no GPU gave.

Taught in: notebooks/02_quantization.ipynb, notebooks/05_training.ipynb
"""

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from helpers import records
from onegpu.machine import GIB

__all__ = [
    "NOT_MEASURED",
    "GpuTable",
    "attention",
    "determinism",
    "memory",
    "notebooks",
    "quantization",
    "speed",
]

NOT_MEASURED = "Not measured on a GPU yet. On a machine that has one, `make gpu` does it."
NOT_FINISHED = "not finished"  # how `benchmarks/gpu.py` marks a row that its time cut off
WITHOUT_FIGURES = {"out_of_memory": "out of memory", "refused": "refused", "error": "failed"}
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


def _record(part: str) -> dict[str, Any] | None:
    there = (records.FOLDER / f"gpu_{part}.json").exists()
    return records.read(f"gpu_{part}") if there else None


def _caption(record: dict[str, Any]) -> str:
    found = record["environment"]
    versions = ", ".join(f"{name} {found[name]}" for name in ("torch", "transformers", "trl"))
    return f"Measured by `make gpu` on one {found['gpu']}, with {versions}."


def _table(part: str, columns: Mapping[str, Figure]) -> GpuTable:
    """Return the table of a part, or the line that there is none.

    The first column names a row, and is there where the measurement failed too.
    """
    record = _record(part)
    if record is None:
        return GpuTable((), (), NOT_MEASURED)
    figures = list(columns.values())
    rows = tuple(_cells(row, figures) for row in record["rows"] if "rate" not in row["setting"])
    return GpuTable(tuple(columns), rows, _caption(record))


def _cells(row: Mapping[str, Any], figures: list[Figure]) -> tuple[str, ...]:
    """Return what a row shows: its name, and its figures or why there are none."""
    name, *others = figures
    if reason := _without_figures(row):
        return (str(name(row)), reason, *("" for _ in others[1:]))
    return tuple(str(figure(row)) for figure in figures)


def _without_figures(row: Mapping[str, Any]) -> str | None:
    """Return why a row has no figures, if it has none."""
    if row.get("error", "").startswith(NOT_FINISHED):
        return NOT_FINISHED
    return next((shown for key, shown in WITHOUT_FIGURES.items() if key in row), None)


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


def speed() -> GpuTable:
    """Return how fast one fine-tune of SmolLM2-1.7B's shape is, made in different ways.

    Returns:
        A row for each way, with the tokens a second (the middle of three passes, and the slowest
        and the fastest), the time over the least that the card's rates allow, and the peak GiB of
        what tensors take.

    Taught in: notebooks/05_training.ipynb
    """

    def tokens(row: Mapping[str, Any]) -> str:
        found = row["tokens_per_second"]
        return f"{statistics.median(found):,.0f} ({min(found):,.0f} to {max(found):,.0f})"

    return _table(
        "speed",
        {
            "way": lambda row: row["setting"]["variant"],
            "tokens/s": tokens,
            "times the minimum": lambda row: (
                f"{statistics.median(row['seconds']) / row['floor_seconds']:.1f}"
            ),
            "peak GiB": lambda row: _gib(row["allocated_bytes"]),
        },
    )


def _gib(n_bytes: int | None) -> str:
    return "-" if n_bytes is None else f"{n_bytes / GIB:.1f}"


def attention(shape: str = "SmolLM2-1.7B") -> GpuTable:
    """Return what each kernel of attention takes for 16,384 tokens, in rows of several lengths.

    Args:
        shape: Whose heads: `"SmolLM2-1.7B"`, or `"Qwen3-4B"`, where four queries share a key.

    Returns:
        A row for each kernel and kind of row (full, padded or packed), with the milliseconds of a
        forward and a backward pass and the MiB beside inputs and mask, for each length.

    Taught in: notebooks/05_training.ipynb
    """
    record = _record("attention")
    if record is None:
        return GpuTable((), (), NOT_MEASURED)
    rows = [row for row in record["rows"] if row["setting"]["shape"] == shape]
    found = {
        (row["setting"]["filled"], row["setting"]["kernel"], row["setting"]["length"]): row
        for row in rows
    }
    lengths = sorted({length for _, _, length in found})
    names = sorted(dict.fromkeys((filled, kernel) for filled, kernel, _ in found))
    cells = tuple(
        (filled, kernel, *(_pass(found.get((filled, kernel, length))) for length in lengths))
        for filled, kernel in names
    )
    columns = ("rows", "kernel", *(f"{length:,} tokens" for length in lengths))
    return GpuTable(columns, cells, _caption(record))


def _pass(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    if reason := _without_figures(row):
        return reason
    times = (statistics.median(row[name]) for name in ("forward_ms", "backward_ms"))
    memory = "" if row["extra_mib"] is None else f", {row['extra_mib']:,.0f} MiB"
    return f"{sum(times):.2f} ms{memory}"


def determinism() -> GpuTable:
    """Return whether two runs with the same seed, and a resumed run, are the same to the last bit.

    Returns:
        A row for each comparison.

    Taught in: notebooks/05_training.ipynb
    """

    def name(row: Mapping[str, Any]) -> str:
        setting = row["setting"]
        mode = ", deterministic algorithms" if setting["deterministic"] else ""
        return f"{setting['comparison']}, {setting['precision']}, {setting['attention']}{mode}"

    def yes(figure: str) -> Figure:
        return lambda row: "yes" if row[figure] else "no"

    return _table(
        "determinism",
        {
            "two runs": name,
            "the same losses": yes("losses_equal"),
            "the same adapter": yes("weights_equal"),
            "first step apart": lambda row: row["first_step_apart"] or "-",
            "largest difference of a loss": lambda row: f"{row['largest_loss_difference']:.1g}",
            "seconds": lambda row: f"{row['seconds'][0]:.1f}",
        },
    )


def notebooks() -> GpuTable:
    """Return how every chapter ran on a card: its minutes, its memory, and the cells that failed.

    Returns:
        A row for each notebook and profile.
    """
    table = _table(
        "notebooks",
        {
            "notebook": lambda row: row["setting"]["notebook"],
            "profile": lambda row: row["setting"]["profile"],
            "minutes": lambda row: f"{row['minutes']:.1f}",
            "peak GiB of the card": lambda row: (
                f"{row['peak_gib']['reserved']:.1f}" if "peak_gib" in row else "-"
            ),
            "failed cells": lambda row: f"{len(row['failed'])} of {row['cells']}",
        },
    )
    if not table.rows:
        return table
    about = "Every profile with SmolLM2-135M; `t4` is the same card, held to a T4's memory."
    return dataclasses.replace(table, caption=f"{table.caption} {about}")


def memory() -> GpuTable:
    """Return the peak memory of training steps on a card, and what was planned for them.

    Returns:
        A row for each step: the GiB that tensors took, and those planned; what torch held for them,
        and the whole process.

    Taught in: notebooks/05_training.ipynb
    """

    def peak(figure: str) -> Figure:
        return lambda row: _gib(max(phase[figure] for phase in row["phases"].values()))

    def planned(row: Mapping[str, Any]) -> str:
        return _gib(max(row["planned_bytes"].values())) if "planned_bytes" in row else "-"

    return _table(
        "memory",
        {
            "step": _step_name,
            "allocated GiB": peak("allocated_bytes"),
            "planned": planned,
            "reserved GiB": peak("reserved_bytes"),
            "process GiB": lambda row: _gib(row["process_bytes"]),
        },
    )


def _step_name(row: Mapping[str, Any]) -> str:
    """Return what a step is, as far as it is not the usual one."""
    setting = row["setting"]
    optimizer = setting["optimizer"]
    told = {
        f"{setting['model']}, {setting['batch']} × {setting['seq']:,} tokens": True,
        f"LoRA {(setting['lora'] or {}).get('r')}": setting["lora"],
        "all weights": not setting["lora"],
        setting["quantization"] or setting["precision"]: True,
        "autocast": setting["autocast"],
        "rest in 32 bits": setting["upcast"],
        f"{setting['loss']} loss": setting["loss"],
        setting["trainer"]: setting["trainer"] != "loop",
        setting["kernel"] or setting["attention"]: setting["kernel"]
        or setting["attention"] != "sdpa",
        "no checkpointing": not setting["checkpointing"],
        optimizer: optimizer != "adamw_torch",
        "in a T4's memory": setting["capped"],
    }
    return ", ".join(name for name, applies in told.items() if applies)
