"""Two engines that should be one model, compared layer by layer."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from helpers.figures.kit import SMALL, Point, arrow, box, canvas, label, route, timeline, tokens
from helpers.style import describe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Answered", "parity"]

SIDES = (2.52, 5.88)  # inches: the centers of the two columns
WIDE = 2.8  # inches: how wide a column is
SIGN = 4.2  # inches: between them
LETTERS = 36  # of code, in one line of a column
OTHER_KL = 0.5  # nats; above it the candidate is another model
VERDICT = 124  # letters of a verdict, in two lines


class Answered(Protocol):
    """What one side made of one prompt, such as an `Answer` of `onegpu.parity`."""

    @property
    def prompt_text(self) -> str:
        """The conversation as its template renders it."""

    @property
    def prompt_ids(self) -> Sequence[int]:
        """The same as tokens."""

    @property
    def ids(self) -> Sequence[int]:
        """Its answer as tokens."""

    @property
    def text(self) -> str:
        """Its answer as text."""

    @property
    def likeliest(self) -> Sequence[Mapping[int, float]]:
        """For each place of the answer the log-probabilities of the likeliest tokens."""


def parity(
    reference: Answered,
    candidate: Answered,
    *,
    mean_kl: float | None,
    n_prompts: int,
    verdict: str,
    decode: Callable[[int], str],
    ax: "Axes | None" = None,
) -> "Axes":
    """Draw what two engines make of one prompt: text, tokens, answer, probabilities, verdict.

    Args:
        reference: What the trained model makes of it.
        candidate: What the deployed model makes of it.
        mean_kl: Mean divergence of the candidate's probabilities over all prompts, in nats; None
            where there is nothing to compare.
        n_prompts: How many these prompts are.
        verdict: Of `onegpu.parity.compare`.
        decode: Turns the id of a token into text, as a tokenizer's method does.
        ax: Where to draw; a new figure without it.

    Returns:
        The axes: a column for each side, and between them whether they agree.

    Taught in: notebooks/06_deployment.ipynb
    """
    ax = canvas(7.4, 5.15, title="Is it the same model? Compare from the top down", ax=ax)
    sides = (reference, candidate)
    same = {
        "prompt": reference.prompt_text == candidate.prompt_text,
        "tokens": list(reference.prompt_ids) == list(candidate.prompt_ids),
        "answer": list(reference.ids) == list(candidate.ids),
        "next token": mean_kl is not None and mean_kl < OTHER_KL,
    }
    _heads(ax)
    heights = dict(zip(same, (3.37, 2.73, 2.14, 1.53), strict=True))
    for name, y in heights.items():
        label(ax, (0.05, y), name, bold=True, align="left")
        if name != "next token":
            sign = "=" if same[name] else "≠ ✗"
            label(ax, (SIGN, y), sign, size=13, role="plain" if same[name] else "wrong")
    _prompts(ax, heights["prompt"], sides)
    _ids(ax, heights["tokens"], sides)
    place = _least_sure(sides)
    if mean_kl is None or place is None:
        label(ax, (SIGN, heights["next token"]), "nothing to compare", size=SMALL, soft=True)
    else:
        _probabilities(ax, heights["next token"], place, decode=decode)
        _mean_kl(ax, heights["next token"], mean_kl, n_prompts=n_prompts)
    for x, side in zip(SIDES, sides, strict=True):
        answer = side.text.strip().replace("\n", "↵")
        _code(ax, (x, heights["answer"]), [textwrap.shorten(answer, LETTERS, placeholder=" …")])
    _verdict(ax, verdict)
    agree = ", ".join(name for name, ok in same.items() if ok) or "nothing"
    return describe(
        ax,
        "The same prompts go to a reference, the trained model in Transformers, and to a "
        f"candidate, its GGUF file on a server. Of {', '.join(same)} they agree in: {agree}. "
        f"Verdict: {verdict}",
    )


def _heads(ax: "Axes") -> None:
    """Draw the prompts, and the two sides that they go to."""
    asked = box(ax, (SIGN, 4.9), "the same prompts", size=(1.7, 0.4), role="data")
    heads = (
        box(
            ax, (SIDES[0], 4.12), "reference", size=(WIDE, 0.56), note="trained model, Transformers"
        ),
        box(
            ax,
            (SIDES[1], 4.12),
            "candidate",
            size=(WIDE, 0.56),
            note="GGUF file, llama.cpp's server",
        ),
    )
    for head, start in zip(heads, (asked.left, asked.right), strict=True):
        route(ax, [start, (head.x, asked.y), head.top])


def _code(ax: "Axes", at: Point, lines: Sequence[str]) -> None:
    """Draw lines of code in a box of a side."""
    box(ax, at, size=(WIDE, 0.24 + 0.17 * (len(lines) - 1) + 0.06), role="plain")
    for number, line in enumerate(lines):
        y = at[1] + 0.17 * ((len(lines) - 1) / 2 - number)
        label(ax, (at[0] - WIDE / 2 + 0.1, y), line, size=SMALL, align="left", code=True)


def _prompts(ax: "Axes", y: float, sides: Sequence[Answered]) -> None:
    """Draw two lines of each prompt: the first that differs, or the first."""
    texts = [side.prompt_text.replace("\n", "↵") for side in sides]
    parted = next((i for i, (a, b) in enumerate(zip(*texts, strict=False)) if a != b), 0)
    start = max(0, parted - LETTERS // 2)
    for x, text in zip(SIDES, texts, strict=True):
        part = text[start : start + 2 * LETTERS - 1] + ("…" if len(text) > 2 * LETTERS else "")
        _code(ax, (x, y), [part[:LETTERS], part[LETTERS:]])


def _ids(ax: "Axes", y: float, sides: Sequence[Answered]) -> None:
    """Draw some token ids of each prompt: from the one before the first that differs."""
    pairs = zip(*(side.prompt_ids for side in sides), strict=False)
    parted = next((i for i, (a, b) in enumerate(pairs) if a != b), 0)
    for x, side in zip(SIDES, sides, strict=True):
        ids = [str(token) for token in side.prompt_ids[max(0, parted - 1) :][:5]]
        tokens(ax, (x - WIDE / 2, y), ids, roles="plain", width=0.5)
        label(ax, (x + WIDE / 2 - 0.15, y), "…", soft=True)


def _least_sure(sides: Sequence[Answered]) -> Sequence[Mapping[int, float]] | None:
    """Return what both sides say at the place where the reference is least sure, if any."""
    reached = 1  # places that both reached by the same tokens
    for a, b in zip(*(side.ids for side in sides), strict=False):
        if a != b:
            break
        reached += 1
    places = list(zip(*(side.likeliest[:reached] for side in sides), strict=False))
    return min(places, key=lambda both: max(both[0].values()), default=None)


def _probabilities(
    ax: "Axes", y: float, place: Sequence[Mapping[int, float]], *, decode: Callable[[int], str]
) -> None:
    """Draw the likeliest next tokens of each side, each as a share of 1."""
    likeliest = sorted(place[0], key=place[0].__getitem__, reverse=True)[:3]
    for x, known in zip(SIDES, place, strict=True):
        shares = [math.exp(known.get(token, -math.inf)) for token in likeliest]
        names = [
            f"“{decode(token).strip()}” " if p > 0.4 else ""
            for token, p in zip(likeliest, shares, strict=True)
        ]
        rest = max(0.0, 1 - sum(shares))
        parts = [
            (f"{name}{100 * p:.0f} %" if p > 0.15 else "", p, "plain")
            for name, p in zip([*names, ""], [*shares, rest], strict=True)
        ]
        timeline(ax, (x - WIDE / 2, y), parts, length=WIDE, height=0.3)


def _mean_kl(ax: "Axes", y: float, mean_kl: float, *, n_prompts: int) -> None:
    """Write the mean divergence between the bars, its first line above them."""
    role = "plain" if mean_kl < OTHER_KL else "wrong"
    lines = ("mean KL", f"of {n_prompts}:", f"{mean_kl:.1g}")
    for up, line in zip((0.25, 0.05, -0.13), lines, strict=True):
        label(ax, (SIGN, y + up), line, size=SMALL, role=role)


def _verdict(ax: "Axes", verdict: str) -> None:
    """Draw the verdict, the reason shortened to what fits."""
    wrong = verdict.startswith("NOT")
    short = textwrap.shorten(verdict, VERDICT, placeholder=" …")
    arrow(ax, (SIGN, 1.2), (SIGN, 0.86))
    role = "wrong" if wrong else "plain"
    box(ax, (SIGN, 0.5), textwrap.fill(short, 64), size=(6.2, 0.58), role=role, bold=not wrong)
