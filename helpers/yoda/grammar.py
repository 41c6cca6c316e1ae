"""A grammar of English sentences, each with its exact translation into Yoda-speak.

One rule makes the task. Cut a sentence right after its core, which is the subject with the finite
verb and "not" if there is one, and let the two halves change places:

    The pilot will | repair the ship.    ->  Repair the ship, the pilot will.
    Did the chef | burn the soup?        ->  Burn the soup, did the chef?
    Open | the heavy gate.               ->  The heavy gate, open.

A subordinate clause stays where and as it is. The grammar makes the halves first and the sentence
from them, so every translation is exact.
"""

import dataclasses
import random
from collections.abc import Collection

from helpers.yoda import words
from helpers.yoda.words import Words

__all__ = ["KINDS", "Sentence", "generate", "inflect"]

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
        before = f"{self.before}, " if self.before else ""
        after = f" {self.after}" if self.after else ""
        return self._finish(before, self.core, " ", self.rest, after)

    @property
    def yoda(self) -> str:
        """The translation: core and rest swapped."""
        before = f"{self.before}, " if self.before else ""
        after = f", {self.after}" if self.after else ""
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


def inflect(verb: str, form: str) -> str:
    """Return a form of a verb.

    Args:
        verb: Its base form.
        form: `base`, `third`, `past`, `participle` or `ing`.

    Returns:
        The form, such as `carries` or `eaten`.

    Example:
        >>> [inflect("carry", form) for form in ("third", "past", "ing")]
        ['carries', 'carried', 'carrying']
    """
    y_to_i = verb.endswith("y") and verb[-2] not in "aeiou"
    if form == "base":
        return verb
    if form == "ing":
        return (verb[:-1] if verb.endswith("e") else verb) + "ing"
    if form == "third":
        ending = "es" if y_to_i or verb.endswith(("sh", "ch", "x")) else "s"
    elif verb in words.IRREGULAR:
        past, participle = words.IRREGULAR[verb]
        return past if form == "past" else participle
    else:
        ending = "d" if verb.endswith("e") else "ed"
    return (verb[:-1] + "i" if y_to_i else verb) + ending


class _Grammar:
    """Draws sentences, either from the words that train sees or from the new ones."""

    def __init__(self, rng: random.Random, *, new_words: bool):
        self.rng = rng
        self.new_words = new_words

    def word(self, vocabulary: Words) -> str:
        choices = vocabulary.new if self.new_words else vocabulary.seen
        return self.rng.choice(choices.split())

    def noun_phrase(self, noun: str, sort: str) -> str:
        determiner = self.rng.choice(words.DETERMINERS)
        adjective = ""
        if self.rng.random() < 0.3:
            adjective = self.rng.choice(words.ADJECTIVES[sort]) + " "
        return f"{determiner} {adjective}{noun}"

    def subject(self) -> tuple[str, str]:
        """Return a subject and its form of "be" in the present, which tells person and number."""
        draw = 1.0 if self.new_words else self.rng.random()  # pronouns and names are never new
        if draw < 0.25:
            pronoun = self.rng.choice(words.PRONOUNS)
            return pronoun, {"I": "am", "she": "is", "he": "is"}.get(pronoun, "are")
        if draw < 0.4:
            return self.rng.choice(words.NAMES), "is"
        return self.noun_phrase(self.word(words.PEOPLE), "person"), "is"

    def action(self, *, places: bool) -> tuple[str, str]:
        """Return a verb and what it is done to, if allowed at times with a place."""
        verbs, nouns = words.ACTIONS[self.rng.choice(list(words.ACTIONS))]
        target = self.noun_phrase(self.word(nouns), "object")
        if places and self.rng.random() < 0.3:
            target += f" {self.rng.choice(words.PREPOSITIONS)} the {self.word(words.PLACES)}"
        return self.word(verbs), target

    def finite(self, kind: str, be: str) -> tuple[str, str]:
        """Return an auxiliary that agrees with the subject, and the verb form it asks for."""
        auxiliaries = {
            "future": [(modal, "base") for modal in words.MODALS],
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
            _, nouns = words.ACTIONS[self.rng.choice(list(words.ACTIONS))]
            thing = self.noun_phrase(self.word(nouns), "object")
            return f"{thing} {self.rng.choice(['is', 'was'])}", self.rng.choice(words.STATES)
        if kind == "imperative":
            if self.rng.random() < 0.6:
                return verb, target
            return "do not", f"{verb} {target}"
        if kind == "simple":
            form = self.rng.choice(["third" if be == "is" else "base", "past"])
            return f"{subject} {inflect(verb, form)}", target
        tense = kind
        if kind in ("negation", "question"):
            tense = self.rng.choice(["do", "future", "perfect", "progressive"])
        auxiliary, form = self.finite(tense, be)
        rest = f"{inflect(verb, form)} {target}"
        if kind == "negation":
            return f"{subject} {auxiliary} not".replace("can not", "cannot"), rest
        if kind == "question":
            asked = self.rng.choice(["", "", "why ", "when ", "how "])
            return f"{asked}{auxiliary} {subject}", rest
        return f"{subject} {auxiliary}", rest

    def sentence(self) -> Sentence:
        kind = self.rng.choices(list(KINDS), weights=list(KINDS.values()))[0]
        extra = self.rng.choice(words.EXTRAS["?" if kind == "question" else "."])
        subordinate = {}
        main = kind
        if kind == "subordinate":
            core, rest = self.clause("simple", places=False)
            place = self.rng.choice(["before", "after"])
            subordinate = {place: f"{self.rng.choice(words.CONJUNCTIONS)} {core} {rest}"}
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
