"""Batches against single prompts, and that asking changes nothing."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from helpers import generation, yoda

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


def test_before_is_without_the_adapter_and_after_with_it(tiny_model, tokenizer):
    before = generation.ask_all(tiny_model, tokenizer, prompts=PROMPTS, max_new_tokens=6)
    model = get_peft_model(tiny_model, LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(1))
    old, new = generation.before_and_after(model, tokenizer, prompts=PROMPTS, max_new_tokens=6)
    assert old == before
    assert new != before
    assert new == generation.ask_all(model, tokenizer, prompts=PROMPTS, max_new_tokens=6)


def test_bad_input(tiny_model, tokenizer):
    with pytest.raises(ValueError, match="batch_size is 0: it must be 1 or more"):
        generation.ask_all(tiny_model, tokenizer, prompts=PROMPTS, batch_size=0)
    template, tokenizer.chat_template = tokenizer.chat_template, None
    try:
        with pytest.raises(ValueError, match="has no chat template: take that of an instruct"):
            generation.ask(tiny_model, tokenizer, prompt=PROMPTS[0])
    finally:
        tokenizer.chat_template = template
