"""GGUF files, servers and parity, with a tiny model and llama.cpp's real tools."""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from helpers import environment, models, yoda
from onegpu import gguf, llama_cpp, parity, serving
from onegpu.parity import openai_servers

pytestmark = pytest.mark.slow  # the first run compiles llama.cpp

PROMPTS = [yoda.prompt(row["sentence"]) for row in yoda.rows("test")[:6]]


@dataclasses.dataclass
class Files:
    """A tiny base, an adapter on it, and their GGUF files."""

    base: Path
    adapter: Path
    merged: Path
    base_gguf: Path
    adapter_gguf: Path
    merged_gguf: Path


@pytest.fixture(scope="module")
def tokenizer():
    return models.load_tokenizer(environment.profile("cpu"))


def tiny(tokenizer, folder, hidden_size=64):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = LlamaForCausalLM(config)
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        torch.nn.init.normal_(layer.weight)  # sure of its next token, as trained models are
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def files(tokenizer, tmp_path_factory):
    llama_cpp.install()
    folder = tmp_path_factory.mktemp("deployment")
    base = tiny(tokenizer, folder / "base")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=64, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder / "adapter")
    model.merge_and_unload().save_pretrained(folder / "merged")
    tokenizer.save_pretrained(folder / "merged")
    return Files(
        base,
        folder / "adapter",
        folder / "merged",
        gguf.convert(base, folder / "base.gguf", outtype="f32"),
        gguf.convert_adapter(folder / "adapter", folder / "adapter.gguf", base=base),
        gguf.convert(folder / "merged", folder / "merged.gguf", outtype="f32"),
    )


@pytest.fixture(scope="module")
def trained(files, tokenizer):
    base = AutoModelForCausalLM.from_pretrained(files.base, dtype=torch.float32)
    model = PeftModel.from_pretrained(base, files.adapter)
    return parity.record((model, tokenizer), PROMPTS, max_new_tokens=12)


def compare(trained, candidate):
    return parity.compare(trained, candidate, PROMPTS, max_new_tokens=12)


def rewrite(source, path, *, without=(), **changed):
    """Copy a GGUF file with other metadata; keys have `__` where the file has a dot."""
    reader = GGUFReader(source)
    writer = GGUFWriter(path, "llama")
    changed = {name.replace("__", "."): value for name, value in changed.items()}
    for name, field in reader.fields.items():
        if name.startswith("GGUF.") or name == "general.architecture" or name in without:
            continue
        kind = field.types[0]
        sub_type = field.types[-1] if kind == GGUFValueType.ARRAY else None
        value = changed.pop(name) if name in changed else field.contents()
        writer.add_key_value(name, value, kind, sub_type)
    for name, value in changed.items():
        writer.add_key_value(name, value, GGUFValueType.get_type(value))
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


# Parity -----------------------------------------------------------------------------------------


def test_merged_converted_and_served_are_the_same_model(files, trained, tokenizer):
    merged = AutoModelForCausalLM.from_pretrained(files.merged, dtype=torch.float32)
    for candidate in ((merged, tokenizer), files.merged_gguf):
        report = compare(trained, candidate)
        assert report.verdict == "THE SAME MODEL", report
        assert report.n_same_tokens == report.n_same_answers == len(PROMPTS)
        assert report.mean_kl < parity.SAME_KL
    with serving.serve(files.base_gguf, adapters=[files.adapter_gguf]) as server:
        assert compare(trained, server).n_same_answers == len(PROMPTS)
        assert compare(trained, server.url).mean_kl < 1e-3


def test_quantized_to_4_bits_is_alike(files, trained, tmp_path):
    small = gguf.quantize(files.merged_gguf, tmp_path / "q.gguf", "Q4_K_M")
    report = compare(trained, small)
    assert report.mean_kl > parity.SAME_KL
    assert not report.verdict.startswith("THE SAME MODEL")


def test_an_adapter_that_is_not_applied(files, trained):
    assert "its adapter is not applied" in compare(trained, files.base_gguf).verdict


def test_an_adapter_for_another_base(files, tokenizer, tmp_path):
    other = gguf.convert(tiny(tokenizer, tmp_path / "other", 32), tmp_path / "other.gguf")
    with (
        pytest.raises(RuntimeError, match=r"(?s)llama-server ended before it answered.*adapter"),
        serving.serve(other, adapters=[files.adapter_gguf]),
    ):
        pass


def test_another_model(files, trained, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(files.merged, dtype=torch.float32)
    torch.nn.init.normal_(model.get_output_embeddings().weight)
    assert "another base or adapter" in compare(trained, (model, tokenizer)).verdict


def test_a_template_that_was_dropped(files, trained, tmp_path):
    path = rewrite(files.merged_gguf, tmp_path / "t.gguf", without=("tokenizer.chat_template",))
    assert any("no chat template" in warning for warning in gguf.inspect(path).warnings)
    assert gguf.inspect(path).template is None
    other = "{% for m in messages %}### {{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    path = rewrite(files.merged_gguf, tmp_path / "o.gguf", tokenizer__chat_template=other)
    assert "another chat template" in compare(trained, path).verdict
    assert any("never writes the end token" in w for w in gguf.inspect(path).warnings)


def test_a_beginning_token_twice(files, trained, tmp_path):
    template = gguf.inspect(files.merged_gguf).template
    path = rewrite(
        files.merged_gguf,
        tmp_path / "b.gguf",
        tokenizer__ggml__add_bos_token=True,
        tokenizer__ggml__bos_token_id=0,
        tokenizer__chat_template="<|endoftext|><|endoftext|>" + template,
    )
    assert any("may be there twice" in warning for warning in gguf.inspect(path).warnings)
    path = rewrite(
        files.merged_gguf,
        tmp_path / "c.gguf",
        tokenizer__ggml__add_bos_token=True,
        tokenizer__ggml__bos_token_id=0,
    )
    assert "one more token before the prompt" in compare(trained, path).verdict


def test_another_pre_tokenizer(files, trained, tmp_path):
    path = rewrite(files.merged_gguf, tmp_path / "p.gguf", tokenizer__ggml__pre="llama-bpe")
    spaces = [[{"role": "user", "content": "a  b   c\n\n  d"}]]
    verdict = parity.compare(files.merged_gguf, path, spaces, max_new_tokens=2).verdict
    assert "the pre-tokenizer is another" in verdict
    path = rewrite(files.merged_gguf, tmp_path / "n.gguf", without=("tokenizer.ggml.pre",))
    assert any("no pre-tokenizer" in warning for warning in gguf.inspect(path).warnings)


def test_an_end_token_that_is_missing(files, trained, tokenizer, tmp_path):
    path = rewrite(files.merged_gguf, tmp_path / "e.gguf", without=("tokenizer.ggml.eos_token_id",))
    assert any("no end token" in warning for warning in gguf.inspect(path).warnings)
    ended = [dataclasses.replace(a, ids=a.ids[:3], end=a.ids[3]) for a in trained.answers]
    report = compare(dataclasses.replace(trained, answers=tuple(ended)), files.merged_gguf)
    assert "its end token is missing, or is not stopped at" in report.verdict


@pytest.mark.parametrize(
    "settings",
    [
        {"use_rslora": True, "lora_alpha": 32},
        {"alpha_pattern": {"down_proj": 256, "layers.0.self_attn.q_proj": 8}, "lora_alpha": 64},
        {"use_rslora": True, "alpha_pattern": {"v_proj": 4}, "lora_alpha": 32},
        {"rank_pattern": {"up_proj": 8}, "lora_alpha": 64},
    ],
    ids=["rslora", "alphas", "both", "ranks"],
)
def test_scales_that_one_alpha_cannot_tell(files, tokenizer, tmp_path, settings):
    """llama.cpp's converter writes one alpha: the others were lost, and called quantization."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(files.base, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", **settings))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(tmp_path / "adapter")
    recorded = parity.record((model, tokenizer), PROMPTS, max_new_tokens=12)
    good = gguf.convert_adapter(tmp_path / "adapter", tmp_path / "good.gguf", base=files.base)
    with serving.serve(files.base_gguf, adapters=[good]) as server:
        assert compare(recorded, server).verdict == "THE SAME MODEL"
    raw = tmp_path / "raw.gguf"
    script = ("convert_lora_to_gguf.py", tmp_path / "adapter", "--base", files.base)
    llama_cpp.run(*script, "--outfile", raw, "--outtype", "f16")
    if settings.keys() == {"rank_pattern", "lora_alpha"}:
        assert raw.read_bytes() == good.read_bytes()
        return
    with serving.serve(files.base_gguf, adapters=[raw]) as server:
        verdict = compare(recorded, server).verdict
    assert verdict.startswith(
        "NOT THE SAME: the candidate's adapter is applied, at another scale: lora_alpha / r"
    )


@pytest.mark.parametrize(("scale", "named"), [(0.5, "half"), (2.0, "twice")])
def test_an_adapter_at_another_scale(files, trained, scale, named):
    with serving.serve(files.base_gguf, adapters=[files.adapter_gguf]) as server:
        serving.request(server, "/lora-adapters", [{"id": 0, "scale": scale}])
        verdict = compare(trained, server).verdict
    assert f"adapter is applied, at another scale: about {named}" in verdict


def test_a_penalty_in_the_file_is_left_out_and_named(files, trained, tmp_path):
    path = rewrite(files.merged_gguf, tmp_path / "r.gguf", general__sampling__penalty_repeat=1.5)
    report = compare(trained, path)
    assert report.verdict == "THE SAME MODEL"
    (note,) = report.notes
    assert note.startswith("the candidate: asked without its repeat_penalty=1.5")


def test_openais_requests_to_a_real_server(files, trained):
    """The formats that test_parity_servers.py plays, from llama.cpp."""
    with serving.serve(files.merged_gguf) as server:
        found = openai_servers.record_openai_server(
            server.url, "", prompts=PROMPTS, max_new_tokens=12
        )
    report = compare(trained, dataclasses.replace(found, prompts=trained.prompts))
    assert report.verdict == "THE SAME MODEL", report
    assert report.n_same_tokens == len(PROMPTS)


# Files ------------------------------------------------------------------------------------------


def test_what_is_in_a_file(files):
    found = gguf.inspect(files.merged_gguf)
    assert found.warnings == ()
    assert found.metadata["general.architecture"] == "llama"
    assert found.metadata["tokenizer.ggml.tokens"] == "49,152 values"
    n_bytes = sum(n for _, n in found.by_type().values())
    assert 0 < found.path.stat().st_size - n_bytes < 3_000_000  # the vocabulary
    assert "nothing is missing" in repr(found)


def test_files_that_are_none(files, tmp_path):
    whole = files.merged_gguf.read_bytes()
    for size in (100, len(whole) // 2, len(whole) - 1000):
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="cut short or damaged"):
            gguf.inspect(cut)
        with (
            pytest.raises(RuntimeError, match="llama-server ended before it answered"),
            serving.serve(cut),
        ):
            pass
    cut.write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="is no GGUF file"):
        gguf.inspect(cut)
    with pytest.raises(FileNotFoundError, match="is no file"):
        gguf.inspect(tmp_path / "none.gguf")


def test_folders_that_cannot_be_converted(files, tmp_path):
    with pytest.raises(
        ValueError, match="an adapter alone: load it on its base without quantization"
    ):
        gguf.convert(files.adapter, tmp_path / "a.gguf")
    with pytest.raises(ValueError, match="the converter writes f32"):
        gguf.convert(files.merged, tmp_path / "a.gguf", outtype="q4_k_m")
    with pytest.raises(ValueError, match="holds no adapter"):
        gguf.convert_adapter(files.merged, tmp_path / "a.gguf", base=files.base)
    with pytest.raises(RuntimeError, match=r"(?s)llama-quantize failed.*"):
        gguf.quantize(files.merged_gguf, tmp_path / "a.gguf", "Q9_Z")
    folder = shutil.copytree(files.merged, tmp_path / "folder")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has no chat template"):
        gguf.convert(folder, tmp_path / "a.gguf")
    shutil.copy(files.merged / "chat_template.jinja", folder)
    config = folder / "config.json"
    quantized = '{"quantization_config": {"quant_method": "bitsandbytes"},'
    config.write_text(config.read_text("utf-8").replace("{", quantized, 1), "utf-8")
    with pytest.raises(ValueError, match="are quantized by bitsandbytes.*: dequantize the base"):
        gguf.convert(folder, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


def test_an_adapter_that_cannot_be_converted(files, tmp_path):
    base = AutoModelForCausalLM.from_pretrained(files.base)
    dora = LoraConfig(r=2, target_modules=["q_proj"], use_dora=True)
    get_peft_model(base, dora).save_pretrained(tmp_path / "dora")
    with pytest.raises(RuntimeError, match=r"(?s)convert_lora_to_gguf.py failed.*lora_magnitude"):
        gguf.convert_adapter(tmp_path / "dora", tmp_path / "a.gguf", base=files.base)


# Servers ----------------------------------------------------------------------------------------


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_server_answers_on_loopback_alone_and_is_gone_afterwards(files):
    with serving.serve(files.merged_gguf) as server:
        port = int(server.url.rpartition(":")[2])
        messages = {"messages": PROMPTS[0], "max_tokens": 4}
        answer = serving.request(server, "/v1/chat/completions", messages)
        assert answer["usage"]["completion_tokens"] == 4
        table = Path("/proc/net/tcp")
        if table.exists():
            rows = [line.split()[1:4] for line in table.read_text().splitlines()[1:]]
            mine = [where for where, _, state in rows if where.endswith(f":{port:04X}")]
            assert mine
            assert all(where.startswith("0100007F") for where in mine)
        with pytest.raises(RuntimeError, match="answered 404"):
            serving.request(server, "/v1/nothing")
        with (
            pytest.raises(OSError, match=f"port {port} of 127.0.0.1 is taken"),
            serving.serve(files.merged_gguf, port=port),
        ):
            pass
        server.stop()
        with pytest.raises(ConnectionError, match="no server answers"):
            serving.request(server, "/health")
    assert not listening(port)


def test_the_adapter_is_switched_by_the_request(files, trained):
    with serving.serve(files.base_gguf, adapters=[files.adapter_gguf]) as server:
        body = {"prompt": trained.answers[0].prompt_text, "temperature": -1, "n_predict": 12}
        texts = [
            serving.request(server, "/completion", {**body, "lora": [{"id": 0, "scale": scale}]})
            for scale in (1.0, 0.0)
        ]
    assert texts[0]["content"] != texts[1]["content"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_server_outlives_its_process(files, how):
    script = f"""
import sys, time
from onegpu import serving
with serving.serve({str(files.merged_gguf)!r}) as server:
    print(server.url, flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    port = int(process.stdout.readline().strip().rpartition(":")[2])
    assert listening(port)
    os.kill(process.pid, how)
    process.wait()
    for _ in range(100):
        if not listening(port):
            break
        time.sleep(0.05)
    assert not listening(port)


def test_a_modelfile_writes_what_the_template_writes(tokenizer):
    text = serving.modelfile(tokenizer, "model.gguf")
    assert text.startswith("FROM model.gguf\n")
    assert "PARAMETER stop <|im_end|>" in text
    assert 'SYSTEM """You are a helpful AI assistant' in text
    assert 'SYSTEM """Be brief."""' in serving.modelfile(tokenizer, "m.gguf", system="Be brief.")
    other = AutoTokenizer.from_pretrained(models.source(environment.profile("cpu")))
    other.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(ValueError, match="this chat template is not ChatML"):
        serving.modelfile(other, "model.gguf")


# Tools ------------------------------------------------------------------------------------------


def test_tools_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("FINETUNING_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not llama_cpp.is_installed()
    with pytest.raises(FileNotFoundError, match=r"run llama_cpp\.install\(\) first"):
        llama_cpp.tool("llama-server")
    with pytest.raises(ValueError, match="unknown tool 'llama-cli'"):
        llama_cpp.tool("llama-cli")
    with pytest.raises(RuntimeError, match=r"there is no C\+\+ compiler\. Install one"):
        llama_cpp.install()
    for name in llama_cpp.PROGRAMS + llama_cpp.SCRIPTS:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert llama_cpp.is_installed()
    assert llama_cpp.tool("llama-server") == tmp_path / "llama-server"
