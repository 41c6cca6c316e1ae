"""Whether two deployments of one model are the same model: tokens, answers, probabilities."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from helpers import serving
from helpers.chat import n_common

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from helpers.generation import Conversation

    Side = (
        tuple[PreTrainedModel, PreTrainedTokenizerBase] | serving.Server | Path | str | "Recording"
    )

__all__ = ["Answer", "Difference", "Recording", "Report", "compare", "record"]

N_LIKELIEST = 200  # tokens whose probability is compared at each place; the others as one
SAME_KL = 1e-3  # nats; below it two distributions are taken as the same
# Nats between two tokens of which either may come out likeliest: two steps of a BF16 number
# between 16 and 32, where the likeliest logits lie.
NEAR_TIE = 0.25
N_WITHOUT = 8  # prompts that are asked with the adapter switched off, too
ANOTHER_KL = 0.5  # nats; quantization to 4 bits stays far below it


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one side made of one prompt.

    Attributes:
        prompt_text: The conversation as its template writes it.
        prompt_ids: The same as tokens.
        ids: Its answer, taking the likeliest token each time, without the end token.
        text: The same as text.
        ended: Whether it ended by itself.
        likeliest: For each place of the answer the log-probabilities (nats) of the likeliest
            tokens, by token id; nothing where the side does not tell.
    """

    prompt_text: str
    prompt_ids: tuple[int, ...]
    ids: tuple[int, ...]
    text: str
    ended: bool
    likeliest: tuple[Mapping[int, float], ...]


@dataclasses.dataclass(frozen=True)
class Recording:
    """The answers of one side, to compare others with once it is gone.

    Attributes:
        answers: One a prompt.
        without_adapter: Of the first prompts, with the adapter switched off; none where there is
            no adapter.
    """

    answers: tuple[Answer, ...]
    without_adapter: tuple[Answer, ...] = ()


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
        n_near_ties: How many of these part at two tokens that the reference holds for about as
            likely.
        mean_kl: Mean of the Kullback-Leibler divergence of the candidate's next-token distribution
            from the reference's, in nats, over all places that both reached by the same tokens; a
            lower bound, from the likeliest tokens. None where there is no such place.
        n_places: How many places those are.
        verdict: What it comes to, in words.
    """

    n_prompts: int
    n_same_tokens: int
    n_same_answers: int
    differences: tuple[Difference, ...]
    n_near_ties: int
    mean_kl: float | None
    n_places: int
    verdict: str

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
        return "\n".join(lines)


def record(
    side: "Side", prompts: Sequence["Conversation"], *, max_new_tokens: int = 48
) -> Recording:
    """Record what one side answers.

    Args:
        side: A model of Transformers (with an adapter on it or not) and its tokenizer, as a pair;
            a GGUF file, which is served meanwhile; a running server of llama.cpp, or its address;
            or a recording, which is returned as it is.
        prompts: Conversations up to the answer.
        max_new_tokens: Where answers that do not end are cut.

    Returns:
        The recording, in the order of the prompts.

    Raises:
        ValueError: There are no prompts, or the side is none of these.
        ConnectionError: The server does not answer.

    Taught in: notebooks/06_deployment.ipynb
    """
    if not prompts:
        raise ValueError("no prompts: give some dozens that the model has not seen in training")
    if isinstance(side, Recording):
        if len(side.answers) != len(prompts):
            raise ValueError(f"a recording of {len(side.answers)} prompts, and {len(prompts)} here")
        return side
    if isinstance(side, tuple) and len(side) == 2:
        answers = _of_model(*side, prompts, max_new_tokens)
        if not hasattr(side[0], "disable_adapter"):
            return Recording(tuple(answers))
        with side[0].disable_adapter():
            without = _of_model(*side, prompts[:N_WITHOUT], max_new_tokens)
        return Recording(tuple(answers), tuple(without))
    if isinstance(side, str | Path) and Path(side).suffix == ".gguf":
        with serving.serve(side) as server:
            return record(server, prompts, max_new_tokens=max_new_tokens)
    if isinstance(side, serving.Server) or str(side).startswith(("http://", "https://")):
        return Recording(tuple(_of_server(side, prompt, max_new_tokens) for prompt in prompts))
    raise ValueError(
        f"{side!r} is no side: give (model, tokenizer), a .gguf file, a server, or its address"
    )


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

    Taught in: notebooks/06_deployment.ipynb
    """
    recorded = record(reference, prompts, max_new_tokens=max_new_tokens)
    ours = recorded.answers
    theirs = record(candidate, prompts, max_new_tokens=max_new_tokens).answers
    pairs = list(zip(ours, theirs, strict=True))
    differences = tuple(
        Difference(i, n_common(a.ids, b.ids), a.text, b.text)
        for i, (a, b) in enumerate(pairs)
        if (a.ids, a.ended) != (b.ids, b.ended)
    )
    divergences = _divergences(pairs)
    report = Report(
        n_prompts=len(prompts),
        n_same_tokens=sum(a.prompt_ids == b.prompt_ids for a, b in pairs),
        n_same_answers=len(prompts) - len(differences),
        differences=differences,
        n_near_ties=sum(_is_near_tie(*pairs[difference.prompt]) for difference in differences),
        mean_kl=sum(divergences) / len(divergences) if divergences else None,
        n_places=len(divergences),
        verdict="",
    )
    return dataclasses.replace(report, verdict=_verdict(report, pairs, recorded.without_adapter))


def _verdict(
    report: Report, pairs: list[tuple[Answer, Answer]], without_adapter: tuple[Answer, ...]
) -> str:
    """Return what a comparison comes to: the first fault that explains it."""
    for a, b in pairs:
        if a.prompt_ids == b.prompt_ids:
            continue
        if b.prompt_ids == (b.prompt_ids[0], *a.prompt_ids):
            return "NOT THE SAME: the candidate begins each prompt with one token more, a BOS twice"
        if a.prompt_text != b.prompt_text:
            return (
                "NOT THE SAME: another chat template. The reference writes "
                f"{_around(a.prompt_text, b.prompt_text)}, the candidate "
                f"{_around(b.prompt_text, a.prompt_text)}"
            )
        at = n_common(a.prompt_ids, b.prompt_ids)
        return (
            "NOT THE SAME: the same text is cut into other tokens, so the pre-tokenizer is another "
            f"or is missing: from token {at} on {a.prompt_ids[at : at + 4]} against "
            f"{b.prompt_ids[at : at + 4]}"
        )
    runs_on = [a.ended and not b.ended and b.ids[: len(a.ids)] == a.ids for a, b in pairs]
    if any(runs_on):
        return (
            f"NOT THE SAME: {sum(runs_on)} answers go on where the reference ends, so the end "
            "token is missing or is not stopped at"
        )
    if report.mean_kl > SAME_KL:
        from_base = _divergences(zip(without_adapter, (b for _, b in pairs), strict=False))
        if from_base and sum(from_base) / len(from_base) < report.mean_kl / 10:
            return (
                "NOT THE SAME: the candidate answers as the base does, its adapter is not applied"
            )
    if report.mean_kl > ANOTHER_KL:
        return "NOT THE SAME: its probabilities are those of another model: another base or adapter"
    if report.mean_kl > SAME_KL or report.n_near_ties < len(report.differences):
        return (
            f"ALIKE: {report.n_same_answers} of {report.n_prompts} answers are the same, and the "
            "probabilities differ, as they do after quantization"
        )
    if report.differences:
        return "THE SAME MODEL, but for near-ties between tokens"
    return "THE SAME MODEL"


def _of_model(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: Sequence["Conversation"],
    max_new_tokens: int,
    batch_size: int = 20,
) -> list[Answer]:
    import torch

    answers, was_training = [], model.training
    model.eval()
    ends = model.generation_config.eos_token_id
    ends = set(ends if isinstance(ends, list) else [ends])
    texts = [
        tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True)
        for prompt in prompts
    ]
    for start in range(0, len(texts), batch_size):
        some = texts[start : start + batch_size]
        encoding = tokenizer(
            some, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt"
        ).to(model.device)
        with torch.inference_mode():
            made = model.generate(
                **encoding,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                return_dict_in_generate=True,
                output_logits=True,
            )
        logits = torch.stack(made.logits, dim=1).float()  # (batch, new tokens, vocab)
        top = logits.log_softmax(-1).topk(N_LIKELIEST)
        new = made.sequences[:, encoding["input_ids"].shape[1] :].tolist()
        for row, text in enumerate(some):
            n = next((i for i, token in enumerate(new[row]) if token in ends), None)
            ids = new[row][:n]
            kept = zip(top.indices[row].tolist(), top.values[row].tolist(), strict=True)
            places = [dict(zip(*place, strict=True)) for place in kept]
            mask = encoding["attention_mask"][row].bool()
            answers.append(
                Answer(
                    prompt_text=text,
                    prompt_ids=tuple(encoding["input_ids"][row][mask].tolist()),
                    ids=tuple(ids),
                    text=tokenizer.decode(ids),
                    ended=n is not None,
                    likeliest=tuple(places[: len(ids) + 1]),
                )
            )
    model.train(was_training)
    return answers


def _of_server(server: serving.Server | str, prompt: "Conversation", max_new_tokens: int) -> Answer:
    text = serving.request(server, "/apply-template", {"messages": list(prompt)})["prompt"]
    asked = {"content": text, "add_special": True, "parse_special": True}
    ids = serving.request(server, "/tokenize", asked)["tokens"]
    answer = serving.request(
        server,
        "/completion",
        {
            "prompt": text,
            "temperature": -1,  # the likeliest token; probabilities straight from the logits
            "n_predict": max_new_tokens,
            "n_probs": N_LIKELIEST,
            "return_tokens": True,
            "cache_prompt": False,  # nothing is left of the request before
        },
    )
    ended = answer["stop_type"] == "eos"
    return Answer(
        prompt_text=text,
        prompt_ids=tuple(ids),
        ids=tuple(answer["tokens"][:-1] if ended else answer["tokens"]),
        text=answer["content"],
        ended=ended,
        likeliest=_places(answer["tokens"], answer["completion_probabilities"]),
    )


def _places(
    tokens: Sequence[int], entries: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[int, float], ...]:
    """Return the probabilities at each token: the server has none for a part of a character."""
    places, entries = [], list(entries)
    for token in tokens:
        entry = entries.pop(0) if entries and entries[0]["id"] == token else {"top_logprobs": []}
        places.append({one["id"]: one["logprob"] for one in entry["top_logprobs"]})
    return tuple(places)


def _divergences(pairs: Iterable[tuple[Answer, Answer]]) -> list[float]:
    """Return the KL divergences at all places that two sides reached by the same tokens."""
    return [
        _divergence(p, q)
        for a, b in pairs
        if a.prompt_ids == b.prompt_ids
        for p, q in list(zip(a.likeliest, b.likeliest, strict=False))[: n_common(a.ids, b.ids) + 1]
        if p and q
    ]


def _is_near_tie(reference: Answer, candidate: Answer) -> bool:
    """Return whether the reference nearly went where the candidate went."""
    at = n_common(reference.ids, candidate.ids)
    if at == min(len(reference.ids), len(candidate.ids)) or at >= len(reference.likeliest):
        return False
    of = reference.likeliest[at]
    return bool(of) and of[reference.ids[at]] - of.get(candidate.ids[at], -math.inf) < NEAR_TIE


def _divergence(reference: Mapping[int, float], candidate: Mapping[int, float]) -> float:
    """Return a lower bound of the KL divergence in nats.

    A likely token of the reference that is not among the candidate's likeliest has at most the
    probability of the last of these; all that is left counts as one token.
    """
    least = min(candidate.values())
    divergence, rest, candidate_rest = 0.0, 1.0, 1.0
    for token, logarithm in reference.items():
        divergence += math.exp(logarithm) * (logarithm - candidate.get(token, least))
        rest -= math.exp(logarithm)
        candidate_rest -= math.exp(candidate[token]) if token in candidate else 0.0
    rest, candidate_rest = max(rest, 1e-7), max(candidate_rest, 1e-7)
    return max(divergence + rest * math.log(rest / candidate_rest), 0.0)


def _around(text: str, other: str) -> str:
    """Return the place where a text leaves another, with a little before and after it."""
    at = n_common(text, other)
    return repr(text[max(at - 10, 0) : at + 30])
