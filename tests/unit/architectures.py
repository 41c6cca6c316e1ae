"""Tiny models with random weights, two layers each, of the architectures that people fine-tune."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM

SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
ROUTED = {
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
}
HYBRID = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "head_dim": 8,
}
DENSE = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "smollm3": {},
    "granite": {},
    "olmo2": {},
    "phi3": {},
    "gemma3_text": {"head_dim": 8},
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64},
    "falcon": {},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "qwen3_5_text": HYBRID,
}
REACHED = {  # experts that PEFT's all-linear adapts
    "qwen3_moe": EXPERTS,
    "mixtral": {"num_local_experts": 4},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
}
MISSED = {  # models of which PEFT's all-linear leaves out a part
    "gpt_oss": {"num_local_experts": 4, "head_dim": 8},
    "qwen2_moe": EXPERTS | {"shared_expert_intermediate_size": 16},
    "qwen3_5_moe_text": HYBRID | EXPERTS | {"shared_expert_intermediate_size": 16},
    "granitemoe": {"num_local_experts": 4},
    "glm4_moe": ROUTED | {"head_dim": 8},
    "deepseek_v3": ROUTED
    | {"n_group": 1, "topk_group": 1, "q_lora_rank": 8, "kv_lora_rank": 8}
    | {"qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8, "num_key_value_heads": 4},
}
ALL = DENSE | REACHED | MISSED


def build(kind):
    """Return the model of an architecture, the same at each call."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **SIZES | ALL[kind]))
