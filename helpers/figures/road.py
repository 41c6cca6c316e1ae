"""The journey: the stations of a fine-tune along a road, and where on it a chapter is."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from helpers.figures.kit import (
    ROLES,
    SMALL,
    Box,
    box,
    canvas,
    connect,
    label,
    matrix,
    timeline,
    tokens,
)
from helpers.style import INK, SOFT, describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["STATIONS", "Station", "journey"]


def _layers(ax: "Axes", x: float, y: float) -> None:
    for up in (-0.22, 0.0, 0.22):
        box(ax, (x, y + up), size=(0.95, 0.18), role="frozen")


def _levels(ax: "Axes", x: float, y: float) -> None:
    """Draw weights as a bell over sixteen levels, which are dense where the weights are."""
    colors, shares = ROLES["frozen"], [i / 20 for i in range(-20, 21)]
    bell = [y - 0.1 + 0.42 * math.exp(-4.5 * share**2) for share in shares]
    across = [x + 0.6 * share for share in shares]
    ax.fill_between(across, y - 0.1, bell, fc=colors.fill, ec=colors.edge, lw=1.3, zorder=2)
    for i in range(16):
        share = (i - 7.5) / 7.5
        level = x + 0.6 * (0.5 * share + 0.5 * share**3)
        ax.plot([level, level], [y - 0.31, y - 0.16], color=colors.edge, lw=1.3, zorder=2)


def _low_rank(ax: "Axes", x: float, y: float) -> None:
    matrix(ax, (x - 0.42, y), (4, 4), scale=0.11, role="frozen", sides=False)
    label(ax, (x - 0.42, y), ROLES["frozen"].mark, role="frozen")
    label(ax, (x - 0.09, y), "+", bold=True)
    matrix(ax, (x + 0.1, y), (4, 1), scale=0.11, role="trained", sides=False)
    matrix(ax, (x + 0.43, y + 0.14), (1, 4), scale=0.11, role="trained", sides=False)
    label(ax, (x + 0.43, y - 0.09), ROLES["trained"].mark, role="trained")


def _rows(ax: "Axes", x: float, y: float) -> None:
    tokens(ax, (x - 0.65, y + 0.17), ["You", "are", "strong"], height=0.27)
    tokens(ax, (x - 0.65, y - 0.17), ["Strong", ",", "…"], height=0.27)


def _loss(ax: "Axes", x: float, y: float) -> None:
    ax.plot([x - 0.5, x - 0.5, x + 0.5], [y + 0.3, y - 0.3, y - 0.3], color=SOFT, lw=1.0)
    steps = [i / 30 for i in range(31)]
    losses = [y - 0.2 + 0.46 * math.exp(-4.5 * step) for step in steps]
    ax.plot([x - 0.42 + 0.9 * step for step in steps], losses, color=ROLES["trained"].edge, lw=2.2)


def _scores(ax: "Axes", x: float, y: float) -> None:
    for left, height, role, name in (
        (x - 0.34, 0.06, "frozen", "before"),
        (x + 0.34, 0.44, "trained", "after"),
    ):
        timeline(
            ax, (left - 0.17, y - 0.14 + height / 2), [("", 1, role)], length=0.34, height=height
        )
        label(ax, (left, y - 0.27), name, size=SMALL, soft=True)


def _server(ax: "Axes", x: float, y: float) -> None:
    for up in (-0.22, 0.0, 0.22):
        unit = box(ax, (x, y + up), size=(0.95, 0.18))
        ax.plot([unit.x - 0.36, unit.x - 0.24], [unit.y] * 2, ".", color=SOFT, ms=5, zorder=3)
        ax.plot([unit.x, unit.x + 0.36], [unit.y] * 2, color=SOFT, lw=1.3, zorder=3)


@dataclasses.dataclass(frozen=True)
class Station:
    """A stop on the road.

    Attributes:
        name: What is written over it.
        chapters: Those that stop here, the one that takes it apart last.
        picture: Draws it on axes, around a point.
    """

    name: str
    chapters: tuple[int, ...]
    picture: Callable[["Axes", float, float], None]


STATIONS = (  # along the road; a chapter to come is a line here
    Station("Base model", (0, 1), _layers),
    Station("4 bits", (0, 2), _levels),
    Station("Adapter", (0, 3), _low_rank),
    Station("Data", (0, 4, 8), _rows),
    Station("Training", (0, 5), _loss),
    Station("Score", (0, 7), _scores),
    Station("Deployment", (6,), _server),
)
IN_A_ROW, STEP, ROW = 4, 1.88, 1.72  # inches from station to station, and from row to row
WIDTH, HEIGHT = 1.5, 1.32  # of a station


def journey(*, chapter: int | None = None, ax: "Axes | None" = None) -> "Axes":
    """Draw the road of a fine-tune, from the base model to a model that is in use.

    Args:
        chapter: The stations where it stops get a strong frame, those before a check mark, and
            those after are pale. Without it all look alike.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes, with a small picture and its chapter for each station.

    Raises:
        ValueError: The chapter stops nowhere.

    Example:
        >>> journey().get_title("left")
        'A fine-tune, step by step'

    Taught in: notebooks/00_tldr.ipynb
    """
    stops = [i for i, station in enumerate(STATIONS) if chapter in station.chapters]
    if chapter is not None and not stops:
        known = sorted({number for station in STATIONS for number in station.chapters})
        raise ValueError(f"chapter {chapter} is on no station: give one of {known}, or none")
    n_rows = math.ceil((len(STATIONS) + 1) / IN_A_ROW)
    ax = canvas(7.3, n_rows * ROW - 0.22, title="A fine-tune, step by step", ax=ax)
    places = [_place(i, n_rows) for i in range(len(STATIONS))]
    _road(ax, [*places, _end(ax, _place(len(STATIONS), n_rows))])
    for i, (station, place) in enumerate(zip(STATIONS, places, strict=True)):
        here = i in stops
        own = [number for number in station.chapters if number]  # Chapter 0 stops everywhere
        reached = [number for number in own if chapter is not None and number <= chapter]
        _card(ax, place, station, here=here)
        passed = " ✓" if reached and not here else ""
        text = f"chapter {reached[-1] if reached else own[0]}{passed}"
        _foot(ax, place, "you are here" if stops == [i] else text, here=here)
        if chapter is not None and not here and not reached:
            _veil(ax, place)
    return describe(ax, _in_words(stops, chapter))


def _place(i: int, n_rows: int) -> Box:
    row, along = divmod(i, IN_A_ROW)
    column = along if row % 2 == 0 else IN_A_ROW - 1 - along
    y = (n_rows - 1 - row) * ROW + HEIGHT / 2 + 0.1
    return Box(WIDTH / 2 + 0.08 + column * STEP, y, WIDTH, HEIGHT)


def _road(ax: "Axes", places: "list[Box]") -> None:
    across, up = [place.x for place in places], [place.y for place in places]
    ax.plot(across, up, color="#E6E6E6", lw=14, solid_joinstyle="round", zorder=0)
    for a, b in itertools.pairwise(places):
        connect(ax, a, b)


def _card(ax: "Axes", place: Box, station: Station, *, here: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = (place.x - WIDTH / 2, place.y - HEIGHT / 2)
    style = {"boxstyle": "round,pad=0,rounding_size=0.1", "fc": "white"}
    edge, width = (INK, 2.6) if here else ("#8A8A8A", 1.0)
    ax.add_patch(FancyBboxPatch(corner, WIDTH, HEIGHT, ec=edge, lw=width, zorder=1, **style))
    label(ax, (place.x, place.y + 0.49), station.name, bold=True)
    station.picture(ax, place.x, place.y + 0.02)


def _foot(ax: "Axes", place: Box, text: str, *, here: bool) -> None:
    pill = {"boxstyle": "round,pad=0.25,rounding_size=0.5", "ec": "none", "fc": INK}
    ax.text(
        place.x,
        place.y - 0.51,
        text,
        ha="center",
        va="center",
        size=SMALL,
        color="white" if here else SOFT,
        bbox=pill if here else None,
        zorder=5,
    )


def _veil(ax: "Axes", place: Box) -> None:
    """Make the picture of a station pale."""
    from matplotlib.patches import Rectangle

    corner, size = (place.x - WIDTH / 2 + 0.04, place.y - 0.38), (WIDTH - 0.08, 0.76)
    ax.add_patch(Rectangle(corner, *size, fc="white", ec="none", alpha=0.65, zorder=6))


def _end(ax: "Axes", place: Box) -> Box:
    """Draw the end of the road: what the model says now."""
    label(ax, (place.x, place.y + 0.49), "Your model", bold=True)
    bubble = box(ax, (place.x, place.y), "“Strong,\nyou are.”", size=(1.2, 0.62))
    (left, y), edge = bubble.bottom, ROLES["plain"].edge
    tail = [left - 0.36, left - 0.42, left - 0.2], [y + 0.02, y - 0.16, y + 0.02]
    ax.fill(*tail, fc="white", ec="none", zorder=2)
    ax.plot(tail[0], [y, y - 0.16, y], color=edge, lw=1.3, zorder=3)
    return bubble


def _in_words(stops: list[int], chapter: int | None) -> str:
    names = [station.name for station in STATIONS]
    road = f"A road with {len(names)} stations: {', '.join(names)}. It ends at your model"
    if not stops:
        return road
    return f"{road}. Chapter {chapter} is at {', '.join(names[i] for i in stops)}"
