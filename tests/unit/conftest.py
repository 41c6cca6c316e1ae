"""A tiny model with random weights, and its tokenizer, so that unit tests need no trained one."""

import sys

import pytest


@pytest.fixture(autouse=True)
def no_figures_left():
    """Close the pictures of a test, if it made any."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def tokenizer():
    """The embedded model's tokenizer."""
    from helpers import environment, models

    return models.load_tokenizer(environment.PROFILES["cpu"])


@pytest.fixture
def tiny_model(tokenizer):
    """A two-layer Llama with random weights, the same at each call."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                bos_token_id=tokenizer.bos_token_id,
            )
        )
