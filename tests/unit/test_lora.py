"""Adapters: counts against PEFT's, norms against the product itself, and clear errors."""

import ast
import json
import re
import warnings
from copy import deepcopy

import architectures
import pytest
import torch
from peft import LoraConfig, TaskType, get_peft_model
from safetensors.torch import load_file, save_file

from onegpu import lora

EXPERTS = ["experts.gate_up_proj", "experts.down_proj"]
KINDS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(model, **settings):
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))


def plainly_adapted(model, **settings):
    return quietly(get_peft_model, model, LoraConfig(**settings))


def quietly(function, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments)


@pytest.mark.parametrize(
    "targets",
    ["all-linear", ["q_proj", "v_proj"], r".*layers\.1\..*(up|down)_proj", ["0.mlp.gate_proj"]],
)
@pytest.mark.parametrize("rank", [1, 8])
def test_layers_and_counts_are_those_of_peft(tiny_model, targets, rank):
    expected = lora.matching_layers(tiny_model, targets)
    n_expected = lora.n_parameters(tiny_model, rank=rank, targets=targets)
    model = adapted(tiny_model, r=rank, target_modules=targets)
    rows = lora.inspect(model)
    assert [row.name for row in rows] == expected
    assert sum(row.n_trainable for row in rows) == n_expected
    assert model.get_nb_trainable_parameters()[0] == n_expected


@pytest.mark.parametrize("kind", architectures.ALL)
def test_all_linear_is_that_of_peft_on_every_architecture(kind):
    """PEFT 0.21.2 adapts the experts of some architectures, which were not counted.

    It trains 6416 numbers in this Mixtral, where 896 were counted, and knows GPT-2's Conv1D.
    """
    model = architectures.build(kind)
    state = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if kind in architectures.MISSED else "error")
        names = lora.matching_layers(model, "all-linear")
        n_expected = lora.n_parameters(model, rank=2, targets="all-linear")
    assert all(parameter.requires_grad for parameter in model.parameters()), "asking freezes none"
    assert torch.equal(torch.random.get_rng_state(), state), "nor moves the random numbers on"
    model = plainly_adapted(model, r=2, target_modules="all-linear")
    rows = quietly(lora.inspect, model)
    assert [row.name for row in rows] == names
    assert sum(row.n_trainable for row in rows) == n_expected
    assert model.get_nb_trainable_parameters()[0] == n_expected


@pytest.mark.parametrize("kind", architectures.MISSED)
def test_what_all_linear_leaves_out_is_told_and_can_be_added(kind):
    """The warning names `target_parameters`; with them nothing is left to warn of."""
    model = architectures.build(kind)
    with pytest.warns(UserWarning, match="PEFT puts no adapter on .*target_parameters") as told:
        lora.matching_layers(model, "all-linear")
    listed = re.search(r"target_parameters=(\[.*\])", str(told[0].message))
    parameters = ast.literal_eval(listed[1])
    model = plainly_adapted(model, r=2, target_modules="all-linear", target_parameters=parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = lora.inspect(model)
    assert sum(row.n_trainable for row in rows) == model.get_nb_trainable_parameters()[0]


def test_experts_without_adapter_are_told_only_if_all_linear_layers_have_one():
    """Whoever trains attention alone knows it."""
    settings = {"r": 2, "target_modules": ["q_proj", "v_proj"]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lora.inspect(plainly_adapted(architectures.build("gpt_oss"), **settings))
    every = plainly_adapted(architectures.build("gpt_oss"), r=2, target_modules="all-linear")
    with pytest.warns(UserWarning, match=r"on 4 weights, 73% .*mlp\.experts\.gate_up_proj"):
        lora.inspect(every)


@pytest.mark.parametrize("kind", ["gpt_oss", "qwen3_moe"])  # stored (in, out), and (out, in)
def test_adapters_on_experts_are_told_by_parameter(kind):
    """PEFT wraps the two parameters of one module around each other."""
    settings = {"r": 2, "lora_alpha": 6, "target_modules": [], "target_parameters": EXPERTS}
    model = plainly_adapted(architectures.build(kind), **settings)
    inner = {"gpt_oss": 48, "qwen3_moe": 16}[kind]
    wrapper = model.base_model.model.model.layers[0].mlp.experts
    for module in (wrapper, wrapper.base_layer):
        torch.nn.init.normal_(module.lora_B["default"].weight)
    down, up = lora.inspect(model)[:2]
    assert down.name == "model.layers.0.mlp.experts.down_proj"
    assert up.name == "model.layers.0.mlp.experts.gate_up_proj"
    assert (down.shape, up.shape) == ((4, 32, inner), (4, 2 * inner, 32))
    assert (down.rank, down.scaling, down.n_trainable) == (2, 3.0, 4 * 2 * (32 + inner))
    expected = wrapper.get_delta_weight("default").norm().item()
    assert down.update_norm == pytest.approx(expected, rel=1e-5)
    expected = wrapper.base_layer.get_delta_weight("default").norm().item()
    assert up.update_norm == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("llama", {"target_modules": ["q_proj", "v_proj"], "use_dora": True}),
        ("qwen2", {"target_modules": ["q_proj", "v_proj"], "lora_bias": True}),
        ("llama", {"target_modules": ["q_proj", "embed_tokens", "lm_head"]}),
        ("llama", {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"q_proj": 4}}),
    ],
)
def test_all_that_an_adapter_trains_is_counted(kind, settings):
    model = plainly_adapted(architectures.build(kind), r=2, **settings)
    rows = lora.inspect(model)
    assert sum(row.n_trainable for row in rows) == model.get_nb_trainable_parameters()[0]


def test_the_norm_of_an_embedding_and_of_convolutions():
    """A convolution with two groups, asked for its answer to every unit vector."""
    net = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Conv1d(4, 8, 3, groups=2))
    model = get_peft_model(net, LoraConfig(r=2, target_modules=["0", "1"]))
    embedding, convolution = model.base_model.model
    torch.nn.init.normal_(embedding.lora_embedding_A["default"])
    torch.nn.init.normal_(convolution.lora_B["default"].weight)
    first, second = lora.inspect(model)
    assert (first.shape, second.shape) == ((4, 5), (8, 4, 3))
    expected = embedding.get_delta_weight("default").norm().item()
    assert first.update_norm == pytest.approx(expected, rel=1e-5)
    a = convolution.lora_A["default"].weight
    units = torch.eye(12).reshape(12, 4, 3)
    answers = convolution.lora_B["default"](torch.nn.functional.conv1d(units, a))
    assert second.update_norm == pytest.approx(4 * answers.norm().item(), rel=1e-5)


def test_the_norm_is_that_of_the_product(tiny_model):
    model = adapted(tiny_model, r=4, lora_alpha=10, target_modules=["v_proj"])
    layer = model.base_model.model.model.layers[1].self_attn.v_proj
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
    update = 10 / 4 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    first, second = lora.inspect(model)
    assert first.update_norm == 0, "B starts at zero"
    assert second.update_norm == pytest.approx(update.norm().item(), rel=1e-5)
    assert (second.shape, second.rank, second.scaling) == ((32, 64), 4, 2.5)


def test_rank_stabilized_scaling_and_frozen_adapters_are_told(tiny_model):
    model = adapted(tiny_model, r=4, lora_alpha=10, use_rslora=True, target_modules=["q_proj"])
    model.add_adapter("second", LoraConfig(r=2, target_modules=["q_proj"]))
    rows = lora.inspect(model)
    assert [row.adapter for row in rows] == ["default", "second"] * 2
    assert rows[0].scaling == pytest.approx(10 / 2)
    assert rows[0].n_trainable == 4 * (64 + 64)
    assert rows[1].n_trainable == 0, "only the active adapter is trained"


def test_targets_that_match_nothing_name_the_layers_that_exist(tiny_model):
    with pytest.raises(ValueError, match="'query_key_value'.* match no layer.*q_proj, k_proj"):
        lora.matching_layers(tiny_model, ["query_key_value"])
    with pytest.raises(ValueError, match="match no layer"):
        lora.n_parameters(tiny_model, rank=4, targets=r"layers\.9\..*")


@pytest.mark.parametrize("rank", [0, -1, 65])
def test_a_rank_of_zero_or_above_every_layer_is_refused(tiny_model, rank):
    with pytest.raises(ValueError, match=rf"rank is {rank}: it must be from 1 to 64, .*q_proj"):
        lora.n_parameters(tiny_model, rank=rank, targets="all-linear")


def test_a_rank_above_some_layers_is_not_refused(tiny_model):
    """Qwen's shared experts have a gate of one row, Mixtral's router has eight."""
    n_expected = lora.n_parameters(tiny_model, rank=33, targets="all-linear")
    model = adapted(tiny_model, r=33, target_modules="all-linear")
    assert model.get_nb_trainable_parameters()[0] == n_expected


def test_a_model_without_adapter_is_refused(tiny_model):
    with pytest.raises(ValueError, match="LlamaForCausalLM has no LoRA layer"):
        lora.inspect(tiny_model)


def test_an_adapter_is_verified_against_its_base(tiny_model, tmp_path):
    """PEFT only warns when nothing matches, and the model answers as the base."""
    from transformers import LlamaForCausalLM

    untouched = deepcopy(tiny_model)
    adapted(tiny_model, r=4, target_modules=KINDS).save_pretrained(tmp_path)
    names = lora.verify_adapter(untouched, tmp_path)
    assert len(names) == 2 * len(KINDS)

    narrow, shallow = deepcopy(untouched.config), deepcopy(untouched.config)
    narrow.intermediate_size = 96
    with pytest.raises(
        ValueError, match=r"gate_proj\.lora_B\.weight has shape \(128, 4\), .*\(96, 4"
    ):
        lora.verify_adapter(LlamaForCausalLM(narrow), tmp_path)
    shallow.num_hidden_layers = 1
    with pytest.raises(ValueError, match=r"7 of the adapter's 14 layers are not in .*it has model"):
        lora.verify_adapter(LlamaForCausalLM(shallow), tmp_path)
    deep = deepcopy(untouched.config)
    deep.num_hidden_layers = 3
    with pytest.raises(ValueError, match=r"for 14 layers, but 21 .* For model\.layers\.2"):
        lora.verify_adapter(LlamaForCausalLM(deep), tmp_path)
    with pytest.raises(ValueError, match="holds no adapter"):
        lora.verify_adapter(untouched, tmp_path / "nowhere")
    save_file({"prompt_embeddings": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="holds no LoRA weights: it is an adapter of another"):
        lora.verify_adapter(untouched, tmp_path)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("llama", {"layers_to_transform": [1]}),
        ("llama", {"exclude_modules": ["v_proj"]}),
        ("llama", {"modules_to_save": ["lm_head"]}),
        ("llama", {"trainable_token_indices": [3, 4]}),
        ("llama", {"use_dora": True}),
        ("llama", {"init_lora_weights": "pissa"}),
        ("llama", {"rank_pattern": {"q_proj": 4}}),
        ("gpt2", {"target_modules": ["c_attn"]}),
        ("mixtral", {"target_modules": "all-linear"}),
        ("gpt_oss", {"target_parameters": EXPERTS}),
        ("glm4_moe", {"target_modules": "all-linear"}),
    ],
)
def test_a_good_adapter_is_not_refused(kind, settings, tmp_path):
    """All of these were: only names and `target_modules` were compared, of linear layers."""
    settings = {"target_modules": ["q_proj", "v_proj"]} | settings
    model = plainly_adapted(architectures.build(kind), r=2, **settings)
    model.save_pretrained(tmp_path)
    names = [row.name for row in quietly(lora.inspect, model)]
    assert lora.verify_adapter(architectures.build(kind), tmp_path) == names


def test_an_adapter_saved_with_torch_is_read(tmp_path):
    plainly_adapted(architectures.build("llama"), target_modules=KINDS).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "adapter_model.safetensors")
    torch.save(weights, tmp_path / "adapter_model.bin")
    (tmp_path / "adapter_model.safetensors").unlink()
    assert len(lora.verify_adapter(architectures.build("llama"), tmp_path)) == 14


def test_experts_saved_one_by_one_are_read(tmp_path):
    """Transformers 4 had a module for each of Mixtral's experts; PEFT stacks their adapters."""
    sizes = {"w1": (32, 48), "w2": (48, 32), "w3": (32, 48)}
    weights = {}
    for layer in range(2):
        for expert in range(4):
            for name, (in_, out) in sizes.items():
                path = f"model.layers.{layer}.block_sparse_moe.experts.{expert}.{name}"
                weights[f"base_model.model.{path}.lora_A.weight"] = torch.ones(2, in_)
                weights[f"base_model.model.{path}.lora_B.weight"] = torch.ones(out, 2)
    save_file(weights, tmp_path / "adapter_model.safetensors")
    LoraConfig(r=2, target_modules=[*sizes]).save_pretrained(tmp_path)
    names = lora.verify_adapter(architectures.build("mixtral"), tmp_path)
    assert names[:2] == [f"model.layers.0.mlp.{name}" for name in reversed(EXPERTS)]


def test_an_adapter_for_classification_brings_its_head(tmp_path):
    from transformers import AutoModelForSequenceClassification

    def classifier():
        config = architectures.build("llama").config
        return AutoModelForSequenceClassification.from_config(config)

    model = plainly_adapted(classifier(), target_modules=KINDS, task_type=TaskType.SEQ_CLS)
    model.save_pretrained(tmp_path)
    assert len(lora.verify_adapter(classifier(), tmp_path)) == 14


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"r": 4}, r"q_proj\.lora_A\.weight has shape \(2, 32\), the model's \(4, 32\)"),
        ({"use_dora": True}, "lora_magnitude_vector is missing from its file"),
        ({"modules_to_save": ["lm_head"]}, r"lm_head\.weight is missing from its file"),
        ({"target_modules": ["v_proj"]}, r"For model\.layers\.0\.self_attn\.v_proj.* has none"),
        ({"layers_to_transform": [0]}, r"layers\.1.* is in its file, but adapter_config.json does"),
        ({"peft_type": "LOHA"}, "holds no LoRA weights: it is an adapter of another kind"),
    ],
)
def test_settings_that_do_not_fit_the_file_are_told(change, message, tmp_path):
    model = architectures.build("llama")
    plainly_adapted(deepcopy(model), r=2, target_modules=["q_proj"]).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(ValueError, match=message):
        quietly(lora.verify_adapter, model, tmp_path)


def test_an_adapter_for_a_grown_vocabulary_needs_a_grown_model(tmp_path):
    model = architectures.build("llama")
    grown = deepcopy(model)
    grown.resize_token_embeddings(100, mean_resizing=False)
    plainly_adapted(deepcopy(grown), target_modules=["lm_head"]).save_pretrained(tmp_path)
    assert lora.verify_adapter(grown, tmp_path) == ["lm_head"]
    with pytest.raises(ValueError, match=r"has shape \(100, .*, the model's \(96, "):
        lora.verify_adapter(model, tmp_path)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantized_model_is_asked_without_a_change(tiny_model, bits, tmp_path):
    """Its weights are shared, not copied; a `state_dict` would rearrange those in four bits."""
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    tiny_model.save_pretrained(tmp_path / "base")
    adapted(tiny_model, r=2, target_modules="all-linear").save_pretrained(tmp_path)
    settings = BitsAndBytesConfig(**{f"load_in_{bits}bit": True})
    model = AutoModelForCausalLM.from_pretrained(
        tmp_path / "base", quantization_config=settings, device_map={"": "cpu"}
    ).eval()
    tokens = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        before = model(tokens).logits
        assert len(lora.matching_layers(model, "all-linear")) == 14
        assert len(lora.verify_adapter(model, tmp_path)) == 14
        assert torch.equal(model(tokens).logits, before)
