"""Checks of the exercises in notebooks/01_language_models.ipynb."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["exercise_1", "exercise_2", "exercise_3", "exercise_4"]


def exercise_1(warm: "Callable[[torch.Tensor, float], torch.Tensor]") -> str | None:
    """Check the softmax at a temperature."""
    import torch

    for temperature in (1.0, 0.5, 2.0):
        logits = torch.tensor([1.0, 2.0, 4.0])
        expected, found = (logits / temperature).softmax(0), warm(logits, temperature)
        if not torch.allclose(found, expected, atol=1e-5):
            return (
                f"at temperature {temperature:g} the logits 1, 2, 4 give {_list(expected)}; "
                f"you return {_list(found)}, which adds up to {found.sum().item():.2f}"
            )
    large = warm(torch.tensor([1000.0, 0.0]), 1.0)
    if not torch.allclose(large, torch.tensor([1.0, 0.0])):
        return f"the logits 1000 and 0 give [1, 0]; you return {_list(large)}: an overflow"
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
            return "each place must predict the token after it, not its own: shift by one"
        if abs(found + expected) < 1e-4:
            return "the sign is wrong: a loss is the negative logarithm"
        if abs(found - sum(each)) < 1e-4:
            return f"that is the sum over {len(each)} places, {found:.3f}: take the mean"
        return (
            f"the labels {labels.tolist()} have {len(each)} next tokens to learn, with a mean loss "
            f"of {expected:.3f}; yours: {found:.3f}"
        )
    return None


def exercise_3(attend: "Callable[..., torch.Tensor]") -> str | None:
    """Check causal attention of one head."""
    import torch

    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(4, 8, generator=generator) * 2 for _ in range(3))
    found = attend(q, k, v)
    expected = torch.nn.functional.scaled_dot_product_attention(
        q[None], k[None], v[None], is_causal=True
    )[0]
    if found.shape != v.shape:
        return (
            f"four queries on values of shape (4, 8) give (4, 8), you return {tuple(found.shape)}"
        )
    if torch.allclose(found, expected, atol=1e-4):
        return None
    if found.isnan().any():
        return "NaN: a row is masked entirely, yet each token sees at least itself"
    if not torch.allclose(found[0], v[0], atol=1e-4):
        return (
            "the first token sees only itself, so it must return the first value as it is: mask "
            "the future before the softmax over the keys, from the first place after the token"
        )
    return "the first row is right, others are not: is the score divided by the root of head_dim?"


def exercise_4(block_weights: Callable[[int, int, int, int], int]) -> str | None:
    """Check the number of weights of a block."""
    for hidden, inner, heads, kv_heads, what in (
        (64, 0, 4, 4, "with as many key as query heads, attention has four square matrices"),
        (64, 0, 4, 1, "with one key head for four query heads, keys and values are 16 wide"),
        (64, 100, 4, 2, "the MLP has three matrices, gate, up and down"),
    ):
        kv_size = hidden // heads * kv_heads
        expected = 2 * hidden * hidden + 2 * hidden * kv_size + 3 * hidden * inner
        found = block_weights(hidden, inner, heads, kv_heads)
        if found != expected:
            return (
                f"{what}: hidden {hidden}, inner {inner}, {heads} and {kv_heads} heads make "
                f"{expected:,} weights, you say {found:,}"
            )
    return None


def _list(values: "torch.Tensor") -> list[float]:
    return [round(value, 3) for value in values.tolist()]
