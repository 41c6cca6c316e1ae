"""Checks of the exercises in notebooks/01_language_models.ipynb."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]


def exercise_1(min_p: "Callable[[torch.Tensor, float], torch.Tensor]") -> str | None:
    """Check the sampling rule min-p."""
    import torch

    shares = torch.tensor([0.1, 0.5, 0.02, 0.3, 0.08])
    for p, kept in ((0.15, [0.1, 0.5, 0.0, 0.3, 0.08]), (0.5, [0.0, 0.5, 0.0, 0.3, 0.0])):
        expected, found = torch.tensor(kept) / sum(kept), min_p(shares.clone(), p)
        if torch.allclose(found, torch.tensor(kept), atol=1e-5):
            return f"right tokens, but they add up to {sum(kept):.2f}: share the rest among them"
        if not torch.allclose(found, expected, atol=1e-5):
            return (
                f"of {_list(shares)} a p of {p:g} keeps what has at least {p:g} × 0.5 = "
                f"{p * 0.5:.3f}, so {_list(expected)}; you return {_list(found)}"
            )
    return None


def exercise_2(
    next_token_loss: "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]",
) -> str | None:
    """Check the mean loss of the next tokens."""
    import torch

    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    for labels in (torch.tensor([3, 0, 6, 2, 1]), torch.tensor([-100, -100, 6, 2, 1])):
        places = [i for i in range(4) if labels[i + 1] != -100]
        each = [-logits[i].log_softmax(0)[labels[i + 1]].item() for i in places]
        expected, found = sum(each) / len(each), float(next_token_loss(logits, labels))
        if abs(found - expected) < 1e-4:
            continue
        unshifted = torch.nn.functional.cross_entropy(logits, labels).item()
        if abs(found - unshifted) < 1e-4:
            return "each position must predict the token after it, not its own: shift by one"
        if abs(found + expected) < 1e-4:
            return "the sign is wrong: a loss is the negative logarithm"
        if abs(found - sum(each)) < 1e-4:
            return f"that is the sum over {len(each)} positions, {found:.3f}: take the mean"
        return (
            f"the labels {labels.tolist()} have {len(each)} next tokens to learn, with a mean loss "
            f"of {expected:.3f}; yours: {found:.3f}"
        )
    return None


def exercise_3(
    loss_at: "Callable[[PreTrainedModel, torch.Tensor, int, int], float]",
) -> str | None:
    """Check the loss at other positions, on a tiny model whose attention depends on them."""
    import torch

    model, tokens = _tiny_model()
    for start, step in ((0, 1), (0, 3), (7, 1), (5, 2), (4, 0)):
        asked = _positions_asked(model, loss_at, (tokens, start, step))
        wanted = [start + step * i for i in range(tokens.shape[1])]
        if asked is None or asked.flatten().tolist()[: len(wanted)] != wanted:
            found = "none" if asked is None else asked.flatten().tolist()[:4]
            return (
                f"start {start} and step {step} make the positions {wanted[:4]} and so on; the "
                f"model was given {found}"
            )
        with torch.inference_mode():
            expected = model(tokens, labels=tokens, position_ids=asked).loss.item()
        found = float(loss_at(model, tokens, start, step))
        if abs(found - expected) > 1e-4:
            return f"the positions are right, but the loss is {expected:.3f}, not {found:.3f}"
    return None


def exercise_4(
    loss_without: "Callable[[PreTrainedModel, torch.Tensor, int], float]",
) -> str | None:
    """Check the loss without a block, on a tiny model; and that the model is left whole."""
    import torch

    model, tokens = _tiny_model()
    before = _loss(model, tokens)
    for number in range(3):
        found = float(loss_without(model, tokens, number))
        if abs(_loss(model, tokens) - before) > 1e-6:
            return "afterwards the model has another loss than before: undo what you changed"
        other, _ = _tiny_model()
        del other.model.layers[number]
        expected = _loss(other, tokens)
        if abs(found - expected) < 1e-4:
            continue
        if abs(found - before) < 1e-6:
            return f"the loss without block {number} is that of the whole model: nothing is skipped"
        return (
            f"without block {number} the tiny model of the check has a loss of {expected:.3f}, not "
            f"{found:.3f}: the stream must leave the block as it came, attention and MLP skipped"
        )
    return None if torch.is_grad_enabled() else "gradients are off now: use a `with` block"


def _tiny_model() -> "tuple[PreTrainedModel, torch.Tensor]":
    """Return a Llama of three blocks with large random weights, the same each time, and a text."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "vocab_size": 50}
    config = LlamaConfig(
        **sizes, num_attention_heads=2, num_key_value_heads=1, initializer_range=0.6
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
        model.config.use_cache = False  # a cache counts blocks, and one may be missing
        return model, torch.randint(50, (1, 12))


def _loss(model: "PreTrainedModel", tokens: "torch.Tensor") -> float:
    import torch

    with torch.inference_mode():
        return model(tokens, labels=tokens).loss.item()


def _positions_asked(
    model: "PreTrainedModel", function: Callable, given: tuple
) -> "torch.Tensor | None":
    """Return the `position_ids` with which a function calls a model."""
    asked = []

    def note(module: object, args: tuple, kwargs: dict) -> None:
        asked.append(kwargs.get("position_ids"))

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
    try:
        function(model, *given)
    finally:
        hook.remove()
    return asked[-1] if asked else None


def _list(values: "torch.Tensor") -> list[float]:
    return [round(value, 3) for value in values.tolist()]
