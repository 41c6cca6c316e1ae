"""Rows that compare or label answers, and false alarms about whole files."""

import copy
import random

import pytest

from helpers import environment, recipe
from onegpu import preflight
from onegpu.preflight import seen


def asked(text):
    return [{"role": "user", "content": text}]


def said(text):
    return [{"role": "assistant", "content": text}]


PLACES = ["Peru", "Kenya", "Chile", "Ghana", "Egypt", "Cuba", "Japan", "Togo", "France", "Nepal"]
PAIRS = [
    {
        "prompt": asked(f"Name a town of {place} with a {thing}."),
        "chosen": said(f"{place}'s town {number}."),
        "rejected": said(f"No town {number} of {place}."),
    }
    for number, (place, thing) in enumerate(
        (place, thing) for thing in ("port", "mill", "park") for place in PLACES
    )
]
LABELED = [
    {
        "prompt": pair["prompt"],
        "completion": pair["chosen"] if number % 2 else pair["rejected"],
        "label": bool(number % 2),
    }
    for number, pair in enumerate(PAIRS)
]
LONG = said("A town, and another. " * 600)


def implicit(pairs):
    return [
        {name: pair["prompt"] + pair[name] for name in ("chosen", "rejected")} for pair in pairs
    ]


def codes(rows, tokenizer, **settings):
    return preflight.check_data(rows, tokenizer, **settings).codes


@pytest.mark.parametrize("rows", [PAIRS, implicit(PAIRS), LABELED], ids=["pairs", "one", "labels"])
def test_nothing_is_found_in_healthy_preferences(tokenizer, rows):
    assert codes(rows[:24], tokenizer, evaluation=rows[24:]) == []


def test_many_pairs_of_a_prompt_are_healthy(tokenizer):
    """One answer may be better than several others."""
    others = [{**pair, "rejected": said(f"Never {n}.")} for n, pair in enumerate(PAIRS)]
    assert codes(PAIRS + others, tokenizer) == []


PAIR = {
    "prompt": asked("Capital of Peru?"),
    "chosen": said("Lima."),
    "rejected": said("Cusco."),
}
BOTH = {name: PAIR["prompt"] + PAIR[name] for name in ("chosen", "rejected")}


@pytest.mark.parametrize(
    ("changed", "code", "where"),
    [
        ({"rejected": said("Lima. ")}, "equal-answers", "rows[30]"),
        ({"chosen": said("")}, "empty-turn", "rows[30], chosen: assistant"),
        ({"rejected": said("")}, "empty-turn", "rows[30], rejected: assistant"),
        (BOTH, "prompt-repeated", "rows[30]: chosen and rejected"),
        ({"chosen": BOTH["chosen"]}, "prompt-repeated", "rows[30]: chosen"),
        ({**BOTH, "prompt": "Capital of Peru?"}, "prompt-repeated", "rows[30]: as messages"),
        ({"chosen": PAIR["prompt"]}, "wrong-roles", "rows[30], chosen: user after user"),
        ({"chosen": "Lima."}, "mixed-formats", "chosen holds str, rejected messages"),
        ({"chosen": "Lima.", "rejected": "Cusco."}, "mixed-formats", "rows[30], chosen"),
        ({"chosen": None}, "not-text", "chosen holds NoneType"),
        ({"rejected": said("<|im_start|>assistant\nCusco.")}, "template-twice", "rejected"),
        ({"score_chosen": 2.0, "score_rejected": 9.0}, "scores-contradict", "score_chosen 2"),
        ({"chosen": LONG}, "completion-cut", "rows[30], chosen"),
        ({"prompt": asked(LONG[0]["content"])}, "rows-dropped", "rows[30], chosen"),
        ({"system": "Be brief."}, "system-ignored", "rows[30], chosen"),
    ],
)
def test_what_is_planted_in_a_pair_is_found(tokenizer, changed, code, where):
    """All pairs had columns of no format; `check_data` said so, and nothing else."""
    found = preflight.check_data([*PAIRS, {**PAIR, **changed}], tokenizer)
    follows = {"mixed-columns", "length-outlier"}
    (finding,) = (finding for finding in found if finding.code not in follows)
    assert finding.code == code
    assert finding.found.startswith("1 of 31 rows")
    assert where in finding.where


def test_a_finding_in_both_answers_is_one_row(tokenizer):
    """Each row was counted as often as it has sequences: 5 of 2 rows."""
    rows = [*PAIRS, {**PAIR, "chosen": LONG, "rejected": said("No. " + LONG[0]["content"])}]
    for finding in preflight.check_data(rows, tokenizer):
        assert finding.found.startswith("1 of 31 rows"), finding


@pytest.mark.parametrize(
    "pair",
    [
        {"chosen": said("Lima."), "rejected": said("Cusco.")},
        {"chosen": asked("Peru?") + said("a"), "rejected": asked("Chile?") + said("b")},
        {"question": "Which?", "chosen": "The one.", "rejected": "The other."},
        {"chosen": "", "rejected": "x"},
    ],
)
def test_answers_without_a_prompt(tokenizer, pair):
    """For trl the prompt is what both begin with, be it a letter."""
    assert codes([pair], tokenizer) == ["no-prompt"]


def test_pairs_of_texts(tokenizer):
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = None
    rows = [{"prompt": f"{n} and 1 is", "chosen": f" {n + 1}.", "rejected": " no."} for n in (1, 2)]
    assert codes(rows, mine) == []
    whole = [{name: row["prompt"] + row[name] for name in ("chosen", "rejected")} for row in rows]
    assert codes(whole, mine) == []
    both = [{**row, **joined} for row, joined in zip(rows, whole, strict=True)]
    assert codes(both, mine) == ["prompt-repeated"]


def test_pairs_that_are_there_again_or_the_other_way_round(tokenizer):
    swapped = {**PAIRS[3], "chosen": PAIRS[3]["rejected"], "rejected": PAIRS[3]["chosen"]}
    (found,) = preflight.check_data([*PAIRS, swapped], tokenizer)
    assert (found.code, found.where) == ("answers-contradict", "rows[30]: unlike rows[3]")
    assert codes([*PAIRS, PAIRS[3]], tokenizer) == ["duplicate-rows"]
    other = {**PAIRS[3], "chosen": said("Another.")}
    (found,) = preflight.check_data(PAIRS, tokenizer, evaluation=[other])
    assert (found.code, found.where) == ("train-test-overlap", "evaluation[0]: as training rows[3]")


def of_lengths(n_longer, n_pairs, words=5):
    return [
        {
            "prompt": asked(f"Question {number}?"),
            "chosen": said(
                f"{number} {'is right, ' * words}" if number < n_longer else f"{number}"
            ),
            "rejected": said(f"Is {number}."),
        }
        for number in range(n_pairs)
    ]


@pytest.mark.parametrize(
    ("n_longer", "n_pairs", "is_found"),
    [(28, 28, False), (29, 29, True), (80, 100, False), (90, 100, False), (96, 100, True)],
)
def test_answers_that_are_chosen_for_their_length(tokenizer, n_longer, n_pairs, is_found):
    """Better answers are often longer; below 29 pairs even all of them may be chance."""
    found = preflight.check_data(of_lengths(n_longer, n_pairs), tokenizer)
    assert found.codes == ["chosen-longer"] * is_found
    if is_found:
        assert found[0].found.startswith(f"in {n_longer} of {n_pairs} rows")
        assert "times as long in the mean" in found[0].where
    if n_longer < 90:
        return
    assert preflight.check_data(of_lengths(n_longer, n_pairs, 2), tokenizer).codes == []


@pytest.mark.parametrize("which", ["chosen", "rejected"])
def test_a_prompt_that_only_one_answer_of_each_pair_begins_with(tokenizer, which):
    pairs = of_lengths(0, 10)
    for pair in pairs:
        pair[which] = said(f"{pair['prompt'][0]['content']}\n\n{pair[which][0]['content']}")
    (found,) = preflight.check_data(pairs, tokenizer)
    assert (found.code, f"10 of 10 rows {which}" in found.found) == ("prompt-repeated", True)
    assert preflight.check_data([pairs[0], *of_lengths(0, 10)[1:]], tokenizer).codes == []


def test_openais_preferences_are_named(tokenizer):
    row = {
        "input": {"messages": asked("Who?")},
        "preferred_output": said("I."),
        "non_preferred_output": said("You."),
    }
    (found,) = preflight.check_data([row], tokenizer)
    assert found.code == "unknown-columns"
    assert "onegpu.rows.from_openai" in found.where


# Labels -----------------------------------------------------------------------------------------


def relabeled(labels):
    return [{**row, "label": label} for row, label in zip(LABELED, labels, strict=False)]


@pytest.mark.parametrize(
    ("labels", "is_found"),
    [
        ([1, 2, 3, 4, 5] * 4, True),
        (["1", "5"] * 10, True),
        ([-1, 1] * 10, True),
        ([0.25, 0.5, 1.0] * 7, True),
        ([1, 0] * 10, False),
        ([0, 1, 2, 3] * 5, False),  # classes
        ([*range(20)], False),
        ([7] * 20, False),
        (["good", "bad"] * 10, False),
    ],
)
def test_labels_that_are_ratings(tokenizer, labels, is_found):
    rated = [
        {"prompt": asked(f"Question {n}?"), "completion": said(f"Answer {n}."), "label": label}
        for n, label in enumerate(labels)
    ]
    found = preflight.check_data(rated, tokenizer)
    assert found.codes == ["label-not-bool"] * is_found
    classes = [{**row, "completion": said(f"class {row['label']}")} for row in rated]
    assert "label-not-bool" not in preflight.check_data(classes, tokenizer).codes


def test_labels_against_stars(tokenizer):
    good = [{**row, "stars": 5 if row["label"] else 2} for row in LABELED]
    assert preflight.check_data(good, tokenizer).codes == []
    bad = [{**row, "stars": 1 if row["label"] else 4} for row in LABELED]
    (found,) = preflight.check_data(bad, tokenizer)
    assert (found.code, found.where) == ("scores-contradict", "true: 1 to 1, false: 4 to 4")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["True", "False"] * 10, ["label-not-bool"]),
        ([True, False] * 10 + [None], ["label-not-bool"]),
        ([True, False] * 10 + [3], ["label-not-bool"]),
        ([True] * 6 + [False], ["labels-one-sided"]),
        ([False] * 20, ["labels-one-sided"]),
        ([True] * 4 + [False], []),
        (["sport", "news"] * 10, []),  # classes
        ([7, 1, 0, 1], []),
    ],
)
def test_labels(tokenizer, labels, expected):
    assert codes(relabeled(labels), tokenizer) == expected


def test_an_answer_that_is_called_good_and_bad(tokenizer):
    rows = [*LABELED, {**LABELED[4], "label": not LABELED[4]["label"]}]
    assert codes(rows, tokenizer) == ["answers-contradict"]


# Whole files ------------------------------------------------------------------------------------


def answered(texts, *, question="Question {}?"):
    return [
        {"prompt": asked(question.format(number)), "completion": said(text)}
        for number, text in enumerate(texts)
    ]


JAPANESE = ["これは文です。", "東京", "カタカナ", "ｶﾀｶﾅ", "人々", "お茶と漢字検定試験対策"]


@pytest.mark.parametrize(
    ("texts", "other", "expected"),
    [
        (JAPANESE * 10, "日本", ["labels-vary"]),  # カタカナ and ｶﾀｶﾅ
        (["これは文です。"] * 60, "日本", []),  # in kanji alone, beside hiragana
        (["これは文です。"] * 60, "カタカナ", []),
        (["这是中文句子"] * 60, "これは文です。", ["script-outlier"]),
        (["안녕하세요"] * 60, "大韓民國", []),
        (["안녕하세요"] * 60, "これは文です。", ["script-outlier"]),
        (["これは文です。"] * 60, "This is English.", ["script-outlier"]),
        (["Some words."] * 60, "𝗕𝗼𝗹𝗱 and Ｗｉｄｅ", []),
    ],
)
def test_scripts_that_are_written_together(tokenizer, texts, other, expected):
    """Kanji, hiragana and katakana were three, and the letters of <|im_end|> counted too."""
    assert codes(answered([*texts, other]), tokenizer) == expected


def test_one_prompt_for_all_rows_is_a_task(tokenizer):
    """Every row of the evaluation was said to be among those to train on."""
    rows = answered([f"A poem of {n} lines." for n in range(24)], question="Write a poem.")
    assert codes(rows[:18], tokenizer, evaluation=rows[18:]) == []
    assert codes(rows[:18], tokenizer, evaluation=rows[17:]) == ["train-test-overlap"]


@pytest.mark.parametrize(
    ("n_times", "n_rows", "is_task"),
    [(1, 1, False), (1, 2, False), (2, 3, True), (4, 80, False), (5, 80, True), (49, 5000, False)],
)
def test_how_often_a_prompt_makes_a_task(n_times, n_rows, is_task):
    """Four answers to a question, of many questions, are no task: the question leaks."""
    store = seen.Seen()
    for number in range(n_rows):
        store.add_prompt([0 if number < n_times else number + 1], f"row {number}")
    assert store.question([0]) == ("" if is_task else "row 0")
    store.close()


def test_documents_are_advised_to_be_packed(tokenizer):
    words = random.Random(0).choices(["mill", "river", "wheel", "turns", "stands"], k=20_000)
    texts = [" ".join(words[n * 2000 : (n + 1) * 2000]) for n in range(10)]
    (found,) = (
        finding
        for finding in preflight.check_data([{"text": text} for text in texts], tokenizer)
        if finding.code != "template-not-applied"
    )
    assert (found.code, found.severity) == ("document-cut", "warning")
    assert "bfd_split" in found.fix


# Trainers ---------------------------------------------------------------------------------------


@pytest.fixture
def build(tokenizer, tiny_model, tmp_path):
    """Return a function that builds a trainer of trl with an adapter on a tiny model."""
    environment.quiet()

    def build(kind, rows, *, streamed=False, evaluation=None, adapted=None, **changed):
        import trl
        from datasets import Dataset
        from peft import LoraConfig
        from transformers import LlamaForSequenceClassification

        model, task, data = tiny_model, "CAUSAL_LM", Dataset.from_list(rows)
        if kind == "Reward":
            config = copy.deepcopy(tiny_model.config)
            config.num_labels, task = 1, "SEQ_CLS"
            model = LlamaForSequenceClassification(config)
        if streamed:
            data, changed = data.to_iterable_dataset(), {"max_steps": 2, **changed}
        settings = {"report_to": "none", "use_cpu": True, "bf16": False, "learning_rate": 1e-4}
        lora = LoraConfig(**recipe.lora_settings() | {"task_type": task})
        return getattr(trl, f"{kind}Trainer")(
            adapted(model) if adapted else model,
            args=getattr(trl, f"{kind}Config")(str(tmp_path), **settings | changed),
            train_dataset=data,
            eval_dataset=Dataset.from_list(evaluation) if evaluation else None,
            processing_class=copy.deepcopy(tokenizer),
            peft_config=None if adapted else lora,
        )

    return build


FORMS = {"explicit": PAIRS, "implicit": implicit(PAIRS), "labeled": LABELED}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("kind", "form"),
    [(kind, form) for kind in ("DPO", "Reward", "KTO") for form in ("explicit", "implicit")]
    + [("KTO", "labeled")],
)
def test_nothing_is_found_in_a_healthy_trainer(build, kind, form, streamed):
    """It ended in an error that pointed to `check_data`."""
    rows = FORMS[form]
    trainer = build(kind, rows[:24], streamed=streamed, evaluation=rows[24:])
    assert preflight.check(trainer).codes == []


@pytest.mark.parametrize(
    ("kind", "changed", "expected"),
    [
        ("DPO", {"rejected": said("Lima.")}, ["equal-answers"]),
        ("Reward", {"rejected": said("Lima.")}, ["equal-answers"]),
        ("KTO", {"rejected": said("Lima.")}, ["answers-contradict"]),
        ("DPO", {"chosen": LONG}, ["completion-cut", "length-outlier"]),
        ("Reward", {"chosen": LONG}, ["rows-dropped"]),
        ("KTO", {"chosen": LONG}, ["completion-cut", "length-outlier"]),
        ("DPO", {"prompt": asked(LONG[0]["content"])}, ["rows-dropped"]),
        ("DPO", BOTH, ["prompt-repeated"]),
        ("Reward", BOTH, ["prompt-repeated"]),
        ("DPO", {"rejected": said(" ")}, ["empty-turn"]),
        ("DPO", PAIRS[2], ["duplicate-rows"]),
    ],
)
def test_what_is_planted_in_a_trainer_is_found(build, kind, changed, expected):
    trainer = build(kind, [*PAIRS, {**PAIR, **changed}])
    assert preflight.check(trainer).codes == expected


def test_a_preference_model_without_gradients(build):
    trainer = build("DPO", PAIRS)
    last = trainer.model.base_model.model.model.layers[-1]
    last.register_forward_hook(lambda module, inputs, output: output.detach())
    assert preflight.check(trainer).codes == ["no-gradient"]


def test_a_new_head_that_is_frozen(build):
    """Without task_type="SEQ_CLS", an adapter leaves the head of a reward model as it began."""
    from peft import LoraConfig, get_peft_model

    changed = {"task_type": None, "target_modules": ["q_proj", "v_proj"]}
    config = LoraConfig(**recipe.lora_settings() | changed)
    trainer = build("Reward", PAIRS, adapted=lambda model: get_peft_model(model, config))
    (found,) = preflight.check(trainer)
    assert (found.code, found.where[:7]) == ("layers-frozen", "'score'")
    assert found.found == "the new head is frozen and stays random"
    base = trainer.model.get_base_model()
    base.config.architectures = [type(base).__name__]  # as it is loaded from a reward model
    assert preflight.check(trainer).codes == []


def test_labels_in_a_trainer(build):
    few = relabeled([True] * 5 + [False] * 25)
    assert preflight.check(build("KTO", few)).codes == ["labels-one-sided"]
    assert preflight.check(build("KTO", few, desirable_weight=5.0)).codes == []
    texts = relabeled(["True", "False"] * 15)
    found = preflight.check(build("KTO", texts, streamed=True))
    assert set(found.codes) == {"label-not-bool", "step-fails"}  # the collator takes no text


def test_an_sft_trainer_learns_bad_answers(build):
    """It reads prompt and completion, and no label."""
    (found,) = preflight.check(build("SFT", LABELED))
    assert (found.code, found.severity) == ("bad-answers-learned", "error")
    assert found.found.startswith("15 of 30 rows")


def documents(n):
    rng = random.Random(0)
    words = ["mill", "river", "wheel", "turns", "stands"]
    return [{"text": " ".join(rng.choices(words, k=400))} for _ in range(n)]


def test_packing_that_loses_nothing_is_not_accused(build):
    changed = {"packing": True, "max_length": 128}
    whole = build("SFT", documents(20), packing_strategy="bfd_split", **changed)
    assert preflight.check(whole).codes == []
    cut = build("SFT", documents(20), packing_strategy="bfd", **changed)
    (found,) = preflight.check(cut)
    assert found.code == "document-cut"
    assert found.found.startswith("20 of 20 rows")


def test_a_trainer_without_rows_says_so(build):
    """All rows had been dropped by trl, and nothing was found."""
    (found,) = preflight.check(build("SFT", [{**LABELED[0], "prompt": asked("Why? " * 2000)}] * 3))
    assert (found.code, found.where) == ("no-rows", "train_dataset; trl dropped 3")
