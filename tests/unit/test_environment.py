"""Profiles on machines that are not there, and what importing the library costs."""

import os
import pkgutil
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import helpers
from helpers import environment
from helpers.environment import GIB
from onegpu import __main__, doctor

MADE_OF_TORCH = [  # their classes extend torch's, and `memory.plan` imports them when it is called
    f"onegpu.memory.{name}" for name in ("building", "optimizers", "step", "tracer")
]


def machine(monkeypatch, *, cuda, major=0, gib=0):
    monkeypatch.delenv("FINETUNING_PROFILE", raising=False)
    card = SimpleNamespace(major=major, minor=0, total_memory=gib * GIB, name="card")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))


@pytest.mark.parametrize(
    ("cuda", "major", "gib", "name", "precision"),
    [
        (False, 0, 0, "cpu", None),
        (True, 7, 15, "t4", "float16"),
        (True, 8, 16, "t4", "float16"),
        (True, 7, 32, "t4", "float16"),
        (True, 8, 24, "pod", "bfloat16"),
        (True, 9, 139, "pod", "bfloat16"),
    ],
)
def test_the_machine_decides(monkeypatch, cuda, major, gib, name, precision):
    """A T4 says that it supports bfloat16 and only emulates it: never bfloat16 there."""
    machine(monkeypatch, cuda=cuda, major=major, gib=gib)
    found = environment.profile()
    assert found.name == name
    assert precision in (None, found.precision)


def test_variable_and_argument_override(monkeypatch):
    machine(monkeypatch, cuda=True, major=9, gib=80)
    monkeypatch.setenv("FINETUNING_PROFILE", "t4")
    assert environment.profile().name == "t4"
    assert environment.profile("cpu").name == "cpu"
    assert environment.profile("cpu", base_model="a/b").base_model == "a/b"


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_cpu_computes_in_bfloat16_only_where_it_can(monkeypatch, has_bfloat16):
    monkeypatch.setattr(environment, "cpu_has_bfloat16", lambda: has_bfloat16)
    expected = torch.bfloat16 if has_bfloat16 else torch.float32
    assert environment.profile("cpu").dtype == expected


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="an x86 variable")
def test_bfloat16_that_is_listed_but_not_granted():
    """Held to AVX2, oneDNN emulates bfloat16, and the profile chose it all the same."""
    code = "from helpers import environment; print(environment.profile('cpu').precision)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "float32"


def test_unknown_profile(monkeypatch):
    machine(monkeypatch, cuda=False)
    with pytest.raises(ValueError, match=r"unknown profile 'gpu' \(argument\): choose one of cpu,"):
        environment.profile("gpu")
    monkeypatch.setenv("FINETUNING_PROFILE", "a100")
    with pytest.raises(ValueError, match=r"unknown profile 'a100' \(FINETUNING_PROFILE\)"):
        environment.profile()


def test_a_gpu_profile_without_a_gpu(monkeypatch):
    machine(monkeypatch, cuda=False)
    with pytest.raises(ValueError, match="'pod' needs a CUDA GPU and torch sees none"):
        environment.profile("pod")


def test_import_is_light():
    """Importing a module of ours must not cost what torch costs.

    Nine modules were imported and timed, on a machine that may be busy; `memory` was not among
    them, and imported torch.
    """
    found = [module.name for module in pkgutil.walk_packages(helpers.__path__, "helpers.")]
    assert set(MADE_OF_TORCH) <= set(found)
    ours = [name for name in found if name not in MADE_OF_TORCH]
    code = f"import sys, {', '.join(ours)}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded = set(run.stdout.split())
    assert set(ours) <= loaded
    lines = (doctor.ROOT / "requirements.txt").read_text("utf-8").splitlines()
    required = set(doctor.minimums(lines))
    assert "torch" in required
    assert loaded & required == set()


def test_doctor_names_what_is_missing_and_its_fix(monkeypatch, tmp_path, capsys):
    import importlib.metadata

    def version(name):
        if name == "peft":
            raise importlib.metadata.PackageNotFoundError
        return "0.1" if name == "trl" else original(name)

    original = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setenv("FINETUNING_CACHE", str(tmp_path / "not" / "there"))
    rows = {row.name: row for row in doctor.examine()}
    assert rows["peft"].found == "missing"
    assert rows["peft"].fix.startswith('pip install "peft>=')
    assert rows["trl"].fix.startswith('pip install "trl>=')
    assert rows["SmolLM2-135M-Instruct"].fix == "python -m helpers fetch"
    assert rows["torch"].ok
    assert __main__.main(["doctor"]) == 1
    assert "fix: pip install" in capsys.readouterr().out


def test_doctor_survives_an_unknown_profile(monkeypatch):
    monkeypatch.setenv("FINETUNING_PROFILE", "a100")
    rows = {row.name: row for row in doctor.examine()}
    assert not rows["profile"].ok
    assert rows["profile"].fix == "unset FINETUNING_PROFILE"
