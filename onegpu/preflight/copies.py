"""Whether the weights that are trained are those that will be saved."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from onegpu.preflight.findings import Tally

if TYPE_CHECKING:
    from transformers import Trainer

__all__ = ["examine"]


def examine(trainer: "Trainer", tally: Tally) -> bool:
    """Compare the models that compute, are moved and are saved; and look for frozen layers.

    Args:
        trainer: With its optimizer.
        tally: Where findings go.

    Returns:
        Whether they are one model, all of whose trainable weights the optimizer moves.
    """
    trained = {id(w): name for name, w in trainer.model.named_parameters() if w.requires_grad}
    held = {id(w) for group in trainer.optimizer.param_groups for w in group["params"]}
    adapters = list(_adapter_weights(trainer.model))
    _frozen(adapters, tally)
    missed = [name for key, name in trained.items() if key not in held]
    if missed and len(missed) < len(trained):
        where = f"the optimizer lacks {len(missed)} of {len(trained)}, such as {missed[0]}"
        tally.state("weights-still", where)
    where = ""
    if trained.keys().isdisjoint(map(id, trainer.model_wrapped.parameters())):
        where = "trainer.model_wrapped computes, and trainer.model is saved"
    elif len(missed) == len(trained):
        where = f"the optimizer holds {len(held)} weights, none of them of trainer.model's"
    elif adapters and not _saves_adapters(trainer.model):
        where = f"trainer.model is the {type(trainer.model).__name__} inside of a PeftModel"
    if where:
        tally.state("wrong-copy", where)
    return not where and not missed


def _frozen(adapters: list[tuple[str, list[Any]]], tally: Tally) -> None:
    frozen = [name for name, weights in adapters if not any(w.requires_grad for w in weights)]
    if frozen and len(frozen) < len(adapters):
        where = f"{len(frozen)} of {len(adapters)} layers, such as {frozen[0]}"
        tally.state("layers-frozen", where)


def _saves_adapters(model: Any) -> bool:
    from peft import PeftModel

    return isinstance(model, PeftModel) or getattr(model, "_hf_peft_config_loaded", False)


def _adapter_weights(model: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the layers that have weights of an active adapter, each with these weights."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    for name, module in model.named_modules():
        if not isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper):
            continue
        active = module.active_adapters
        weights = []
        for kind in module.adapter_layer_names:
            part = getattr(module, kind, None)
            for adapter in active:
                if part is not None and adapter in part:
                    weights += _weights(part[adapter])
        if weights:
            yield name, weights


def _weights(part: Any) -> list[Any]:
    return list(part.parameters()) if hasattr(part, "parameters") else [part]
