"""How a row becomes a batch, and which of its tokens are learned."""

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from helpers.figures.kit import ROLES, SMALL, Box, arrow, box, canvas, grid, key, label, tokens
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["label_shift", "row_to_batch"]

IGNORED = -100  # the label of a token that is not learned
LETTER, LINE = 0.073, 0.17  # inches of a monospaced letter of 8.5 points
LEFT, ROOM = 1.0, 6.3  # inches: where a strip begins, and how long it may be
STEP = 0.48  # inches between two strips
GAP = "…"


def row_to_batch(
    row: Mapping[str, Any],
    *,
    text: str,
    pieces: Sequence[str],
    encoded: Sequence[Mapping[str, Sequence[int]]],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw a row on its way into a batch: columns, text, tokens, labels, padded rows.

    Args:
        row: Columns; each holds text, or a list of messages.
        text: The row as its chat template renders it.
        pieces: Its tokens as text, one by one.
        encoded: `input_ids` and `labels` of each row of the batch. The first is this row's.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: five strips, one under the other, and between them who makes the next.

    Raises:
        ValueError: The first of the encoded rows has not as many tokens as `pieces`.

    Taught in: notebooks/04_formatting.ipynb
    """
    labels = encoded[0]["labels"]
    if len(pieces) != len(labels):
        raise ValueError(f"{len(pieces)} pieces for {len(labels)} labels: give one for each")
    n_learned = sum(value != IGNORED for value in labels)
    answer = "".join(pieces[len(pieces) - n_learned :])
    columns, lines = _columns(row, answer), _text_lines(text, answer)
    longest = max(len(other["labels"]) for other in encoded)
    cell = min(0.16, ROOM / longest)
    blocks = [0.18 + LINE * len(columns), 0.18 + LINE * len(lines)]
    height = sum(blocks) + 4 * STEP + 0.64 + 0.3 + cell * len(encoded) + 0.45
    ax = canvas(7.4, height, title="From a row to a batch", ax=ax)
    top = height - 0.05
    for name, maker, tall, shown in zip(
        ("row", "text"), ("chat template", "tokenizer"), blocks, (columns, lines), strict=True
    ):
        _lines(ax, top, tall, shown)
        _name(ax, top - tall / 2, name)
        top = _next(ax, top - tall, maker)
    top = _pieces(ax, top, pieces, encoded[0])
    _batch(ax, top, [row["labels"] for row in encoded], cell)
    return describe(
        ax,
        f"Five strips. The row's columns {', '.join(row)}; the text that the chat template makes "
        f"of it; {len(pieces)} tokens; their labels, of which {n_learned} are tokens and the "
        f"others {IGNORED}; a batch of {len(encoded)} such rows, padded on the right to {longest} "
        "tokens",
    )


def label_shift(
    pieces: Sequence[str], labels: Sequence[int], *, end: str, ax: "Axes | None" = None
) -> "Axes":
    """Draw how each token predicts the next one, and which of these predictions count.

    Args:
        pieces: Tokens as text, one by one: those around the beginning of an answer.
        labels: One for each; -100 where it is not learned.
        end: The token that ends an answer.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: tokens above, labels below, and an arrow from each token to the next label.

    Raises:
        ValueError: There are not as many labels as tokens, or too many for a page.

    Taught in: notebooks/04_formatting.ipynb
    """
    if len(pieces) != len(labels):
        raise ValueError(f"{len(pieces)} pieces for {len(labels)} labels: give one for each")
    shown = [_shown(piece) for piece in pieces]
    learned = [value != IGNORED for value in labels]
    asked = [text if hit else str(IGNORED) for text, hit in zip(shown, learned, strict=True)]
    widths = _widths(shown, asked)
    ax = canvas(LEFT + sum(widths) + 0.6, 2.2, title="Each token predicts the next one", ax=ax)
    above, below = 2.0, 0.9
    _name(ax, above, "tokens")
    _name(ax, below, "labels")
    first = _strip(ax, above, shown, widths, ["data"] * len(shown))
    roles = _roles(pieces, learned, end)
    second = _strip(ax, below, asked, widths, roles)
    for one, other, role in zip(first[:-1], second[1:], roles[1:], strict=True):
        arrow(ax, one.bottom, other.top, role=role, dashed=role == "plain")
    _say(ax, second, roles, [piece == end for piece in pieces])
    return describe(
        ax,
        f"Tokens {' '.join(shown)}. An arrow runs from each to the label of the next position. "
        f"{learned.count(True)} labels are tokens and count for the loss: "
        f"{' '.join(text for text, hit in zip(shown, learned, strict=True) if hit)}. The other "
        f"{learned.count(False)} are {IGNORED}",
    )


def _roles(pieces: Sequence[str], learned: Sequence[bool], end: str) -> list[str]:
    """Return the role of each label; an end token that an answer has and nobody learns is wrong."""
    roles = []
    for i, (piece, hit) in enumerate(zip(pieces, learned, strict=True)):
        lost = piece == end and not hit and any(learned[:i])
        roles.append("wrong" if lost else "trained" if hit else "plain")
    return roles


def _say(ax: "Axes", boxes: Sequence[Box], roles: Sequence[str], ends: Sequence[bool]) -> None:
    """Write under the labels which count, and what the end token is learned for."""
    remarks = {
        ("plain", False): f"{IGNORED}: skipped",
        ("trained", False): "these count for the loss",
        ("trained", True): "it learns to stop",
        ("wrong", True): "it is not taught to stop ✗",
    }
    marked = zip(boxes, roles, ends, strict=True)
    after_end = False
    for (role, is_end), group in itertools.groupby(marked, key=lambda item: item[1:]):
        places = [place for place, *_ in group]
        start, stop, y = places[0].left[0] + 0.04, places[-1].right[0] - 0.04, places[0].y - 0.3
        ax.plot([start, stop], [y, y], color=ROLES[role].edge, lw=2, solid_capstyle="butt")
        remark, middle = remarks.pop((role, is_end), ""), (start + stop) / 2
        if after_end and not remark:  # too narrow for it, so it runs on to the right
            label(ax, (start, y - 0.18), "harmless", role=role, size=SMALL, align="left")
        elif is_end and remark:  # wider than its token, so a line leads down to it
            ax.plot([middle, middle], [y, y - 0.29], color=ROLES[role].edge, lw=1)
            label(ax, (middle, y - 0.4), remark, role=role, size=SMALL, bold=True)
        else:
            label(ax, (middle, y - 0.18), remark, role=role, size=SMALL)
        after_end = role == "trained" and is_end


def _shown(piece: str) -> str:
    """Return a token with its line break and its leading space made visible."""
    return piece.replace("\n", "↵").replace(" ", "·")


def _widths(*rows: Sequence[str]) -> list[float]:
    """Return for each column of several rows of text how wide its boxes are, in inches."""
    return [0.12 + LETTER * max(map(len, column)) for column in zip(*rows, strict=True)]


def _strip(
    ax: "Axes", y: float, texts: Sequence[str], widths: Sequence[float], roles: Sequence[str]
) -> list[Box]:
    """Draw tokens in columns; a gap has no box."""
    left, drawn = LEFT, []
    for text, width, role in zip(texts, widths, roles, strict=True):
        if text == GAP:
            label(ax, (left + width / 2, y), GAP, soft=True)
            drawn.append(Box(left + width / 2, y, width, 0.3))
        else:
            drawn += tokens(ax, (left, y), [text], roles=[role], width=width, height=0.3)
        left += width
    return drawn


def _name(ax: "Axes", y: float, name: str) -> None:
    label(ax, (0.05, y), name, bold=True, align="left")


def _next(ax: "Axes", top: float, maker: str) -> float:
    """Draw an arrow to the next strip, and who makes it; return where that one begins."""
    arrow(ax, (LEFT + 0.25, top - 0.06), (LEFT + 0.25, top - STEP + 0.06))
    label(ax, (LEFT + 0.42, top - STEP / 2), maker, size=SMALL, align="left", soft=True)
    return top - STEP


def _columns(row: Mapping[str, Any], answer: str) -> list[tuple[str, str]]:
    """Return the columns of a row in lines, each message in one of its own, with its role."""
    wide = max(map(len, row)) + 2
    lines = []
    for shown, cell in row.items():
        messages = [{"content": cell}] if isinstance(cell, str) else cell
        for message in messages:
            said = f"{message['role']}: " if "role" in message else ""
            role = "trained" if answer and message["content"] in answer else "data"
            lines.append((f"{shown:{wide}}{said}{message['content']}", role))
            shown = ""
    return lines


def _text_lines(text: str, answer: str) -> list[tuple[str, str]]:
    """Return the lines of a text, their breaks visible, each with its role."""
    begin = len(text.removesuffix(answer))
    lines, at = [], 0
    for line in text.splitlines(keepends=True):
        lines.append((line.replace("\n", "↵"), "trained" if at >= begin else "data"))
        at += len(line)
    return lines


def _lines(ax: "Axes", top: float, tall: float, lines: Sequence[tuple[str, str]]) -> None:
    """Draw lines of text in one box, each cut where the box ends; those learned are marked."""
    from matplotlib.patches import Rectangle

    most = int((ROOM - 0.35) / LETTER)
    box(ax, (LEFT + ROOM / 2, top - tall / 2), size=(ROOM, tall), role="data")
    for number, (line, role) in enumerate(lines):
        at = (LEFT + 0.12, top - 0.09 - LINE * (number + 0.5))
        cut = line if len(line) <= most else line[: most - 1] + GAP
        if role == "trained":
            corner, wide = (at[0] - 0.04, at[1] - LINE / 2), LETTER * len(cut) + 0.08
            fill = ROLES[role].fill
            ax.add_patch(Rectangle(corner, wide, LINE, fc=fill, ec="none", zorder=2.5))
        label(ax, at, cut, role=role, size=SMALL, align="left", code=True)


def _pieces(
    ax: "Axes", top: float, pieces: Sequence[str], row: Mapping[str, Sequence[int]]
) -> float:
    """Draw tokens, their ids and their labels in columns; return where the batch begins."""
    places = _places(row["labels"])
    shown = [GAP if i is None else _shown(pieces[i]) for i in places]
    ids, labels = (
        [GAP if i is None else str(row[name][i]) for i in places]
        for name in ("input_ids", "labels")
    )
    learned = [i is not None and row["labels"][i] != IGNORED for i in places]
    widths = _widths(shown, ids, labels)
    _name(ax, top - 0.32, "tokens")
    _strip(ax, top - 0.15, shown, widths, ["data"] * len(shown))
    _strip(ax, top - 0.49, ids, widths, ["data"] * len(shown))
    top = _next(ax, top - 0.64, f"completion mask: {IGNORED} hides what is not learned")
    _name(ax, top - 0.15, "labels")
    _strip(ax, top - 0.15, labels, widths, ["trained" if hit else "plain" for hit in learned])
    return _next(ax, top - 0.3, "collator: pads to the longest row")


def _places(labels: Sequence[int]) -> list[int | None]:
    """Return which tokens are shown: the first, those where the answer begins, and the last."""
    begin = next((i for i, value in enumerate(labels) if value != IGNORED), 0)
    last = len(labels) - 1
    wanted = {0, begin - 2, begin - 1, begin, begin + 1, last - 2, last - 1, last}
    shown: list[int | None] = []
    for i in sorted(i for i in wanted if 0 <= i <= last):
        if shown and shown[-1] != i - 1:
            shown.append(None)
        shown.append(i)
    return shown


def _batch(ax: "Axes", top: float, rows: Sequence[Sequence[int]], cell: float) -> None:
    """Draw the rows of a batch as squares: read, learned, or padding."""
    longest = max(map(len, rows))
    roles: list[list[str | None]] = []
    for row in rows:
        known = ["trained" if value != IGNORED else "data" for value in row]
        roles.append([*known, *[None] * (longest - len(row))])
    grid(ax, (LEFT, top), roles, cell=cell)
    tall, meanings = cell * len(rows), ["only read", "learned", "padding"]
    _name(ax, top - tall / 2, "batch")
    key(ax, (LEFT, top - tall - 0.22), ["data", "trained", "plain"], meanings=meanings)
