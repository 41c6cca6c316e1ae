"""How alike two sides are, in numbers."""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from onegpu.chat import n_common
from onegpu.parity.faults import not_numbers
from onegpu.parity.pairing import paired
from onegpu.parity.probabilities import divergence, places
from onegpu.parity.recording import record
from onegpu.parity.verdict import is_near_tie, judge

if TYPE_CHECKING:
    from onegpu.generation import Conversation
    from onegpu.parity.recording import Side

__all__ = ["Difference", "Report", "compare"]


@dataclasses.dataclass(frozen=True)
class Difference:
    """A prompt that two sides answer differently.

    Attributes:
        prompt: Its number, from 0.
        position: The first token of the answer that differs, from 0.
        reference: The reference's answer.
        candidate: The candidate's.
    """

    prompt: int
    position: int
    reference: str
    candidate: str


@dataclasses.dataclass(frozen=True)
class Report:
    """How alike two sides are.

    Attributes:
        n_prompts: Prompts compared.
        n_same_tokens: Prompts that both sides cut into the same tokens.
        n_same_answers: Prompts that both answer with the same tokens, ended alike.
        differences: The others.
        n_near_ties: How many of these part at two tokens that are about as likely to the
            reference.
        mean_kl: Mean of the Kullback-Leibler divergence of the candidate's next-token distribution
            from the reference's, in nats, over all places that both reached by the same tokens; a
            lower bound, from the likeliest tokens. None where there is no such place.
        worst_kl: The largest of these divergences.
        n_places: How many places those are.
        same: Whether both are the same model, near-ties aside. False also where they are only
            alike, as after quantization; None where that cannot be told.
        verdict: The same in words, with the reason.
        notes: What to know of a side: settings that it was asked without, and what it does not
            tell.
    """

    n_prompts: int
    n_same_tokens: int
    n_same_answers: int
    differences: tuple[Difference, ...]
    n_near_ties: int
    mean_kl: float | None
    worst_kl: float | None
    n_places: int
    same: bool | None
    verdict: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Show it as a few lines of text."""
        kl = "no place to compare" if self.mean_kl is None else f"{self.mean_kl:.2g} nats"
        lines = [
            self.verdict,
            f"  same tokens of the prompt: {self.n_same_tokens} of {self.n_prompts}",
            f"  same greedy answer:        {self.n_same_answers} of {self.n_prompts}",
            f"  mean KL divergence:        {kl} ({self.n_places} places)",
        ]
        if self.differences:
            first = self.differences[0]
            lines += [
                f"  first difference: prompt {first.prompt}, token {first.position}",
                f"    reference: {first.reference!r}",
                f"    candidate: {first.candidate!r}",
            ]
        lines += [f"  {note}" for note in self.notes]
        return "\n".join(lines)


def compare(
    reference: "Side",
    candidate: "Side",
    prompts: Sequence["Conversation"],
    *,
    max_new_tokens: int = 48,
) -> Report:
    """Compare two deployments of one model on prompts, token by token.

    Args:
        reference: What was trained; see `record`.
        candidate: What is deployed; see `record`.
        prompts: Conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.

    Returns:
        The report. Its `repr` begins with the verdict.

    Raises:
        ValueError: See `record`.
        ConnectionError: See `record`.
        RuntimeError: See `record`.

    Taught in: notebooks/06_deployment.ipynb
    """
    recorded = record(reference, prompts, max_new_tokens=max_new_tokens)
    theirs = record(candidate, prompts, max_new_tokens=max_new_tokens)
    pairs, faulty = paired(recorded, theirs)
    differences, n_near_ties = [], 0
    for number, (a, b) in enumerate(pairs):
        if a.equals(b):
            continue
        differences.append(Difference(number, n_common(a.ids, b.ids), a.text, b.text))
        if is_near_tie(a, b):
            n_near_ties += 1
    divergences = []
    if not not_numbers(pairs):
        divergences = [divergence(p, q) for p, q in places(pairs)]
    report = Report(
        n_prompts=len(prompts),
        n_same_tokens=sum(a.prompt_ids == b.prompt_ids for a, b in pairs),
        n_same_answers=len(prompts) - len(differences),
        differences=tuple(differences),
        n_near_ties=n_near_ties,
        mean_kl=statistics.fmean(divergences) if divergences else None,
        worst_kl=max(divergences, default=None),
        n_places=len(divergences),
        same=None,
        verdict="",
        notes=tuple(
            f"the {name}: {note}"
            for name, side in (("reference", recorded), ("candidate", theirs))
            for note in side.notes
        ),
    )
    found = judge(report, pairs, faulty)
    return dataclasses.replace(report, same=found.same, verdict=found.text)
