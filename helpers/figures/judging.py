"""Judging a model: who may look at which rows, two models on one test, and what to do next."""

import itertools
from typing import TYPE_CHECKING

from helpers.figures.kit import SMALL, box, canvas, connect, grid, label, route
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["agreement", "improvement_loop", "three_splits"]

SPLITS = (  # name, role, who looks and when
    ("training", "trained", "the optimizer,\nevery epoch"),
    ("validation", "data", "you, as often\nas you like"),
    ("test", "memory", "you, once,\nat the end"),
)
LOOP = (  # what one does, and what comes of it
    ("Train", "one change"),
    ("Score", "with an interval"),
    ("Read", "wrong answers"),
    ("Suspect", "one cause"),
    ("Write rows", "against it"),
)


def three_splits(n_rows: tuple[int, int, int], ax: "Axes | None" = None) -> "Axes":
    """Draw three splits of a data set, what each is for, and who looks at it how often.

    Args:
        n_rows: Of the training, validation and test split.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a box a split, and the way from one to the next.

    Raises:
        ValueError: There are not three numbers.

    Taught in: notebooks/07_evaluation.ipynb
    """
    if len(n_rows) != 3:
        raise ValueError(f"{len(n_rows)} numbers of rows: give those of training, validation, test")
    ax = canvas(7.3, 1.75, title="Three splits, three rules", ax=ax)
    boxes = []
    for i, ((name, role, who), n) in enumerate(zip(SPLITS, n_rows, strict=True)):
        x = 1.1 + 2.55 * i
        boxes.append(box(ax, (x, 1.3), name, size=(1.5, 0.72), role=role, note=f"{n:,} rows"))
        label(ax, (x, 0.62), who, size=SMALL, soft=True)
    for a, b, what in zip(boxes, boxes[1:], ("try", "choose"), strict=False):
        connect(ax, a, b, text=what)
    x, left = boxes[1].x, boxes[0].x
    route(ax, [(x, 0.36), (x, 0.14), (left, 0.14), (left, 0.36)], text="change a setting, again")
    return describe(
        ax,
        "; ".join(
            f"{name}: {n} rows, for {' '.join(who.split())}"
            for (name, _, who), n in zip(SPLITS, n_rows, strict=True)
        )
        + ". A way leads from validation back to training, and none back from the test",
    )


def agreement(table: tuple[int, int, int, int], *, names: tuple[str, str]) -> "Axes":
    """Draw how often two models are right on the same prompts, and which of these count.

    Args:
        table: How many prompts both get right, only the first, only the second, and neither.
        names: Of the two models.

    Returns:
        The axes: four squares, of which the two where the models differ are marked.

    Raises:
        ValueError: There are not four counts.

    Taught in: notebooks/07_evaluation.ipynb
    """
    if len(table) != 4:
        raise ValueError(f"{len(table)} counts: give both, only first, only second, neither")
    both, first, second, neither = table
    ax = canvas(6.4, 2.35, title="Only where they differ can they tell you anything")
    texts = [[str(both), str(second)], [str(first), str(neither)]]
    grid(ax, (2.2, 1.85), [["plain", "trained"], ["trained", "plain"]], cell=0.8, texts=texts)
    label(ax, (3.0, 2.18), names[0], bold=True)
    for x, text in ((2.6, "right"), (3.4, "wrong")):
        label(ax, (x, 1.97), text, size=SMALL, soft=True)
    label(ax, (1.05, 1.05), names[1], bold=True)
    for y, text in ((1.45, "right"), (0.65, "wrong")):
        label(ax, (2.1, y), text, size=SMALL, soft=True, align="right")
    n = first + second
    lines = f"{both + neither} prompts say\nnothing about which\nis better\n\n"
    label(
        ax,
        (4.1, 1.05),
        f"{lines}{n} do: was it {max(first, second)} to\n{min(first, second)} by luck?",
        align="left",
    )
    return describe(
        ax,
        f"{both} prompts that both get right, {first} that only {names[0]} does, {second} that "
        f"only {names[1]} does, {neither} that neither does. The {n} where they differ are marked",
    )


def improvement_loop(ax: "Axes | None" = None) -> "Axes":
    """Draw the loop of error analysis, and the fresh test that ends it.

    Args:
        ax: Where to draw; a new figure without it.

    Returns:
        The axes.

    Taught in: notebooks/07_evaluation.ipynb
    """
    ax = canvas(7.3, 2.1, title="What to do with wrong answers", ax=ax)
    boxes = []
    for i, (name, note) in enumerate(LOOP):
        role = "trained" if name == "Train" else "data" if name == "Write rows" else "plain"
        place = (0.72 + 1.46 * i, 1.62)
        boxes.append(box(ax, place, name, size=(1.14, 0.7), role=role, note=note))
    for a, b in itertools.pairwise(boxes):
        connect(ax, a, b)
    (x, y), (left, _) = boxes[-1].bottom, boxes[0].bottom
    route(ax, [(x, y), (x, 0.95), (left, 0.95), (left, y)], text="and train again")
    end = box(ax, (boxes[1].x, 0.36), "Fresh test", size=(1.14, 0.6), role="memory", note="once")
    route(ax, [(boxes[1].x, y), (boxes[1].x, end.top[1])], dashed=True)
    label(
        ax,
        (end.right[0] + 0.12, 0.36),
        "when the score is good enough, on prompts that\nnobody has looked at",
        size=SMALL,
        soft=True,
        align="left",
    )
    return describe(
        ax,
        "A loop: "
        + ", ".join(f"{name.lower()} {note}" for name, note in LOOP)
        + ", and train again. It is left from the score, for a fresh test",
    )
