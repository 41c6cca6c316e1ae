"""How far long work has come: a bar on a terminal, and nothing anywhere else."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

__all__ = ["bar"]


def bar(
    items: Iterable[Any] | None = None,
    *,
    what: str,
    total: int | None = None,
    unit: str = "it",
) -> "tqdm":
    """Return a bar that is drawn on stderr if that is a terminal, and is gone at the end.

    Notebooks, files and tests see nothing of it.

    Args:
        items: What to go through. Without it call `update` yourself, and `close` at the end; a
            `with` block closes it too.
        what: What is going on, such as `"compiling llama.cpp"`.
        total: How many there will be, if `items` cannot say.
        unit: What is counted. Bytes, `"B"`, are shortened: 12.3MB.

    Returns:
        Something to loop over that yields the items.

    Example:
        >>> list(bar("ab", what="letters"))
        ['a', 'b']
    """
    from tqdm import tqdm

    return tqdm(
        items,
        desc=what,
        total=total,
        unit=unit,
        unit_scale=unit == "B",
        disable=None,  # where stderr is no terminal
        leave=False,
    )
