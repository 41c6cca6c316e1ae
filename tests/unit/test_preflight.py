"""Each silent failure is planted in a healthy set-up: preflight must name it, and nothing else."""

import copy
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import environment, recipe, yoda
from onegpu import chat, preflight, training

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}\n### Answer\n"
    "{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}"
    "{% else %}### Question\n{{ message['content'] }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}\n### Answer\n{% endif %}"
)
TEMPLATES = {"ChatML": CHATML, "plain": PLAIN}
PAIRS = [yoda.to_prompt_completion(row) for row in yoda.rows("train")[:40]]
MANY = [yoda.to_prompt_completion(row) for row in yoda.rows("train")[:60]]
OTHERS = [yoda.to_prompt_completion(row) for row in yoda.rows("validation")[:8]]


def messages(pairs):
    return [{"messages": pair["prompt"] + pair["completion"]} for pair in pairs]


def data_set(rows, *, streamed):
    """Return a data set of a list of rows, or a dict of data sets of a dict of lists."""
    from datasets import Dataset

    if isinstance(rows, dict):
        return {name: data_set(part, streamed=streamed) for name, part in rows.items()}
    whole = Dataset.from_list(rows)
    return whole.to_iterable_dataset() if streamed else whole


@pytest.fixture
def build(tokenizer, tiny_model, tmp_path):
    """Return a function that builds a healthy trainer, or one with something changed in it.

    With `streamed=True` no data set of it has a length or an index.
    """
    environment.quiet()

    def build(rows=PAIRS, *, template="ChatML", full=False, adapter=None, collator=None, **changed):
        from peft import LoraConfig
        from trl import SFTConfig, SFTTrainer

        mine = changed.pop("tokenizer", None) or copy.deepcopy(tokenizer)
        if "tokenizer" not in changed:
            mine.chat_template = TEMPLATES.get(template, template)
        model = changed.pop("model", None) or copy.deepcopy(tiny_model)
        evaluation = changed.pop("evaluation", OTHERS if "prompt" in rows[0] else messages(OTHERS))
        metrics = changed.pop("compute_metrics", None)
        streamed = changed.pop("streamed", False)
        lora = LoraConfig(**{**recipe.lora_settings(), **(adapter or {})})
        settings = {
            **recipe.sft_settings(environment.PROFILES["cpu"]),
            **({"learning_rate": 5e-5} if full else {}),
            "warmup_steps": 0,
            "assistant_only_loss": "messages" in rows[0],
            "shuffle_dataset": False,
            **({"max_steps": 2} if streamed else {}),
            **changed,
        }
        return SFTTrainer(
            model,
            args=SFTConfig(output_dir=str(tmp_path), **settings),
            train_dataset=data_set(rows, streamed=streamed),
            eval_dataset=data_set(evaluation, streamed=streamed),
            processing_class=mine,
            peft_config=None if full or hasattr(model, "peft_config") else lora,
            data_collator=collator(mine) if collator else None,
            compute_metrics=metrics,
        )

    return build


HEALTHY = list(itertools.product(TEMPLATES, (False, True), (PAIRS, messages(PAIRS)), (False, True)))


@pytest.mark.parametrize(("template", "packing", "rows", "full"), HEALTHY)
def test_nothing_is_found_where_nothing_is_wrong(build, template, packing, rows, full):
    trainer = build(rows, template=template, packing=packing, full=full)
    assert preflight.check(trainer).codes == []


@pytest.mark.slow
def test_nothing_is_found_in_the_trainer_of_chapter_0(tokenizer):
    """The real base in 4 bits, with the default template and validation data."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    from helpers import models, recipe

    environment.quiet()
    profile = environment.profile("cpu")
    trainer = SFTTrainer(
        models.load_base_model(profile),
        args=SFTConfig(output_dir="unused", **recipe.sft_settings(profile)),
        train_dataset=Dataset.from_list(PAIRS),
        processing_class=models.load_tokenizer(profile),
        peft_config=LoraConfig(**recipe.lora_settings()),
    )
    training.prepare(trainer)
    assert preflight.check(trainer).codes == []


def with_row(**changed):
    return [*PAIRS[:30], {**PAIRS[30], **changed}]


def said(text):
    return [{"role": "assistant", "content": text}]


def asked(text):
    return [{"role": "user", "content": text}]


def as_text(tokenizer, template=CHATML):
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = template
    return [mine.apply_chat_template(m["messages"], tokenize=False) for m in messages(PAIRS)]


# Rows -------------------------------------------------------------------------------------------

ROWS = {  # what is planted in the rows: the codes that must be found
    "wrong-roles": (with_row(prompt=[*asked("a"), *asked("b")]), {}),
    "empty-turn": (with_row(completion=said(" ")), {}),
    "template-twice": (with_row(prompt=asked("<|im_start|>user\nHello<|im_end|>\n")), {}),
    "completion-cut": (with_row(completion=said("Strong, you are. " * 60)), {}),
    "rows-dropped": (with_row(prompt=asked("Strong, you are. " * 60)), {}),
    "duplicate-rows": ([*PAIRS, PAIRS[3]], {}),
    "script-outlier": ([*MANY, {**MANY[0], "completion": said("Сильный ты.")}], {}),
    "length-outlier": (with_row(completion=said("Strong, you are. " * 400)), {"max_length": 4096}),
    "train-test-overlap": (PAIRS, {"evaluation": [*OTHERS, PAIRS[5]]}),
    "prompt-learned": (messages(PAIRS), {"assistant_only_loss": False}),
    "template-not-applied": (
        [{"text": f"{i} Strong, you are."} for i in range(30)],
        {"evaluation": [{"text": "Hello."}]},
    ),
}


@pytest.mark.parametrize("code", ROWS)
def test_what_is_planted_in_the_rows_is_found(build, code):
    rows, changed = ROWS[code]
    assert preflight.check(build(rows, **changed)).codes == [code]


def test_a_finding_says_where_and_how_to_fix_it(build):
    (finding,) = preflight.check(build(with_row(completion=said(""))))
    assert finding.code == "empty-turn"
    assert finding.severity == "error"
    assert finding.found == "1 of 31 rows have an empty turn"
    assert finding.where == "train_dataset[30]: assistant"
    assert finding.fix
    path, _, anchor = finding.link.partition("#")
    chapter = Path(path).with_suffix(".ipynb").name
    assert (Path(__file__).resolve().parents[2] / "notebooks" / chapter).exists()
    assert anchor == "empty-turn"


def test_double_bos(build, tokenizer):
    """A tokenizer that adds BOS, and a text that a template has given one."""
    from tokenizers.processors import TemplateProcessing

    adding = copy.deepcopy(tokenizer)
    adding.chat_template = CHATML
    adding.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    rows = [{"text": text} for text in as_text(tokenizer)]
    found = preflight.check(build(rows, tokenizer=adding, evaluation=[{"text": "Hello."}]))
    # a text learns all of itself; that of the evaluation is in no template
    assert set(found.codes) == {"double-bos", "prompt-learned", "template-not-applied"}


def test_a_prompt_that_is_written_otherwise_in_training(build):
    """A template that puts an empty thought before the last answer only when it trains."""
    thinking = CHATML.replace(
        "{{ message['content'] }}<|im_end|>{% endg",
        "<think>\n\n</think>\n{{ message['content'] }}<|im_end|>{% endg",
    )
    opened = thinking.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
    assert preflight.check(build(template=opened)).codes == []
    broken = thinking.replace("assistant\n{% endif %}", "assistant\nHmm. {% endif %}")
    assert preflight.check(build(template=broken)).codes == ["prompt-differs"]


def tokens_of(tokenizer, rows):
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = CHATML
    return [chat.encode(mine, row) for row in rows]


def tokenized(tokenizer, change):
    """Return rows of tokens and labels, of which one is changed."""
    rows = tokens_of(tokenizer, PAIRS[:20])
    rows[7] = {key: list(values) for key, values in change(**rows[7]).items()}
    return rows


def test_an_end_that_is_not_learned(build, tokenizer):
    def mask_the_end(input_ids, labels):
        return {"input_ids": input_ids, "labels": [*labels[:-2], -100, -100]}

    def drop_the_end(input_ids, labels):
        return {"input_ids": input_ids[:-2], "labels": labels[:-2]}

    for change in (mask_the_end, drop_the_end):
        rows = tokenized(tokenizer, change)
        (found,) = preflight.check(build(rows, evaluation=tokens_of(tokenizer, OTHERS)))
        assert (found.code, found.where[:16]) == ("eos-not-learned", "train_dataset[7]")


def test_a_row_without_learned_tokens(build, tokenizer):
    def mask_all(input_ids, labels):
        return {"input_ids": input_ids, "labels": [-100] * len(labels)}

    rows = tokenized(tokenizer, mask_all)
    evaluation = tokens_of(tokenizer, OTHERS)
    found = preflight.check(build(rows, evaluation=evaluation, max_length=None))
    assert found.codes == ["nothing-learned"]


# Tokenizer and collator -------------------------------------------------------------------------


def test_a_template_that_ends_with_another_token(build, tiny_model, tokenizer):
    """As a base Qwen does: the tokenizer's EOS is <|endoftext|>, ChatML ends with <|im_end|>."""
    base = copy.deepcopy(tokenizer)
    base.eos_token, base.chat_template = "<|endoftext|>", CHATML
    tiny_model.generation_config.eos_token_id = base.eos_token_id
    assert preflight.check(build(tokenizer=base)).codes == ["eos-differs"]
    tiny_model.generation_config.eos_token_id = [base.eos_token_id, tokenizer.eos_token_id]
    assert preflight.check(build(tokenizer=base)).codes == []


def test_a_collator_that_masks_the_end(tiny_model, tokenizer, tmp_path):
    """The collator of transformers masks all padding, and here EOS is the padding."""
    from datasets import Dataset
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    rows = [{"input_ids": row["input_ids"]} for row in tokens_of(tokenizer, PAIRS)]
    trainer = Trainer(
        tiny_model,
        TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )
    assert preflight.check(trainer).codes == ["pad-is-eos", "prompt-learned"]
    trainer.data_collator.tokenizer = copy.deepcopy(tokenizer)
    trainer.data_collator.tokenizer.pad_token = "<|endoftext|>"
    assert preflight.check(trainer).codes == ["prompt-learned"]


def test_a_conversation_that_is_cut_after_its_question(build):
    """It ends with a learned end of turn, that of the question, so it seems complete."""
    rows = messages([{"prompt": asked("Who are you?"), "completion": said("Yoda.")}])
    trainer = build(rows, evaluation=rows, assistant_only_loss=False, max_length=8)
    assert trainer.processing_class.decode(trainer.train_dataset[0]["input_ids"]).endswith(
        "?<|im_end|>"
    )
    found = preflight.check(trainer).codes
    assert set(found) == {"completion-cut", "one-update", "train-test-overlap"}  # of one row


def test_padding_on_the_left(build):
    from transformers import DataCollatorForSeq2Seq

    def on_the_left(tokenizer):
        tokenizer.padding_side = "left"
        return DataCollatorForSeq2Seq(tokenizer)

    assert preflight.check(build(collator=on_the_left)).codes == ["padding-side"]


# Model, adapter and settings --------------------------------------------------------------------


def test_packing_that_leaks(build):
    assert preflight.check(build(packing=True, packing_strategy="wrapped")).codes == [
        "packing-leaks"
    ]


def test_documents_may_see_each_other(build):
    """Plain text in pieces, as pretraining has it, was accused of leaking."""
    rows = [{"text": f"{row['sentence']} {row['translation']}"} for row in yoda.rows("train")[:40]]
    trainer = build(
        rows,
        full=True,
        packing=True,
        packing_strategy="wrapped",
        assistant_only_loss=False,
        evaluation=[{"text": "A text."}],
    )
    assert preflight.check(trainer).codes == []


def test_a_frozen_adapter(build, tiny_model, tmp_path):
    from peft import LoraConfig, PeftModel, get_peft_model

    config = LoraConfig(**recipe.lora_settings())
    get_peft_model(copy.deepcopy(tiny_model), config).save_pretrained(tmp_path)
    for trainable in (True, False):
        model = PeftModel.from_pretrained(
            copy.deepcopy(tiny_model), tmp_path, is_trainable=trainable
        )
        found = preflight.check(build(model=model))
        assert found.codes == ([] if trainable else ["adapter-frozen"])


def test_trainable_weights_in_half_precision(build):
    trainer = build()
    for weight in trainer.model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.half()
    found = preflight.check(trainer)
    assert "trainable-half" in found.codes
    assert set(found.codes) <= {"trainable-half", "no-gradient", "loss-too-high"}


def test_full_fine_tuning_in_bfloat16_rounds_its_updates_away(build, tiny_model):
    found = preflight.check(build(model=tiny_model.bfloat16(), full=True, learning_rate=1e-6))
    assert found.codes == ["updates-rounded"]


def test_targets_of_which_some_match_nothing(build):
    found = preflight.check(build(adapter={"target_modules": ["q_proj", "query_key_value"]}))
    assert found.codes == ["targets-missed"]
    assert found[0].where == "query_key_value"


def new_token_rows():
    return [
        {"prompt": pair["prompt"], "completion": said("<|hm|>" + pair["completion"][0]["content"])}
        for pair in PAIRS
    ]


@pytest.mark.parametrize(
    ("resized", "trained", "expected"),
    [
        (True, True, []),
        (True, False, ["new-tokens-untrained"]),
        (False, False, ["embeddings-too-few"]),
    ],
)
def test_new_tokens(build, tiny_model, tokenizer, resized, trained, expected):
    grown = copy.deepcopy(tokenizer)
    grown.chat_template = CHATML
    grown.add_tokens(["<|hm|>"], special_tokens=True)
    if resized:
        tiny_model.resize_token_embeddings(len(grown))
    adapter = {"trainable_token_indices": [len(tokenizer)]} if trained else {}
    found = preflight.check(build(new_token_rows(), tokenizer=grown, adapter=adapter))
    assert found.codes == expected


@pytest.mark.parametrize(("full", "rate"), [(False, 2e-5), (False, 0.1), (True, 2e-3)])
def test_a_learning_rate_of_the_wrong_size(build, full, rate):
    assert preflight.check(build(full=full, learning_rate=rate)).codes == ["learning-rate"]


def test_bfloat16_on_a_card_without_it(build, monkeypatch):
    import torch

    trainer = build()
    trainer.args.bf16 = True
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert preflight.check(trainer).codes == ["bf16-missing"]


def test_a_generation_config_that_cannot_be_saved(build, tiny_model):
    tiny_model.generation_config.temperature = 0.7
    assert preflight.check(build()).codes == ["generation-config"]


@pytest.mark.parametrize(
    ("metric", "greater", "is_wrong"),
    [
        ("eval_loss", True, True),
        ("eval_loss", None, False),
        ("perplexity", None, True),  # higher is better, transformers assumes
        ("eval_mean_token_accuracy", False, True),
        ("eval_mean_token_accuracy", None, False),
        ("eval_quality", False, False),
    ],
)
def test_a_metric_that_is_compared_the_wrong_way_round(build, metric, greater, is_wrong):
    settings = {"metric_for_best_model": metric, "greater_is_better": greater}
    kept = {"load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "epoch"}
    expected = ["worst-kept"] if is_wrong else []
    assert preflight.check(build(**settings, **kept)).codes == expected
    assert preflight.check(build(**settings)).codes == []  # nothing is kept or stopped by it


def test_an_evaluation_that_needs_more_memory_than_there_is(build, monkeypatch):
    from onegpu.preflight import setup

    monkeypatch.setattr(setup, "memory_bytes", lambda device: 50_000_000)
    trainer = build(compute_metrics=lambda prediction: {})
    assert preflight.check(trainer).codes == ["eval-memory"]
    monkeypatch.setattr(setup, "memory_bytes", lambda device: 50_000_000_000)
    assert preflight.check(trainer).codes == []


def test_a_model_without_gradients(build):
    """As bitsandbytes does on some processors: a layer whose output is cut from the graph."""
    import torch

    trainer = build()
    last = trainer.model.base_model.model.model.layers[-1]
    last.register_forward_hook(lambda module, inputs, output: output.detach())
    assert preflight.check(trainer).codes == ["no-gradient"]
    weights = [p for p in trainer.model.parameters() if p.requires_grad]
    for weight in weights:
        weight.grad = torch.ones_like(weight)  # left by an earlier step
    assert preflight.check(trainer).codes == ["no-gradient"]
    assert all(bool((weight.grad == 1).all()) for weight in weights)


def test_a_model_that_is_worse_than_guessing(build, tiny_model):
    """Weights that were not loaded, or of another vocabulary."""
    import torch

    with torch.no_grad():
        tiny_model.get_output_embeddings().weight.mul_(50)
    assert preflight.check(build()).codes == ["loss-too-high"]


def test_a_trainer_of_another_kind_is_refused():
    from types import SimpleNamespace

    other = SimpleNamespace(train_dataset=[{"prompt": "Who?"}])
    with pytest.raises(ValueError, match=r"got a SimpleNamespace.*check_data"):
        preflight.check(other)


def test_nothing_is_changed(build):
    import random

    import torch

    trainer = build()
    trainer.model.eval()
    before = {n: p.clone() for n, p in trainer.model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate()
    preflight.check(trainer)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert not trainer.model.training
    assert all(p.grad is None for p in trainer.model.parameters())
    assert all(torch.equal(p, before[n]) for n, p in trainer.model.state_dict().items())


# Streams ----------------------------------------------------------------------------------------

# The incident: check() asked a streamed data set for its row 0, got a column named 0 instead, and
# ended in an AttributeError; with compute_metrics it asked a stream for its length.
TWO_SETS = {"first": OTHERS[:4], "second": OTHERS[4:]}


@pytest.mark.parametrize("evaluation", [OTHERS, TWO_SETS], ids=["one set", "two sets"])
@pytest.mark.parametrize("changed", [{}, {"packing": True}, {"shuffle_dataset": True}], ids=str)
def test_nothing_is_found_in_a_healthy_stream(build, changed, evaluation):
    """The check of a streamed data set ended in a traceback instead of its findings."""
    trainer = build(
        streamed=True, evaluation=evaluation, compute_metrics=lambda prediction: {}, **changed
    )
    assert not hasattr(trainer.train_dataset, "__len__")
    assert preflight.check(trainer).codes == []
    assert preflight.check(trainer).codes == [], "the first check used the stream up"


def test_a_stream_that_begins_again_has_no_duplicates(build, monkeypatch):
    """An endless stream gave a warning for each row of its second pass."""
    from onegpu.preflight import streams, trainer_rows

    for module in (streams, trainer_rows):
        monkeypatch.setattr(module, "N_OF_STREAM", 100)
    assert preflight.check(build(PAIRS * 3, streamed=True)).codes == []
    assert preflight.check(build(MANY + MANY[:50], streamed=True)).codes == ["duplicate-rows"]
    assert "duplicate-rows" in preflight.check(build(PAIRS[:5] * 20, streamed=True)).codes


def test_what_is_planted_in_a_stream_is_found(build):
    """A check that survives a stream must look at its rows, not skip them."""
    found = preflight.check(build(with_row(completion=said("")), streamed=True))
    assert [(f.code, f.where) for f in found] == [("empty-turn", "train_dataset[30]: assistant")]
    evaluation = {**TWO_SETS, "third": [PAIRS[5]]}
    found = preflight.check(build(streamed=True, evaluation=evaluation))
    assert [f.code for f in found] == ["train-test-overlap"]
    assert found[0].where.startswith("third[0]")


def test_a_batch_of_a_stream_is_compared_with_its_rows(build):
    """The comparison of the first batch with its rows is what crashed on a stream."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    def that_masks_the_end(tokenizer):
        collate = DataCollatorForLanguageModeling(pad_token_id=tokenizer.pad_token_id)

        def masking(rows):
            batch = collate(rows)
            batch["labels"][batch["input_ids"] == tokenizer.eos_token_id] = chat.IGNORED
            return batch

        return masking

    trainer = build(streamed=True, collator=that_masks_the_end)
    assert preflight.check(trainer).codes == ["pad-is-eos"]


def test_a_stream_without_rows(build):
    trainer = build(streamed=True)
    trainer.train_dataset = trainer.train_dataset.take(0)
    assert preflight.check(trainer).codes == ["no-rows"]


@pytest.mark.parametrize("streamed", [False, True])
def test_an_evaluation_of_several_sets_that_needs_too_much_memory(build, monkeypatch, streamed):
    """Several sets were taken for none, and a stream for one of known length."""
    from onegpu.preflight import setup

    trainer = build(streamed=streamed, evaluation=TWO_SETS, compute_metrics=lambda prediction: {})
    rows = [row for part in trainer.eval_dataset.values() for row in part]
    longest = max(len(row["input_ids"]) for row in rows)
    vocabulary = trainer.model.config.vocab_size
    least = 4 * 4 * longest * vocabulary  # float32 logits of the four rows of the larger set
    monkeypatch.setattr(setup, "memory_bytes", lambda device: 2 * least - 2)
    assert preflight.check(trainer).codes == ["eval-memory"]
    monkeypatch.setattr(setup, "memory_bytes", lambda device: 2 * least)
    assert preflight.check(trainer).codes == []


# Rows before there is a trainer -----------------------------------------------------------------


def test_rows_are_encoded_as_the_trainer_does_it(build, tokenizer):
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = CHATML
    turns = [*asked("Hi."), *said("Hello."), *asked("Who are you?"), *said("Yoda, I am.")]
    for rows, changed in (
        (PAIRS[:3], {}),
        (messages(PAIRS[:3]), {}),
        (messages(PAIRS[:3]), {"assistant_only_loss": False}),
        ([{"messages": turns}], {}),
        ([{"prompt": turns[:3], "completion": turns[3:]}], {}),
        ([{"text": "Hello."}, {"text": "Hello.<|im_end|>"}], {}),
        ([{"prompt": "Who?", "completion": " You."}], {}),
        # trl puts an end to one column of a row, and here to one that it does not train on
        ([{"prompt": "Who?", "completion": " You.", "text": "Hello."}], {}),
        ([{"prompt": "Who?", "completion": " You.", "text": "Hello.<|im_end|>"}], {}),
        ([{"prompt": "Who?<|im_end|>", "completion": ""}], {}),
    ):
        trainer = build(rows, evaluation=rows, tokenizer=mine, **changed)
        for row, prepared in zip(rows, trainer.train_dataset, strict=True):
            only = trainer.args.assistant_only_loss
            expected = {key: prepared[key] for key in ("input_ids", "labels")}
            assert chat.encode(mine, row, assistant_only=only) == expected


def codes(rows, tokenizer, **settings):
    return preflight.check_data(rows, tokenizer, **settings).codes


def test_nothing_is_found_in_healthy_data(tokenizer):
    assert codes(PAIRS, tokenizer, evaluation=OTHERS) == []
    beside = [{**pair, "messages": [5]} for pair in PAIRS]  # a column that is not trained on
    assert codes(beside, tokenizer) == []
    sharegpt = [
        {"conversations": [{"from": r, "value": f"{i}?"} for r in ("user", "assistant")]}
        for i in range(30)
    ]
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = CHATML
    assert codes(sharegpt, mine, assistant_only=True) == []


OTHER = {"prompt": asked("The ship is ready."), "completion": said("Ready, the ship is.")}
REFUSING = CHATML.replace(
    "{% for",
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for",
    1,
)


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"instruction": "a", "output": "b"}, "unknown-columns"),
        ({**OTHER, "note": "x"}, "mixed-columns"),
        ({**OTHER, "completion": said(None)}, "not-text"),
        ({**OTHER, "completion": said("a " * 600_000)}, "huge-cell"),
        ({**OTHER, "completion": [*said("x"), *asked("y")]}, "wrong-roles"),
        ({**OTHER, "completion": [{"role": "bot", "content": "x"}]}, "unknown-roles"),
        ({**OTHER, "completion": said("")}, "empty-turn"),
        ({**OTHER, "completion": said("Yes. " * 800)}, "completion-cut"),
        ({**OTHER, "prompt": asked("Yes. " * 800)}, "rows-dropped"),
        (PAIRS[2], "duplicate-rows"),
        ({**OTHER, "completion": said("これは日本語の文です。")}, "script-outlier"),
        (
            {**OTHER, "prompt": [{"role": "system", "content": "x"}, *asked("y")]},
            "template-refuses",
        ),
    ],
)
def test_what_is_planted_in_data_is_found(tokenizer, row, code):
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = REFUSING
    plain = [
        {"prompt": asked(p["prompt"][-1]["content"]), "completion": p["completion"]} for p in MANY
    ]
    if code == "duplicate-rows":
        row = plain[2]
    found = preflight.check_data([*plain, row], mine)
    follows = {
        "unknown-columns": {"mixed-columns"},
        "rows-dropped": {"length-outlier"},
        "completion-cut": {"length-outlier"},
    }
    assert set(found.codes) == {code} | follows.get(code, set())
    (place,) = {f.where.split(":")[0] for f in found if f.code == code}
    assert place == "rows[60]"


SAID = [*asked("Hi."), *said("Yo.")]


@pytest.mark.parametrize(
    ("row", "code", "where"),
    [
        (
            {"prompt": asked("Hi."), "completion": "Yo."},
            "mixed-formats",
            "prompt holds messages, completion does not",
        ),
        (
            {"prompt": "Hi.", "completion": said("Yo.")},
            "mixed-formats",
            "completion holds messages, prompt does not",
        ),
        ({"text": SAID}, "unknown-columns", "text holds a list of messages"),
        ({"messages": "Hi."}, "unknown-columns", "messages holds no list of messages"),
        ({"messages": []}, "unknown-columns", "messages holds no list of messages"),
        ({"messages": [*SAID, 5]}, "not-text", "int"),
        ({"messages": SAID, "prompt": None, "completion": None}, "not-text", "NoneType"),
        ({"messages": SAID, "tools": "{"}, "template-refuses", "Expecting property name"),
        ({"messages": SAID, "tools": [None]}, "template-refuses", "Tools should either be"),
        ({"messages": SAID, "chat_template_kwargs": 5}, "template-refuses", "mapping"),
        ({"messages": [5], "prompt": "Hi.", "completion": "Yo."}, "template-not-applied", "Hi.Yo."),
    ],
)
def test_rows_that_are_reported_instead_of_raising_an_error(tokenizer, row, code, where):
    """Each of them ended the check of a file in a traceback, or passed as healthy."""
    (found,) = preflight.check_data([row], tokenizer)
    assert (found.code, found.severity == "error") == (code, code != "template-not-applied")
    assert where in found.where


def test_text_has_no_assistant_of_which_to_learn(tokenizer):
    """It ended in KeyError: 'assistant_masks'; trl refuses such a data set."""
    (found,) = preflight.check_data([{"text": "Hi."}], tokenizer, assistant_only=True)
    assert (found.code, found.where) == (
        "no-answer-mask",
        "rows[0]: text, not messages",
    )
    with pytest.raises(ValueError, match="text holds text: expected a list of messages"):
        chat.encode(tokenizer, {"text": "Hi."}, assistant_only=True)
    with pytest.raises(ValueError, match="messages holds text: expected a list of messages"):
        chat.encode(tokenizer, {"messages": "Hi."})


def test_of_many_long_rows_the_longest_are_kept(tokenizer, monkeypatch):
    """In constant memory: a file may have millions of rows."""
    from onegpu.preflight import sequences

    monkeypatch.setattr(sequences, "N_KEPT", 2)
    texts = [f"{number} Strong, you are." for number in range(40)]
    for place, n in ((3, 250), (7, 400), (11, 300), (39, 200)):
        texts[place] = "word " * n
    found = preflight.check_data([{"text": text} for text in texts], tokenizer, max_length=None)
    (outliers,) = (finding for finding in found if finding.code == "length-outlier")
    assert outliers.found.startswith("2 of 40 rows")
    assert [place.split(":")[0] for place in outliers.where.split("; ")] == ["rows[7]", "rows[11]"]


def test_a_tokenizer_without_a_template(tokenizer):
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = None
    assert codes(PAIRS, mine) == ["no-template"]
    assert codes([{"text": f"Hello {i}."} for i in range(30)], mine) == []


GOOD = [json.dumps(pair) for pair in PAIRS[:3]]


@pytest.mark.parametrize(
    ("name", "content", "where"),
    [
        ("x.jsonl", "\n".join([*GOOD, '{"prompt": ']), "x.jsonl, line 4: broken JSON at column 12"),
        ("x.jsonl", "\n".join([*GOOD, "[1]"]), "x.jsonl, line 4: expected an object"),
        ("x.json", "[" + ",\n".join(GOOD) + ', {"a" 1}]', "x.json, item 4: broken JSON"),
        ("x.json", "1", "x.json, item 1: expected an array"),
        ("x.csv", "prompt,completion\na,b\nc,d,e\n", "x.csv, line 3: 3 cells for 2 columns"),
        ("x.jsonl", b'{"text": "good"}\n{"text": "caf\xe9"}', "x.jsonl, line 2: not UTF-8 after"),
        ("x.csv", "prompt,completion\na,b\n".encode("utf-16"), "x.csv, line 1: the file is UTF-16"),
    ],
)
def test_a_broken_file_is_named_by_file_and_row(tmp_path, tokenizer, name, content, where):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = {f.code: f for f in preflight.check_data(path, tokenizer)}
    assert found["unreadable"].where.startswith(where)


def test_an_array_larger_than_what_is_read_at_a_time(tmp_path, monkeypatch):
    from onegpu import rows
    from onegpu.rows import json_files

    monkeypatch.setattr(json_files, "CHUNK", 7)
    path = tmp_path / "x.json"
    expected = [{"text": "a, b] [c"}, {"text": "é" * 20}, {"text": ""}]
    path.write_text(json.dumps(expected, ensure_ascii=False, indent=1), "utf-8")
    assert [row for _, row in rows.read(path)] == expected


def test_converters():
    from onegpu import rows

    with pytest.raises(ValueError, match="no column answer: this row has question, reply"):
        rows.from_pair({"question": "a", "reply": "b"})
    with pytest.raises(ValueError, match="no column value: this row has from, text"):
        rows.from_sharegpt({"conversations": [{"from": "human", "text": "a"}]})
    converted = rows.from_sharegpt(
        {
            "system": "s",
            "conversations": [{"from": "gpt", "value": "a"}, {"from": "tool", "value": "b"}],
        }
    )
    assert [m["role"] for m in converted["messages"]] == ["system", "assistant", "tool"]
    alpaca = rows.from_alpaca({"instruction": "a", "input": "", "output": "b"})
    assert alpaca == {"prompt": asked("a"), "completion": said("b")}


def run(*arguments):
    command = [sys.executable, "-m", "helpers", "preflight", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command(tmp_path):
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text("\n".join(GOOD))
    bad.write_text("\n".join([*GOOD, json.dumps({**PAIRS[9], "completion": said("")})]))
    fine = run(good, "--evaluation", good, "--json")
    assert fine.returncode == 1, fine.stderr
    assert [f["code"] for f in json.loads(fine.stdout)] == ["train-test-overlap"]
    assert run(good).returncode == 0
    wrong = run(bad)
    assert wrong.returncode == 1
    assert "bad.jsonl, line 4: assistant" in wrong.stdout
    missing = run(tmp_path / "no.jsonl")
    assert missing.returncode == 2
    assert "no.jsonl does not exist" in missing.stderr
    assert "Traceback" not in missing.stderr


def test_every_kind_has_a_section_that_explains_it():
    """A finding links to the heading of its code."""
    import nbformat

    path = Path(__file__).resolve().parents[2] / "notebooks/99_troubleshooting.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    headings = {
        line.removeprefix("### ")
        for cell in cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
    }
    assert set(preflight.KINDS) - headings == set()


@pytest.mark.parametrize(("name", "text"), [("a.jsonl", ""), ("a.json", "[]"), ("a.csv", "text\n")])
def test_no_rows_are_no_clean_bill(tokenizer, tmp_path, name, text):
    """An empty file passed: "nothing found", with code 0."""
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=f"{name} holds no rows"):
        preflight.check_data(path, tokenizer)
    with pytest.raises(ValueError, match="evaluation holds no rows"):
        preflight.check_data([{"text": "Hello!<|im_end|>"}], tokenizer, evaluation=iter(()))
