"""Two steps are taken and taken back: what is planted in a trainer is named, and nothing else."""

import copy
import hashlib
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers import environment, recipe, yoda
from onegpu.preflight import rehearsal
from onegpu.preflight.findings import Tally

PAIRS = [yoda.to_prompt_completion(row) for row in yoda.rows("train")[:24]]
SEQUENCES = SimpleNamespace(max_id=0)


@pytest.fixture
def build(tokenizer, tiny_model, tmp_path):
    """Return a function that builds a healthy trainer, or one with something changed in it."""
    environment.quiet()

    def build(*, model=None, full=False, adapter=None, kind=None, given=(None, None), **changed):
        from datasets import Dataset
        from peft import LoraConfig
        from trl import SFTConfig, SFTTrainer

        model = model or copy.deepcopy(tiny_model)
        settings = {
            **recipe.sft_settings(environment.PROFILES["cpu"]),
            **({"learning_rate": 5e-5} if full else {}),
            "warmup_steps": 0,
            **changed,
        }
        return (kind or SFTTrainer)(
            model,
            args=SFTConfig(output_dir=str(tmp_path), **settings),
            train_dataset=Dataset.from_list(PAIRS),
            processing_class=copy.deepcopy(tokenizer),
            optimizers=given,
            peft_config=None
            if full or hasattr(model, "peft_config")
            else LoraConfig(**{**recipe.lora_settings(), **(adapter or {})}),
        )

    return build


def findings(trainer):
    tally = Tally()
    rehearsal.examine(trainer, SEQUENCES, tally)
    return tally.findings()


def codes(trainer):
    return findings(trainer).codes


def trainable(model):
    return [weight for weight in model.parameters() if weight.requires_grad]


# What is put back -------------------------------------------------------------------------------


def content(value):
    """Return something equal for equal contents: tensors as hashes, objects by what they are."""
    if isinstance(value, torch.Tensor):
        plain = value.detach().cpu().contiguous().view(torch.uint8) if value.dim() else value
        return hashlib.sha256(plain.numpy().tobytes()).hexdigest(), value.dtype
    if isinstance(value, dict):
        return {str(key): content(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [content(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else id(value)


def everything(trainer, folder):
    models = {"saved": trainer.model, "computing": trainer.model_wrapped}
    parts = {"trainer": trainer, "args": trainer.args, "state": trainer.state}
    parts |= {"accelerator": trainer.accelerator, "gradients": trainer.accelerator.gradient_state}
    parts |= {str(type(c)): c for c in trainer.callback_handler.callbacks}
    found = {name: content(part.__dict__) for name, part in parts.items()}
    for name, model in models.items():
        found[name] = content(model.state_dict())
        found[f"{name}, weights"] = [
            (n, id(p), p.data_ptr(), p.requires_grad, id(p.grad), content(p.grad))
            for n, p in model.named_parameters()
        ]
        found[f"{name}, modules"] = [content(m.__dict__) for m in model.modules()]
        found[f"{name}, config"] = content(model.config.__dict__)
    for name in ("optimizer", "lr_scheduler"):
        part = getattr(trainer, name)
        found[name] = part if part is None else content([part.state_dict(), part.__dict__])
    found["random"] = content([random.getstate(), torch.get_rng_state()])
    found["numpy"] = [str(part) for part in np.random.get_state(legacy=False)["state"].values()]
    found["files"] = sorted(str(path) for path in folder.rglob("*"))
    return found


def with_optimizer(trainer):
    """Give a trainer an optimizer that has a state already, and a schedule of its own."""
    trainer.optimizer = torch.optim.AdamW(trainable(trainer.model), lr=1e-3)
    for weight in trainable(trainer.model):
        weight.grad = torch.full_like(weight, 1e-3)
    trainer.optimizer.step()
    trainer.lr_scheduler = torch.optim.lr_scheduler.StepLR(trainer.optimizer, 2)
    return trainer


def with_failure(trainer):
    def compute_loss(*args, **kwargs):
        raise RuntimeError("no loss today\nand no other line")

    trainer.compute_loss = compute_loss
    return trainer


@pytest.mark.parametrize(
    ("changed", "prepare"),
    [
        ({}, lambda trainer: trainer),
        ({"full": True, "optim": "adamw_bnb_8bit", "bf16": True}, lambda trainer: trainer),
        ({"adapter": {"use_dora": True, "lora_dropout": 0.3}}, with_optimizer),
        ({"activation_checkpointing": True, "max_grad_norm": 1e-9}, lambda trainer: trainer),
        ({}, with_failure),
    ],
    ids=["adapter", "8 bits", "given optimizer", "checkpointing", "failure"],
)
def test_everything_is_put_back_to_the_last_bit(build, tmp_path, changed, prepare):
    trainer = prepare(build(**changed))
    trainer.model.eval()
    next(trainer.model.children()).train()
    before = everything(trainer, tmp_path)
    findings(trainer)
    after = everything(trainer, tmp_path)
    assert [name for name in before if before[name] != after[name]] == []


def test_a_base_in_4_bits_is_put_back(build, tiny_model, tmp_path):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    tiny_model.save_pretrained(tmp_path / "base")
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "base", quantization_config=config)
    trainer = build(model=model)
    before = everything(trainer, tmp_path)
    assert codes(trainer) == []
    after = everything(trainer, tmp_path)
    assert [name for name in before if before[name] != after[name]] == []


def test_an_optimizer_that_works_within_the_backward_pass_leaves_no_hooks(build):
    """The check made the optimizer, whose hooks stayed on the weights: `train()` stepped twice."""
    trainer = build(optim="galore_adamw_layerwise", optim_target_modules=["q_proj"])
    (weight, *_) = trainable(trainer.model)

    def create_optimizer():
        weight.register_post_accumulate_grad_hook(lambda parameter: None)
        trainer.optimizer = torch.optim.AdamW(trainable(trainer.model), lr=1e-3)

    trainer.create_optimizer = create_optimizer
    (found,) = findings(trainer)
    assert found.code == "not-rehearsed"
    assert not weight._post_accumulate_grad_hooks


def test_training_after_a_rehearsal_is_the_same(build):
    losses = []
    for is_rehearsed in (False, True):
        trainer = build(max_steps=3, adapter={"lora_dropout": 0.3}, logging_steps=1)
        if is_rehearsed:
            findings(trainer)
        trainer.train()
        losses.append([log.get("loss") for log in trainer.state.log_history])
    assert losses[0] == losses[1]


# What is found ----------------------------------------------------------------------------------

HEALTHY = [
    {},
    {"learning_rate": 5e-3},
    {"full": True, "learning_rate": 5e-4},
    {"adapter": {"use_dora": True}},
    {"adapter": {"target_modules": ["q_proj"], "layers_to_transform": [1]}},
    {"optim": "adafactor"},
    {"optim": "lion_8bit"},
    {"optim": "sgd", "learning_rate": 1e-1},
    {"gradient_accumulation_steps": 2, "warmup_steps": 0.3},
    {"activation_checkpointing": True, "max_grad_norm": 1e-3},
    {"label_smoothing_factor": 0.1},
    {"bf16": True},
]


@pytest.mark.parametrize("changed", HEALTHY, ids=str)
def test_nothing_is_found_where_nothing_is_wrong(build, changed):
    assert codes(build(**changed)) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"max_steps": 1}, ["one-update"]),
        ({"warmup_steps": 50}, ["warmup-too-long"]),
        ({"learning_rate": 0.0}, ["rate-zero"]),
        ({"max_steps": 1, "warmup_steps": 3}, ["rate-zero", "one-update"]),
        ({"max_grad_norm": 1e-9}, ["gradients-tiny"]),
        ({"adam_epsilon": 1e3}, ["gradients-tiny"]),
        ({"learning_rate": 0.1}, ["learning-rate"]),
        ({"learning_rate": 2e-5}, ["learning-rate"]),
        ({"full": True, "learning_rate": 2e-3}, ["learning-rate"]),
        ({"dataloader_drop_last": True, "per_device_train_batch_size": 32}, ["step-fails"]),
    ],
    ids=str,
)
def test_a_setting_is_found(build, changed, expected):
    assert [code for code in codes(build(**changed)) if code in expected] == expected


def test_the_numbers_of_a_warmup_are_those_of_the_run(build):
    (found,) = findings(build(warmup_steps=50))
    assert "6 updates, 50 of warm-up" in found.where  # 24 rows, 4 at a time
    assert found.where.endswith("10% of the rate is reached")  # (6 - 1) / 50
    assert codes(build(warmup_steps=6)) == []


@pytest.mark.parametrize(("rate", "expected"), [(5e-5, ["updates-rounded"]), (2e-4, [])])
def test_an_adapter_in_bfloat16(build, rate, expected):
    """At 5e-5, two fifths of the updates of a bfloat16 adapter are rounded away."""
    trainer = build(learning_rate=rate)
    for weight in trainable(trainer.model):
        weight.data = weight.data.bfloat16()
    assert codes(trainer) == expected


def test_layers_whose_adapter_is_frozen(build):
    trainer = build()
    for name, weight in trainer.model.named_parameters():
        if "layers.0." in name:
            weight.requires_grad = False
    (found,) = findings(trainer)
    assert (found.code, found.where[:14]) == ("layers-frozen", "7 of 14 layers")


def test_an_optimizer_of_another_copy(build):
    trainer = build()
    other = copy.deepcopy(trainer.model)
    trainer.optimizer = torch.optim.AdamW(trainable(other), lr=1e-3)
    assert codes(trainer) == ["wrong-copy"]


def test_an_optimizer_that_lacks_some_weights(build):
    trainer = build()
    trainer.optimizer = torch.optim.AdamW(trainable(trainer.model)[:10], lr=1e-3)
    (found,) = findings(trainer)
    assert found.code == "weights-still"
    assert found.where.startswith("the optimizer lacks 18 of 28")


def test_a_group_without_a_rate(build):
    trainer = build()
    weights = trainable(trainer.model)
    groups = [{"params": weights[:4], "lr": 0.0}, {"params": weights[4:]}]
    trainer.optimizer = torch.optim.AdamW(groups, lr=1e-3)
    (found,) = findings(trainer)
    assert (found.code, found.where[:8]) == (
        "weights-still",
        "2 of 28,",
    )  # both B, which move first


def test_an_adapter_on_another_copy(build, tiny_model):
    from peft import LoraConfig, get_peft_model

    trainer = build()
    trainer.model = copy.deepcopy(trainer.model)
    assert codes(trainer) == ["wrong-copy"]
    get_peft_model(tiny_model, LoraConfig(**recipe.lora_settings()))
    assert codes(build(model=tiny_model, full=True)) == ["wrong-copy"]


def test_a_loss_of_another_copy(build, tiny_model):
    from peft import LoraConfig, get_peft_model

    trainer = build()
    other = get_peft_model(tiny_model, LoraConfig(**recipe.lora_settings()))

    def compute_loss(model, inputs, return_outputs=False, num_items_in_batch=None):
        return other(**inputs).loss

    trainer.compute_loss = compute_loss
    (found,) = findings(trainer)
    assert (found.code, found.where) == ("wrong-copy", "compute_loss does not call trainer.model")


def test_a_layer_without_gradients(build):
    trainer = build()
    first, last = trainer.model.base_model.model.model.layers
    hook = first.register_forward_hook(lambda module, inputs, output: output.detach())
    (found,) = findings(trainer)
    assert (found.code, found.where[:7]) == ("no-gradient", "7 of 14")
    hook.remove()
    last.register_forward_hook(lambda module, inputs, output: output.detach())
    (found,) = findings(trainer)  # of backward(), which has nothing to do
    assert (found.code, "does not require grad" in found.where) == ("step-fails", True)


def test_a_step_uphill(build):
    trainer = build()
    trainer.optimizer = torch.optim.AdamW(trainable(trainer.model), lr=1e-3, maximize=True)
    assert codes(trainer) == ["loss-rises"]
    turned = build()
    for weight in trainable(turned.model):
        weight.register_hook(lambda gradient: -gradient)
    assert codes(turned) == ["loss-rises"]


def test_gradients_that_are_infinite(build):
    """Clipping left 0 of them, by which it was divided: a ZeroDivisionError was the finding."""
    trainer = build()
    for weight in trainable(trainer.model):
        weight.register_hook(lambda gradient: gradient + math.inf)
    (found,) = findings(trainer)
    assert (found.code, found.where) == ("step-fails", "the gradients hold nan or inf")


def test_a_schedule_that_is_zero(build):
    trainer = build()
    trainer.optimizer = torch.optim.AdamW(trainable(trainer.model), lr=1e-3)
    zero = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, lambda step: 0.0)
    trainer.lr_scheduler = zero
    assert codes(trainer) == ["rate-zero"]
    late = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, lambda step: float(step > 4))
    trainer.lr_scheduler = late
    assert codes(trainer) == []  # the last of six updates


def test_an_error_becomes_a_finding(build):
    (found,) = findings(with_failure(build()))
    assert (found.code, found.where) == ("step-fails", "RuntimeError: no loss today")


@pytest.mark.parametrize(("n_epochs", "expected"), [(1, ["learning-rate"]), (1000, [])])
def test_rates_below_a_millionth_may_be_enough_for_a_long_run(build, n_epochs, expected):
    assert codes(build(full=True, learning_rate=5e-7, num_train_epochs=n_epochs)) == expected


def test_a_rate_that_is_squared_by_its_schedule(build):
    """The function of LambdaLR returns a factor; this one returned the rate."""
    trainer = build(full=True, max_steps=1000)
    for base, factor, is_wrong in ((5e-4, 5e-4, True), (1.0, 1e-4, False), (5e-5, 1.0, False)):
        trainer.optimizer = torch.optim.AdamW(trainable(trainer.model), lr=base)
        trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            trainer.optimizer, lambda step, factor=factor: factor * min(1, (step + 1) / 5)
        )
        assert codes(trainer) == (["learning-rate"] if is_wrong else [])


def test_what_is_too_large_is_left_out(build, monkeypatch):
    trainer = build()
    needed = sum(20 * weight.numel() for weight in trainable(trainer.model))
    monkeypatch.setattr(rehearsal, "memory_bytes", lambda: 2 * needed)
    assert codes(trainer) == []
    monkeypatch.setattr(rehearsal, "memory_bytes", lambda: 2 * needed - 2)
    assert codes(trainer) == ["not-rehearsed"]


def test_packing_in_a_model_that_needs_kernels_for_it(build, tokenizer):
    """It raised a ValueError out of the check, and all other findings were lost."""
    from transformers import AutoModelForCausalLM, Lfm2Config

    config = Lfm2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        layer_types=["conv", "full_attention"],
    )
    assert codes(build(model=AutoModelForCausalLM.from_config(config))) == []
    packed = build(model=AutoModelForCausalLM.from_config(config), packing=True, warmup_steps=1)
    (found,) = findings(packed)
    assert found.code == "step-fails"
    assert "packed sequences" in found.where


def test_preferences_are_measured_and_not_accused(tiny_model, tokenizer, tmp_path):
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    settings = {"report_to": "none", "use_cpu": True, "bf16": False, "max_steps": 4}
    said = [{"role": "assistant", "content": "No."}]
    rows = [
        {"prompt": pair["prompt"], "chosen": pair["completion"], "rejected": said}
        for pair in PAIRS[:8]
    ]
    trainer = DPOTrainer(
        tiny_model,
        ref_model=copy.deepcopy(tiny_model),
        args=DPOConfig(str(tmp_path), learning_rate=0.5, **settings),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    assert codes(trainer) == ["learning-rate"]
    assert trainer.optimizer is None
