"""Profiles on machines that are not there."""

import dataclasses
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from helpers import environment
from helpers.environment import GIB, PROFILES


def machine(monkeypatch, *, cuda, major=0, gib=0):
    for variable in ("FINETUNING_PROFILE", "FINETUNING_BASE_MODEL"):
        monkeypatch.delenv(variable, raising=False)
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


def test_a_chapter_with_the_readers_own_model(monkeypatch):
    """`FINETUNING_BASE_MODEL` is for the machine's profile; a profile asked for by name stays."""
    machine(monkeypatch, cuda=True, major=9, gib=80)
    monkeypatch.setenv("FINETUNING_BASE_MODEL", "me/mine")
    assert environment.profile() == dataclasses.replace(PROFILES["pod"], base_model="me/mine")
    assert environment.profile("cpu").base_model == PROFILES["cpu"].base_model
    assert environment.profile(base_model="a/b").base_model == "a/b"


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
