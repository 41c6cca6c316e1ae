"""One plan after another: what other batches and lengths take."""

from collections.abc import Sequence

from onegpu import progress
from onegpu.machine import GIB
from onegpu.memory.planner import Plan

__all__ = ["as_text", "sweep"]


def sweep(
    found: Plan, *, batches: Sequence[int] = (1, 2, 4, 8), seqs: Sequence[int] = (512, 1024, 2048)
) -> dict[str, dict[str, float]]:
    """Return what the process takes for some batches and lengths, the other settings the same.

    Args:
        found: A plan.
        batches: Rows a step.
        seqs: Tokens a row.

    Returns:
        For each length, by batch, GiB of the card; both as text, as JSON has them.

    Raises:
        ValueError: A length or a batch is impossible.
    """
    return {
        str(seq): {
            str(batch): round(found.replan(seq=seq, batch=batch).process_bytes / GIB, 2)
            for batch in batches
        }
        for seq in progress.bar(seqs, what="planning", unit="length")
    }


def as_text(table: dict[str, dict[str, float]]) -> str:
    """Return a sweep as a table: a row for each length, a column for each batch, in GiB.

    Args:
        table: What `sweep` returns.

    Returns:
        The lines of the table.
    """
    batches = list(next(iter(table.values())))
    lines = ["GiB        " + "".join(f"{'batch ' + batch:>10}" for batch in batches)]
    for seq, row in table.items():
        lines.append(f"{seq + ' tokens':11}" + "".join(f"{row[batch]:>10.2f}" for batch in batches))
    return "\n".join(lines)
