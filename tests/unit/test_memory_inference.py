"""Plans of serving: against files that others published, llama.cpp itself, vLLM's logs, torch."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import torch

from onegpu import __main__, gguf, llama_cpp, memory, sources
from onegpu.memory.architectures import configuration
from onegpu.memory.inference.forward import trace_forward
from onegpu.memory.inference.gguf_weights import gguf_bytes
from onegpu.memory.inference.kv_cache import (
    CacheLayer,
    llama_cpp_cache,
    transformers_cache,
    vllm_cache,
)
from onegpu.memory.inference.parts import ServedModel, _quantized, _saved, _vllm_compute
from onegpu.memory.replay import peaks_of

MIB, GIB, GB = 1024**2, 1024**3, 1e9
# Sizes of files in GGUF, each as far as it is published.
FILES = [
    # https://github.com/ggml-org/llama.cpp/blob/0c1e57098bba43ac29e6e3b677cdceebdd22334f/tools/quantize/README.md
    ("Llama-3.1-8B", "q3_k_m", 3.74, GIB),
    ("Llama-3.1-8B", "q4_k_s", 4.36, GIB),
    ("Llama-3.1-8B", "q4_k_m", 4.58, GIB),
    ("Llama-3.1-8B", "q5_k_m", 5.33, GIB),
    ("Llama-3.1-8B", "q6_k", 6.14, GIB),
    ("Llama-3.1-8B", "q8_0", 7.95, GIB),
    ("Llama-3.1-8B", "f16", 14.96, GIB),
    # https://github.com/ollama/ollama/pull/6279, of llama3.1:70b
    ("Llama-3.1-70B", "q4_0", 37.22, GIB),
    # https://huggingface.co/bartowski/Qwen_Qwen3-4B-GGUF
    ("Qwen3-4B", "bf16", 8.05, GB),
    ("Qwen3-4B", "q8_0", 4.28, GB),
    ("Qwen3-4B", "q6_k", 3.31, GB),
    ("Qwen3-4B", "q5_k_m", 2.89, GB),
    ("Qwen3-4B", "q4_k_m", 2.50, GB),
    ("Qwen3-4B", "q4_k_s", 2.38, GB),
    # https://huggingface.co/bartowski/Qwen_Qwen3-8B-GGUF
    ("Qwen3-8B", "bf16", 16.39, GB),
    ("Qwen3-8B", "q8_0", 8.71, GB),
    ("Qwen3-8B", "q6_k", 6.73, GB),
    # https://huggingface.co/bartowski/Llama-3.2-1B-Instruct-GGUF
    ("Llama-3.2-1B", "f16", 2.48, GB),
    ("Llama-3.2-1B", "q6_k", 1.02, GB),
    ("Llama-3.2-1B", "q4_k_m", 0.81, GB),
    # https://huggingface.co/stduhpf/google-gemma-3-12b-it-qat-q4_0-gguf-small
    ("gemma-3-12b-it", "q4_0", 6.89, GB),
    # https://github.com/ggml-org/llama.cpp/issues/14235
    ("Qwen3-30B-A3B", "q4_k_m", 17.28, GIB),
    # https://huggingface.co/bartowski/openai_gpt-oss-20b-GGUF
    ("gpt-oss-20b", "mxfp4", 12.1, GB),
]


@pytest.fixture(scope="module")
def served():
    """Builds each model once."""
    known = {}

    def find(name):
        if name not in known:
            known[name] = ServedModel.of(configuration(name))
        return known[name]

    return find


def file_bytes(model, kind):
    card, host = gguf_bytes(model.tensors, model.config, kind=kind)
    is_tied = not any(tensor.name == "output.weight" for tensor in model.tensors)
    return card if is_tied else card + host


@pytest.mark.parametrize(("name", "kind", "size", "unit"), FILES)
def test_weights_are_as_large_as_published_files(name, kind, size, unit, served):
    """Within 1 %, or 12 MB, which the vocabulary in the file and rounding come to."""
    planned = file_bytes(served(name), kind)
    assert planned == pytest.approx(size * unit, rel=0.01, abs=12e6)


def test_types_of_a_model_of_normal_shape_by_hand():
    """Q6_K: the output matrix, and half of the value and down projections. Norms are F32."""
    hidden, inner, values, vocab = 4096, 14336, 1024, 128_256
    better = vocab * hidden + 16 * (values * hidden + inner * hidden)
    found = memory.gguf_types("Llama-3.1-8B", kind="q4_k_m")
    assert list(found) == ["Q4_K", "Q6_K", "F32"]
    assert found["Q6_K"] == better and found["F32"] == (2 * 32 + 1) * hidden
    assert sum(found.values()) == 8_030_261_248  # its parameters


def test_rows_that_256_does_not_divide_get_larger_types():
    """Of SmolLM2-135M only down projections, of 1,536 weights a row, are in K-quants."""
    found = memory.gguf_types("SmolLM2-135M", kind="q4_k_m")
    assert found["Q4_K"] + found["Q6_K"] == 30 * 576 * 1536
    assert found["Q5_0"] > sum(found.values()) / 2
    with pytest.raises(ValueError, match="kind is 'q2_k': choose one of f16"):
        memory.gguf_types("SmolLM2-135M", kind="q2_k")


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    """The embedded model as GGUF files of several kinds, made by llama.cpp."""
    llama_cpp.install()
    folder = tmp_path_factory.mktemp("gguf")
    files = {"f16": gguf.convert(sources.embedded_folder(), folder / "f16.gguf")}
    for kind in ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0"):
        files[kind] = gguf.quantize(files["f16"], folder / f"{kind}.gguf", kind.upper())
    return files


def printed_by_server(path: Path, *arguments: str, folder: Path) -> dict[str, float]:
    """Return the MiB of buffers that llama-server prints before it answers."""
    log = folder / "log.txt"
    command = [llama_cpp.tool("llama-server"), "--model", path, "--port", "0", "--offline"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--verbosity", "4", "--no-warmup", "--no-repack", *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            for _ in range(300):
                if "compute buffer size" in log.read_text("utf-8") or process.poll() is not None:
                    break
                time.sleep(0.1)
        finally:
            process.kill()
            process.wait()
    found = re.findall(r"(\w+) buffer size = +([\d.]+) MiB", log.read_text("utf-8"))
    return {name: float(n_mib) for name, n_mib in found}


@pytest.mark.slow
def test_weights_and_cache_are_those_of_llama_cpp(small_files, tmp_path):
    """To the hundredth of a MiB that it prints; the model's rows of 576 need fallbacks."""
    cases = [
        ("f16", 4096, 1, "f16"),
        ("q8_0", 333, 3, "f16"),
        ("q6_k", 1024, 2, "q8_0"),
        ("q5_k_m", 2048, 1, "q4_0"),
        ("q4_k_m", 2048, 4, "q8_0"),
        ("q4_0", 512, 1, "q5_1"),
    ]
    for kind, context, requests, kv_cache in cases:
        plan = memory.plan_serving(
            "SmolLM2-135M",
            gpu=24,
            context=context,
            requests=requests,
            weights=kind,
            kv_cache=kv_cache,
        )
        sizes = (("--ctx-size", context * requests), ("--parallel", requests))
        types = (("--cache-type-k", kv_cache), ("--cache-type-v", kv_cache))
        arguments = [str(part) for pair in (*sizes, *types) for part in pair]
        printed = printed_by_server(small_files[kind], *arguments, folder=tmp_path)
        tensors = gguf.inspect(small_files[kind]).tensors
        assert plan.parts.weights_bytes == sum(n_bytes for *_, n_bytes in tensors)
        assert plan.parts.weights_bytes / MIB == pytest.approx(printed["model"], abs=0.01)
        assert plan.parts.kv_cache_bytes / MIB == pytest.approx(printed["KV"], abs=0.01)
        compute = plan.parts.compute_bytes / MIB
        assert printed["compute"] - 0.1 <= compute <= 1.1 * printed["compute"]


def test_the_cache_by_hand(served):
    """Keys and values of 36 layers, 8 heads of 128: 147,456 bytes a token in 16 bits."""
    layers = served("Qwen3-8B").layers
    assert layers == (CacheLayer(n_keys=1024, n_values=1024),) * 36
    in_16_bits = llama_cpp_cache(layers, context=8192, requests=4, block=(1, 2))
    assert in_16_bits == 4 * 8192 * 147_456
    in_8_bits = llama_cpp_cache(layers, context=8192, requests=4, block=(32, 34))
    assert in_8_bits == in_16_bits * 34 // 64
    padded = llama_cpp_cache(layers, context=257, requests=1, block=(1, 2))
    assert padded == 512 * 147_456
    assert vllm_cache(layers, context=17, requests=2, element=1, n_batched=2048) == 64 * 73_728
    assert transformers_cache(layers, context=17, requests=2) == 34 * 147_456


def test_windows_keep_no_more_than_the_engine_does(served):
    """Gemma 3 12B: 8 layers of 48 see everything, the others 1,024 tokens; 8 heads of 256."""
    layers = served("gemma-3-12b-it").layers
    assert [layer.window for layer in layers].count(1024) == 40
    token = 2 * 2 * 8 * 256
    context = 32_768
    in_llama_cpp = llama_cpp_cache(layers, context=context, requests=1, block=(1, 2))
    assert in_llama_cpp == token * (8 * context + 40 * (1024 + 512))
    in_transformers = transformers_cache(layers, context=context, requests=1)
    assert in_transformers == token * (8 * context + 40 * 1023)
    in_vllm = vllm_cache(layers, context=context, requests=1, element=2, n_batched=2048)
    assert in_vllm == token * (8 * context + 40 * (192 + 1) * 16)


def test_llama_cpp_ignores_the_windows_of_mistral(served):
    """And transformers does not."""
    settings = {"gpu": 24, "context": 16_384}
    by_llama_cpp = memory.plan_serving("Mistral-7B-v0.1", weights="q4_k_m", **settings)
    assert by_llama_cpp.parts.kv_cache_bytes == 16_384 * 32 * 2 * 2 * 1024
    layers = served("Mistral-7B-v0.1").layers
    assert transformers_cache(layers, context=16_384, requests=1) == 4095 * 32 * 2 * 2 * 1024


def test_recurrent_layers_keep_a_state_of_constant_size(served):
    """Qwen3.5 9B: 24 of 32 layers keep 8,192 channels of 3 and 32 matrices of 128, in float32."""
    layers = served("Qwen3.5-9B").layers
    state = 24 * 4 * (8192 * 3 + 32 * 128 * 128)
    short, long = (llama_cpp_cache(layers, context=n, requests=2, block=(1, 2)) for n in (256, 512))
    attention = 2 * 256 * 8 * 2 * 2 * 1024
    assert short == 2 * state + attention
    assert long - short == attention
    with pytest.raises(ValueError, match="how it pages the states of a qwen3_5_text is not known"):
        memory.plan_serving("Qwen3.5-9B", gpu="h100", context=512, weights="bf16")


def test_vllm_needs_what_it_logged(served):
    """Llama 3.1 8B on a 3090, batches of all tokens: weights 14.99 GiB, activations 2.07 and 2.99.

    Source: https://github.com/vllm-project/vllm/issues/10517
    """
    model = served("Llama-3.1-8B")
    plan = memory.plan_serving("Llama-3.1-8B", gpu="rtx3090", context=16 * 1952, weights="bf16")
    assert plan.parts.weights_bytes / GIB == pytest.approx(14.9888, rel=0.003)
    assert plan.parts.kv_cache_bytes / GIB == pytest.approx(3.81, abs=0.005)
    for n_tokens, logged in ((20_000, 17.06 - 14.9888), (29_000, 17.98 - 14.9888)):
        compute = _vllm_compute(model.config, n_batched=n_tokens, n_sequences=1)
        assert compute / GIB == pytest.approx(logged, rel=0.01)
    assert plan.fits
    assert plan.replan(context=plan.room_tokens // 256 * 256).fits
    assert not plan.replan(context=plan.room_tokens + 17).fits
    in_8_bits = plan.replan(kv_cache="fp8")
    assert in_8_bits.room_tokens == pytest.approx(2 * plan.room_tokens, abs=1)


def test_transformers_allocates_what_was_planned():
    """The real model on a CPU, weights and cache exactly, the peaks of both phases within 1 %."""
    from transformers import AutoModelForCausalLM, DynamicCache, LlamaConfig

    config = LlamaConfig(
        hidden_size=512,
        intermediate_size=1024,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        vocab_size=8192,
    )
    with memory.measure("cpu") as measured:
        with measured.phase("load"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
        cache = DynamicCache(config=config)
        for phase, n_new in (("prefill", 2047), ("decode", 1)):
            with measured.phase(phase), torch.no_grad():
                tokens = torch.ones((2, n_new), dtype=torch.long)
                model(input_ids=tokens, past_key_values=cache, logits_to_keep=1)
    model_on_meta = ServedModel.of(config)
    kept = sum(t.nbytes for layer in cache.layers for t in (layer.keys, layer.values))
    assert transformers_cache(model_on_meta.layers, context=2048, requests=2) == kept
    settings = {"card": memory.CARDS["rtx3090"], "context": 2048, "requests": 2}
    events = trace_forward(model_on_meta.module, config, **settings)
    planned = {phase.name: phase.allocated_bytes for phase in peaks_of(events).phases}
    for phase in measured.phases[1:]:
        assert planned[phase.name] == pytest.approx(phase.allocated_bytes, rel=0.01), phase.name
    weights = {"context": 2048, "requests": 2, "engine": "transformers", "weights": "bf16"}
    parts = memory.plan_serving(config, gpu="rtx3090", **weights).parts
    assert parts.weights_bytes == sum(p.nbytes for p in model.parameters())
    assert parts.card_bytes == max(phase.reserved_bytes for phase in peaks_of(events).phases)


@pytest.mark.parametrize("kind", ["int8", "nf4", "nf4-double"])
def test_quantized_layers_are_those_of_bitsandbytes(kind):
    """The real layers, on a CPU."""
    import bitsandbytes as bnb

    linear = torch.nn.Linear(1024, 640, bias=False, dtype=torch.bfloat16)
    if kind == "int8":
        layer = bnb.nn.Linear8bitLt(1024, 640, bias=False, has_fp16_weights=False)
        layer.load_state_dict(linear.state_dict())
        weight = layer.to("cpu").weight
        kept = [weight.data, weight.SCB]
    else:
        layer = bnb.nn.LinearNF4(1024, 640, False, compress_statistics=kind == "nf4-double")
        layer.load_state_dict(linear.state_dict())
        state = layer.to("cpu").weight.quant_state
        kept = [layer.weight.data, state.absmax, state.code]
        if kind == "nf4-double":
            kept += [state.offset, state.state2.absmax, state.state2.code]
    assert weight_bytes(linear) + _saved(linear, kind) == sum(t.nbytes for t in kept)


def weight_bytes(layer):
    return layer.weight.nbytes


def test_the_head_stays_in_16_bits(served):
    names = {type(layer).__name__ for layer in _quantized(served("Qwen3-8B").module)}
    assert names == {"Linear"}
    assert len(_quantized(served("Qwen3-8B").module)) == 7 * 36


def test_what_fits_and_what_does_not():
    plan = memory.plan_serving("Qwen3-8B", gpu="t4", context=8192, requests=4, weights="q4_k_m")
    assert plan.fits
    assert "fits: " in repr(plan)
    assert "of weights in the machine's memory" in repr(plan)
    longest, most = plan.longest_context(), plan.most_requests()
    assert plan.replan(context=longest).fits
    assert not plan.replan(context=longest + 256).fits
    assert plan.replan(requests=most).fits
    assert not plan.replan(requests=most + 1).fits
    in_16_bits = plan.replan(weights="fp16", engine="vllm", kv_cache=None)
    assert in_16_bits.longest_context() == 0
    assert "DOES NOT FIT" in repr(in_16_bits)
    assert memory.plan_serving("Qwen3-0.6B", gpu=80, context=256).longest_context() == 40_960


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weights": "q4"}, "weights is 'q4': choose one of bf16, fp16, int8, nf4,"),
        (
            {"engine": "vllm", "weights": "nf4"},
            "choose an engine of transformers, or other weights",
        ),
        ({"kv_cache": "fp8"}, "kv_cache is 'fp8': llama.cpp is planned with f16, bf16, q8_0"),
        ({"context": 10_000}, "context is 10,000, and the model has 8,192 positions"),
        ({"requests": 0}, "both must be 1 or more"),
        ({"weights": "bf16", "gpu": "t4"}, "a t4 of capability 7.5 only emulates it: choose fp16"),
        ({"model": "gpt-oss-20b"}, "llama.cpp does not quantize again: choose mxfp4"),
        ({"model": "GLM-4.7-Flash"}, "how llama.cpp stores a glm4_moe_lite is not known here"),
    ],
)
def test_bad_arguments_say_what_to_do(changed, message):
    settings = {"model": "SmolLM2-135M", "gpu": 24, "context": 512, **changed}
    with pytest.raises(ValueError, match=message):
        memory.plan_serving(settings.pop("model"), **settings)


def test_a_model_whose_cache_is_not_seen_is_refused():
    """Mamba 2 keeps its state elsewhere, which would have been planned as nothing."""
    from transformers import AutoConfig

    config = AutoConfig.for_model("mamba2", num_hidden_layers=2)
    with pytest.raises(ValueError, match="a mamba2 keeps nothing in transformers' DynamicCache"):
        ServedModel.of(config)


def test_layers_that_share_a_cache_keep_nothing(served):
    """Gemma 4 E2B has 35 layers, of which the last 20 look into the caches of others."""
    layers = served("gemma-4-E2B-it").layers
    assert len([layer for layer in layers if layer.n_keys]) == 15


def test_the_command_plans_a_model(capsys):
    typed = "plan-serving SmolLM2-135M --gpu t4 --context 1024 --requests 2 --weights q8_0 --json"
    assert __main__.main(typed.split()) == 0
    shown = json.loads(capsys.readouterr().out)
    plan = memory.plan_serving("SmolLM2-135M", gpu="t4", context=1024, requests=2, weights="q8_0")
    assert shown["kv_cache_bytes"] == plan.parts.kv_cache_bytes
    assert (shown["longest_context"], shown["fits"]) == (plan.longest_context(), True)
    assert __main__.main(["plan-serving", "Qwen3-8B", "--gpu", "4"]) == 1
    shown = capsys.readouterr().out
    assert "DOES NOT FIT" in shown and "at most" not in shown


def test_the_command_finds_the_models_that_fit(capsys, monkeypatch):
    names = ("Qwen/Qwen3-8B", "HuggingFaceTB/SmolLM2-135M", "zai-org/GLM-4.7-Flash")
    some = {name: memory.ARCHITECTURES[name] for name in names}
    monkeypatch.setattr(memory, "ARCHITECTURES", some)
    assert __main__.main(["plan-serving", "--gpu", "t4", "--context", "8192"]) == 0
    title, _, first, second, last = capsys.readouterr().out.splitlines()
    assert "fit on t4, requests: 1, each of 8,192 tokens" in title
    assert first.startswith("Qwen/Qwen3-8B ")
    assert second.startswith("HuggingFaceTB/SmolLM2-135M ")
    assert second.endswith(" 8,192")
    assert last.startswith("not planned: zai-org/GLM-4.7-Flash: how llama.cpp stores a ")
    assert __main__.main(["plan-serving", "--gpu", "0.1"]) == 1
    capsys.readouterr()
    assert (
        __main__.main(["plan-serving", "--gpu", "t4", "--weights", "nf4", "--kv-cache", "q8_0"])
        == 2
    )
    assert "kv_cache is 'q8_0'" in capsys.readouterr().err


def test_the_format_of_weights_follows_the_engine():
    """An engine was refused for a format of llama.cpp that nobody had asked for."""
    formats = {name: memory.Serving(context=8, engine=name).weights for name in memory.ENGINES}
    assert formats == {"vllm": "bf16", "transformers": "bf16", "llama.cpp": "q4_k_m"}
    assert memory.Serving(context=8).weights == "q4_k_m"
    with pytest.raises(ValueError, match="engine is 'ollama': choose one of vllm, "):
        memory.Serving(context=8, engine="ollama")
