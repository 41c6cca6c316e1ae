"""The splits of the data set, and its rows as conversations.

Taught in: notebooks/00_tldr.ipynb
"""

from pathlib import Path
from typing import TYPE_CHECKING

from helpers.yoda.grammar import generate
from onegpu.rows import load_texts

if TYPE_CHECKING:
    from datasets import DatasetDict

__all__ = [
    "DATA_FOLDER",
    "INSTRUCTION",
    "SPLITS",
    "load",
    "prompt",
    "rows",
    "to_prompt_completion",
]

INSTRUCTION = "Translate to Yoda-speak."  # the system message of every row
DATA_FOLDER = Path(__file__).parents[1] / "data" / "yoda"
SPLITS = {  # name: (sentences of seen words, sentences of new words)
    "train": (720, 0),
    "validation": (120, 0),
    "test": (80, 80),
}


def rows(split: str) -> list[dict[str, str | bool]]:
    """Generate the rows of one split, as the JSONL files in the package hold them.

    Args:
        split: `"train"`, `"validation"` or `"test"`.

    Returns:
        Rows with the columns `sentence`, `translation`, `translation_extra`, `kind` and
        `new_words`. No sentence is in two splits. In `test`, seen and new words take turns.

    Raises:
        ValueError: There is no such split.

    Example:
        >>> len(rows("test")), sum(row["new_words"] for row in rows("test"))
        (160, 80)
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    n_seen, n_new = SPLITS[split]
    start = 0
    for name, (n_sentences, _) in SPLITS.items():  # the splits before this one
        if name == split:
            break
        start += n_sentences
    n_all = sum(n_sentences for n_sentences, _ in SPLITS.values())
    seen = generate(n_all, seed=1)[start : start + n_seen]
    found = seen
    if n_new:
        new = generate(n_new, seed=2, new_words=True)
        found = [sentence for pair in zip(seen, new, strict=True) for sentence in pair]
    return [sentence.row for sentence in found]


def prompt(sentence: str) -> list[dict[str, str]]:
    """Return the conversation that asks for the translation of a sentence.

    Args:
        sentence: In English.

    Returns:
        A system message with the instruction, and a user message with the sentence.

    Example:
        >>> [message["role"] for message in prompt("The pilot will repair the ship.")]
        ['system', 'user']

    Taught in: notebooks/00_tldr.ipynb
    """
    return [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": sentence},
    ]


def to_prompt_completion(row: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    """Return a row as prompt and completion, the shape from which trl learns answers only.

    Args:
        row: Has the columns `sentence` and `translation`.

    Returns:
        `prompt` and `completion`, each a list of messages.

    Example:
        >>> row = {"sentence": "You are strong.", "translation": "Strong, you are."}
        >>> to_prompt_completion(row)["completion"]
        [{'role': 'assistant', 'content': 'Strong, you are.'}]

    Taught in: notebooks/00_tldr.ipynb
    """
    completion = [{"role": "assistant", "content": row["translation"]}]
    return {"prompt": prompt(row["sentence"]), "completion": completion}


def load() -> "DatasetDict":
    """Load the Yoda data. Your own pairs of texts load with `onegpu.rows.load_texts`.

    Returns:
        The splits, with the columns that `rows` describes.

    Example:
        >>> {name: len(split) for name, split in load().items()}
        {'train': 720, 'validation': 120, 'test': 160}

    Taught in: notebooks/00_tldr.ipynb
    """
    files = {name: DATA_FOLDER / f"{name}.jsonl" for name in SPLITS}
    return load_texts(files, columns={"sentence": "sentence", "translation": "translation"})
