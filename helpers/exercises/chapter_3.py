"""Checks of the exercises in notebooks/03_lora.ipynb."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig
    from transformers import LlamaForCausalLM

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

BUDGET = 1_000_000
N_LAYERS = 210  # of the small model's blocks


def exercise_1(frugal: "LoraConfig") -> str | None:
    """Check the configuration of the highest rank within a budget."""
    import torch
    from peft import LoraConfig

    from onegpu import lora

    if not isinstance(frugal, LoraConfig):
        return f"a LoraConfig is wanted, not {type(frugal).__name__}"
    if frugal.target_modules is None:
        return "without target_modules PEFT takes its default, which leaves most layers out"
    if frugal.rank_pattern or frugal.layers_to_transform is not None:
        return "give all layers the same rank, with r and target_modules alone"
    with torch.device("meta"):
        model = _llama(hidden=576, inner=1536, blocks=30, heads=9, key_value_heads=3)
    targets = frugal.target_modules
    targets = targets if isinstance(targets, str) else sorted(targets)
    n_adapted = len([name for name in lora.matching_layers(model, targets) if name != "lm_head"])
    n_trained = lora.n_parameters(model, rank=frugal.r, targets=targets)
    if n_adapted < N_LAYERS:
        return f"{N_LAYERS - n_adapted} of the {N_LAYERS} linear layers learn nothing"
    if n_trained > BUDGET:
        return f"that has {n_trained:,} parameters, over the budget of {BUDGET:,}"
    if n_trained // frugal.r * (frugal.r + 1) <= BUDGET:
        return f"it has {n_trained:,} parameters: there is room for a higher rank"
    return None


def exercise_2(merge_by_hand: "Callable[[LlamaForCausalLM, Path], LlamaForCausalLM]") -> str | None:
    """Check the merging of an adapter's file into a plain model."""
    import tempfile

    import torch
    from peft import LoraConfig, get_peft_model

    tokens = torch.arange(12).reshape(2, 6)
    for r, alpha in ((4, 4.0), (2, 8.0)):
        settings = LoraConfig(r=r, lora_alpha=alpha, target_modules="all-linear")
        tuned = get_peft_model(_tiny(), settings).eval()
        with torch.no_grad():
            for name, weight in tuned.named_parameters():
                if "lora_B" in name:
                    weight.normal_(std=0.2)
        plain = _tiny().eval()
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            tuned.save_pretrained(folder)
            expected, untouched = tuned(tokens).logits, plain(tokens).logits
            merged = merge_by_hand(plain, Path(folder))
            if not hasattr(merged, "get_submodule"):
                return f"return the model, not {type(merged).__name__}"
            found = merged(tokens).logits
        if torch.equal(found, untouched):
            return "the model answers as before: none of its weights has changed"
        if not torch.allclose(found, expected, atol=1e-3):
            return (
                f"with rank {r} and alpha {alpha:g} it answers differently: is every layer merged, "
                f"and scaled by {alpha / r:g}?"
            )
    return None


def exercise_3(measured: Mapping[float, float]) -> str | None:
    """Check the losses that were measured at a hundred times alpha, by learning rate."""
    if not isinstance(measured, Mapping) or len(measured) < 3:
        return "give a dictionary of at least three learning rates, each with the loss it had"
    rates = sorted(measured)
    best = min(rates, key=lambda rate: measured[rate])
    if best == rates[0]:
        return f"your lowest rate, {best:g}, is the best so far: try a lower one"
    if best == rates[-1]:
        return f"your highest rate, {best:g}, is the best so far: try a higher one"
    if measured[best] > 1:
        return f"your best loss is {measured[best]:.2f}, and below 1 is possible"
    if any(high / low > 30 for low, high in itertools.pairwise(rates)):
        return "your rates lie far apart: go in steps of ten or less"
    return None


def exercise_4(survives: "Callable[[torch.Tensor, torch.Tensor], Any]") -> str | None:
    """Check the share of an update that is left after rounding to NF4."""
    import torch

    from onegpu.quantization import quantize

    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(64, 128, generator=generator)
    weight = quantize(weight, format="nf4", block_size=64).dequantize()
    update = 0.01 * torch.randn(64, 128, generator=generator)
    for factor, low, high in ((1, -0.02, 0.05), (60, 0.9, 1.1)):
        share = float(survives(weight, factor * update))
        if not low <= share <= high:
            almost = "next to nothing" if factor == 1 else "nearly all"
            return (
                f"of an update of {factor} % {almost} is left (between {low:g} and {high:g}), and "
                f"you say {share:.2f}"
            )
    for factor in (5, 15):
        moved = weight + factor * update
        left = quantize(moved, format="nf4", block_size=64).dequantize() - weight
        expected = float((left * update).sum() / (factor * update.square().sum()))
        share = float(survives(weight, factor * update))
        if abs(share - expected) > 0.02:
            return f"of an update of {factor} % a share of {expected:.2f} is left, not {share:.2f}"
    return None


def _llama(
    *, hidden: int, inner: int, blocks: int, heads: int, key_value_heads: int
) -> "LlamaForCausalLM":
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
    )
    return LlamaForCausalLM(config)


def _tiny() -> "LlamaForCausalLM":
    """Return the same model of two blocks each time."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _llama(hidden=32, inner=48, blocks=2, heads=4, key_value_heads=2)
