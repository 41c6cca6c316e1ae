"""The base model of a profile: loaded in 4 bits, and still trainable after it has answered."""

from helpers import environment, models


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
    import torch
    from peft import LoraConfig, get_peft_model

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
