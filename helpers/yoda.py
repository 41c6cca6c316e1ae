"""The English-to-Yoda data set: a grammar and its splits.

One rule makes the task. Cut a sentence right after its core, which is the subject with the finite
verb and "not" if there is one, and let the two halves change places:

    The pilot will | repair the ship.    ->  Repair the ship, the pilot will.
    Did the chef | burn the soup?        ->  Burn the soup, did the chef?
    Open | the heavy gate.               ->  The heavy gate, open.

A subordinate clause stays where and as it is. The grammar makes the halves first and the sentence
from them, so every translation is exact.

Taught in: notebooks/00_tldr.ipynb
"""

import dataclasses
import itertools
import random
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from onegpu.rows import load_texts

if TYPE_CHECKING:
    from datasets import DatasetDict

__all__ = [
    "INSTRUCTION",
    "SPLITS",
    "Sentence",
    "generate",
    "load",
    "prompt",
    "rows",
    "to_prompt_completion",
]

INSTRUCTION = "Translate to Yoda-speak."
DATA_FOLDER = Path(__file__).parent / "data" / "yoda"
SPLITS = {  # name: (sentences of seen words, sentences of new words)
    "train": (720, 0),
    "validation": (120, 0),
    "test": (80, 80),
}

# Verbs and nouns are grouped so that they make sense together. What stands behind "|" is kept for
# the test split: train never sees it.
ACTIONS = {
    "food": (
        "cook taste burn serve eat smell | mix prepare",
        "soup bread cake stew rice cheese pie salad | pizza sandwich chicken pasta",
    ),
    "machine": (
        "repair start clean drive sell inspect | fix connect",
        "ship truck engine train bicycle tractor camera radio | computer telephone robot rocket",
    ),
    "text": (
        "read write copy translate print finish | study explain",
        "letter book poem story report map message song | article speech chapter recipe",
    ),
    "animal": (
        "chase feed follow wash catch call | watch protect",
        "dog cat horse goat rabbit duck cow sheep | lion tiger monkey elephant",
    ),
    "thing": (
        "carry hide find lose polish bring | move collect",
        "basket lamp coin rope stone blanket sword mirror | bottle box table flag",
    ),
    "building": (
        "build paint open visit guard leave | enter discover",
        "house temple gate tower barn school castle church | museum hotel factory hospital",
    ),
}
PEOPLE = (
    "pilot farmer teacher doctor soldier chef student painter king sailor hunter nurse"
    " | wizard lawyer singer writer baker judge"
)
PLACES = (
    "garden kitchen village forest market valley city cellar park station"
    " | desert harbor library tunnel island"
)
NAMES = ["Anna", "Ben", "Clara", "David", "Maria", "Peter"]
PRONOUNS = ["I", "you", "we", "they", "she", "he"]
DETERMINERS = ["the", "the", "the", "my", "your", "this"]
ADJECTIVES = {
    "person": ["old", "young", "tall", "clever", "tired", "quiet", "proud"],
    "object": ["old", "small", "big", "strange", "red", "heavy", "beautiful"],
}
STATES = [
    "cold",
    "dangerous",
    "ready",
    "small",
    "strong",
    "beautiful",
    "expensive",
    "lost",
    "gone",
    "old",
]
MODALS = ["will", "can", "must", "should"]
PREPOSITIONS = ["in", "near", "behind", "beyond"]
CONJUNCTIONS = ["when", "because", "while", "if", "before", "after"]
EXTRAS = {".": [" Yes, hrrmmm.", " Hmmmm.", " Yes."], "?": [" Hmm?", " Hrrmmm?"]}
KINDS = {  # construction: how many of a hundred sentences
    "simple": 15,
    "future": 12,
    "perfect": 9,
    "progressive": 9,
    "state": 8,
    "negation": 12,
    "question": 14,
    "imperative": 13,
    "subordinate": 8,
}
IRREGULAR = {  # verb: (past, participle)
    "eat": ("ate", "eaten"),
    "drive": ("drove", "driven"),
    "sell": ("sold", "sold"),
    "read": ("read", "read"),
    "write": ("wrote", "written"),
    "feed": ("fed", "fed"),
    "catch": ("caught", "caught"),
    "hide": ("hid", "hidden"),
    "find": ("found", "found"),
    "lose": ("lost", "lost"),
    "bring": ("brought", "brought"),
    "build": ("built", "built"),
    "leave": ("left", "left"),
}


@dataclasses.dataclass(frozen=True)
class Sentence:
    """One parsed sentence.

    Attributes:
        core: Subject and finite verb, such as `"the pilot will"`.
        rest: What follows them in English, such as `"repair the ship"`.
        kind: The construction, a key of `KINDS`.
        new_words: Whether its nouns and verbs are those that train never sees.
        extra: Yoda's aside after the translation, such as `" Yes."`.
        before: A subordinate clause in front of the main clause; may be empty.
        after: A subordinate clause behind the main clause; may be empty.

    Example:
        >>> parsed = Sentence("the pilot will", "repair the ship", "future")
        >>> parsed.english, parsed.yoda
        ('The pilot will repair the ship.', 'Repair the ship, the pilot will.')
    """

    core: str
    rest: str
    kind: str
    new_words: bool = False
    extra: str = ""
    before: str = ""
    after: str = ""

    def _finish(self, *parts: str) -> str:
        text = "".join(parts)
        return text[0].upper() + text[1:] + ("?" if self.kind == "question" else ".")

    @property
    def english(self) -> str:
        """The sentence in English."""
        before, after = self.before and f"{self.before}, ", self.after and f" {self.after}"
        return self._finish(before, self.core, " ", self.rest, after)

    @property
    def yoda(self) -> str:
        """The translation: core and rest swapped."""
        before, after = self.before and f"{self.before}, ", self.after and f", {self.after}"
        return self._finish(before, self.rest, ", ", self.core, after)

    @property
    def row(self) -> dict[str, str | bool]:
        """The sentence as a row of the data set."""
        return {
            "sentence": self.english,
            "translation": self.yoda,
            "translation_extra": self.yoda + self.extra,
            "kind": self.kind,
            "new_words": self.new_words,
        }


def _inflect(verb: str, form: str) -> str:
    """Return the form `base`, `third`, `past`, `participle` or `ing` of a verb.

    Example:
        >>> [_inflect("carry", form) for form in ("third", "past", "ing")]
        ['carries', 'carried', 'carrying']
    """
    y_to_i = verb.endswith("y") and verb[-2] not in "aeiou"
    if form == "base":
        return verb
    if form == "ing":
        return (verb[:-1] if verb.endswith("e") else verb) + "ing"
    if form == "third":
        ending = "es" if y_to_i or verb.endswith(("sh", "ch", "x")) else "s"
    elif verb in IRREGULAR:
        return IRREGULAR[verb][form == "participle"]
    else:
        ending = "d" if verb.endswith("e") else "ed"
    return (verb[:-1] + "i" if y_to_i else verb) + ending


class _Grammar:
    """Draws sentences, either from the words that train sees or from the new ones."""

    def __init__(self, rng: random.Random, *, new_words: bool):
        self.rng = rng
        self.new_words = new_words

    def word(self, vocabulary: str) -> str:
        return self.rng.choice(vocabulary.split("|")[self.new_words].split())

    def noun_phrase(self, noun: str, sort: str) -> str:
        determiner = self.rng.choice(DETERMINERS)
        adjective = self.rng.choice(ADJECTIVES[sort]) + " " if self.rng.random() < 0.3 else ""
        return f"{determiner} {adjective}{noun}"

    def subject(self) -> tuple[str, str]:
        """Return a subject and its form of "be" in the present, which tells person and number."""
        draw = 1.0 if self.new_words else self.rng.random()  # pronouns and names are never new
        if draw < 0.25:
            pronoun = self.rng.choice(PRONOUNS)
            return pronoun, {"I": "am", "she": "is", "he": "is"}.get(pronoun, "are")
        if draw < 0.4:
            return self.rng.choice(NAMES), "is"
        return self.noun_phrase(self.word(PEOPLE), "person"), "is"

    def action(self, *, places: bool) -> tuple[str, str]:
        """Return a verb and what it is done to, if allowed at times with a place."""
        verbs, nouns = ACTIONS[self.rng.choice(list(ACTIONS))]
        target = self.noun_phrase(self.word(nouns), "object")
        if places and self.rng.random() < 0.3:
            target += f" {self.rng.choice(PREPOSITIONS)} the {self.word(PLACES)}"
        return self.word(verbs), target

    def finite(self, kind: str, be: str) -> tuple[str, str]:
        """Return an auxiliary that agrees with the subject, and the verb form it asks for."""
        auxiliaries = {
            "future": [(modal, "base") for modal in MODALS],
            "perfect": [("has" if be == "is" else "have", "participle"), ("had", "participle")],
            "progressive": [(be, "ing"), ("were" if be == "are" else "was", "ing")],
            "do": [("does" if be == "is" else "do", "base"), ("did", "base")],
        }
        return self.rng.choice(auxiliaries[kind])

    def clause(self, kind: str, *, places: bool = True) -> tuple[str, str]:
        """Return the core and the rest of a clause."""
        subject, be = self.subject()
        verb, target = self.action(places=places)
        if kind == "state":
            _, nouns = ACTIONS[self.rng.choice(list(ACTIONS))]
            thing = self.noun_phrase(self.word(nouns), "object")
            return f"{thing} {self.rng.choice(['is', 'was'])}", self.rng.choice(STATES)
        if kind == "imperative":
            return (verb, target) if self.rng.random() < 0.6 else ("do not", f"{verb} {target}")
        if kind == "simple":
            form = self.rng.choice(["third" if be == "is" else "base", "past"])
            return f"{subject} {_inflect(verb, form)}", target
        tense = kind
        if kind in ("negation", "question"):
            tense = self.rng.choice(["do", "future", "perfect", "progressive"])
        auxiliary, form = self.finite(tense, be)
        rest = f"{_inflect(verb, form)} {target}"
        if kind == "negation":
            return f"{subject} {auxiliary} not".replace("can not", "cannot"), rest
        if kind == "question":
            return (
                f"{self.rng.choice(['', '', 'why ', 'when ', 'how '])}{auxiliary} {subject}",
                rest,
            )
        return f"{subject} {auxiliary}", rest

    def sentence(self) -> Sentence:
        kind = self.rng.choices(list(KINDS), weights=list(KINDS.values()))[0]
        extra = self.rng.choice(EXTRAS["?" if kind == "question" else "."])
        subordinate = {}
        main = kind
        if kind == "subordinate":
            core, rest = self.clause("simple", places=False)
            place = self.rng.choice(["before", "after"])
            subordinate = {place: f"{self.rng.choice(CONJUNCTIONS)} {core} {rest}"}
            main = self.rng.choice(["simple", "future", "perfect"])
        core, rest = self.clause(main, places=kind != "subordinate")
        return Sentence(core, rest, kind, self.new_words, extra, **subordinate)


def generate(
    n_sentences: int, *, seed: int, new_words: bool = False, exclude: Collection[str] = ()
) -> list[Sentence]:
    """Generate distinct sentences with their exact translations.

    Args:
        n_sentences: How many.
        seed: The same seed gives the same sentences on every machine.
        new_words: Use the nouns and verbs that the train split never sees.
        exclude: English sentences that must not come up again.

    Returns:
        The parsed sentences, in the order drawn.

    Example:
        >>> print(generate(1, seed=5)[0].yoda)
        Built my house in the village, Peter had not.
    """
    grammar = _Grammar(random.Random(seed), new_words=new_words)
    seen, found = set(exclude), []
    while len(found) < n_sentences:
        sentence = grammar.sentence()
        if sentence.english not in seen:
            seen.add(sentence.english)
            found.append(sentence)
    return found


def rows(split: str) -> list[dict[str, str | bool]]:
    """Generate the rows of one split, as the JSONL files in the package hold them.

    Args:
        split: `"train"`, `"validation"` or `"test"`.

    Returns:
        Rows with the columns `sentence`, `translation`, `translation_extra`, `kind` and
        `new_words`. No sentence stands in two splits. In `test`, seen and new words take turns.

    Raises:
        ValueError: There is no such split.

    Example:
        >>> len(rows("test")), sum(row["new_words"] for row in rows("test"))
        (160, 80)
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    n_seen, n_new = SPLITS[split]
    start = sum(SPLITS[name][0] for name in list(SPLITS)[: list(SPLITS).index(split)])
    seen = generate(sum(n for n, _ in SPLITS.values()), seed=1)[start : start + n_seen]
    new = generate(n_new, seed=2, new_words=True)
    turns = itertools.chain.from_iterable(zip(seen, new, strict=True)) if n_new else seen
    return [sentence.row for sentence in turns]


def prompt(sentence: str) -> list[dict[str, str]]:
    """Return the conversation that asks for the translation of a sentence.

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
    """Load the Yoda data. Your own pairs of texts load with `rows.load_texts`.

    Returns:
        The splits, with the columns that `rows` describes.

    Example:
        >>> {name: len(split) for name, split in load().items()}
        {'train': 720, 'validation': 120, 'test': 160}

    Taught in: notebooks/00_tldr.ipynb
    """
    files = {name: DATA_FOLDER / f"{name}.jsonl" for name in SPLITS}
    return load_texts(files, columns={"sentence": "sentence", "translation": "translation"})
