"""What plots and figures share: one look, colors, axes, and words for the blind."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "AREAS",
    "COLORS",
    "EDGE",
    "FILL",
    "GREEN_EDGE",
    "GREEN_FILL",
    "INK",
    "ORANGE_EDGE",
    "ORANGE_FILL",
    "ORANGE_INK",
    "SOFT",
    "alt_text",
    "describe",
    "new_axes",
    "use_style",
]

STYLE = Path(__file__).parent / "data" / "style" / "course.mplstyle"

# Okabe and Ito's palette, which color-blind readers can tell apart.
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "gray": "#999999",
}
# Of the parts of memory: frozen, trained, and then what comes and goes.
AREAS = ("#8FA3B8", "#E69F00", "#CC79A7", "#009E73", "#56B4E9", "#0072B2", "#ADADAD")
# Of drawings: text in INK or SOFT, boxes with a fill and an edge.
INK, SOFT = "#1A1A1A", "#555555"
FILL, EDGE = "#EAF3FA", COLORS["blue"]
GREEN_FILL, GREEN_EDGE = "#D9F0E8", "#00664B"
ORANGE_FILL, ORANGE_EDGE, ORANGE_INK = "#FFE9C7", "#B35900", "#8A4500"


def new_axes(ax: "Axes | None", *, size: tuple[float, float]) -> "Axes":
    """Return the axes given, or those of a new figure.

    Args:
        ax: Where to draw, if the caller said so.
        size: Width and height of a new figure, in inches.

    Returns:
        The axes to draw on.
    """
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=size, layout="constrained")
    return ax


def use_style() -> None:
    """Give every picture from now on the course's look, and in a notebook its alt text.

    The look is the style file `helpers/data/style/course.mplstyle`. In a notebook pictures are
    stored with twice as many pixels, for sharp screens, and with `alt_text` in the metadata.
    """
    import matplotlib.pyplot as plt
    from IPython.core.getipython import get_ipython
    from matplotlib.figure import Figure

    plt.style.use(STYLE)
    shell = get_ipython()
    if shell is not None:
        plt.switch_backend(plt.get_backend())  # it sets a formatter of its own, so load it first
        shell.display_formatter.formatters["image/png"].for_type(Figure, _png)


def _png(figure: "Figure") -> "tuple[bytes | str, dict[str, Any]] | None":
    from IPython.core.pylabtools import retina_figure

    shown = retina_figure(figure)
    if shown is None:  # an empty figure
        return None
    data, metadata = shown
    return data, {**metadata, "alt": alt_text(figure)}


def describe(ax: "Axes", text: str) -> "Axes":
    """Say in words what a picture shows, for its alt text.

    Args:
        ax: A chart or a drawing. It is changed in place.
        text: One or two sentences with what a reader would see: the parts and how they hang
            together, or the values. The title and the names of the axes need not be repeated.

    Returns:
        The same axes.
    """
    ax.set_label(text)
    return ax


def alt_text(figure: "Figure") -> str:
    """Return a figure in words: for each of its axes title, names of x and y, and what it shows.

    Args:
        figure: Whose axes were described with `describe`.

    Returns:
        One line. Axes without title and description, such as the scale of colors, are left out.

    Example:
        >>> from helpers import figures
        >>> alt_text(figures.journey().figure)[:27]
        'A fine-tune, step by step. '
    """
    sentences = []
    for ax in figure.axes:
        title, text = ax.get_title("left") or ax.get_title(), ax.get_label()
        text = "" if str(text).startswith(("<", "_")) else str(text)
        names = [f"{axis}: {name}" for axis, name in _axis_names(ax) if name]
        sentences += [
            part for part in (title, ", ".join(names) if title or text else "", text) if part
        ]
    one_line = [" ".join(sentence.split()) for sentence in sentences]
    return " ".join(one if one.endswith((".", "?", "!")) else f"{one}." for one in one_line)


def _axis_names(ax: "Axes") -> "tuple[tuple[str, str], ...]":
    return ("x", ax.get_xlabel()), ("y", ax.get_ylabel())
