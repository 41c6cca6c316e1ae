"""Whether the reference of DPO and KTO is the model that training starts from."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from onegpu.preflight.costs import token_costs
from onegpu.preflight.findings import Tally
from onegpu.preflight.steps import Batch

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["examine"]

SAME, ROUNDED = 0.02, 0.5  # nats a token: in the same number types, and in others


def examine(trainer: "Trainer", batch: Batch, tally: Tally) -> None:
    """Compare what tokens cost in a model and in its reference: before the first step, as much.

    Args:
        trainer: Call it in a block of `steps.without_a_trace`.
        batch: One of its own, with `labels`.
        tally: Where findings go.
    """
    with _reference(trainer) as model:
        if model is None:
            return
        types = [{str(weight.dtype) for weight in m.parameters()} for m in (trainer.model, model)]
        expected, _ = token_costs(trainer, model, batch)
    found, _ = token_costs(trainer, trainer.model, batch)
    apart = float((found - expected).abs().mean()) if len(found) else 0.0
    if apart > (SAME if types[0] == types[1] else ROUNDED):
        where = f"their first answers differ by {apart:.2g} nats a token"
        tally.state("reference-differs", where)


@contextlib.contextmanager
def _reference(trainer: "Trainer") -> Iterator[Any]:
    """Give the reference of a trainer, or None where it has none, or nothing to compare with."""
    configs = list((getattr(trainer.model, "peft_config", None) or {}).values())
    is_prompt = any(config.is_prompt_learning for config in configs)  # which begins at random
    is_computed = getattr(trainer, "precompute_ref_logps", False)
    if not hasattr(trainer, "ref_model") or is_prompt or is_computed:
        yield None
    elif trainer.ref_model is not None:
        yield trainer.ref_model
    elif configs and "ref" not in trainer.model.peft_config:
        with trainer.model.disable_adapter():
            yield trainer.model
    else:
        yield None
