"""Checks of the exercises in notebooks/04_formatting.ipynb."""

import copy
from collections.abc import Callable

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

Messages = list[dict[str, str]]


def exercise_1(fold_system: Callable[[Messages], Messages]) -> str | None:
    """Check the conversation without a system message."""
    plain = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    if fold_system(copy.deepcopy(plain)) != plain:
        return "a conversation without a system message must stay as it is"
    given = [{"role": "system", "content": "Be brief."}, *plain]
    before = copy.deepcopy(given)
    found = fold_system(given)
    if given != before:
        return "it changes the list that it was given, or a message in it: make new ones"
    if any(message["role"] == "system" for message in found):
        return "there is still a system message"
    if found[0]["content"] != "Be brief.\n\nHi.":
        return f"the first question should be 'Be brief.\\n\\nHi.', it is {found[0]['content']!r}"
    if found[1:] != plain[1:]:
        return "what follows the first question should stay as it is"
    return None


def exercise_2(mask_turns: Callable[[list[int], int, int], list[int]]) -> str | None:
    """Check the labels of a conversation of two turns."""
    ids = [8, 30, 31, 9, 40, 41, 2, 8, 30, 2, 9, 50, 2]
    expected = [-100] * 4 + [40, 41, 2] + [-100] * 4 + [50, 2]
    found = list(mask_turns(list(ids), 9, 2))
    if len(found) != len(ids):
        return f"there are {len(ids)} tokens, you give {len(found)} labels"
    for position, (label, right) in enumerate(zip(found, expected, strict=True)):
        if label != right:
            return (
                f"in {ids}, with answers from 9 to 2, position {position} (token {ids[position]}) "
                f"should have label {right}, yours is {label}"
            )
    return None


def exercise_3(pack: Callable[[list[int], int], list[list[int]]]) -> str | None:
    """Check bins by their contents, their room, and their number."""
    for lengths, max_length, expected in (
        ([4, 8, 1, 4, 2, 1], 10, [[8, 2], [4, 4, 1, 1]]),
        ([5, 5, 5], 5, [[5], [5], [5]]),
        ([3, 6, 4, 2, 5], 10, [[6, 4], [5, 3, 2]]),
        ([7, 6, 3], 10, [[7, 3], [6]]),
    ):
        found = [list(bin_) for bin_ in pack(list(lengths), max_length)]
        if sorted(length for bin_ in found for length in bin_) != sorted(lengths):
            return f"for {lengths} the bins {found} do not hold just these lengths"
        if any(sum(bin_) > max_length for bin_ in found):
            return f"for {lengths} a bin of {found} holds more than {max_length}"
        if sorted(map(sorted, found)) != sorted(map(sorted, expected)):
            return f"{lengths} into bins of {max_length} makes {expected}, you have {found}"
    return None


def exercise_4(positions: Callable[[list[int]], list[int]]) -> str | None:
    """Check the position ids of a packed row."""
    for lengths, expected in (([3, 2], [0, 1, 2, 0, 1]), ([1], [0]), ([2, 1, 2], [0, 1, 0, 0, 1])):
        found = positions(list(lengths))
        if list(found) != expected:
            return f"for sequences of {lengths} tokens it is {expected}, you say {list(found)}"
    return None
