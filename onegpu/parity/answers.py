"""What is kept of one side's answers."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onegpu.generation import Conversation

__all__ = ["N_LIKELIEST", "Answer", "Place", "Recording", "Token", "left_out"]

Token = int | str  # its id, or its text where a server tells no ids
Place = Mapping[Token, float]  # log-probabilities of the likeliest tokens
N_LIKELIEST = 200  # tokens whose probability is compared at each place; the others as one


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one side made of one prompt.

    Attributes:
        prompt_text: The conversation as its template renders it; empty where that is not told.
        prompt_ids: The same as tokens; None for each where the side tells only how many they are,
            and a single None where not even that.
        ids: Its answer, taking the likeliest token each time, without the end token. The whole
            answer as one text where the side does not tell its tokens.
        text: The same as text.
        end: The token that ended it, `""` where the side does not tell which; None where it was
            cut.
        likeliest: For each place of the answer the log-probabilities (nats) of the likeliest
            tokens; nothing where the side does not tell.
    """

    prompt_text: str
    prompt_ids: tuple[int | None, ...]
    ids: tuple[Token, ...]
    text: str
    end: Token | None
    likeliest: tuple[Place, ...]

    def token(self, place: int) -> Token | None:
        """Return what was taken at a place: a token of the answer, its end, or nothing."""
        return self.ids[place] if place < len(self.ids) else self.end

    def equals(self, other: "Answer") -> bool:
        """Return whether two answers have the same tokens, and both ended or both were cut."""
        return self.ids == other.ids and (self.end is None) == (other.end is None)


@dataclasses.dataclass(frozen=True)
class Recording:
    """The answers of one side, to compare others with once it is gone.

    Attributes:
        answers: One a prompt.
        without_adapter: The first answers again, with the probabilities that their tokens have
            with the adapter switched off; none where there is no adapter.
        rescaled: The same with the adapter at other scales, by what to call these.
        prompts: What was asked; empty where that was not kept.
        texts: The text of each token that an answer tells of, by its id; empty where the side does
            not tell.
        notes: What to know of the side: settings that it was asked without, and what it does not
            tell.
    """

    answers: tuple[Answer, ...]
    without_adapter: tuple[Answer, ...] = ()
    rescaled: Mapping[str, tuple[Answer, ...]] = dataclasses.field(default_factory=dict)
    prompts: tuple["Conversation", ...] = ()
    texts: Mapping[int, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


def left_out(settings: Mapping[str, Any], plain: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a note of the settings that a side was asked without.

    Args:
        settings: Its own: names and values.
        plain: With what it was asked instead: for each name the value that does nothing.

    Returns:
        Nothing where its own do nothing either.
    """
    found = [(name, settings.get(name)) for name in plain]
    active = [f"{name}={value!r}" for name, value in found if value not in (None, plain[name])]
    if not active:
        return ()
    return (
        f"asked without its {', '.join(active)}, so that it takes its likeliest token. Where it "
        "answers with it, and the other side without, they differ",
    )
