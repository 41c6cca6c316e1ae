"""Checks of the exercises in notebooks/00_tldr.ipynb."""

from collections.abc import Callable

__all__ = ["exercise_1", "exercise_2", "exercise_3"]


def exercise_1(n_exact: Callable[[list[str], list[str]], int]) -> str | None:
    """Check how answers are counted: letter by letter, but not the spaces around them."""
    for answers, references, expected, what in (
        (["Strong, you are."], ["Strong, you are."], 1, "the same text"),
        (["Strong, you are.\n"], [" Strong, you are."], 1, "white space around an answer"),
        (["strong, you are."], ["Strong, you are."], 0, "a small letter for a capital one"),
        (["Strong, you are. Hmm."], ["Strong, you are."], 0, "an answer that goes on"),
        (["b.", "a."], ["a.", "b."], 0, "the right answers in the wrong order"),
        (["a.", "a.", "c."], ["a.", "b.", "c."], 2, "two of three"),
    ):
        found = n_exact(list(answers), list(references))
        if found != expected:
            return f"{what} counts {expected}, you say {found}"
    return None


def exercise_2(n_trained: Callable[[list[tuple[int, int]], int], int]) -> str | None:
    """Check the number of an adapter's weights, for layers that are square and that are not."""
    for shapes, rank, expected in (
        ([(576, 576)], 16, 18_432),
        ([(1536, 576)], 16, 33_792),
        ([(576, 576), (192, 576)], 1, 1_920),
        ([], 8, 0),
    ):
        found = n_trained(list(shapes), rank)
        if found != expected:
            return (
                f"layers {shapes} at rank {rank} have {expected:,} trained weights, you say {found}"
            )
    return None


def exercise_3(n_steps: Callable[[int, int, int], int]) -> str | None:
    """Check the number of steps: the last batch of an epoch may be smaller."""
    for n_rows, batch, epochs, expected in (
        (720, 4, 1, 180),
        (10, 4, 1, 3),
        (10, 4, 3, 9),
        (3, 8, 2, 2),
    ):
        found = n_steps(n_rows, batch, epochs)
        if found != expected:
            given = f"{n_rows} rows in batches of {batch}, {epochs} times,"
            return f"{given} are {expected} steps, you say {found}"
    return None
