"""The base model of a profile: loaded in 4 bits, and still trainable after it has answered."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM
from trl import SFTConfig, SFTTrainer
from trl.chat_template_utils import qwen3_instruct_2507_chat_template

from helpers import environment, models, recipe, yoda
from onegpu import generation, training

ROOT = Path(__file__).resolve().parents[2]


def test_a_profile_loads_the_model_of_its_folder_in_4_bits(tmp_path, tiny_model, tokenizer):
    tiny_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    profile = environment.profile("cpu", base_model=str(tmp_path))
    assert models.source(profile) == str(tmp_path)
    loaded = models.load_base_model(profile)
    assert loaded.config.num_hidden_layers == 2
    stored = {
        type(module).__name__ for module in loaded.model.modules() if hasattr(module, "weight")
    }
    assert "Linear4bit" in stored and "Linear" not in stored
    assert models.load_tokenizer(profile).chat_template == tokenizer.chat_template


def test_gradients_still_pass_after_an_answer(tmp_path, tiny_model, tokenizer):
    """A base model asked before training learned nonsense, without an error.

    bitsandbytes had rearranged the 4-bit weights at the first pass in evaluation mode, on
    processors with AVX512-BF16, and its matrix product for that layout has no gradient.
    """
    tiny_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    base = models.load_base_model(environment.profile("cpu", base_model=str(tmp_path)))
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear"))
    ids = torch.arange(1, 17).reshape(2, 8)
    first_layer = [p for n, p in model.named_parameters() if "layers.0" in n and "lora_B" in n]

    def gradients():
        model.zero_grad()
        model.train()
        model(input_ids=ids, labels=ids).loss.backward()
        return torch.cat([p.grad.flatten().float() for p in first_layer])

    before = gradients()
    model.eval()
    with torch.inference_mode():
        model(input_ids=ids)
    assert before.abs().max() > 0
    torch.testing.assert_close(gradients(), before)


@pytest.fixture
def qwen_profile(tmp_path, tokenizer):
    """The shape of Qwen3-4B-Instruct-2507 in small: its attention, tied weights and template."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=32,  # more than hidden_size / num_attention_heads, as in the 4B
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    copy = models.load_tokenizer(environment.PROFILES["cpu"])
    copy.chat_template = qwen3_instruct_2507_chat_template
    copy.pad_token = "<|endoftext|>"  # and the end of a turn is <|im_end|>, as in Qwen's
    copy.save_pretrained(tmp_path)
    return environment.profile("cpu", base_model=str(tmp_path))


def test_the_template_of_the_pods_model_writes_the_courses_rows_like_the_small_models(
    qwen_profile, tokenizer
):
    """The chapters show SmolLM2's text, and a reader on a pod sees Qwen's."""
    qwen = models.load_tokenizer(qwen_profile)
    for row in yoda.rows("validation")[:20]:
        both = yoda.to_prompt_completion(row)
        messages = both["prompt"] + both["completion"]
        for text, asked in ((messages, {}), (both["prompt"], {"add_generation_prompt": True})):
            of_qwen = qwen.apply_chat_template(text, tokenize=False, **asked)
            assert of_qwen == tokenizer.apply_chat_template(text, tokenize=False, **asked)


def test_the_recipe_trains_the_shape_of_the_pods_model(qwen_profile, tmp_path):
    tokenizer = models.load_tokenizer(qwen_profile)
    rows = Dataset.from_list(yoda.rows("train")[:16])
    model = get_peft_model(
        models.load_base_model(qwen_profile), LoraConfig(**recipe.lora_settings())
    )
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=tmp_path / "out", **recipe.sft_settings(qwen_profile) | {"logging_steps": 1}
        ),
        train_dataset=rows.map(yoda.to_prompt_completion, remove_columns=rows.column_names),
        processing_class=tokenizer,
    )
    training.prepare(trainer)
    batch = next(iter(trainer.get_train_dataloader()))
    for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
        learned = tokenizer.decode(ids[labels != -100])
        assert learned.startswith(tuple(row["translation"] for row in rows))
        assert learned.rstrip("\n").endswith("<|im_end|>")
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") in generation.stop_ids(model)
