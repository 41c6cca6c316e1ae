"""Plans of real trainers, read before they train."""

import pytest
import torch
from datasets import Dataset
from peft import IA3Config, LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    LlamaConfig,
    Trainer,
    TrainingArguments,
)
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)

from onegpu import memory, training
from onegpu.memory.reading import read_step

QUESTION = [{"role": "user", "content": "Where are you?"}]
SHORT = [{"role": "assistant", "content": "Here."}]
LONG = [{"role": "assistant", "content": "Here I am, where I have always been, and you?"}]
ROWS = [{"prompt": QUESTION, "completion": answer} for answer in (SHORT, LONG)]
PAIRS = [{"prompt": QUESTION, "chosen": LONG, "rejected": SHORT}] * 2
REWARDED = [{"chosen": QUESTION + LONG, "rejected": QUESTION + SHORT}] * 2
LORA = LoraConfig(r=4, target_modules=["q_proj"], lora_dropout=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A tiny model."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    path = tmp_path_factory.mktemp("model")
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(path)
    return path


@pytest.fixture
def build(folder, tokenizer, tmp_path):
    """Return a function that makes a trainer of trl."""

    def build(kind, settings_of, rows, *, loading=None, adapter=None, **settings):
        settings = {"bf16": False, "use_cpu": True, "report_to": "none", **settings}
        model = AutoModelForCausalLM
        loading = {"dtype": torch.bfloat16, **(loading or {})}
        if kind is RewardTrainer:
            model, loading = AutoModelForSequenceClassification, {"num_labels": 1, **loading}
        more = {"reward_funcs": lambda completions, **_: [0.0] * len(completions)}
        return kind(
            model=model.from_pretrained(folder, **loading),
            args=settings_of(output_dir=tmp_path, per_device_train_batch_size=2, **settings),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=adapter,
            **(more if kind is GRPOTrainer else {}),
        )

    return build


def n_tokens(tokenizer, messages):
    return len(tokenizer.apply_chat_template(messages)["input_ids"])


def test_everything_is_read_from_a_trainer(build, tokenizer):
    """On a quantized base the adapter is bfloat16 in trl, until the course undoes it."""
    in_4_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    loading = {"quantization_config": in_4_bits}
    trainer = build(SFTTrainer, SFTConfig, ROWS, loading=loading, adapter=LORA, optim="adamw_8bit")
    step = read_step(trainer)
    assert (step.trainer, step.loss, step.batch) == ("sft", None, 2)
    assert step.seq == n_tokens(tokenizer, QUESTION + LONG)
    assert (step.quantization, step.precision, step.upcast) == ("nf4-double", "bf16", False)
    assert (step.rank, step.targets, step.lora.lora_dropout) == (4, "q_proj", 0.1)
    assert (step.optimizer, step.checkpointing, step.autocast) == ("adamw_bnb_8bit", True, False)
    assert step.adapter_precision == "bf16"
    training.prepare(trainer)
    assert read_step(trainer).adapter_precision == "fp32"
    plan = memory.plan_trainer(trainer, gpu="l4")
    assert plan.fits and plan.step.rank == 4
    assert trainer.model.peft_config["default"].r == 4, "it is not changed"
    assert plan.allocated_bytes > memory.plan_trainer(trainer, gpu="l4", seq=8).allocated_bytes


def test_a_plan_of_a_trainer_is_that_of_its_settings(build):
    """All weights, as trl loads them by name: float32; its longest row, its loss, its optimizer."""
    trainer = build(SFTTrainer, SFTConfig, ROWS, loading={"dtype": torch.float32})
    found = memory.plan_trainer(trainer, gpu="a100-40")
    asked = {"seq": found.step.seq, "batch": 2, "autocast": False}
    assert found.phases == memory.plan(trainer.model.config, gpu="a100-40", **asked).phases


def test_pairs_have_a_prompt_and_the_longer_answer(build, tokenizer):
    step = read_step(build(DPOTrainer, DPOConfig, PAIRS, adapter=LORA, max_length=None))
    assert (step.trainer, step.precompute_ref) == ("dpo", False)
    assert step.seq == n_tokens(tokenizer, QUESTION + LONG)
    reward = read_step(build(RewardTrainer, RewardConfig, REWARDED))
    assert (reward.trainer, reward.lora, reward.precision) == ("reward", None, "bf16")
    assert reward.seq >= step.seq


def test_what_the_data_do_not_say_is_asked_for(build):
    rows = [{"prompt": QUESTION}] * 8
    settings = {"num_generations": 2, "generation_batch_size": 8}
    trainer = build(GRPOTrainer, GRPOConfig, rows, adapter=LORA, **settings)
    with pytest.raises(ValueError, match="give seq=, its tokens, prompt and answer together"):
        memory.plan_trainer(trainer, gpu="l4")
    plan = memory.plan_trainer(trainer, gpu="l4", seq=256)
    assert (plan.step.trainer, plan.step.generation_batch) == ("grpo", 8)
    assert [phase.name for phase in plan.phases][:2] == ["load", "generate"]


def test_any_adapter_of_peft_is_planned(build):
    adapter = IA3Config(target_modules=["q_proj"], feedforward_modules=[])
    found = memory.plan_trainer(build(SFTTrainer, SFTConfig, ROWS, adapter=adapter), gpu="l4")
    assert "IA3 on q_proj" in repr(found)
    assert 0 < found.parts["adapters"] < 64 * 1024


def test_what_cannot_be_planned_is_refused(build, folder, tmp_path):
    with pytest.raises(ValueError, match="optim is 'adafactor', and only adamw_torch_fused, "):
        read_step(build(SFTTrainer, SFTConfig, ROWS, optim="adafactor"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = TrainingArguments(output_dir=tmp_path, use_cpu=True, report_to="none")
    plain = Trainer(model=model, args=settings, train_dataset=[{"input_ids": [1, 2]}])
    step = read_step(plain, seq=64)
    assert (step.trainer, step.loss, step.precision) == ("sft", "plain", "fp32")
    assert step.checkpointing is False
    with pytest.raises(ValueError, match="Dataset is no trainer of transformers or trl"):
        read_step(Dataset.from_list(ROWS))
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="there is nothing to train"):
        read_step(plain, seq=64)
