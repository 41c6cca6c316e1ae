"""How surprised a model is by a text."""

from typing import TYPE_CHECKING

from onegpu.generation import evaluating

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["token_losses"]


def token_losses(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", *, text: str
) -> "torch.Tensor":
    """Return how surprised a model is by each token of a text, in nats.

    The perplexity of the text is `token_losses(...).mean().exp()`. Two models with the same
    tokenizer can be compared token by token, which is far more exact than comparing two means.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer.
        text: Plain text, no conversation.

    Returns:
        Negative log-likelihood of every token but the first, float32, shape (tokens - 1,).

    Raises:
        ValueError: The text has fewer than two tokens, or more than the model can read at once.

    Taught in: notebooks/02_quantization.ipynb
    """
    import torch

    tokens = tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)  # (1, seq)
    longest = getattr(model.config, "max_position_embeddings", None) or tokens.shape[1]
    if not 2 <= tokens.shape[1] <= longest:
        raise ValueError(
            f"the text has {tokens.shape[1]} tokens: give at least 2, and at most {longest}, "
            "which is what the model reads at once"
        )
    with evaluating(model), torch.inference_mode():
        logits = model(tokens).logits[0, :-1].float()  # (seq - 1, vocab)
    return torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="none").cpu()
