"""Plans against what others measured on a T4, an A100 and an L40S, each as its versions did it."""

import collections
import contextlib
import json
import statistics
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from unittest import mock

import pytest
import torch

from helpers import records
from onegpu import memory
from onegpu.memory.tracing import building

MIB = 1024**2
T4 = records.read("memory_t4")["rows"]
PUBLISHED = records.read("memory_published")["rows"]
AHEAD = (
    40  # weights that transformers 5.0.0 had read before they were quantized: 30 to 50 fit all runs
)
LONGEST_OF_PEFT = 555  # tokens; it isn't published, and is the length that fits its first run


def weights_read_ahead(named, *, tracer):
    """Read weights in threads that run ahead of the quantization, as transformers 5.0.0 did."""
    named, queue, n_read = list(named), collections.deque(), 0
    for i, (name, parameter) in enumerate(named):
        while n_read < min(len(named), i + 1 + AHEAD):
            queue.append(building._read(named[n_read][1], tracer=tracer))
            n_read += 1
        yield name, parameter, queue.popleft


def loss_with_shifted_logits(logits, labels, vocab_size, **_):
    """Shift the logits, a copy of them, as transformers 4.48 did; today the labels are shifted."""
    logits = logits.float()
    shifted = logits[..., :-1, :].contiguous()
    labels = labels[..., 1:].reshape(-1)
    return torch.nn.functional.cross_entropy(shifted.view(-1, vocab_size), labels)


def upcast_of_norms(model, **_):
    """Make the norms alone float32, as trl 0.13 did after peft had made more so."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = False
        if "norm" in name:
            parameter.data = parameter.data.float()
    return model


@contextlib.contextmanager
def as_of(version):
    """Do what a version of transformers, and the trl of its day, did in another way."""
    import peft
    from transformers.loss.loss_utils import LOSS_MAPPING

    with contextlib.ExitStack() as stack:
        if version == "5.0.0":
            stack.enter_context(mock.patch.object(building, "_readers", weights_read_ahead))
        if version == "4.48.1":
            losses = {"ForCausalLM": loss_with_shifted_logits}
            stack.enter_context(mock.patch.dict(LOSS_MAPPING, losses))
            prepare = mock.patch.object(peft, "prepare_model_for_kbit_training", upcast_of_norms)
            stack.enter_context(prepare)
        yield


def of_t4(run):
    """Return a run of the T4's record as one of the others are."""
    step = {
        "seq": run["seq"],
        "batch": run["batch"],
        "lora": {"r": run["lora_rank"], "target_modules": run["lora_targets"]},
        "trainer": "loop",
        "quantization": None if run["quantization"] == "none" else run["quantization"],
        "upcast": True,
        "checkpointing": run["gradient_checkpointing"],
        "attention": "eager" if run["attention"] == "eager" else "sdpa",
        "precision": run["precision"],
    }
    return {"id": run["id"], "model": run["model"], "card": "t4", "step": step}


def planned(run):
    """Return the verdict, and bytes: allocated, and lowest and highest reserved."""
    import peft
    from transformers import AutoConfig

    run = json.loads(run)
    step, figures, adapter = run["step"], run.get("architecture"), run.get("adapter")
    if adapter:
        kind = peft.PEFT_TYPE_TO_CONFIG_MAPPING[adapter.pop("peft_type")]
        step["lora"] = kind(task_type="CAUSAL_LM", **adapter)
    if run["id"].startswith("peft-"):
        step["seq"] = LONGEST_OF_PEFT
    model = AutoConfig.for_model(**figures) if figures else run["model"]
    with as_of(run.get("stack", {}).get("transformers")):
        plan = memory.plan(model, gpu=run["card"], **step)
    return plan.verdict, plan.allocated_bytes, *plan.reserved_bytes


def plan_all(runs):
    """Return what `planned` does, by the runs' ids; what was measured twice is planned once."""
    keys = [json.dumps(run | {"id": run["id"][:5]}) for run in runs]
    distinct = list(dict.fromkeys(keys))
    with ProcessPoolExecutor(max_workers=2, mp_context=get_context("spawn")) as pool:
        plans = dict(zip(distinct, pool.map(planned, distinct), strict=True))
    return {run["id"]: plans[key] for run, key in zip(runs, keys, strict=True)}


@pytest.fixture(scope="module")
def plans():
    """The plans of the published runs."""
    return plan_all(PUBLISHED)


@pytest.mark.slow
def test_plans_agree_with_67_measured_steps():
    """Peak allocated on a T4: off by at most 0.1 % on average and 0.5 % at worst."""
    plans, errors = plan_all([of_t4(run) for run in T4]), {}
    for run in T4:
        measured = run["measured"]
        _, allocated, low, high = plans[run["id"]]
        errors[run["id"]] = abs(allocated / MIB / measured["peak_allocated_mib"] - 1)
        slack = 0 if run["quantization"] == "nf4" else 0.005 * low  # there it is a point
        assert low - slack <= measured["peak_reserved_mib"] * MIB <= high + slack, run["id"]
        context = measured["process_mib"] - measured["peak_reserved_mib"]
        assert memory.CARDS["t4"].context_mib == pytest.approx(context, abs=0.5)
    assert len(errors) == 67
    assert statistics.mean(errors.values()) < 0.001
    assert max(errors.values()) < 0.005, max(errors, key=errors.get)


@pytest.mark.slow
def test_published_runs_end_as_they_did(plans):
    """Twelve of them at a T4's end, of which ten were planned right before torch's last resort."""
    for run in PUBLISHED:
        fits = plans[run["id"]][0] != "does not fit"
        assert fits == (run["outcome"] == "completed"), run["id"]


@pytest.mark.slow
def test_plans_agree_with_published_peaks(plans):
    """FitCheck's own validation on a T4, and its runs without checkpointing: within 0.5 %."""
    runs = [run for run in PUBLISHED if "peak_allocated_mib" in run["measured"]]
    assert len(runs) == 21
    for run in runs:
        peak_mib = plans[run["id"]][1] / MIB
        assert peak_mib == pytest.approx(run["measured"]["peak_allocated_mib"], rel=0.005), run[
            "id"
        ]


@pytest.mark.slow
def test_mistral_on_an_a100_takes_what_ibm_measured(plans):
    """All weights in bf16, LoRA, and NF4 with and without an upcast: within 0.5 %."""
    runs = [run for run in PUBLISHED if "peak_allocated_bytes" in run["measured"]]
    assert len(runs) == 8
    for run in runs:
        peak = plans[run["id"]][1]
        assert peak == pytest.approx(run["measured"]["peak_allocated_bytes"], rel=0.005), run["id"]


@pytest.mark.slow
def test_pefts_methods_differ_as_measured(plans):
    """Reserved on an L40S: the same order, and each difference to the first within 0.2 GB or 12 %.

    One number is fitted, the length of the longest row, which moves all of them alike.
    """
    runs = [run for run in PUBLISHED if run["id"].startswith("peft-")]
    measured = {r["id"]: r["measured"]["reserved_99th_percentile_bytes"] / 1e9 for r in runs}
    reserved = {run["id"]: plans[run["id"]][3] / 1e9 for run in runs}
    assert sorted(measured, key=measured.get) == sorted(reserved, key=reserved.get)
    first = "peft-lora-r32"
    for name, gb in measured.items():
        difference = gb - measured[first]
        planned = reserved[name] - reserved[first]
        assert planned == pytest.approx(difference, rel=0.2, abs=0.1), name
