"""What the speed and attention parts compute on any machine: floors, rows, documents kept apart."""

import json

import pytest
import torch
from gpu_parts import Job, attention, attention_kernels, fine_tune, floor, speed, varlen

LENGTHS = [5, 3, 8]


def config(layers=2):
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=96,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        attn_implementation="eager",
    )


def job(tmp_path, *, rehearse=False):
    return Job(
        device="cpu" if rehearse else "cuda",
        rehearse=rehearse,
        memory_gib=14.56,
        model=None,
        scratch=tmp_path,
    )


def alone(query, key, value, *, scale=None):
    """Causal attention of one document by the formula: (heads, seq, head_dim), in float64."""
    groups = query.shape[0] // key.shape[0]
    query, key, value = (tensor.double() for tensor in (query, key, value))
    key, value = (tensor.repeat_interleave(groups, dim=0) for tensor in (key, value))
    scores = query @ key.transpose(1, 2) * (scale or query.shape[-1] ** -0.5)
    later = torch.ones(scores.shape[1:], dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1) @ value


@pytest.mark.parametrize("checkpointing", [False, True])
def test_operations_are_those_that_torch_counts(checkpointing):
    """A row at a time, so that there is no padding; what torch computes in vain is taken off."""
    from peft import LoraConfig, get_peft_model
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import LlamaForCausalLM

    settings = config()
    model = LlamaForCausalLM(settings)
    model.enable_input_require_grads()
    model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear")).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    with FlopCounterMode(display=False) as counter:
        for length in LENGTHS:
            ids = torch.randint(0, 96, (1, length))
            model(input_ids=ids).logits.sum().backward()
    passes = 4 if checkpointing else 3
    unseen = sum(length * (length - 1) // 2 for length in LENGTHS)  # scores of later tokens
    vain = passes * 2 * 4 * 64 * unseen  # two layers
    vain += 4 * 96 * 64 * len(LENGTHS)  # logits after the last token
    if checkpointing:  # torch does not run a layer's last product, the adapter's, again
        vain -= 2 * 2 * 4 * 64 * sum(LENGTHS)
    found = floor.operations(settings, LENGTHS, rank=4, checkpointing=checkpointing)
    assert found == counter.get_total_flops() - vain


def test_weights_are_read_twice_and_three_times_with_checkpointing():
    # A layer: 64 x (64 + 32 + 32 + 64) of attention, 3 x 64 x 128 of the MLP.
    layer, head = 12_288 + 24_576, 96 * 64
    two = floor.weight_bytes(config(), weights="bfloat16", dtype="bfloat16")
    assert two == 2 * (2 * layer * 2 + head * 2)
    three = floor.weight_bytes(config(), weights="bfloat16", dtype="bfloat16", checkpointing=True)
    assert three - two == 2 * layer * 2
    quantized = floor.weight_bytes(config(), weights="nf4-double", dtype="float16")
    assert quantized == 2 * (2 * layer / 2 + head * 2)
    assert floor.weight_bytes(config(), weights="float32", dtype="bfloat16") == 2 * two


@pytest.mark.parametrize(("rate", "seconds"), [(50.0, 4.0), (200.0, 3.0)])
def test_the_floor_is_the_larger_bound(rate, seconds):
    found = floor.floor(200.0, 30.0, rate=rate, bandwidth=10.0)
    assert found["floor_seconds"] == seconds
    assert found["floor_seconds_operations"] == 200 / rate
    assert found["floor_seconds_bytes"] == 3.0


def test_rates_are_measured_three_times_each():
    found = floor.rates("cpu")
    assert set(found) == {"bfloat16", "float16", "copy"}
    assert all(len(times) == 3 and min(times) > 0 for times in found.values())


def test_lengths_vary_within_bounds_and_are_the_same_each_time():
    lengths = fine_tune.row_lengths(400, median=200, shortest=30, longest=1024)
    assert lengths == fine_tune.row_lengths(400, median=200, shortest=30, longest=1024)
    assert min(lengths) == 30
    assert max(lengths) == 1024
    assert sorted(lengths)[200] == pytest.approx(200, rel=0.15)
    assert sum(lengths) / 400 > 230  # the few long ones


def test_rows_hold_no_special_tokens_and_trl_packs_them_without_a_loss():
    """Tokens are counted as the sum of lengths, so packing must not drop any."""
    from trl import pack_dataset

    lengths = fine_tune.row_lengths(64, median=200, shortest=30, longest=1024)
    rows = fine_tune.row_set(lengths, vocabulary=50)
    assert [len(ids) for ids in rows["input_ids"]] == lengths
    used = {token for ids in rows["input_ids"] for token in ids}
    tokenizer = fine_tune.word_tokenizer(50)
    assert used == set(range(50)) - set(tokenizer.all_special_ids)
    assert len(tokenizer) == 50
    packed = pack_dataset(rows, 2048, "bfd", {})
    assert sum(map(sum, packed["seq_lengths"])) == sum(lengths)
    assert len(packed) < len(rows) / 5


@pytest.mark.parametrize("key_heads", [4, 2])
def test_documents_are_attended_to_apart(key_heads):
    torch.manual_seed(0)
    query, key, value = (torch.randn(16, heads, 8) for heads in (4, key_heads, key_heads))
    ends = torch.tensor([0, 5, 8, 16], dtype=torch.int32)
    found = varlen.attend(query, key, value, ends=ends, longest=8, scale=0.3)
    heads_first = [tensor.transpose(0, 1) for tensor in (query, key, value)]
    for start, end in ((0, 5), (5, 8), (8, 16)):
        expected = alone(*(tensor[:, start:end] for tensor in heads_first), scale=0.3)
        torch.testing.assert_close(
            found[start:end].transpose(0, 1), expected, check_dtype=False, atol=1e-5, rtol=1e-5
        )


def test_a_model_with_packed_rows_answers_as_to_each_row_alone():
    from transformers import LlamaForCausalLM
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    torch.manual_seed(0)
    rows = fine_tune.row_set(LENGTHS, vocabulary=96)
    model = LlamaForCausalLM(config()).eval()
    answers = [model(input_ids=torch.tensor([ids])).logits[0] for ids in rows["input_ids"]]
    packed = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)(list(rows))
    model.set_attn_implementation(varlen.register())
    found = model(**{name: packed[name] for name in packed if name != "labels"}).logits[0]
    torch.testing.assert_close(found, torch.cat(answers), atol=1e-5, rtol=1e-5)


def test_a_row_with_padding_is_no_row_for_it():
    tensor = torch.randn(2, 4, 6, 8)
    with pytest.raises(ValueError, match="packed or padding-free rows only"):
        varlen._attention(None, tensor, tensor, tensor, None)


@pytest.mark.parametrize("kernel", ["varlen", "math", "eager"])
@pytest.mark.parametrize("filled", attention_kernels.FILLED)
def test_a_kernel_sees_what_it_should(kernel, filled):
    """Every real token, against its document alone; and no gradient is lost on the way."""
    torch.manual_seed(0)
    batch = attention_kernels.batch_of(filled, n_rows=2, length=24, device="cpu")
    query, key, value = (torch.randn(2, n, 24, 8, requires_grad=True) for n in (4, 2, 2))
    call, _ = attention_kernels.kernel_of(kernel, batch, dtype=torch.float32)
    found = call(query, key, value)
    n_compared = 0
    for row, documents in enumerate(batch.documents):
        for document in set(documents.tolist()) - {-1}:
            places = (documents == document).nonzero()[:, 0]
            parts = (tensor[row, :, places] for tensor in (query, key, value))
            torch.testing.assert_close(
                found[row, :, places], alone(*parts), check_dtype=False, atol=1e-5, rtol=1e-5
            )
            n_compared += len(places)
    assert n_compared == int(batch.ends[-1])
    found.sum().backward()
    assert value.grad.abs().sum() > 0


def test_batches_are_what_their_name_says():
    full, padded, packed = (
        attention_kernels.batch_of(filled, n_rows=4, length=64, device="cpu")
        for filled in ("full", "padded", "packed")
    )
    assert full.ends.tolist() == [0, 64, 128, 192, 256]
    assert full.longest == 64
    assert full.mask is None
    assert len(padded.real) == int(padded.ends[-1]) < 256
    assert padded.longest == padded.ends.diff().max()
    assert int(packed.ends[-1]) == 256
    assert len(packed.ends) > 8  # several documents a row
    assert packed.real is None


def test_eager_is_that_of_transformers():
    from types import SimpleNamespace

    from transformers.models.llama.modeling_llama import eager_attention_forward

    torch.manual_seed(0)
    batch = attention_kernels.batch_of("padded", n_rows=2, length=24, device="cpu")
    query, key, value = (torch.randn(2, n, 24, 8, dtype=torch.bfloat16) for n in (4, 2, 2))
    call, mask = attention_kernels.kernel_of("eager", batch, dtype=torch.bfloat16)
    module = SimpleNamespace(num_key_value_groups=2, training=True)
    expected, _ = eager_attention_forward(module, query, key, value, mask, scaling=8**-0.5)
    assert torch.equal(call(query, key, value).transpose(1, 2), expected)


def test_a_kernel_that_is_not_there_is_a_figure(tmp_path):
    row = {"shape": "Qwen3-4B", "length": 64, "filled": "full", "kernel": "FlashAttention 3"}
    found = attention.measure(job(tmp_path, rehearse=True), **row)
    assert found == {"refused": "No module named 'flash_attn_interface'"}


@pytest.mark.parametrize("part", [speed, attention])
@pytest.mark.parametrize("rehearse", [False, True])
def test_rows_are_json_and_no_two_alike(part, rehearse, tmp_path):
    rows = part.rows(job(tmp_path, rehearse=rehearse))
    texts = [json.dumps(row, sort_keys=True) for row in rows]
    assert len(set(texts)) == len(texts)
    assert [json.loads(text) for text in texts] == rows


def test_what_a_kernel_library_patches_is_put_back():
    """Liger replaces a function of the model's module, which every later row would run too."""
    from transformers.models.llama import modeling_llama

    before = modeling_llama.apply_rotary_pos_emb
    with pytest.raises(KeyError), speed._undone():
        modeling_llama.apply_rotary_pos_emb = None
        raise KeyError
    assert modeling_llama.apply_rotary_pos_emb is before
