"""Parts of the script that measures a card: what can be wrong in a figure and still look right."""

import dataclasses
import importlib
import itertools
import os
from pathlib import Path

import pytest
import torch
from gpu_parts import Job, determinism, notebooks, quantization, small_model


@pytest.fixture
def job(tmp_path):
    return Job(device="cpu", rehearse=True, memory_gib=14.56, model=None, scratch=tmp_path)


@pytest.fixture
def real_job(job):
    return dataclasses.replace(job, rehearse=False)


@pytest.mark.parametrize("name", ["quantization", "notebooks"])
def test_no_model_given(real_job, name):
    part = importlib.import_module(f"gpu_parts.{name}")
    with pytest.raises(ValueError, match="give --model, a folder of SmolLM2-135M-Instruct"):
        part.measure(real_job, **part.rows(real_job)[0])


def test_a_model_is_written_without_moving_random_numbers(job):
    """The first of two runs with one seed drew its adapter after this: their gradients differed."""
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    folder = small_model.given_folder(job)
    assert torch.equal(torch.rand(3), expected)
    assert small_model.given_folder(job) == folder


# Quantization ------------------------------------------------------------------------------------


def test_the_call_that_warms_up_is_not_timed(real_job, monkeypatch):
    ticks = iter([0.0, 0.003, 1.0, 1.001, 2.0, 2.008])  # 3, 1 and 8 ms
    monkeypatch.setattr(quantization.time, "perf_counter", lambda: next(ticks))
    calls = itertools.count()
    times = quantization._milliseconds(real_job, lambda: next(calls), n_times=3)
    assert times == {"median": 3.0, "shortest": 1.0, "longest": 8.0}
    assert next(calls) == 4


def test_tf32_is_for_its_own_row(job, monkeypatch):
    """What the other variants are compared with has none, and an error leaves none behind."""
    seen = []

    def losses(*arguments, **keywords):
        seen.append(torch.get_float32_matmul_precision())
        raise KeyError("on purpose")

    monkeypatch.setattr(quantization.evaluation, "token_losses", losses)
    for variant in ("FP32, TF32", "FP32"):
        with pytest.raises(KeyError):
            quantization.measure(job, variant=variant)
    with quantization._tf32(True), pytest.raises(KeyError):
        quantization._losses_in_fp32(small_model.given_folder(job), job)
    assert seen == ["high", "highest", "highest"]
    assert torch.get_float32_matmul_precision() == "highest"


# Determinism -------------------------------------------------------------------------------------


def run(losses, *weights):
    return determinism.Run(losses, {"lora_A": torch.tensor(weights)}, seconds=1.0)


def test_one_bit_is_a_difference():
    one = run([2.0, 1.0, 0.5], 1.0, -4.0)
    same = determinism._compared(one, run([2.0, 1.0, 0.5], 1.0, -4.0))
    assert same["losses_equal"] and same["weights_equal"]
    assert same["first_step_apart"] is None and same["largest_weight_difference"] == 0.0
    bit = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0)).item()
    other = determinism._compared(one, run([2.0, 1.25, 0.0], bit, -4.0))
    assert not other["losses_equal"] and not other["weights_equal"]
    assert other["first_step_apart"] == 2 and other["largest_loss_difference"] == 0.5
    assert other["largest_weight_difference"] == 2**-23 and other["largest_weight"] == 4.0


def test_losses_that_are_no_numbers_are_not_equal():
    nan = float("nan")
    assert not determinism._compared(run([nan], 1.0), run([nan], 1.0))["losses_equal"]


def test_rows_that_share_a_first_run_follow_one_another(real_job):
    """It is kept until the next one, so that none is trained twice."""
    settings = [
        tuple(value for name, value in row.items() if name != "comparison")
        for row in determinism.rows(real_job)
    ]
    blocks = [setting for setting, _ in itertools.groupby(settings)]
    assert len(blocks) == len(set(settings))


def test_an_operation_without_a_deterministic_algorithm(job, monkeypatch):
    def refuse(*arguments, **settings):
        raise RuntimeError(message)

    monkeypatch.setattr(determinism, "_first_run", refuse)
    row = determinism.rows(job)[0] | {"deterministic": True}
    message = "cumsum_cuda does not have a deterministic implementation, but you set ...\nmore"
    assert determinism.measure(job, **row)["refused"] == message.splitlines()[0]
    with pytest.raises(RuntimeError, match="cumsum_cuda"):
        determinism.measure(job, **row | {"deterministic": False})
    message = "CUDA error: an illegal memory access was encountered"
    with pytest.raises(RuntimeError, match="illegal"):
        determinism.measure(job, **row)


def test_what_is_equal_on_a_cpu(job):
    settings = {"precision": "bf16", "attention": "eager", "deterministic": True}
    rows = {
        comparison: determinism.measure(job, comparison=comparison, **settings)
        for comparison in ("same seed", "resumed", "another seed")
    }
    equal = {name: (row["losses_equal"], row["weights_equal"]) for name, row in rows.items()}
    assert equal == {
        "same seed": (True, True),
        "resumed": (True, True),
        "another seed": (False, False),
    }
    assert len(rows["resumed"]["losses"]) == rows["resumed"]["steps"] == 4
    assert rows["same seed"]["largest_weight"] > 0
    assert not torch.are_deterministic_algorithms_enabled()


# Notebooks ---------------------------------------------------------------------------------------


def test_a_cell_that_fails_is_noted_and_the_next_one_runs(job):
    [row] = notebooks.rows(job)
    figures = notebooks.measure(job, **row)
    error = {"cell": 2, "source": "1 / 0", "error": "ZeroDivisionError: division by zero"}
    assert figures["failed"] == [error]
    assert figures["cells"] == 4 and len(figures["slowest"]) == 3
    assert figures["peak_gib"] == {"allocated": 0.0, "reserved": 0.0}
    assert "error" not in figures


def test_a_kernel_that_dies(job, monkeypatch):
    from nbformat import v4

    cells = [v4.new_code_cell(text) for text in ("1 / 0", "import os; os._exit(1)", "2")]
    monkeypatch.setattr(notebooks, "_rehearsal", lambda: v4.new_notebook(cells=cells))
    figures = notebooks.measure(job, profile="pod", notebook="rehearsal")
    assert figures["error"] == "the kernel died in cell 1"
    assert [cell["cell"] for cell in figures["failed"]] == [0]
    assert "peak_gib" not in figures


def test_a_cap_that_did_not_take(job, monkeypatch):
    """A T4's figures would be an H100's."""
    memory = {"allocated": 2**30, "reserved": 2**31, "fraction": 1.0}
    monkeypatch.setattr(notebooks, "_fraction", lambda job: 0.182)
    monkeypatch.setattr(notebooks, "_execute", lambda *arguments: ({}, memory))
    [row] = notebooks.rows(job)
    figures = notebooks.measure(job, **row)
    assert figures["peak_gib"] == {"allocated": 1.0, "reserved": 2.0}
    assert figures["error"] == "not capped: it could take 100% of the card"
    memory["fraction"] = 0.1819999
    assert "error" not in notebooks.measure(job, **row)


def test_the_peak_outlives_a_reset(monkeypatch):
    """Chapters reset it before each measurement of theirs."""
    peak, asked = {"allocated": 7, "reserved": 9}, []

    def reset():
        peak.update(allocated=1, reserved=9)

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: peak["reserved"])
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", asked.append)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda: asked[-1])
    notebooks._watch_memory(0.25)
    torch.cuda.reset_peak_memory_stats()
    assert peak["allocated"] == 1 and asked == [0.25]
    expected = {"allocated": 7, "reserved": 9, "fraction": 0.25}
    assert torch.cuda.reset_peak_memory_stats.note() == expected


def test_a_kernel_finds_the_course_the_packages_and_the_model(real_job, tmp_path, monkeypatch):
    """Its working directory is another, so a relative path would lead nowhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"wheels{os.pathsep}/opt/more")
    monkeypatch.delenv("FINETUNING_CACHE", raising=False)
    folder = tmp_path / "SmolLM2-135M-Instruct"
    folder.mkdir()
    job = dataclasses.replace(real_job, model=Path(folder.name))
    environment = notebooks._environment(job, profile="t4", fraction=None)
    paths = environment["PYTHONPATH"].split(os.pathsep)
    assert (Path(paths[0]) / "notebooks").is_dir()
    assert paths[1:] == [str(tmp_path / "wheels"), "/opt/more"]
    assert environment["FINETUNING_BASE_MODEL"] == str(folder)
    assert environment["FINETUNING_PROFILE"] == "t4"
    assert "FINETUNING_CACHE" not in environment  # a folder that `sources` would make again
    (folder / "checksums.json").write_text("{}")
    environment = notebooks._environment(job, profile="t4", fraction=None)
    assert environment["FINETUNING_CACHE"] == str(tmp_path)


def test_every_notebook_has_its_rows(real_job):
    rows = [(row["profile"], row["notebook"]) for row in notebooks.rows(real_job)]
    names = {path.stem for path in (notebooks.ROOT / "notebooks").glob("*.ipynb")}
    assert sorted(rows) == sorted(itertools.product(("pod", "t4"), names))
    assert all(("capped" in row) == (row["profile"] == "t4") for row in notebooks.rows(real_job))
