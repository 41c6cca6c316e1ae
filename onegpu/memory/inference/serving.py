"""How a model is served: the settings that decide what it takes of a card."""

import dataclasses
from typing import Any

from onegpu.memory.cards import Card
from onegpu.memory.inference.gguf_weights import KINDS

__all__ = ["ENGINES", "Serving"]

# Engines, with the formats of weights and of the KV cache that each can be planned with. Where no
# engine is named, it is the first one that has the format of the weights.
ENGINES = {
    "vllm": {"weights": ("bf16", "fp16"), "kv_cache": ("bf16", "fp16", "fp8")},
    "transformers": {
        "weights": ("bf16", "fp16", "int8", "nf4", "nf4-double"),
        "kv_cache": ("bf16", "fp16"),
    },
    "llama.cpp": {
        "weights": tuple(KINDS),
        "kv_cache": ("f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"),
    },
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Serving:
    """How a model is served.

    Attributes:
        context: Tokens of a request, prompt and answer.
        requests: Answered at once.
        weights: Their format, one that an engine of `ENGINES` has; None for 16 bits, but for
            `"q4_k_m"` in llama.cpp, which is the engine where none is named.
        kv_cache: The format of keys and values; None for the engine's default, which is 16 bits.
        engine: A key of `ENGINES`; None for the first that has the format of the weights.

    Raises:
        ValueError: A setting is unknown, or no engine has them together.

    Example:
        >>> serving = Serving(context=8192, requests=4, weights="q4_k_m")
        >>> dataclasses.replace(serving, requests=8).weights
        'q4_k_m'
    """

    context: int
    requests: int = 1
    weights: str | None = None
    kv_cache: str | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        if self.context < 1 or self.requests < 1:
            raise ValueError(
                f"context is {self.context} and requests is {self.requests}: both must be 1 or more"
            )
        if self.engine not in (None, *ENGINES):
            known = ", ".join(ENGINES)
            raise ValueError(f"engine is {self.engine!r}: choose one of {known}")
        if self.weights is None:
            in_16_bits = self.engine not in (None, "llama.cpp")
            object.__setattr__(self, "weights", "bf16" if in_16_bits else "q4_k_m")
        have = self._engines()
        if not have:
            known = {kind: None for formats in ENGINES.values() for kind in formats["weights"]}
            raise ValueError(f"weights is {self.weights!r}: choose one of {', '.join(known)}")
        engine = self.engine or have[0]
        if engine not in have:
            raise ValueError(
                f"engine is {self.engine!r} and weights is {self.weights!r}: choose an engine of "
                f"{', '.join(have)}, or other weights"
            )
        formats = ENGINES[engine]["kv_cache"]
        if self.kv_cache is not None and self.kv_cache not in formats:
            raise ValueError(
                f"kv_cache is {self.kv_cache!r}: {engine} is planned with {', '.join(formats)}"
            )

    def _engines(self) -> list[str]:
        """Return the engines that have the format of the weights."""
        return [name for name, formats in ENGINES.items() if self.weights in formats["weights"]]

    def on(self, chosen: Card, config: Any) -> "Serving":
        """Return the settings for a card, with an engine and a format of the KV cache.

        Args:
            chosen: The card.
            config: A configuration of transformers.

        Returns:
            The settings, none of which is None.

        Raises:
            ValueError: The card or the model cannot do it.
        """
        max_context = getattr(config, "max_position_embeddings", None)
        if max_context and self.context > max_context:
            raise ValueError(
                f"context is {self.context:,}, and the model has {max_context:,} positions: no "
                "more than that"
            )
        engine = self.engine or self._engines()[0]
        if engine == "llama.cpp":
            return dataclasses.replace(self, engine=engine, kv_cache=self.kv_cache or "f16")
        if "bf16" in (self.weights, self.kv_cache) and not chosen.has_bf16:
            raise ValueError(
                f"bf16 was chosen, and a {chosen.name} of capability {chosen.capability} only "
                "emulates it: choose fp16"
            )
        in_16_bits = "bf16" if chosen.has_bf16 else "fp16"
        if self.weights in ("bf16", "fp16"):
            in_16_bits = self.weights
        return dataclasses.replace(self, engine=engine, kv_cache=self.kv_cache or in_16_bits)
