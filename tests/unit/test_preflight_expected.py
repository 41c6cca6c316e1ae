"""What the trainer's own loss teaches, against what the rows say: each fault is named exactly."""

import copy
import math
import random

import pytest

from helpers import environment, recipe, yoda
from onegpu import chat, preflight
from onegpu.preflight import alignment, batch, likelihood
from onegpu.preflight.findings import Tally
from onegpu.preflight.pairing import Pairing
from onegpu.preflight.steps import Batch

IGNORED = chat.IGNORED
PAIRS = [yoda.to_prompt_completion(row) for row in yoda.rows("train")[:40]]


@pytest.fixture
def build(tokenizer, tiny_model, tmp_path):
    """Return a function that builds a healthy trainer, or one with something changed in it."""
    environment.quiet()

    def build(rows=PAIRS, *, kind=None, collator=None, adapter=True, model=None, **changed):
        from datasets import Dataset
        from peft import LoraConfig
        from trl import SFTConfig, SFTTrainer

        settings = {
            **recipe.sft_settings(environment.PROFILES["cpu"]),
            **({} if adapter else {"learning_rate": 5e-5}),
            "shuffle_dataset": False,
            "warmup_steps": 0,
            **changed,
        }
        lora = adapter if adapter not in (True, False) else LoraConfig(**recipe.lora_settings())
        trainer = (kind or SFTTrainer)(
            model or copy.deepcopy(tiny_model),
            args=SFTConfig(output_dir=str(tmp_path), **settings),
            train_dataset=Dataset.from_list(rows) if isinstance(rows, list) else rows,
            processing_class=copy.deepcopy(tokenizer),
            peft_config=lora if adapter else None,
        )
        if collator:
            trainer.data_collator = collator(trainer.data_collator)
        return trainer

    return build


def codes(trainer):
    return preflight.check(trainer).codes


# Collators --------------------------------------------------------------------------------------


def changing(change):
    """Return what makes a collator of a collator: it changes the batch."""

    def wrap(collate):
        def changed(rows):
            batch = collate(rows)
            change(batch)
            return batch

        return changed

    return wrap


def shift(batch):
    batch["labels"] = batch["labels"].roll(-1, 1)
    batch["labels"][:, -1] = IGNORED


def hide(batch):
    batch["attention_mask"].zero_()


def stand_still(batch):
    batch["position_ids"] = batch["input_ids"] * 0


def count_down(batch):
    import torch

    n_rows, n = batch["input_ids"].shape
    batch["position_ids"] = torch.arange(n).flip(0).repeat(n_rows, 1)


def mask_most(batch):
    batch["labels"][:, :-3] = IGNORED


def mask_all(batch):
    batch["labels"].fill_(IGNORED)


def labels_of_others(batch):
    batch["labels"] = batch["labels"].roll(1, 0)


def random_labels(batch):
    import torch

    learned = batch["labels"] != IGNORED
    batch["labels"][learned] = torch.randint(100, 40_000, (int(learned.sum()),))


def permute(batch):
    ids = batch["input_ids"]
    batch["input_ids"] = (ids * 7 + 11) % 49_000
    learned = batch["labels"] != IGNORED
    batch["labels"][learned] = batch["input_ids"][learned]


COLLATORS = {
    "labels-shifted": shift,
    "attention-masked": hide,
    "positions-wrong": stand_still,
    "nothing-learned": mask_all,
    "answers-swapped": labels_of_others,
    "labels-differ": random_labels,
    "tokens-differ": permute,
}


@pytest.mark.parametrize("code", COLLATORS)
def test_what_a_collator_breaks_is_named(build, code):
    assert codes(build(collator=changing(COLLATORS[code]))) == [code]


def test_positions_that_count_down(build):
    assert codes(build(collator=changing(count_down))) == ["positions-wrong"]


def test_a_collator_that_learns_only_the_ends(build):
    found = preflight.check(build(collator=changing(mask_most)))
    assert found.codes == ["weights-zero"]
    assert found[0].where.startswith("the collator masks")


def test_a_collator_that_gives_answers_to_other_rows(build):
    def rotating(collate):
        def rotated(rows):
            n = [sum(label == IGNORED for label in row["labels"]) for row in rows]
            parts = [(r["input_ids"][:k], r["input_ids"][k:]) for r, k in zip(rows, n, strict=True)]
            answers = [answer for _, answer in parts]
            mixed = zip([p for p, _ in parts], answers[1:] + answers[:1], strict=True)
            return collate(
                [{"input_ids": p + a, "labels": [IGNORED] * len(p) + a} for p, a in mixed]
            )

        return rotated

    assert codes(build(collator=rotating)) == ["answers-swapped"]


def widen(batch):
    """Add what is harmless: padding, a token at the beginning, positions."""
    import torch

    batch["input_ids"] = torch.nn.functional.pad(batch["input_ids"], (1, 3), value=2)
    batch["labels"] = torch.nn.functional.pad(batch["labels"], (1, 3), value=IGNORED)
    mask = torch.nn.functional.pad(batch["attention_mask"], (1, 0), value=1)
    batch["attention_mask"] = torch.nn.functional.pad(mask, (0, 3), value=0)
    batch["position_ids"] = (batch["attention_mask"].cumsum(1) - 1).clamp(min=0)


def test_nothing_is_found_in_a_healthy_collator(build):
    def backwards(collate):
        return lambda rows: collate(rows[::-1])

    assert codes(build(collator=changing(widen))) == []
    assert codes(build(collator=backwards)) == []
    assert codes(build(collator=lambda collate: lambda rows: collate(rows[:-1]))) == []


# Losses -----------------------------------------------------------------------------------------


def with_loss(loss):
    """Return a trainer class with another loss, of logits and labels that are in line."""
    import torch
    from trl import SFTTrainer

    class WithLoss(SFTTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            inputs = dict(inputs)
            labels = inputs.pop("labels")
            logits = model(**inputs, use_cache=False).logits[:, :-1].float()
            return loss(torch.nn.functional, logits, labels[:, 1:], inputs["input_ids"][:, 1:])

    return WithLoss


def plain(functional, logits, labels, ids):
    return functional.cross_entropy(logits.transpose(1, 2), labels)


def smooth(functional, logits, labels, ids):
    return functional.cross_entropy(logits.transpose(1, 2), labels, label_smoothing=0.1)


def summed(functional, logits, labels, ids):
    return functional.cross_entropy(logits.transpose(1, 2), labels, reduction="sum")


def focal(functional, logits, labels, ids):
    costs = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return ((1 - (-costs).exp()) ** 2 * costs).sum() / (labels != IGNORED).sum()


def of_all_tokens(functional, logits, labels, ids):
    return functional.cross_entropy(logits.transpose(1, 2), ids)


def of_logits(functional, logits, labels, ids):
    return logits.pow(2).mean()


def weighted_with_zeros(functional, logits, labels, ids):
    costs = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return (costs * costs.new_zeros(costs.shape)).sum()


def weighted_with_few(functional, logits, labels, ids):
    costs = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    weights = (labels != IGNORED).cumsum(1) <= 2
    return (costs * weights).mean()


def shifted_again(functional, logits, labels, ids):
    return functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:])


def not_shifted(functional, logits, labels, ids):
    return functional.cross_entropy(logits[:, 1:].transpose(1, 2), labels[:, :-1])


@pytest.mark.parametrize("loss", [plain, smooth, summed, focal])
def test_nothing_is_found_in_a_healthy_loss(build, loss):
    assert codes(build(kind=with_loss(loss))) == []


@pytest.mark.parametrize(
    ("loss", "code"),
    [
        (of_all_tokens, "loss-ignores-labels"),
        (of_logits, "loss-ignores-labels"),
        (weighted_with_few, "weights-zero"),
        (shifted_again, "labels-shifted"),
        (not_shifted, "labels-shifted"),
    ],
)
def test_a_loss_that_teaches_something_else_is_named(build, loss, code):
    assert set(codes(build(kind=with_loss(loss)))) - {"loss-rises"} == {code}


def test_a_loss_of_nothing(build):
    assert codes(build(kind=with_loss(weighted_with_zeros))) == ["weights-zero"]


@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_loss_that_is_no_number(build, factor):
    """It ended in "no median for empty data", or in a division by zero."""

    def broken(*args):
        return plain(*args) * factor

    (found,) = preflight.check(build(kind=with_loss(broken)))
    assert (found.code, found.where) == ("loss-too-high", f"it is {factor}")


def test_labels_that_are_shifted_before_a_loss_that_shifts_none(build):
    """Twice unusual, and right: the loss decides, not how labels look."""

    def unshifted(functional, logits, labels, ids):
        import torch

        whole = torch.cat([labels[:, :0], labels], 1)
        return functional.cross_entropy(logits[:, 1:].transpose(1, 2), whole[:, :-1])

    assert codes(build(kind=with_loss(unshifted), collator=changing(shift))) == []


# Rows -------------------------------------------------------------------------------------------


def test_answers_of_other_rows(build):
    """Its prompts and completions were sorted apart: no token alone is wrong."""
    answers = [pair["completion"] for pair in PAIRS]
    for moved in (answers[1:] + answers[:1], random.Random(0).sample(answers, len(answers))):
        rows = [{**p, "completion": a} for p, a in zip(PAIRS, moved, strict=True)]
        assert codes(build(rows)) == ["answers-swapped"]


def test_tokens_of_another_vocabulary(build):
    ids = random.Random(0).sample(range(100, 49_000), 48_900)
    third = {i: ids[i - 100] for i in range(100, 49_000) if i % 3 == 0}
    for change in (dict(enumerate(ids, 100)), third):
        trainer = build()
        trainer.train_dataset = trainer.train_dataset.map(
            lambda row, to=change: {
                "input_ids": [to.get(i, i) for i in row["input_ids"]],
                "labels": [to.get(i, i) for i in row["labels"]],
            }
        )
        assert "tokens-differ" in codes(trainer)


def test_answers_without_their_first_tokens(build, tokenizer):
    def mask(row):
        first = next(t for t, n in enumerate(row["labels"]) if n != IGNORED)
        return {"labels": [IGNORED] * (first + 2) + row["labels"][first + 2 :]}

    trainer = build()
    trainer.train_dataset = trainer.train_dataset.map(mask)
    assert codes(trainer) == ["answer-start-masked"]
    assert codes(
        build([dict(row) for row in trainer.train_dataset.select_columns(["input_ids", "labels"])])
    ) == ["answer-start-masked"]


def test_a_beginning_that_all_answers_share_may_be_masked(build):
    rows = [
        {
            **p,
            "completion": [
                {**p["completion"][0], "content": "He says: " + p["completion"][0]["content"]}
            ],
        }
        for p in PAIRS
    ]

    def mask(row):
        first = next(t for t, n in enumerate(row["labels"]) if n != IGNORED)
        return {"labels": [IGNORED] * (first + 3) + row["labels"][first + 3 :]}

    trainer = build(rows)
    trainer.train_dataset = trainer.train_dataset.map(mask)
    assert codes(trainer) == []


# Healthy set-ups that were accused ----------------------------------------------------------------


def test_packing_in_pieces(build):
    assert (
        codes(build(packing=True, packing_strategy="bfd_split", gradient_accumulation_steps=1))
        == []
    )


def test_prompt_tuning(build):
    from peft import PromptTuningConfig

    adapter = PromptTuningConfig(num_virtual_tokens=8, task_type="CAUSAL_LM")
    assert codes(build(adapter=adapter, learning_rate=1e-3)) == []


@pytest.mark.parametrize("form", ["torch", "numpy", "stream", "plain list of tensors"])
def test_data_of_other_forms(build, form):
    import torch

    trainer = build(max_steps=8)
    rows = trainer.train_dataset
    if form in ("torch", "numpy"):
        trainer.train_dataset = rows.with_format(form)
    elif form == "stream":
        trainer.train_dataset = rows.to_iterable_dataset()
    else:
        trainer.train_dataset = [
            {name: torch.tensor(row[name]) for name in ("input_ids", "labels")} for row in rows
        ]
    assert codes(trainer) == []


def test_a_collator_that_tokenizes(tiny_model, tokenizer, tmp_path):
    """Its rows are texts: it ended in a ValueError."""
    from datasets import Dataset
    from transformers import Trainer, TrainingArguments

    def collate(rows):
        texts = [row["text"] + tokenizer.eos_token for row in rows]
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        return batch

    trainer = Trainer(
        tiny_model,
        TrainingArguments(
            str(tmp_path), use_cpu=True, report_to="none", remove_unused_columns=False
        ),
        train_dataset=Dataset.from_list([{"text": p["completion"][0]["content"]} for p in PAIRS]),
        processing_class=tokenizer,
        data_collator=collate,
    )
    assert codes(trainer) == []


@pytest.mark.parametrize("part", ["model", "collator", "data"])
def test_an_error_is_a_finding(build, part):
    def fail(*args, **kwargs):
        raise RuntimeError("no such kernel")

    trainer = build([*PAIRS, PAIRS[0]])
    if part == "model":
        trainer.model.get_base_model().model.layers[0].register_forward_pre_hook(fail)
    elif part == "collator":
        trainer.data_collator = fail
    else:
        trainer.train_dataset = trainer.train_dataset.with_transform(fail)
    found = preflight.check(trainer)
    assert "step-fails" in found.codes
    assert "no such kernel" in next(f.where for f in found if f.code == "step-fails")
    assert part == "data" or "duplicate-rows" in found.codes


@pytest.mark.parametrize("n_passes", [0, 3])
def test_memory_that_runs_out_is_no_error_of_the_training(build, n_passes):
    """It was in the first batches: the check keeps logits and copies that training does not."""
    import torch
    from trl import SFTTrainer

    passes = []

    class Hungry(SFTTrainer):
        def compute_loss(self, *args, **kwargs):
            passes.append(0)
            if len(passes) > n_passes:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().compute_loss(*args, **kwargs)

    (found,) = preflight.check(build(kind=Hungry))
    assert (found.code, found.severity) == ("not-rehearsed", "warning")
    assert found.where == "out of memory on cpu"


def test_each_pass_is_as_in_training_but_for_the_dropout(build):
    """Only the rehearsal kept activations as the settings say, and ignored the settings' kwargs."""
    from peft import LoraConfig
    from trl import SFTTrainer

    seen = []

    class Watching(SFTTrainer):
        def compute_loss(self, model, *args, **kwargs):
            layer = model.get_base_model().model.layers[0]
            function = getattr(layer, "_gradient_checkpointing_func", None)
            drops = [m.p for m in model.modules() if "Dropout" in type(m).__name__]
            drops.append(layer.self_attn.attention_dropout)
            seen.append((layer.gradient_checkpointing, getattr(function, "keywords", {}), drops))
            return super().compute_loss(model, *args, **kwargs)

    settings = {"use_reentrant": False, "preserve_rng_state": False}
    trainer = build(
        kind=Watching,
        adapter=LoraConfig(**{**recipe.lora_settings(), "lora_dropout": 0.3}),
        activation_checkpointing=True,
        activation_checkpointing_kwargs=settings,
    )
    attention = trainer.model.get_base_model().model.layers[0].self_attn
    attention.attention_dropout = 0.25
    assert preflight.check(trainer).codes == []
    assert len(seen) >= 4  # two lessons or more, a backward pass, two steps
    for is_on, keywords, drops in seen:
        assert is_on
        assert settings.items() <= keywords.items()
        assert set(drops) == {0.0}
    assert attention.attention_dropout == 0.25


def test_rows_that_are_no_mappings_are_left_to_their_collator(build):
    """They were a TypeError of ours, which looked like one of the data set."""
    trainer = build()
    rows, collate = list(trainer.train_dataset), trainer.data_collator
    trainer.train_dataset = [tuple(row.items()) for row in rows]
    trainer.data_collator = lambda rows: collate([dict(row) for row in rows])
    assert list(preflight.check(trainer)) == []


def test_our_own_errors_are_raised_and_rows_before_an_error_of_the_data_count(build, monkeypatch):
    """A KeyError of the check itself was told as a training step that fails."""
    trainer = build([*PAIRS, PAIRS[0]])

    class Torn(list):
        def __iter__(self):
            yield from list.__iter__(self)
            raise OSError("the file ends here")

    trainer.train_dataset = Torn(trainer.train_dataset)
    finished = []
    monkeypatch.setattr(Pairing, "finish", lambda self: finished.append(self))
    found = {finding.code: finding.where for finding in preflight.check(trainer)}
    assert "OSError: the file ends here" in found["step-fails"]
    assert "duplicate-rows" in found
    assert finished

    def fail(*args, **kwargs):
        raise KeyError("ours")

    monkeypatch.setattr(Pairing, "add", fail)
    with pytest.raises(KeyError, match="ours"):
        preflight.check(trainer)


def test_a_kind_that_is_stated_twice_counts_twice():
    """One of an earlier check hid that the batches were wrong, and a step was judged as well."""
    tally = Tally()
    for n in (1, 2):
        tally.state("weights-zero", "here")
        assert tally.n_stated == n
    assert tally.findings().codes == ["weights-zero"]


def test_each_batch_is_aligned_once_and_each_question_asked_once(build, monkeypatch):
    batches, asked = [], []
    monkeypatch.setattr(batch, "align", lambda b: batches.append(id(b)) or alignment.align(b))
    costs = likelihood._costs

    def counted(trainer, questions, answers):
        asked.extend(tuple(prompt) for prompt, _ in questions)
        return costs(trainer, questions, answers)

    monkeypatch.setattr(likelihood, "_costs", counted)
    monkeypatch.setattr(likelihood, "CLEARLY", 0.0)
    assert codes(build()) == []
    assert len(batches) == len(set(batches)) == 2
    assert len(asked) == len(set(asked)) == likelihood.N_PAIRS


def test_a_row_is_looked_for_at_its_own_place_first(monkeypatch):
    import torch

    calls = []
    n_equal = alignment.n_equal
    monkeypatch.setattr(alignment, "n_equal", lambda *args: calls.append(args) or n_equal(*args))
    rows = [{"input_ids": list(range(9 * n, 9 * n + 9))} for n in range(32)]
    for order in (list(range(32)), random.Random(0).sample(range(32), 32)):
        table = torch.tensor([rows[n]["input_ids"] for n in order])
        found = alignment.align(Batch(rows, {"input_ids": table}))
        assert [row.row for row in found] == [rows[n] for n in order]
        if order == sorted(order):
            assert len(calls) < 4 * 32


@pytest.mark.parametrize("checkpointing", [False, True])
def test_nothing_is_changed(build, checkpointing):
    import torch

    trainer = build(activation_checkpointing=checkpointing)
    modules = [dict(module.__dict__) for module in trainer.model.modules()]
    hooks = [dict(module._forward_hooks) for module in trainer.model.modules()]
    collator, arguments = trainer.data_collator, trainer.args.to_dict()
    before = torch.get_rng_state()
    assert preflight.check(trainer).codes == preflight.check(trainer).codes == []
    assert trainer.data_collator is collator
    assert trainer.args.to_dict() == arguments
    assert torch.equal(torch.get_rng_state(), before)
    assert not trainer._metrics["train"]
    assert [dict(module.__dict__) for module in trainer.model.modules()] == modules
    assert [dict(module._forward_hooks) for module in trainer.model.modules()] == hooks


def test_a_template_whose_user_turns_have_an_end_of_their_own(tokenizer):
    """As gpt-oss writes them: <|end|> was taken for what opens a turn."""
    mine = copy.deepcopy(tokenizer)
    mine.add_tokens(["<|start|>", "<|message|>", "<|end|>", "<|return|>"], special_tokens=True)
    mine.eos_token = "<|return|>"
    mine.chat_template = (
        "{% for m in messages %}<|start|>{{ m['role'] }}<|message|>{{ m['content'] }}"
        "{% if loop.last and m['role'] == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<|start|>assistant<|message|>{% endif %}"
    )
    turns = [turn for pair in PAIRS[:4] for turn in pair["prompt"][-1:] + pair["completion"]]
    assert preflight.check_data([{"messages": turns}], mine).codes == ["prompt-learned"]
    turns[2] = {**turns[2], "content": "<|start|>user<|message|>Hi"}
    assert "template-twice" in preflight.check_data([{"messages": turns}], mine).codes


# Noise and references ---------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "expected"), [(None, []), (15, []), (500, ["loss-too-high"])])
def test_noise_that_drowns_the_embeddings(build, alpha, expected):
    found = preflight.check(build(neftune_noise_alpha=alpha))
    assert found.codes == expected
    if found:
        assert "NEFTune's noise is" in found[0].found


@pytest.fixture
def prefer(tiny_model, tokenizer, tmp_path):
    """Return a function that builds a trainer of preferences with a reference."""
    from datasets import Dataset

    def prefer(kind, reference=None, *, adapter=None):
        import trl

        rows = []
        for number, pair in enumerate(PAIRS):
            bad = [{"role": "assistant", "content": f"No, not {number}."}]
            both = {"chosen": pair["completion"], "rejected": bad}
            one = {"completion": both["rejected" if number % 2 else "chosen"]}
            one["label"] = number % 2 == 0
            rows.append({"prompt": pair["prompt"], **(both if kind == "DPO" else one)})
        config = getattr(trl, f"{kind}Config")(
            str(tmp_path), use_cpu=True, bf16=False, report_to="none", learning_rate=1e-5
        )
        return getattr(trl, f"{kind}Trainer")(
            copy.deepcopy(tiny_model),
            reference,
            config,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=adapter,
        )

    return prefer


def is_accused(trainer):
    return "reference-differs" in codes(trainer)


@pytest.mark.parametrize("kind", ["DPO", "KTO"])
def test_a_reference_that_is_another_model(prefer, tiny_model, kind):
    import torch

    assert not is_accused(prefer(kind, copy.deepcopy(tiny_model)))
    assert not is_accused(prefer(kind, copy.deepcopy(tiny_model).bfloat16()))
    other = copy.deepcopy(tiny_model)
    with torch.no_grad():
        for weight in other.parameters():
            weight.copy_(weight.flip(0))
    assert is_accused(prefer(kind, other))


def test_references_of_adapters(prefer, tiny_model):
    """PiSSA takes the largest part out of the base, which is no reference without it."""
    from peft import LoraConfig, PromptTuningConfig

    assert not is_accused(prefer("DPO", adapter=LoraConfig(**recipe.lora_settings())))
    prompts = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    assert not is_accused(prefer("DPO", adapter=prompts))
    pissa = LoraConfig(**recipe.lora_settings(), init_lora_weights="pissa")
    assert is_accused(prefer("DPO", adapter=pissa))


# Rewards ----------------------------------------------------------------------------------------


def length(completions, **columns):
    return [float(len(completion[0]["content"])) for completion in completions]


def boxed(completions, answer, **columns):
    texts = [completion[0]["content"] for completion in completions]
    return [float(f"\\boxed{{{a}}}" in t) for t, a in zip(texts, answer, strict=True)]


def constant(completions, **columns):
    return [1.0] * len(completions)


def failing(completions, **columns):
    raise KeyError("solution")


@pytest.mark.parametrize(
    ("functions", "settings", "code"),
    [
        ([length, constant], {}, None),
        ([boxed], {}, None),
        ([constant], {}, "rewards-equal"),
        ([length], {"temperature": 0.0}, "rewards-equal"),
        ([length, constant], {"reward_weights": [0.0, 1.0]}, "rewards-equal"),
        ([failing], {}, "step-fails"),
    ],
)
def test_rewards(tiny_model, tokenizer, tmp_path, functions, settings, code):
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    rows = [{"prompt": p["prompt"], "answer": str(n)} for n, p in enumerate(PAIRS)]
    trainer = GRPOTrainer(
        tiny_model,
        reward_funcs=functions,
        args=GRPOConfig(
            str(tmp_path), use_cpu=True, bf16=False, report_to="none", beta=0.0, **settings
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    found = {"rewards-equal", "step-fails"} & set(codes(trainer))
    assert found == ({code} if code else set())
