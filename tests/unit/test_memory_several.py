"""Plans of several cards: against torch's own DDP and FSDP2 on a CPU, by hand, and published."""

import contextlib
import socket
import types
from multiprocessing import get_context

import pytest
import torch

from onegpu import memory
from onegpu.memory.several import plan_several

GIB = 1024**3
LORA = {"r": 16, "target_modules": "all-linear"}
TOKENS = 128


def small(*, tied=False):
    """A configuration of six layers, which takes a moment."""
    from transformers import LlamaConfig

    return LlamaConfig(
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=6,
        num_attention_heads=8,
        vocab_size=8192,
        tie_word_embeddings=tied,
        use_cache=False,
    )


def planned(sharding, *, tied=False, **fields):
    """Return the peaks of the phases, as a CPU counts: neither workspaces nor rounding."""
    settings = {"seq": TOKENS, "batch": 1, "trainer": "loop", "attention": "eager", **fields}
    found = plan_several(small(tied=tied), gpu=24, n_gpus=2, sharding=sharding, **settings)
    peaks = {}
    for moment in found.timeline():
        peaks[moment.phase] = max(peaks.get(moment.phase, 0), sum(moment.parts.values()))
    return {phase: peak - 2 * found.card.workspace_bytes for phase, peak in peaks.items()}


def measured_steps(divide, *, tied=False, lora=None, precision="fp32", autocast=False):
    """Return the peaks of two real steps on the CPU, with checkpointing."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    settings = {"dtype": dtype, "attn_implementation": "eager"}
    ids = torch.zeros((1, TOKENS), dtype=torch.long)
    with memory.measure("cpu") as measured:
        with measured.phase("load"):
            model = AutoModelForCausalLM.from_config(small(tied=tied), **settings)
            if lora:
                model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **lora))
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
            model = divide(model.train())
            trained = [p for p in model.parameters() if p.requires_grad]
            optimizer = torch.optim.AdamW(trained, foreach=True)
        for _ in range(2):
            optimizer.zero_grad()
            with measured.phase("forward"), in_bf16() if autocast else contextlib.nullcontext():
                output = model(input_ids=ids, labels=ids)
            with measured.phase("backward"):
                output.loss.backward()
            with measured.phase("optimizer"):
                optimizer.step()
            del output
    return {phase.name: phase.allocated_bytes for phase in measured.phases}


def in_bf16():
    return torch.autocast("cpu", torch.bfloat16)


def shard(model, *, autocast=False):
    """Shard a model as accelerate does, in two."""
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model
    from torch.distributed.device_mesh import init_device_mesh

    plugin = FullyShardedDataParallelPlugin(
        fsdp_version=2, auto_wrap_policy="transformer_based_wrap", cpu_ram_efficient_loading=False
    )
    if autocast:
        plugin.set_mixed_precision("bf16")
    accelerator = types.SimpleNamespace(
        state=types.SimpleNamespace(fsdp_plugin=plugin),
        mixed_precision="bf16" if autocast else "no",
        is_main_process=False,
        device=torch.device("cpu"),
        torch_device_mesh={("fsdp",): init_device_mesh("cpu", (2,))},
        parallelism_config=types.SimpleNamespace(fsdp_dim_names=["fsdp"]),
    )
    return fsdp2_prepare_model(accelerator, model)


@pytest.fixture
def two_ranks():
    """The first of two ranks, of which the other does nothing and nothing is sent."""
    from torch import distributed
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize(
    "fields",
    [
        {"precision": "fp32"},
        {"precision": "fp32", "tied": True},
        {"precision": "fp32", "autocast": True},
        {"precision": "bf16", "lora": LORA},
        {"precision": "bf16", "lora": LORA, "autocast": True},
    ],
)
def test_a_step_of_fsdp2_takes_what_is_planned(two_ranks, fields):
    """Torch's own `fully_shard`, applied by accelerate: within 0.1 %, of the backward pass 2.5 %.

    There kernels of a CPU are others. It also loads the model whole, so loading is another thing.
    """
    autocast = fields.get("autocast", False)
    found = measured_steps(lambda model: shard(model, autocast=autocast), **fields)
    plan = planned("fsdp2", **fields)
    for phase, rel in {"forward": 0.001, "backward": 0.025, "optimizer": 0.001}.items():
        assert plan[phase] == pytest.approx(found[phase], rel=rel), phase


def run_ddp(rank, port, fields, queue):
    from torch import distributed, nn

    address = f"tcp://127.0.0.1:{port}"
    distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    found = measured_steps(nn.parallel.DistributedDataParallel, **fields)
    if rank == 0:
        queue.put(found)
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [{"precision": "fp32"}, {"precision": "bf16", "lora": LORA}], ids=["all", "lora"]
)
def test_a_step_of_ddp_takes_what_is_planned(fields):
    """Two processes that send to each other: each phase within 0.5 %."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = get_context("spawn")
    queue = context.Queue()
    ranks = [context.Process(target=run_ddp, args=(n, port, fields, queue)) for n in range(2)]
    for process in ranks:
        process.start()
    found = queue.get(timeout=100)
    for process in ranks:
        process.join()
    plan = planned("ddp", **fields)
    for phase in ("forward", "backward", "optimizer"):
        assert plan[phase] == pytest.approx(found[phase], rel=0.005), phase


def last_parts(found):
    """Return the parts while the optimizer runs for the last time."""
    return [moment for moment in found.timeline() if moment.phase == "optimizer"][-1].parts


def test_ddp_adds_buckets_as_large_as_the_gradients():
    settings = {"gpu": "h100", "seq": 64, "batch": 1}
    one = last_parts(memory.plan(small(), **settings))
    two = last_parts(plan_several(small(), n_gpus=2, sharding="ddp", **settings))
    assert two["gradients"] == 2 * one["gradients"]
    assert {**two, "gradients": 0} == {**one, "gradients": 0}


@pytest.mark.parametrize("n_gpus", [2, 3, 8])
def test_shards_by_hand(n_gpus):
    """The first card has the ceiling of rows / n of each matrix; a float32 weight has 16 bytes."""
    found = plan_several(
        small(),
        gpu="h100",
        n_gpus=n_gpus,
        sharding="fsdp2",
        seq=64,
        batch=1,
        optimizer="adamw_torch_fused",
    )
    rows = {512: 4, 1536: 2}  # in a layer: q, k, v, o; gate and up; down has 1,536 columns
    layer = sum(count * -(-n // n_gpus) * 512 for n, count in rows.items())
    layer += -(-512 // n_gpus) * 1536 + 2 * -(-512 // n_gpus)  # down, two norms
    n_weights = 6 * layer + 2 * -(-8192 // n_gpus) * 512 + -(-512 // n_gpus)
    parts = last_parts(found)
    assert parts["weights"] == pytest.approx(4 * n_weights, rel=1e-3)
    assert parts["gradients"] == pytest.approx(4 * n_weights, rel=1e-3)
    assert parts["optimizer"] == pytest.approx(8 * n_weights, rel=1e-3)


def test_frozen_weights_are_sharded_too():
    settings = {"gpu": "h100", "sharding": "fsdp2", "seq": 64, "batch": 1, "lora": LORA}
    two, four = (last_parts(plan_several(small(), n_gpus=n, **settings)) for n in (2, 4))
    for kind in ("weights", "adapters", "gradients", "optimizer"):
        assert four[kind] == pytest.approx(two[kind] / 2, rel=1e-3), kind


def test_a_published_peak_of_fsdp2():
    """Llama-7B on 8 H100 of 95.0396 GiB, 8 rows of 2,048 tokens, checkpointing: 23.92 % active.

    Off by 7 %: torchtitan has a model of its own, whose logits are float32 and live on, and reduces
    gradients in float32. Source: https://github.com/pytorch/torchtitan/pull/165
    """
    from transformers import LlamaConfig

    llama = LlamaConfig(max_position_embeddings=2048)
    assert (llama.hidden_size, llama.num_hidden_layers, llama.vocab_size) == (4096, 32, 32000)
    settings = {"seq": 2048, "batch": 8, "trainer": "loop", "autocast": True}
    card = memory.Card("H100 of 96 GB", 95.0396, 9.0)
    found = plan_several(llama, gpu=card, n_gpus=8, sharding="fsdp2", **settings)
    assert found.allocated_bytes == pytest.approx(0.2392 * 95.0396 * GIB, rel=0.1)
    assert found.allocated_bytes < 0.25 * memory.plan(llama, gpu=card, **settings).allocated_bytes


def test_weights_that_are_trained_are_kept_in_float32():
    """As accelerate does with autocast; pure bf16, asked for, was planned as float32 unsaid."""
    settings = {"gpu": "h100", "n_gpus": 2, "seq": 64, "batch": 1}
    with pytest.raises(ValueError, match="For pure 16 bits give autocast=False too"):
        plan_several(small(), sharding="fsdp2", precision="bf16", **settings)
    whole = plan_several(small(), sharding="fsdp2", **settings)
    assert whole.step.precision == "fp32"
    pure = plan_several(small(), sharding="fsdp2", precision="bf16", autocast=False, **settings)
    assert pure.allocated_bytes < whole.allocated_bytes
    assert (
        plan_several(small(), sharding="ddp", precision="bf16", **settings).step.precision == "bf16"
    )


@pytest.mark.parametrize("trainer", ["dpo", "reward"])
def test_other_trainers_of_adapters(trainer):
    settings = {"gpu": "h100", "seq": 64, "batch": 1, "lora": LORA, "trainer": trainer}
    one = memory.plan(small(), **settings).allocated_bytes
    found = plan_several(small(), n_gpus=8, sharding="fsdp2", **settings)
    assert found.fits
    assert last_parts(found)["weights"] < one / 4


def test_a_plan_of_several_is_made_again_on_as_many():
    found = plan_several(small(), gpu=1, n_gpus=4, sharding="fsdp2", seq=256, batch=1)
    assert repr(found).startswith("Each of 4 cards, fsdp2: llama on 1 GiB, 1 row of 256 tokens")
    assert "several cards" in repr(found)
    again = found.replan(batch=2)
    assert (again.n_gpus, again.sharding, again.step.batch) == (4, "fsdp2", 2)
    assert again.allocated_bytes > found.allocated_bytes
    assert found.largest_batch(limit=2) == 2
    as_json = found.to_dict()
    assert (as_json["n_gpus"], as_json["sharding"], as_json["fits"]) == (4, "fsdp2", True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_gpus": 1}, "n_gpus is 1: give 2 or more"),
        ({"sharding": "zero3"}, "sharding is 'zero3': choose one of ddp, fsdp2"),
        ({"quantization": "nf4", "lora": LORA}, "quantization is 'nf4' and sharding is 'fsdp2'"),
        ({"optimizer": "adamw_bnb_8bit"}, "optimizer is 'adamw_bnb_8bit', and"),
        ({"trainer": "grpo"}, "trainer is 'grpo', and sharding is 'fsdp2'"),
        ({"trainer": "dpo"}, "trainer is 'dpo' with precompute_ref=False, and"),
    ],
)
def test_what_cannot_be_planned_says_why(fields, message):
    settings = {"n_gpus": 2, "sharding": "fsdp2", "seq": 64, "batch": 1, **fields}
    with pytest.raises(ValueError, match=message):
        plan_several(small(), gpu="h100", **settings)
