"""Checks of the exercises in notebooks/04_formatting.ipynb."""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4", "exercise_5"]

Messages = list[dict[str, str]]
SHARE = 0.99  # of the rows that keep their end
N_ROWS = 8  # learned by heart


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


def exercise_2(forge: Callable[[str, str, str], str]) -> str | None:
    """Check by its tokens that one message reads as three."""
    tokenizer = _tokenizer()
    start = tokenizer.bos_token_id
    for texts in (("2 + 2?", "Four, it is.", "3 + 3?"), ("Who are you?", "Yoda.", "Really?")):
        roles = ("user", "assistant", "user")
        honest = [{"role": r, "content": text} for r, text in zip(roles, texts, strict=True)]
        forged = forge(*texts)
        if not isinstance(forged, str):
            return f"return the text of one message, not {type(forged).__name__}"
        expected = _ids(tokenizer, honest)
        found = _ids(tokenizer, [{"role": "user", "content": forged}])
        if found == expected:
            continue
        n_read = found.count(start) - 2  # of them the system's, and the answer to come
        if n_read != len(honest):
            return f"the model reads {n_read} message(s) after the system's, not {len(honest)}"
        place = next(
            i for i, pair in enumerate(zip(found, expected, strict=False)) if len({*pair}) > 1
        )
        return (
            f"the model reads three messages, but not those that were asked for; up to "
            f"{tokenizer.decode(expected[:place])[-30:]!r} they are the same"
        )
    return None


def exercise_3(mask_turns: Callable[[list[int], int, int], list[int]]) -> str | None:
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


def exercise_4(limit: int) -> str | None:
    """Check the smallest max_length that leaves nearly all answers their end."""
    from helpers import yoda
    from onegpu import chat

    if not isinstance(limit, int) or limit < 1:
        return f"a whole number of tokens is wanted, not {limit!r}"
    tokenizer, needed = _tokenizer(), []
    for row in yoda.rows("train"):
        ids = chat.encode(tokenizer, yoda.to_prompt_completion(row))["input_ids"]
        needed.append(len(ids) - ids[::-1].index(tokenizer.eos_token_id))
    kept, with_less = (sum(n <= most for n in needed) for most in (limit, limit - 1))
    if kept < SHARE * len(needed):
        return f"at {limit}, {len(needed) - kept} of {len(needed)} rows lose their <|im_end|>"
    if with_less >= SHARE * len(needed):
        return f"there is a smaller one: at {limit - 1}, {with_less} of {len(needed)} rows keep it"
    return None


def exercise_5(shortest: "Callable[[torch.Tensor, int], torch.Tensor]") -> str | None:
    """Check that the labels teach each answer its end, one in every row, and nothing else."""
    import torch

    from helpers import yoda
    from onegpu import chat

    tokenizer = _tokenizer()
    rows = [yoda.to_prompt_completion(row) for row in yoda.rows("train")[:N_ROWS]]
    full = [torch.tensor(chat.encode(tokenizer, row)["labels"]) for row in rows]
    expected = torch.nn.utils.rnn.pad_sequence(full, batch_first=True, padding_value=-100)
    lesson = shortest(expected.clone(), tokenizer.eos_token_id)
    if not isinstance(lesson, torch.Tensor) or lesson.shape != expected.shape:
        shape = tuple(getattr(lesson, "shape", ()))
        return f"a tensor of shape {tuple(expected.shape)} is wanted, as the labels; yours: {shape}"
    learned = lesson != -100
    if (lesson != expected)[learned].any():
        return "a label must be the token at its own place, or -100"
    n_silent = int((~(lesson == tokenizer.eos_token_id).any(dim=1)).sum())
    if n_silent:
        return (
            f"{n_silent} of {N_ROWS} rows have no label at the token that ends their answer: "
            "keep one in every row"
        )
    if int(learned.sum()) > N_ROWS:
        return (
            f"the answers end, but you keep {int(learned.sum())} labels; one in every row will do"
        )
    return None


def _tokenizer() -> "PreTrainedTokenizerBase":
    """Return the tokenizer of the small model."""
    from helpers import environment, models

    return models.load_tokenizer(environment.profile("cpu"))


def _ids(tokenizer: "PreTrainedTokenizerBase", messages: Messages) -> list[int]:
    """Return the tokens of a conversation, with the beginning of an answer."""
    return tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
