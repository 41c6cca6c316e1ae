"""Batches against single prompts, and that asking changes nothing."""

import pytest
import torch

from helpers import yoda
from onegpu import evaluation, generation, parity

PROMPTS = [yoda.prompt(s) for s in ("You are strong.", "Did the old pilot repair the big ship?")]


def by_hand(model, tokenizer, prompt, n_tokens):
    """Take the likeliest token, one forward pass each, without padding or cache."""
    ids = tokenizer.apply_chat_template(
        prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    start = ids.shape[1]
    for _ in range(n_tokens):
        token = model(input_ids=ids).logits[0, -1].argmax()
        ids = torch.cat([ids, token.view(1, 1)], dim=1)
        if token == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[0, start:], skip_special_tokens=True)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_answers_are_the_likeliest_tokens_whatever_the_batch(tiny_model, tokenizer, batch_size):
    expected = [by_hand(tiny_model.eval(), tokenizer, prompt, 6) for prompt in PROMPTS]
    answers = generation.ask_all(
        tiny_model, tokenizer, prompts=PROMPTS, max_new_tokens=6, batch_size=batch_size
    )
    assert answers == expected
    assert generation.ask(tiny_model, tokenizer, prompt=PROMPTS[0], max_new_tokens=6) == answers[0]


def test_asking_leaves_mode_and_padding_side_alone(tiny_model, tokenizer):
    tiny_model.train()
    side = tokenizer.padding_side
    generation.ask_all(tiny_model, tokenizer, prompts=PROMPTS, max_new_tokens=2)
    assert tiny_model.training
    assert tokenizer.padding_side == side


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("ask", ["ask", "record", "token_losses"])
def test_evaluation_mode_ends_with_an_error_too(tiny_model, tokenizer, ask, error):
    """An interrupted cell left the model in evaluation mode: training went on without dropout."""

    def fail(*arguments):
        assert not tiny_model.training
        raise error

    tiny_model.train()
    frozen = tiny_model.model.layers[0].eval()
    tiny_model.model.layers[1].register_forward_hook(fail)
    with pytest.raises(error):
        if ask == "ask":
            generation.ask(tiny_model, tokenizer, prompt=PROMPTS[0])
        elif ask == "record":
            parity.record((tiny_model, tokenizer), PROMPTS)
        else:
            evaluation.token_losses(tiny_model, tokenizer, text="Strong, you are.")
    assert tiny_model.training
    assert tiny_model.lm_head.training
    assert not any(module.training for module in frozen.modules())  # as it was before


@pytest.mark.parametrize(("configured", "expected"), [(None, []), (2, [2]), ([2, 0], [2, 0])])
def test_where_a_model_stops(tiny_model, configured, expected):
    tiny_model.generation_config.eos_token_id = configured
    assert generation.stop_ids(tiny_model) == expected


def test_bad_input(tiny_model, tokenizer):
    with pytest.raises(ValueError, match="batch_size is 0: it must be 1 or more"):
        generation.ask_all(tiny_model, tokenizer, prompts=PROMPTS, batch_size=0)
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(ValueError, match="has no chat template: take that of an instruct"):
            generation.ask(tiny_model, tokenizer, prompt=PROMPTS[0])
    finally:
        tokenizer.chat_template = template
