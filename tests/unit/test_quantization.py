"""Quantization against bitsandbytes, and what inspect says of models whose parts are known."""

from types import SimpleNamespace

import architectures
import pytest
import torch

from helpers import texts
from onegpu import evaluation, quantization

BLOCK_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096)


@pytest.fixture
def folder(tiny_model, tokenizer, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    return tmp_path


def load(folder, **settings):
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    config = BitsAndBytesConfig(**settings) if settings else None
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, quantization_config=config, device_map={"": "cpu"}
    )


@pytest.mark.parametrize("format", ["fp4", "nf4"])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_weights_are_those_of_bitsandbytes_to_the_bit(format, block_size):
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    torch.manual_seed(block_size)
    weights = torch.randn(64 * 192) * torch.logspace(-6, 3, 64).repeat_interleave(192)
    weights[3 * 192 : 4 * 192] = 0
    found = quantization.quantize(weights, format=format, block_size=block_size)
    packed, state = quantize_4bit(weights, quant_type=format, blocksize=block_size)
    assert torch.equal(found.absmax, state.absmax)
    assert torch.equal(found.dequantize(), dequantize_4bit(packed, state).flatten())


def test_int4_by_hand():
    """Absmax 7: the codes are the rounded values, counted from -7."""
    found = quantization.quantize(
        torch.tensor([[7.0, -3.4, 0.2, -7.0]]), format="int4", block_size=4
    )
    assert found.codes.tolist() == [[14, 4, 7, 0]]
    assert found.dequantize().tolist() == [[7.0, -3.0, 0.0, -7.0]]


def test_the_error_is_relative_to_the_weights():
    weights = torch.tensor([7.0, 0.4])  # 0.4 becomes 0
    expected = (0.4**2 / (7**2 + 0.4**2)) ** 0.5
    for factor in (1, 1000):
        found = quantization.relative_error(weights * factor, format="int4", block_size=2)
        assert found == pytest.approx(expected, rel=1e-4)
    assert quantization.relative_error(torch.zeros(4), format="nf4", block_size=2) == 0


@pytest.mark.parametrize(
    ("weights", "format", "block_size", "message"),
    [
        (torch.ones(8), "nf5", 4, "unknown format 'nf5': the formats are int4, fp4, nf4"),
        (torch.ones(3, 3), "nf4", 4, r"9 weights, shape \(3, 3\), do not fill blocks of 4"),
        (torch.ones(0), "nf4", 4, "0 weights, .* do not fill blocks"),
        (torch.ones(4), "nf4", 0, "block_size is 0: it must be 1 or more"),
        (torch.tensor([1.0, torch.nan]), "nf4", 2, "1 of 2 weights are NaN or infinite"),
        (torch.tensor([-torch.inf, torch.inf]), "fp4", 2, "2 of 2 weights are NaN or infinite"),
    ],
)
def test_what_cannot_be_quantized_is_explained(weights, format, block_size, message):
    with pytest.raises(ValueError, match=message):
        quantization.quantize(weights, format=format, block_size=block_size)


def by_name(model, reference=None):
    return {row.name: row for row in quantization.inspect(model, reference=reference)}


def test_inspect_lists_every_byte_of_a_plain_model(folder):
    model = load(folder)
    rows = by_name(model, model)
    expected = sum(p.numel() * 4 for p in model.parameters())
    assert sum(row.n_bytes for row in rows.values()) == expected
    layer = rows["model.layers.0.mlp.up_proj"]
    assert (layer.type, layer.shape, layer.stored) == ("Linear", (128, 64), "float32")
    assert layer.n_bytes == 128 * 64 * 4
    assert {row.error for row in rows.values()} == {None}, "nothing is quantized"


@pytest.mark.parametrize("double", [False, True])
def test_inspect_counts_scales_and_measures_errors_in_nf4(folder, double):
    reference = load(folder)
    model = load(
        folder,
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    rows = by_name(model, reference)
    layer = rows["model.layers.1.mlp.down_proj"]
    n = 64 * 128
    scales = n // 64 + 4 + 4 if double else n // 64 * 4  # double: bytes, offset, outer scale
    assert (layer.shape, layer.stored, layer.compute) == ((64, 128), "nf4", "bfloat16")
    assert layer.n_bytes == n // 2 + scales
    weight = reference.get_submodule(layer.name).weight
    expected = quantization.relative_error(weight, format="nf4", block_size=64)
    assert layer.error == pytest.approx(expected, rel=0.01 if double else 1e-5)
    assert rows["lm_head"].stored == "float32"
    assert rows["lm_head"].error is None


def test_inspect_understands_a_layer_that_was_rearranged_for_answering(folder):
    """Bitsandbytes rearranges 4-bit weights at the first pass in evaluation mode on some CPUs.

    Its own way back, which `state_dict` takes, puts the scales of every layer with more than one
    block a row in the wrong order, and leaves them so in the model: its answers changed after
    it had been inspected.
    """
    reference = load(folder)
    model = load(folder, load_in_4bit=True, bnb_4bit_quant_type="nf4").eval()
    before = by_name(model, reference)
    tokens = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        first = model(tokens).logits
        after = by_name(model, reference)
        for name, row in after.items():
            if row.stored == "nf4":
                assert row.error == pytest.approx(before[name].error, rel=0.02), name
        assert torch.equal(model(tokens).logits, first), "inspecting is harmless"


def test_inspect_reads_eight_bits_before_and_after_the_first_pass(folder):
    reference = load(folder)
    model = load(folder, load_in_8bit=True).eval()
    name = "model.layers.0.self_attn.q_proj"
    fresh = by_name(model, reference)[name]
    assert (fresh.stored, fresh.n_bytes) == ("int8", 64 * 64 + 64 * 4)
    assert 0 < fresh.error < 0.02
    with torch.inference_mode():
        model(torch.tensor([[5, 6, 7]]))
    assert by_name(model, reference)[name] == fresh


def test_inspect_names_the_owner_of_a_shared_weight(tiny_model):
    tiny_model.lm_head.weight = tiny_model.model.embed_tokens.weight
    rows = by_name(tiny_model)
    assert rows["lm_head"].shared_with == "model.embed_tokens"
    assert rows["lm_head"].n_bytes == 0
    assert rows["lm_head"].error is None


@pytest.mark.parametrize("kind", architectures.ALL)
def test_inspect_lists_every_byte_of_every_architecture(kind):
    """Of Qwen 3 MoE it listed 76 %, of gpt-oss 61 %: experts are no modules with a weight."""
    model = architectures.build(kind)
    rows = by_name(model)
    saved = {id(t): t.nbytes for t in (*model.parameters(), *saved_buffers(model))}
    assert sum(row.n_bytes for row in rows.values()) == sum(saved.values())


def saved_buffers(model):
    names = model.state_dict().keys()
    return [buffer for name, buffer in model.named_buffers() if name in names]


def test_inspect_lists_experts_by_parameter():
    rows = by_name(architectures.build("gpt_oss"))
    up = rows["model.layers.1.mlp.experts.gate_up_proj"]
    assert (up.type, up.shape, up.stored) == ("GptOssExperts", (4, 32, 96), "float32")
    assert up.n_bytes == 4 * (4 * 32 * 96 + 4 * 96), "with the bias"
    assert "model.layers.1.mlp.experts.gate_up_proj_bias" not in rows


def layer_of(name, **attributes):
    """Return a module of a class that is not installed, with the buffers and settings given."""
    module = type(name, (torch.nn.Module,), {})()
    for key, value in attributes.items():
        if isinstance(value, torch.Tensor):
            module.register_buffer(key, value)
        else:
            setattr(module, key, value)
    return module


AWQ = {  # a layer with 64 inputs, 32 outputs, and groups of 32, eight weights in an int32
    "qweight": torch.zeros(64, 32 // 8, dtype=torch.int32),
    "qzeros": torch.zeros(2, 32 // 8, dtype=torch.int32),
    "scales": torch.zeros(2, 32, dtype=torch.float16),
    "bias": None,
    "in_features": 64,
    "out_features": 32,
}
N_BYTES_AWQ = 64 * 4 * 4 + 2 * 4 * 4 + 2 * 32 * 2


@pytest.mark.parametrize(
    ("layer", "stored"),
    [
        (layer_of("WQLinear_GEMM", **AWQ, w_bit=4), "awq 4-bit"),
        (layer_of("AwqGEMMQuantLinear", **AWQ, bits=4), "awq 4-bit"),
        (layer_of("TorchQuantLinear", **AWQ, bits=4), "gptq 4-bit"),
    ],
)
def test_awq_and_gptq_are_told_by_their_layers(layer, stored):
    [row] = quantization.inspect(torch.nn.Sequential(layer))
    assert (row.name, row.shape, row.stored, row.compute) == ("0", (32, 64), stored, "input's")
    assert row.n_bytes == N_BYTES_AWQ
    with pytest.raises(ValueError, match=f"keeps its weight as {stored}: give a linear layer of"):
        quantization.dequantize(layer)


def test_hqq_keeps_scales_in_its_settings():
    """The scales may be quantized again; then their own scales are one level down."""
    meta = {"nbits": 4, "shape": (32, 64), "scale": torch.zeros(64, 1, dtype=torch.float16)}
    meta |= {"zero_q": torch.zeros(64, dtype=torch.uint8), "meta_zero": {"scale": torch.zeros(1)}}
    layer = layer_of("HQQLinear", bias=None, meta=meta, compute_dtype=torch.bfloat16)
    layer.W_q = torch.nn.Parameter(torch.zeros(32, 32, dtype=torch.uint8), requires_grad=False)
    [row] = quantization.inspect(torch.nn.Sequential(layer))
    assert (row.shape, row.stored, row.compute) == ((32, 64), "hqq 4-bit", "bfloat16")
    assert row.n_bytes == 32 * 32 + 64 * 2 + 64 + 4


class Int4Tensor(torch.Tensor):
    """As torchao's: two tensors that pass for one of another shape and number type."""

    @staticmethod
    def __new__(cls, qdata, scale):
        """Pass for a weight of twice as many columns."""
        shape = (qdata.shape[0], 2 * qdata.shape[1])
        return torch.Tensor._make_wrapper_subclass(cls, shape, dtype=scale.dtype)

    def __init__(self, qdata, scale):
        self.qdata, self.scale = qdata, scale

    def __tensor_flatten__(self):
        return ["qdata", "scale"], {}

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return cls(args[0].qdata, args[0].scale)  # all that a Parameter asks for is to be detached


def test_torchao_weights_are_told_by_their_tensors(monkeypatch):
    """To torch it is a bfloat16 weight of four times the bytes."""
    monkeypatch.setattr(Int4Tensor, "__module__", "torchao.quantization")
    weight = Int4Tensor(torch.zeros(32, 32, dtype=torch.uint8), torch.zeros(2, 32).bfloat16())
    layer = torch.nn.Linear(64, 32, bias=False)
    layer.weight = torch.nn.Parameter(weight, requires_grad=False)
    [row] = quantization.inspect(torch.nn.Sequential(layer))
    assert (row.shape, row.stored) == ((32, 64), "torchao Int4Tensor")
    assert row.n_bytes == 32 * 32 + 2 * 32 * 2


@pytest.mark.parametrize("expert_dtype", ["fp8", "fp4"])
def test_fp8_layers_and_experts_of_transformers_are_told(expert_dtype):
    from transformers.integrations.finegrained_fp8 import FP8Experts, FP8Linear

    config = architectures.build("qwen3_moe").config
    experts = FP8Experts(config, block_size=(16, 16), expert_dtype=expert_dtype)
    linear = FP8Linear(64, 32, block_size=(16, 16))
    rows = by_name(torch.nn.ModuleDict({"linear": linear, "experts": experts}))
    assert (rows["linear"].shape, rows["linear"].stored) == ((32, 64), "fp8")
    assert rows["linear"].n_bytes == 32 * 64 + 2 * 4 * 4
    up = rows["experts.gate_up_proj"]
    assert (up.shape, up.stored) == ((4, 32, 32), {"fp8": "fp8", "fp4": "mxfp4"}[expert_dtype])
    assert (
        up.n_bytes
        == {
            "fp8": 4 * 32 * 32 + 4 * 2 * 2 * 4,
            "fp4": 4 * 32 * 16 + 4 * 32 * 1 * 4,  # a float32 scale for 32 weights of a row
        }[expert_dtype]
    )


def test_mxfp4_experts_are_told_before_and_after_they_are_made_ready_for_triton():
    from transformers.integrations.mxfp4 import Mxfp4GptOssExperts

    experts = Mxfp4GptOssExperts(architectures.build("gpt_oss").config)
    up = by_name(experts)["gate_up_proj"]
    assert (up.shape, up.stored) == ((4, 96, 32), "mxfp4")
    assert up.n_bytes == 4 * 96 * 16 + 4 * 96 * 4, "with the bias"
    for name in ("gate_up_proj", "down_proj"):
        packed = getattr(experts, name).data
        shape = torch.Size([4, 2 * packed.shape[2], packed.shape[1]])
        scales = torch.zeros(4, packed.shape[1], packed.shape[2] // 16, dtype=torch.uint8)
        delattr(experts, name)
        setattr(experts, name, SimpleNamespace(shape=shape, storage=SimpleNamespace(data=packed)))
        scales = SimpleNamespace(storage=SimpleNamespace(data=scales))
        setattr(experts, f"{name}_precision_config", SimpleNamespace(weight_scale=scales))
    ready = by_name(experts)["gate_up_proj"]
    assert (ready.shape, ready.stored) == ((4, 32, 96), "mxfp4")
    assert ready.n_bytes == up.n_bytes + 4 * 96


def test_token_losses_by_hand(tiny_model, tokenizer):
    tokens = tokenizer("Strong, you are.", return_tensors="pt")["input_ids"]
    losses = evaluation.token_losses(tiny_model, tokenizer, text="Strong, you are.")
    with torch.no_grad():
        logits = tiny_model(tokens).logits[0]
    for place, token in enumerate(tokens[0, 1:].tolist()):
        assert losses[place].item() == pytest.approx(
            -logits[place].log_softmax(0)[token].item(), rel=1e-5
        )
    assert losses.mean().item() == pytest.approx(tiny_model(tokens, labels=tokens).loss.item())


def test_token_losses_refuse_what_the_model_cannot_read(tiny_model, tokenizer):
    tiny_model.config.max_position_embeddings = 8
    with pytest.raises(ValueError, match="has 1 tokens: give at least 2, and at most 8"):
        evaluation.token_losses(tiny_model, tokenizer, text="a")
    with pytest.raises(ValueError, match="at most 8"):
        evaluation.token_losses(tiny_model, tokenizer, text="one two three " * 9)


def test_the_questions_name_each_country_once():
    prompts, answers = texts.capitals()
    assert len(prompts) == len(answers) == len(set(answers)) == 50
    for prompt, answer in zip(prompts, answers, strict=True):
        country = prompt[0]["content"].removeprefix("What is the capital of ").rstrip("?")
        assert answer.startswith(f"The capital of {country} is ")


def test_keep_trainable_is_about_the_layout_that_inspect_undoes(folder):
    """The two agree: a model that is kept trainable is never rearranged."""
    model = load(folder, load_in_4bit=True, bnb_4bit_quant_type="nf4").eval()
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = True  # as it is on some processors only
    quantization.keep_trainable(model)
    with torch.inference_mode():
        model(torch.tensor([[5, 6, 7]]))
    state = model.model.layers[0].mlp.up_proj.weight.quant_state
    assert not getattr(state, "packing_format_for_cpu", False)
