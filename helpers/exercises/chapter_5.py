"""Checks of the exercises in notebooks/05_training.ipynb."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]

ROWS, SEQ = 8, 4096  # of exercise 2
LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def exercise_1(standing_bytes: Callable[..., float]) -> str | None:
    """Check what stays in memory through a step, for three fine-tunes."""
    for what, given, expected in (
        ("full fine-tuning of 100 weights", (0, 100, 32), 1600),
        ("LoRA: 1,000 weights frozen in 16 bits, 10 trained", (1000, 10, 16), 2160),
        ("QLoRA: 1,000 weights frozen in 4 bits, 10 trained", (1000, 10, 4), 660),
    ):
        found = standing_bytes(*given)
        if not math.isclose(found, expected):
            return f"{what} is {expected} bytes, you say {found}"
    return None


def exercise_2(squeezed: Mapping[str, Any]) -> str | None:
    """Check settings that fit a card by planning them."""
    from onegpu import memory

    if not isinstance(squeezed, Mapping):
        return f"give a dictionary of settings for memory.plan, not {type(squeezed).__name__}"
    if taken := sorted({"gpu", "seq"} & set(squeezed)):
        return f"{' and '.join(taken)} can't be changed: a T4, and rows of {SEQ:,} tokens"
    batch = squeezed.get("batch")
    if batch not in (1, 2, 4, 8):
        return f"passes of {batch} rows don't add up to {ROWS}"
    targets = (squeezed.get("lora") or {}).get("target_modules")
    if targets != "all-linear" and not (isinstance(targets, list) and set(targets) >= LINEAR):
        return "the adapter isn't on all linear layers"
    plan = memory.plan("Llama-3.1-8B", gpu="t4", seq=SEQ, **squeezed)
    if not plan.fits:
        missing = -plan.margin_bytes / 1024**3
        largest = max(plan.parts, key=lambda part: plan.parts[part])
        return f"{missing:.1f} GiB are missing; the largest part at the peak is {largest}"
    if batch == 1:
        return f"it fits, and takes {ROWS} passes: there is room for more rows at a time"
    return None


def exercise_3(accumulate: Callable[..., float]) -> str | None:
    """Check gradients and loss of a batch that was cut into micro-batches."""
    import torch

    for first_is_learned in (False, True):
        ids, labels = _rows(first_is_learned=first_is_learned)
        model = _llama()
        expected = model(input_ids=ids, labels=labels).loss
        expected.backward()
        gradients = [weight.grad.clone() for weight in model.parameters()]
        parts = ((0, 1), (1, 3), (3, 4))
        micro_batches = [{"input_ids": ids[a:b], "labels": labels[a:b]} for a, b in parts]
        found = accumulate(model, micro_batches)
        if any(weight.grad is None for weight in model.parameters()):
            return "some weights have no gradient: zero the gradients before the loop, not in it"
        off = _distance([weight.grad for weight in model.parameters()], gradients)
        if off > 1e-4:
            hint = "weigh each micro-batch by its learned tokens, and start from no gradients"
            if first_is_learned:
                hint = "nothing predicts the first token of a row, so its label doesn't count"
            return f"the gradients are off by {100 * off:.0f} %: {hint}"
        if not math.isclose(float(torch.as_tensor(found)), expected.item(), rel_tol=1e-4):
            return f"the loss of the whole batch is {expected.item():.3f}, you say {found:.3f}"
    return None


def exercise_4(checkpoint: Callable[..., dict[str, Any]]) -> str | None:
    """Check a checkpoint by going on from it, beside a run that was never stopped."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, optimizer = _dropping()
        _train(model, optimizer)
        random = torch.get_rng_state()
        kept = checkpoint(model, optimizer)
        if missing := sorted({"model", "optimizer", "random"} - set(kept)):
            return f"{' and '.join(missing)} is missing"
        at_once = copy.deepcopy(kept)
        _train(model, optimizer)
        for name in ("model", "optimizer"):
            if not _same(kept[name], at_once[name]):
                return f"training went on, and so did your {name}: keep a copy"
        if not torch.equal(torch.as_tensor(kept["random"]), random):
            return "random isn't the state of torch's generator, so dropout drops other numbers"
        resumed, its_optimizer = _dropping()
        resumed.load_state_dict(kept["model"])
        its_optimizer.load_state_dict(kept["optimizer"])
        torch.set_rng_state(kept["random"])
        _train(resumed, its_optimizer)
        if not _same(resumed.state_dict(), model.state_dict()):
            return "the resumed run ends with other weights: are all of AdamW's averages there?"
    return None


def _llama() -> Any:
    """Return the same model of two blocks each time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        return LlamaForCausalLM(LlamaConfig(vocab_size=64, **shape, **heads)).train()


def _rows(*, first_is_learned: bool) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return four rows, and labels of which 2, 3, 5 and 18 are learned, or all of the first."""
    import torch

    ids = torch.randint(3, 64, (4, 24), generator=torch.Generator().manual_seed(0))
    labels = torch.full_like(ids, -100)
    for row, count in enumerate((2, 3, 5, 18)):
        labels[row, -count:] = ids[row, -count:]
    if first_is_learned:
        labels[0] = ids[0]
        labels[1, 0] = ids[1, 0]
    return ids, labels


def _distance(found: "Sequence[torch.Tensor]", expected: "Sequence[torch.Tensor]") -> float:
    """Return how far gradients are off, as a share of the right ones."""
    import torch

    one, other = (torch.cat([g.flatten() for g in gradients]) for gradients in (found, expected))
    return ((one - other).norm() / other.norm()).item()


def _dropping() -> "tuple[torch.nn.Module, torch.optim.Optimizer]":
    import torch

    layers = torch.nn.Linear(8, 16), torch.nn.Dropout(0.3), torch.nn.Linear(16, 1)
    model = torch.nn.Sequential(*layers)
    return model, torch.optim.AdamW(model.parameters(), lr=0.01)


def _train(model: "torch.nn.Module", optimizer: "torch.optim.Optimizer") -> None:
    """Train for three steps, always on the same rows."""
    import torch

    rows = torch.randn(16, 8, generator=torch.Generator().manual_seed(1))
    for _ in range(3):
        model(rows).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()


def _same(one: Any, other: Any) -> bool:
    """Return whether nested dictionaries and lists hold the same tensors and values."""
    import torch

    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other
