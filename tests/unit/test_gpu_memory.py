"""The memory part of the script for a card: its rows, its models, its loop, its record."""

import json
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from helpers import records
from onegpu import memory
from onegpu.memory.architectures import configuration

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
from gpu_parts import Job, training_steps  # noqa: E402
from gpu_parts import memory as part  # noqa: E402
from gpu_parts.random_weights import random_model  # noqa: E402
from gpu_parts.training_steps import Row  # noqa: E402

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
H100 = {"gpu": "NVIDIA H100", "gpu_bytes": 85_000_000_000, "capability": "9.0"}
# Recorded steps whose peak is more than 1 % off its plan, by their settings as JSON, and why.
KNOWN: dict[str, str] = {}


def job(*, rehearse):
    return Job(
        device="cpu", rehearse=rehearse, memory_gib=14.56, model=None, scratch=Path("nowhere")
    )


@pytest.fixture(scope="module")
def small():
    """A configuration of two layers, which takes a moment."""
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=512,
        intermediate_size=1024,
        num_hidden_layers=2,
        num_attention_heads=8,
        vocab_size=8192,
        max_position_embeddings=65536,
        tie_word_embeddings=True,
    )


def test_every_row_can_be_run_and_is_there_once():
    """What a row asks for exists: its model, so many positions, the kernel by that name."""
    settings = part.rows(job(rehearse=False))
    assert len({json.dumps(setting) for setting in settings}) == len(settings)
    assert len(settings) >= 30
    for setting in settings:
        row = Row(**setting)
        assert row.seq <= configuration(row.model).max_position_embeddings
        assert row.kernel in (None, *training_steps.FLASH_ATTENTION) or hasattr(
            torch.nn.attention.SDPBackend, row.kernel
        )
        assert row.trainer in ("loop", "sft", "dpo")
        assert row.loss != "liger" or configuration(row.model).model_type == "llama"


def test_a_plan_is_asked_for_every_row_that_has_one(monkeypatch):
    """With settings that a plan takes, for its card; the others say in words what no plan knows."""
    asked = set()

    def check(model, *, gpu, **fields):
        asked.add((model, gpu.name))
        return memory.TrainingStep(**fields).on(gpu, configuration(model))

    monkeypatch.setattr(memory, "plan", check)
    for setting in part.rows(job(rehearse=False)):
        row, found = Row(**setting), part.plan_of(setting, H100)
        has_plan = row.kernel in (None, "EFFICIENT_ATTENTION" if row.capped else "FLASH_ATTENTION")
        assert isinstance(found, memory.TrainingStep) == has_plan, found
        if not has_plan:
            assert found.startswith("in a plan for this card the kernel is FLASH_ATTENTION")
    assert {("Qwen3-4B", "t4"), ("Qwen3-4B", "NVIDIA H100")} <= asked


def n_bytes(model):
    """Return the bytes of all tensors of a model, 4-bit ones with their scales."""
    found = [*model.parameters(), *model.buffers()]
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        for part_of_it in (state, getattr(state, "state2", None)):
            found += vars(part_of_it).values() if part_of_it is not None else []
    tensors = [tensor for tensor in found if isinstance(tensor, torch.Tensor)]
    sizes = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}
    return sum(sizes.values())


@pytest.mark.parametrize("quantization", [None, "nf4", "nf4-double"])
def test_random_weights_take_what_loaded_ones_do(small, quantization):
    """Tied weights were made twice: a model of 1.7 B parameters had 0.2 GB more than it takes."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    in_4_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=quantization == "nf4-double",
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    with tempfile.TemporaryDirectory() as folder:
        AutoModelForCausalLM.from_config(small, dtype=torch.bfloat16).save_pretrained(folder)
        loaded = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.bfloat16,
            quantization_config=in_4_bits if quantization else None,
        )
    made = random_model(small, device="cpu", dtype=torch.bfloat16, quantization=quantization)
    assert n_bytes(made) == n_bytes(loaded)
    assert made.lm_head.weight is made.model.embed_tokens.weight
    kinds = [[type(module) for module in model.modules()] for model in (made, loaded)]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"quantization": "nf4-double"},
        {"checkpointing": False, "attention": "eager"},
        {"lora": None, "precision": "fp32"},
    ],
    ids=str,
)
def test_the_loop_takes_what_its_plan_says(small, changed):
    """On a CPU, which has no workspaces. The logits of the step before were still there once."""
    settings = {"batch": 4, "seq": 256, "precision": "bf16", "lora": LORA} | changed
    row = Row(model="small", **settings)
    measured, _ = training_steps.run_loop(row, small, device="cpu")
    plan = memory.plan(small, gpu="a100-40", **row.step)
    planned = plan.allocated_bytes - 2 * plan.card.workspace_bytes
    assert measured.allocated_bytes == pytest.approx(planned, rel=0.005)


def test_a_row_leaves_nothing_to_the_next():
    """An 8-bit optimizer kept the embedding, and its 32 bits for whatever was trained next."""
    from bitsandbytes.optim import GlobalOptimManager

    (setting, *_) = [
        setting
        for setting in part.rows(job(rehearse=True))
        if setting["optimizer"] == "adamw_bnb_8bit"
    ]
    figures = part.measure(job(rehearse=True), **setting)
    assert list(figures["phases"]) == ["load", "forward", "backward", "optimizer"]
    assert figures["phases"]["backward"]["allocated_bytes"] > 1e6
    assert figures["sdpa_kernels"] == ["flash_attention_for_cpu"]
    manager = GlobalOptimManager.get_instance()
    assert not manager.module_weight_config_triple
    assert not manager.index2config


def planned(setting, environment):
    """Return what is planned for a recorded row: allocated bytes, whether it fits, and doubts."""
    plan = part.plan_of(json.loads(setting), environment)
    if isinstance(plan, str):
        return None
    return plan.allocated_bytes, plan.fits, plan.not_measured


def off_plan(rows, plans):
    """Return what does not agree: measured over planned, or a card that was full and should not."""
    off = {}
    for (setting, row), plan in zip(rows.items(), plans, strict=True):
        if plan is None:
            continue
        allocated, fits, _ = plan
        if "out_of_memory" in row:
            if fits:
                off[setting] = "out of memory"
            continue
        measured = max(phase["allocated_bytes"] for phase in row["phases"].values())
        if abs(measured / allocated - 1) > 0.01:
            off[setting] = round(measured / allocated, 3)
    return off


@pytest.mark.slow
def test_recorded_steps_agree_with_their_plans():
    """Peak allocated within 1 %; what was out of memory on the card is said not to fit."""
    try:
        record = records.read("gpu_memory")
    except ValueError:
        pytest.skip("no record of a card yet: `make gpu` writes it")
    rows = {json.dumps(row["setting"]): row for row in record["rows"] if "error" not in row}
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        plans = list(pool.map(planned, rows, [record["environment"]] * len(rows)))
    off = off_plan(rows, plans)
    assert set(off) == set(KNOWN), off
    # What a measurement stands behind is doubted no longer, see `onegpu.memory.measured`.
    agreed = [
        plan for setting, plan in zip(rows, plans, strict=True) if plan and setting not in off
    ]
    doubted = {doubt for _, _, doubts in agreed for doubt in doubts}
    assert not doubted


def test_a_step_that_is_off_its_plan_is_found():
    rows = {
        "good": {"phases": {"load": {"allocated_bytes": 5}, "train": {"allocated_bytes": 1009}}},
        "off": {"phases": {"load": {"allocated_bytes": 1011}, "train": {"allocated_bytes": 900}}},
        "full": {"out_of_memory": "tried to allocate"},
        "full as planned": {"out_of_memory": "tried to allocate"},
        "no plan": {"phases": {"train": {"allocated_bytes": 5}}},
    }
    plans = [(1000, fits, ()) for fits in (True, True, True, False)] + [None]
    assert off_plan(rows, plans) == {"off": 1.011, "full": "out of memory"}
