"""The words of the grammar. Verbs and nouns are grouped so that they make sense together."""

import dataclasses

__all__ = [
    "ACTIONS",
    "ADJECTIVES",
    "CONJUNCTIONS",
    "DETERMINERS",
    "EXTRAS",
    "IRREGULAR",
    "MODALS",
    "NAMES",
    "PEOPLE",
    "PLACES",
    "PREPOSITIONS",
    "PRONOUNS",
    "STATES",
    "Words",
]


@dataclasses.dataclass(frozen=True)
class Words:
    """Verbs or nouns, separated by spaces.

    Attributes:
        seen: Those of the train split.
        new: Those that are kept for the test split.
    """

    seen: str
    new: str


ACTIONS = {  # group: (verbs, nouns)
    "food": (
        Words("cook taste burn serve eat smell", new="mix prepare"),
        Words("soup bread cake stew rice cheese pie salad", new="pizza sandwich chicken pasta"),
    ),
    "machine": (
        Words("repair start clean drive sell inspect", new="fix connect"),
        Words(
            "ship truck engine train bicycle tractor camera radio",
            new="computer telephone robot rocket",
        ),
    ),
    "text": (
        Words("read write copy translate print finish", new="study explain"),
        Words(
            "letter book poem story report map message song", new="article speech chapter recipe"
        ),
    ),
    "animal": (
        Words("chase feed follow wash catch call", new="watch protect"),
        Words("dog cat horse goat rabbit duck cow sheep", new="lion tiger monkey elephant"),
    ),
    "thing": (
        Words("carry hide find lose polish bring", new="move collect"),
        Words("basket lamp coin rope stone blanket sword mirror", new="bottle box table flag"),
    ),
    "building": (
        Words("build paint open visit guard leave", new="enter discover"),
        Words(
            "house temple gate tower barn school castle church",
            new="museum hotel factory hospital",
        ),
    ),
}
PEOPLE = Words(
    "pilot farmer teacher doctor soldier chef student painter king sailor hunter nurse",
    new="wizard lawyer singer writer baker judge",
)
PLACES = Words(
    "garden kitchen village forest market valley city cellar park station",
    new="desert harbor library tunnel island",
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
