"""Packed rows: how sequences fill them, and what their tokens may see."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from helpers.figures.kit import SMALL, WIDTH, box, canvas, grid, label
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["attention_masks", "padding_packing"]

LEFT, ROOM = 0.05, 7.3  # inches: where rows begin, and how long the longest is drawn
TALL = 0.3  # inches, of a row


def attention_masks(lengths: Sequence[int], *, ax: "Axes | None" = None) -> "Axes":
    """Draw who sees whom: in one sequence, in a packed row by mistake, and as it should be.

    Args:
        lengths: Tokens of each sequence in the packed row, at most 10 together.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: three masks of one size. A row of squares is a token; its colored squares are the
        tokens that it sees.

    Raises:
        ValueError: There are fewer than two sequences, an empty one, or too many tokens.

    Taught in: notebooks/04_formatting.ipynb
    """
    n = sum(lengths)
    if len(lengths) < 2 or min(lengths) < 1 or n > 10:
        raise ValueError(
            f"lengths={list(lengths)}: give two or more, of 10 tokens together at most"
        )
    owners = [number for number, length in enumerate(lengths) for _ in range(length)]
    restarted = [position for length in lengths for position in range(length)]
    ax = canvas(WIDTH, 3.0, title="Each row is a token: which columns may it see?", ax=ax)
    _mask(ax, 0, [0] * n, range(n), title="One conversation", remark="itself, and what came before")
    _mask(
        ax,
        1,
        owners,
        range(n),
        title="Packed, ids only",
        remark="b sees a: a leak ✗",
        leaky=True,
    )
    _mask(
        ax, 2, owners, restarted, title="Packed, positions restart", remark="each sees only its own"
    )
    leaks = sum(owners[i] != owners[j] for i in range(n) for j in range(i))
    return describe(
        ax,
        f"Three masks of {n} by {n} squares. One conversation: a triangle, each token sees itself "
        f"and what is before it. {len(lengths)} conversations packed under that same mask: {leaks} "
        "squares let a token see another conversation. Kept apart, with positions that begin again "
        "at 0: a triangle for each, along the diagonal",
    )


def padding_packing(lengths: Sequence[int], *, max_length: int, ax: "Axes | None" = None) -> "Axes":
    """Draw the same sequences padded, a row for each, and packed, best fit first.

    Args:
        lengths: Tokens of each sequence.
        max_length: Tokens of a packed row.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: padded rows above and packed rows below, to the same scale, with the share of
        positions that hold no token.

    Raises:
        ValueError: A sequence is longer than a packed row.

    Taught in: notebooks/04_formatting.ipynb
    """
    longest = max(lengths)
    if longest > max_length:
        raise ValueError(f"{longest} tokens do not fit into max_length={max_length}")
    packed = _best_fit(lengths, max_length)
    scale = ROOM / max_length
    height = 0.8 + TALL * (len(lengths) + len(packed))
    ax = canvas(WIDTH, height, title="The same rows, padded and packed", ax=ax)
    below = height - 0.5 - TALL * len(lengths)
    waste = _rows(ax, height, [[n] for n in lengths], longest, scale, name="padded", rest="padding")
    free = _rows(ax, below, packed, max_length, scale, name="packed", rest="free")
    return describe(
        ax,
        f"{len(lengths)} sequences of {min(lengths)} to {longest} tokens. Padded to the longest: "
        f"{len(lengths)} rows, {100 * waste:.0f} % padding. Packed into rows of {max_length}: "
        f"{len(packed)} rows, {100 * free:.0f} % free",
    )


def _mask(
    ax: "Axes",
    number: int,
    owners: Sequence[int],
    positions: Sequence[int],
    *,
    title: str,
    remark: str,
    leaky: bool = False,
) -> None:
    """Draw one mask: titles above, the position of each token below."""
    n = len(owners)
    cell, left, top = 1.96 / n, 0.42 + 2.45 * number, 2.45
    role = "wrong" if leaky else "plain"
    names = [chr(ord("a") + owner) for owner in owners]
    roles = [[_role(owners, i, j, leaky=leaky) for j in range(n)] for i in range(n)]
    signs = [["✗" if role == "wrong" else "" for role in row] for row in roles]
    drawn = grid(ax, (left, top), roles, cell=cell, texts=signs)
    label(ax, (left, 2.88), title, bold=True, align="left", role=role)
    for i in range(n):
        label(ax, (drawn[0][i].x, top + 0.14), names[i], size=SMALL, code=True)
        label(ax, (left - 0.13, drawn[i][0].y), names[i], size=SMALL, code=True)
        label(ax, (drawn[0][i].x, top - 2.1), str(positions[i]), size=SMALL, soft=True, code=True)
    label(ax, (left + 0.98, 0.1), remark, size=SMALL, role=role)


def _role(owners: Sequence[int], i: int, j: int, *, leaky: bool) -> str | None:
    """Return the role of the square in which token i would see token j."""
    if j > i:
        return None
    if owners[i] == owners[j]:
        return "data"
    return "wrong" if leaky else None


def _best_fit(lengths: Sequence[int], max_length: int) -> list[list[int]]:
    """Put each length, from the longest, into the fullest row that has room, or a new one."""
    rows: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        fitting = [row for row in rows if sum(row) + length <= max_length]
        if fitting:
            max(fitting, key=sum).append(length)
        else:
            rows.append([length])
    return rows


def _rows(
    ax: "Axes",
    top: float,
    rows: Sequence[Sequence[int]],
    length: int,
    scale: float,
    *,
    name: str,
    rest: str,
) -> float:
    """Draw rows, what they hold and what is left of them; return the share that is left."""
    total = length * len(rows)
    share = 1 - sum(map(sum, rows)) / total
    text = f"{100 * share:.0f} % of {total:,} positions are {rest}"
    label(ax, (LEFT, top - 0.14), name, bold=True, align="left")
    label(ax, (LEFT + 0.75, top - 0.14), text, align="left", soft=True)
    for number, row in enumerate(rows):
        left, y = LEFT, top - 0.3 - TALL * (number + 0.5)
        for n in row:
            at, size = (left + n * scale / 2, y), (n * scale, 0.24)
            box(ax, at, f"{n}", size=size, role="data")
            left += n * scale
        room = (length - sum(row)) * scale
        if room:
            at, size = (left + room / 2, y), (room, 0.24)
            text = rest if room > 0.6 else ""
            box(ax, at, size=size, dashed=rest == "free")
            label(ax, at, text, size=SMALL, soft=True)
    return share
