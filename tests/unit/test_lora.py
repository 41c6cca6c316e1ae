"""Adapters: counts against PEFT's, norms against the product itself, and clear errors."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from onegpu import lora

KINDS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(model, **settings):
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **settings))


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


@pytest.mark.parametrize("rank", [0, -1, 33])
def test_a_rank_of_zero_or_above_the_layer_is_refused(tiny_model, rank):
    with pytest.raises(ValueError, match=rf"rank is {rank}: it must be from 1 to 32, .*k_proj"):
        lora.n_parameters(tiny_model, rank=rank, targets="all-linear")


def test_a_model_without_adapter_is_refused(tiny_model):
    with pytest.raises(ValueError, match="LlamaForCausalLM has no LoRA layer"):
        lora.inspect(tiny_model)


def test_an_adapter_is_verified_against_its_base(tiny_model, tmp_path):
    """PEFT only warns when nothing matches, and the model answers as the base."""
    from copy import deepcopy

    from safetensors.torch import save_file
    from transformers import LlamaForCausalLM

    untouched = deepcopy(tiny_model)
    adapted(tiny_model, r=4, target_modules=KINDS).save_pretrained(tmp_path)
    names = lora.verify_adapter(untouched, tmp_path)
    assert len(names) == 2 * len(KINDS)

    narrow, shallow = deepcopy(untouched.config), deepcopy(untouched.config)
    narrow.intermediate_size = 96
    with pytest.raises(ValueError, match=r"down_proj is for a weight of \(64, 128\), .*\(64, 96\)"):
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
