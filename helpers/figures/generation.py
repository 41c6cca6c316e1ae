"""Generation: a token at a time, with a cache; and how positions turn queries and keys."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from helpers.figures.kit import ROLES, SMALL, Box, Point, arrow, box, canvas, key, label, route
from helpers.figures.kit import tokens as token_row
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["generation_loop", "rotary_positions"]

STEP = 1.42  # inches from one step of the loop to the next
MODEL, SCORES = 4.2, 6.12  # where their middles are
PALE = "#E3E3E3"


def generation_loop(
    tokens: Sequence[str], steps: Sequence[Mapping[str, float]], *, ax: "Axes | None" = None
) -> "Axes":
    """Draw greedy generation as a loop, and its cache of keys and values, which grows.

    Args:
        tokens: Those of the prompt.
        steps: For each step its candidates for the next token, with their probabilities, 0 to 1.
            The most probable one is appended.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, a row for each step: the text so far, what of it goes through the model in blue;
        what the cache holds after the step in green; the candidates.

    Raises:
        ValueError: There is no step, or one has no candidate.

    Example:
        >>> generation_loop(["The", " sky"], [{" is": 0.6, " was": 0.1}]).get_title("left")
        'Generation: one token at a time'

    Taught in: notebooks/01_language_models.ipynb
    """
    if not steps or not all(steps):
        raise ValueError(f"each step needs a candidate, and there must be a step, not {steps!r}")
    height = STEP * len(steps) + 0.6
    ax = canvas(7.3, height, title="Generation: one token at a time", ax=ax)
    for x, text in ((0.1, "text so far"), (SCORES - 1.08, "next token")):
        label(ax, (x, height - 0.12), text, bold=True, align="left")
    so_far, scores = list(tokens), None
    for i, candidates in enumerate(steps):
        y = height - 0.55 - STEP * i
        newest = _text_and_cache(ax, y, so_far, n_given=1 if i else len(so_far))
        if scores:
            _append(ax, scores, [(newest.x, y + 0.47), newest.top])
        scores = _scores(ax, y, candidates)
        so_far.append(max(candidates, key=lambda token: candidates[token]))
    _append(ax, scores, [(1.9, scores.bottom[1] - 0.35)], text="and so on, until an end token")
    meanings = ["goes through the model now", "keys and values: computed once, kept in a cache"]
    key(ax, (0.1, 0.1), ["data", "memory"], meanings=meanings)
    written = ", ".join(map(_shown, so_far[len(tokens) :]))
    return describe(
        ax,
        f"In step 1 all {len(tokens)} tokens of the prompt go through the model, and their keys "
        "and values into a cache. From then on only the newest token goes through; the cache "
        f"grows by one a step. The most probable token is appended each time: {written}",
    )


def _shown(token: str) -> str:
    return token.strip(" ").replace("\n", "↵")


def _text_and_cache(ax: "Axes", y: float, so_far: Sequence[str], *, n_given: int) -> Box:
    """Draw the text so far, its cache and the model. Return where the newest token is."""
    n_before = len(so_far) - n_given
    roles = ["plain"] * n_before + ["data"] * n_given
    shown = token_row(ax, (0.1, y), [_shown(token) for token in so_far], roles=roles)
    for token in shown:
        corner = (token.left[0], y - 0.38)
        kept = token_row(ax, corner, ["kv"], roles="memory", width=token.width, height=0.24)
    model = box(ax, (MODEL, y - 0.17), "model", size=(0.9, 0.78))
    left, newest = model.left[0], shown[-1]
    arrow(ax, newest.right, (left, y), role="data")
    heads = "<|-|>" if n_before else "<|-"
    arrow(ax, kept[-1].right, (left, y - 0.38), role="memory", heads=heads)
    arrow(ax, model.right, (SCORES - 1.08, model.y))
    return newest


def _scores(ax: "Axes", y: float, candidates: Mapping[str, float]) -> Box:
    """Draw the candidates with bars, the best one first. Return where they are."""
    from matplotlib.patches import Rectangle

    around = box(ax, (SCORES, y - 0.17), size=(2.16, 0.78))
    ranked = sorted(candidates.items(), key=lambda item: -item[1])[:3]
    for row, (token, share) in enumerate(ranked):
        up, bold = around.top[1] - 0.16 - 0.23 * row, row == 0
        color = ROLES["data"].edge if bold else "#B9B9B9"
        label(
            ax, (SCORES - 0.38, up), _shown(token), size=SMALL, align="right", bold=bold, code=True
        )
        bar = Rectangle(
            (SCORES - 0.3, up - 0.06), 0.85 * share, 0.12, fc=color, ec="none", zorder=3
        )
        ax.add_patch(bar)
        label(ax, (SCORES + 1.0, up), f"{100 * share:.0f} %", size=SMALL, align="right", bold=bold)
    return around


def _append(ax: "Axes", scores: Box, way: Sequence[Point], *, text: str = "append") -> None:
    """Draw the way of a chosen token from its scores to the next row."""
    (x, y), dashed = scores.bottom, len(way) == 1
    route(ax, [(x, y), (x, way[0][1]), *way], text=text, dashed=dashed)


def rotary_positions(
    head_dim: int, *, theta: float, pairs: tuple[int, int] = (0, 4), ax: "Axes | None" = None
) -> "Axes":
    """Draw how its position turns the pairs of numbers of a query or a key.

    Args:
        head_dim: Numbers of a head, so half as many pairs.
        theta: Base of the speeds: pair i turns by theta ** (-2 i / head_dim) radians a token.
        pairs: A fast and a slow one, by number, from 0.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: dials of both pairs at positions 0 to 4; then, for the fast one, a query and a
        key two tokens apart at three places of a text, and the angle between them.

    Example:
        >>> rotary_positions(64, theta=10_000.0).get_title("left")
        'Rotary positions: a turn for each token'

    Taught in: notebooks/01_language_models.ipynb
    """
    ax = canvas(7.2, 4.85, title="Rotary positions: a turn for each token", ax=ax)
    speeds = [theta ** (-2 * pair / head_dim) for pair in pairs]
    for position in range(5):
        label(ax, (_column(position), 4.72), f"position {position}")
    for row, (pair, speed) in enumerate(zip(pairs, speeds, strict=True)):
        y = 4.1 - 1.22 * row
        label(ax, (0.1, y + 0.1), f"pair {pair}", bold=True, align="left")
        per_token = f"{math.degrees(speed):.0f}° a token"
        label(ax, (0.1, y - 0.12), per_token, size=SMALL, align="left", soft=True)
        for position in range(5):
            _dial(ax, (_column(position), y), {"": position * speed}, start=0.0)
            turned = f"{math.degrees(position * speed):.0f}°"
            label(ax, (_column(position), y - 0.57), turned, size=SMALL)
    ax.plot([0.1, 7.1], [1.95, 1.95], color=PALE, lw=1.0)
    between = f"{math.degrees(2 * speeds[0]):.0f}°"
    rule = (
        f"two tokens apart: {between} between query and key of pair {pairs[0]}, anywhere in a text"
    )
    label(ax, (0.1, 1.72), rule, bold=True, align="left")
    for i, first in enumerate((0, 1, 100)):
        x, q, k = _column(2 * i), (first + 2) * speeds[0], first * speeds[0]
        _dial(ax, (x, 0.9), {"q": q, "k": k}, start=k)
        label(ax, (x, 0.14), f"k at {first}, q at {first + 2}", size=SMALL)
    return describe(
        ax,
        f"Dials for positions 0 to 4. The hand of pair {pairs[0]} turns by "
        f"{math.degrees(speeds[0]):.0f} degrees a token, that of pair {pairs[1]} by "
        f"{math.degrees(speeds[1]):.0f}. Below, the hands of a query and a key two tokens apart "
        f"are {between} apart at the start of a text and 100 tokens later",
    )


def _dial(ax: "Axes", at: Point, hands: Mapping[str, float], *, start: float) -> None:
    """Draw a circle with hands, by their angles, and the area from `start` to the first."""
    from matplotlib.patches import Circle, Wedge

    (x, y), radius = at, 0.4
    ax.add_patch(Circle(at, radius, fc="none", ec="#9A9A9A", lw=1.0, zorder=1))
    swept = math.degrees(start), math.degrees(next(iter(hands.values())))
    ax.add_patch(Wedge(at, radius, *swept, fc=PALE, ec="none", zorder=0.9))
    for name, angle in hands.items():
        across, up = math.cos(angle), math.sin(angle)
        arrow(ax, at, (x + radius * across, y + radius * up))
        if name:
            label(ax, (x + 0.53 * across, y + 0.53 * up), name, bold=True)


def _column(position: int) -> float:
    return 1.75 + 1.2 * position
