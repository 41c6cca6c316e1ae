"""Which model can I serve? The memory of answering requests, before there is a GPU."""

import dataclasses
from typing import Any

from onegpu.machine import GIB, MIB
from onegpu.memory.architectures import configuration
from onegpu.memory.cards import Card, card
from onegpu.memory.inference.parts import Parts, ServedModel, parts_of
from onegpu.memory.inference.serving import Serving
from onegpu.memory.search import largest

__all__ = ["ServingPlan", "plan_serving"]

VLLM_SHARE = 0.92  # of the card, its default for --gpu-memory-utilization
STEP = 256  # tokens, of which the longest context is a multiple


@dataclasses.dataclass(frozen=True)
class ServingPlan:
    """What serving a model takes of a card.

    Attributes:
        model: Name of the model, or its kind.
        card: The card.
        serving: The settings.
        parts: What it takes, part by part.
    """

    model: str
    card: Card
    serving: Serving
    parts: Parts
    _served: ServedModel = dataclasses.field(repr=False, compare=False)

    @property
    def context_bytes(self) -> int:
        """What CUDA takes for itself."""
        return int(self.card.context_mib * MIB)

    @property
    def process_bytes(self) -> int:
        """What these requests need. vLLM takes `budget_bytes` whatever they need."""
        return self.parts.card_bytes + self.context_bytes

    @property
    def budget_bytes(self) -> int:
        """What the engine may take of the card: all, and of vLLM 92 %, its default."""
        share = VLLM_SHARE if self.serving.engine == "vllm" else 1.0
        return int(share * self.card.memory_gib * GIB)

    @property
    def margin_bytes(self) -> int:
        """What is left; below zero if it does not fit."""
        return self.budget_bytes - self.process_bytes

    @property
    def fits(self) -> bool:
        """Whether it fits."""
        return self.margin_bytes >= 0

    @property
    def room_tokens(self) -> int | None:
        """For how many tokens vLLM would have room; None for engines that take what they need.

        It prints that as `GPU KV cache size`. With sliding windows, it is None too: what a request
        needs does not grow by the token then.
        """
        if self.serving.engine != "vllm" or self._served.has_windows:
            return None
        room = max(0, self.margin_bytes + self.parts.kv_cache_bytes)
        return room // self._served.token_bytes(self.serving)

    @property
    def not_validated(self) -> tuple[str, ...]:
        """What no measurement has confirmed yet."""
        engine = self.serving.engine
        doubts = {
            f"cards other than a T4 ({self.card.name})": not self.card.is_measured,
            "what llama.cpp takes for products of matrices": engine == "llama.cpp",
            "activations on a GPU": engine == "transformers",
            f"experts of vLLM ({self._served.config.model_type})": engine == "vllm"
            and self._served.has_experts,
            "CUDA graphs, which are left out": engine == "vllm",
            "sliding windows of vLLM": engine == "vllm" and self._served.has_windows,
        }
        return tuple(doubt for doubt, applies in doubts.items() if applies)

    def replan(self, **changed: Any) -> "ServingPlan":
        """Return the plan of serving this model in another way on this card.

        Args:
            **changed: Fields of `Serving` and their new values.

        Returns:
            The other plan.

        Raises:
            ValueError: A value is unknown or impossible.
        """
        serving = dataclasses.replace(self.serving, **changed)
        return _plan(self.model, self._served, chosen=self.card, serving=serving)

    def longest_context(self) -> int:
        """Return the most tokens of a request that fit, for as many requests.

        Returns:
            The tokens, a multiple of 256, no more than the model has positions; 0 if not even 256
            fit.
        """
        max_context = getattr(self._served.config, "max_position_embeddings", None)
        limit = max_context // STEP if max_context else None
        return STEP * largest(lambda n: self.replan(context=STEP * n).margin_bytes, limit=limit)

    def most_requests(self) -> int:
        """Return the most requests of this length that fit.

        Returns:
            The requests; 0 if not even one fits.
        """
        return largest(lambda n: self.replan(requests=n).margin_bytes)

    def to_dict(self) -> dict[str, Any]:
        """Return everything that JSON knows.

        Returns:
            The plan; sizes are in bytes.
        """
        return {
            "model": self.model,
            "card": dataclasses.asdict(self.card),
            "serving": dataclasses.asdict(self.serving),
            "fits": self.fits,
            "margin_bytes": self.margin_bytes,
            "process_bytes": self.process_bytes,
            "budget_bytes": self.budget_bytes,
            **dataclasses.asdict(self.parts),
            "context_bytes": self.context_bytes,
            "room_tokens": self.room_tokens,
            "not_validated": list(self.not_validated),
        }

    def __repr__(self) -> str:
        serving, verdict = self.serving, "fits" if self.fits else "DOES NOT FIT"
        parts = {
            "weights": self.parts.weights_bytes,
            "KV cache": self.parts.kv_cache_bytes,
            "compute": self.parts.compute_bytes,
            "CUDA": self.context_bytes,
        }
        lines = [
            f"{self.model} on {self.card.name}, requests: {serving.requests}, "
            f"each of {serving.context:,} tokens",
            f"({serving.engine}, weights {serving.weights}, KV cache {serving.kv_cache})",
            f"{verdict}: {self.process_bytes / GIB:.2f} of {self.budget_bytes / GIB:.2f} GiB, "
            f"{abs(self.margin_bytes) / GIB:.2f} GiB {'left' if self.fits else 'missing'}",
            *(f"  {name:12} {n_bytes / MIB:>9,.0f} MiB" for name, n_bytes in parts.items()),
        ]
        if self.parts.host_bytes:
            host = f"{self.parts.host_bytes / MIB:,.0f} MiB"
            lines.append(f"and {host} of weights in the machine's memory")
        if self.room_tokens is not None:
            lines.append(
                f"vLLM takes {self.budget_bytes / GIB:.2f} GiB in any case, and has room for "
                f"{self.room_tokens:,} tokens of KV cache"
            )
        if self.not_validated:
            lines.append(f"not validated by a measurement yet: {'; '.join(self.not_validated)}")
        return "\n".join(lines)


def plan_serving(model: Any, *, gpu: str | float | Card, **fields: Any) -> ServingPlan:
    """Return the memory of answering requests with a model.

    Weights are counted tensor by tensor, and the cache layer by layer, on a model that its own code
    builds on `meta`.

    Args:
        model: As in `plan`: a name of `ARCHITECTURES`, a folder, a name on the hub, or a
            configuration of transformers.
        gpu: A key of `CARDS`, any card by its GiB, or a `Card`.
        **fields: Those of `Serving`: `context`, and where its defaults are not yours `requests`,
            `weights`, `kv_cache` and `engine`.

    Returns:
        The plan. Its `repr` is a table.

    Raises:
        ValueError: An argument is unknown, the model is, or they are impossible together.

    Example:
        >>> plan_serving("SmolLM2-135M", gpu="t4", context=8192, weights="q8_0").fits
        True
    """
    serving = Serving(**fields)
    chosen, config = card(gpu), configuration(model)
    name = model if isinstance(model, str) else config.model_type
    return _plan(name, ServedModel.of(config), chosen=chosen, serving=serving)


def _plan(name: str, served: ServedModel, *, chosen: Card, serving: Serving) -> ServingPlan:
    serving = serving.on(chosen, served.config)
    parts = parts_of(served, serving, card=chosen)
    return ServingPlan(model=name, card=chosen, serving=serving, parts=parts, _served=served)
