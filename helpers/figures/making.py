"""Making training data: from documents to rows, and two ways to split them."""

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

from helpers.figures.kit import SMALL, box, canvas, connect, grid, label, route
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["rows_pipeline", "two_splits"]


def rows_pipeline(
    *,
    n_documents: int,
    kept: Mapping[str, int],
    rejected: Mapping[str, int],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw how documents become rows, and which rows fall out on the way.

    Args:
        n_documents: How many were read.
        kept: Rows of each split.
        rejected: Rows of each reason; the three commonest are named.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a chain of boxes, and a bin below the filters.

    Taught in: notebooks/08_data.ipynb
    """
    ax = canvas(7.3, 2.15, title="From documents to rows", ax=ax)
    n_kept, n_rejected = sum(kept.values()), sum(rejected.values())
    steps = (
        ("Documents", "data", f"{n_documents} read"),
        ("Writer", "plain", "one of three"),
        ("Candidates", "data", f"{n_kept + n_rejected} rows"),
        ("Filters", "plain", "each has a reason"),
        ("Rows", "data", f"{n_kept} kept"),
    )
    boxes = [
        box(ax, (0.75 + 1.45 * i, 1.4), name, size=(1.16, 0.86), role=role, note=note)
        for i, (name, role, note) in enumerate(steps)
    ]
    for a, b in itertools.pairwise(boxes):
        connect(ax, a, b)
    named = sorted(rejected, key=lambda reason: -rejected[reason])[:3]
    reasons = ", ".join(f"{rejected[reason]} {reason}" for reason in named)
    x = boxes[3].x
    out = box(ax, (x, 0.36), "Rejected", size=(1.16, 0.6), role="wrong", note=f"{n_rejected} rows")
    route(ax, [(x, boxes[3].bottom[1]), (x, out.top[1])])
    label(ax, (out.left[0] - 0.1, 0.36), reasons, size=SMALL, soft=True, align="right")
    splits = "\n".join(f"{n} {name}" for name, n in kept.items())
    label(ax, (boxes[4].x, 0.5), splits, size=SMALL, soft=True)
    return describe(
        ax,
        f"{n_documents} documents, a writer, {n_kept + n_rejected} candidates, filters, "
        f"{n_kept} rows kept. Rejected: {reasons}",
    )


def two_splits(ax: "Axes | None" = None) -> "Axes":
    """Draw four documents of six rows, split by rows and split by documents.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: two grids; a line is a document, a square is a row.

    Taught in: notebooks/08_data.ipynb
    """
    ax = canvas(6.6, 2.5, title="Where do the test rows come from?", ax=ax)
    by_rows = {(0, 1), (0, 4), (1, 3), (2, 0), (2, 5), (3, 2)}
    by_documents = {(2, row) for row in range(6)}
    for left, name, test in ((1.35, "by rows", by_rows), (4.35, "by documents", by_documents)):
        roles = [
            ["memory" if (line, row) in test else "trained" for row in range(6)]
            for line in range(4)
        ]
        grid(ax, (left, 1.85), roles, cell=0.3)
        label(ax, (left + 0.9, 2.06), name, bold=True)
    for line in range(4):
        label(ax, (1.25, 1.7 - 0.3 * line), f"document {line + 1}", size=SMALL, align="right")
    label(ax, (2.25, 0.3), "every test row has neighbors\nin training", size=SMALL, soft=True)
    label(ax, (5.25, 0.3), "the test document\nis new", size=SMALL, soft=True)
    return describe(
        ax,
        "Split by rows, each of four documents has rows in training and in the test. Split "
        "by documents, one document is in the test as a whole",
    )
