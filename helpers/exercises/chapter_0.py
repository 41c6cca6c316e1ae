"""Checks of the exercises in notebooks/00_tldr.ipynb."""

import re
from collections import Counter
from collections.abc import Callable, Mapping

__all__ = ["exercise_1", "exercise_2", "exercise_3"]


def exercise_1(n_steps: Callable[[int, int, int], int]) -> str | None:
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


def exercise_2(broken: tuple[str, str]) -> str | None:
    """Check that an answer doesn't hold the words of its sentence, each as often."""
    if not isinstance(broken, tuple | list) or [type(text) for text in broken] != [str, str]:
        return "hand in two texts, (sentence, answer)"
    given, said = (Counter(re.findall(r"[\w'’]+", text.lower())) for text in broken)
    if not given or not said:
        return "neither the sentence nor the answer may be empty"
    if given == said:
        return "every word of your sentence is in the answer, as often: it only moved them around"
    return None


def exercise_3(right_by_rows: Mapping[int, int]) -> str | None:
    """Check what came of training on fewer rows: counts of 20, which rise with the rows."""
    if not isinstance(right_by_rows, Mapping) or sorted(right_by_rows) != [40, 160, 360]:
        return "hand in a dictionary with a number of right answers for 40, 160 and 360 rows"
    counts = [right_by_rows[n_rows] for n_rows in (40, 160, 360)]
    if not all(isinstance(count, int) and 0 <= count <= 20 for count in counts):
        return f"each is a count of 20 answers, a whole number from 0 to 20: you say {counts}"
    few, _, many = counts
    if few > 10:
        return (
            f"{few} of 20 after ten steps is too good: did you train the chapter's model on? Start "
            "each run with models.load_base_model and a new adapter"
        )
    if many < 10:
        return (
            f"{many} of 20 with 360 rows is too few: take the chapter's settings, and call "
            "training.prepare before train()"
        )
    return None
