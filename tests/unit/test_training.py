"""The loss against trl's, and the trainer's repairs."""

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model

from helpers import environment, models, recipe, yoda
from onegpu import losses, training


@pytest.fixture
def folder(tmp_path, tiny_model, tokenizer):
    tiny_model.save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def make_trainer(folder, tmp_path):
    def make(**overrides):
        from trl import SFTConfig, SFTTrainer

        profile = environment.profile("cpu", base_model=str(folder))
        model = get_peft_model(
            models.load_base_model(profile), LoraConfig(**recipe.lora_settings())
        )
        rows = Dataset.from_list(yoda.rows("validation")[:8])
        settings = {**recipe.sft_settings(profile), "logging_steps": 1, **overrides}
        return SFTTrainer(
            model=model,
            args=SFTConfig(output_dir=tmp_path / "out", **settings),
            train_dataset=rows.map(yoda.to_prompt_completion, remove_columns=rows.column_names),
            processing_class=models.load_tokenizer(profile),
        )

    return make


@pytest.mark.parametrize("num_items", [None, 30])
def test_loss_and_gradients_equal_those_of_trl(make_trainer, num_items):
    trainer = make_trainer()
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = torch.randn_like(weight.data.float()) * 0.02
    batch = next(iter(trainer.get_train_dataloader()))

    def loss_and_gradients(loss):
        trainer.model.zero_grad()
        loss.backward()
        grads = [p.grad.flatten().float() for p in trainer.model.parameters() if p.requires_grad]
        return loss.detach().float(), torch.cat(grads)

    ours = losses.learned_tokens_loss(
        trainer, trainer.model, dict(batch), num_items_in_batch=num_items
    )
    theirs = trainer.compute_loss(trainer.model, dict(batch), num_items_in_batch=num_items)
    our_loss, our_gradient = loss_and_gradients(ours)
    their_loss, their_gradient = loss_and_gradients(theirs)
    torch.testing.assert_close(our_loss, their_loss, rtol=1e-2, atol=0)
    assert torch.cosine_similarity(our_gradient, their_gradient, dim=0) > 0.99


def test_patching_makes_the_adapter_float32_and_silences_the_logs(make_trainer, capsys):
    """On a 4-bit base trl makes the adapter bfloat16, and small updates are rounded away."""
    trainer = make_trainer()
    trainable = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {p.dtype for p in trainable} == {torch.bfloat16}, "trl changed: is prepare() needed?"
    training.prepare(trainer)
    assert {p.dtype for p in trainable} == {torch.float32}
    trainer.train()
    out = capsys.readouterr().out
    assert "{'loss'" not in out
    assert "step 2 of 2" in out
    assert out.rstrip(" ").endswith("\033[2K\r"), "the line is cleared at the end"


def test_loss_history(make_trainer):
    trainer = make_trainer()
    with pytest.raises(ValueError, match=r"call trainer\.train\(\) first"):
        training.loss_history(trainer)
    training.prepare(trainer)
    trainer.train()
    history = training.loss_history(trainer)
    assert [point.step for point in history] == [1, 2]
    assert all(5 < point.loss < 15 for point in history), "near log(vocabulary) = 10.8"
