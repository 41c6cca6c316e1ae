"""Scores, intervals and comparisons, against counts by hand and what statsmodels says."""

import json
import math
import random
from fractions import Fraction

import pytest
from jinja2 import TemplateError

from onegpu import __main__, evaluation, parity
from onegpu.command_line import sides
from onegpu.command_line.evaluate import reference_of


def test_exact_match_by_hand():
    assert evaluation.exact_matches([" a", "b", "c."], ["a ", "b", "c"]) == [True, True, False]
    with pytest.raises(ValueError, match="1 answers for 2 references"):
        evaluation.exact_matches(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="at least one"):
        evaluation.exact_matches([], [])


def test_chrf_by_hand():
    """'ab' against 'ac': 1 of 2 unigrams and 0 of 1 bigrams match, in precision and recall."""
    expected = 100 * (1 / 2 + 0 / 1) / 2
    assert evaluation.score(["ab"], ["ac"]).chrf == pytest.approx(expected, abs=0.01)
    assert evaluation.score(["ab"], ["ab"]).exact_match == 1


@pytest.mark.parametrize(
    ("n_right", "n_answers", "low", "high"),
    [
        (38, 40, 0.830803, 0.993886),
        (0, 10, 0.0, 0.308497),
        (10, 10, 0.691503, 1.0),
        (15, 50, 0.178618, 0.446082),
        (1, 3, 0.008404, 0.905701),
        (500, 1000, 0.468549, 0.531451),
    ],
)
def test_the_interval_is_the_exact_one(n_right, n_answers, low, high):
    """As statsmodels 0.15.0 has it, `proportion_confint(..., method="beta")`."""
    found = evaluation.interval(n_right, n_answers)
    assert found == pytest.approx((low, high), abs=1e-6)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.95])
@pytest.mark.parametrize("n_answers", [5, 20, 40, 160])
def test_the_interval_holds_the_true_share_at_least_95_times_of_100(share, n_answers):
    """Over all that can come up, each with its probability, in exact arithmetic."""
    exact = Fraction(share).limit_denominator(100)
    held = sum(
        math.comb(n_answers, n) * exact**n * (1 - exact) ** (n_answers - n)
        for n in range(n_answers + 1)
        if evaluation.interval(n, n_answers)[0] <= share <= evaluation.interval(n, n_answers)[1]
    )
    assert held >= Fraction(95, 100)


def test_an_interval_holds_the_share_that_it_is_of():
    """All of 14 right had an interval that ended at 0.9999999999999998, and a chart refused it."""
    for n_answers in range(1, 200):
        assert evaluation.interval(n_answers, n_answers)[1] == 1.0
        assert evaluation.interval(0, n_answers)[0] == 0.0


def test_an_interval_needs_answers():
    for n_right, n_answers in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match=f"{n_right} of {n_answers} right"):
            evaluation.interval(n_right, n_answers)


def test_before_and_after_counts_each_group():
    table = evaluation.before_and_after(
        ["x", "x", "c"],
        ["a", "x", "c"],
        references=["a", "b", "c"],
        groups={"first two": [True, True, False], "last": [False, False, True]},
    )
    assert table["sentences"].to_dict() == {"all": 3, "first two": 2, "last": 1}
    assert table["exact before"].to_dict() == {"all": 1, "first two": 0, "last": 1}
    assert table["exact after"].to_dict() == {"all": 2, "first two": 1, "last": 1}
    assert table.loc["all", "chrF after"] > table.loc["all", "chrF before"]
    assert table.loc["first two", "chrF after"] == evaluation.score(["a", "x"], ["a", "b"]).chrf
    with pytest.raises(ValueError, match="before has 2 answers for 3 references"):
        evaluation.before_and_after("ab", "abc", references="abc", groups={})
    with pytest.raises(ValueError, match="after has 4 answers for 3 references"):
        evaluation.before_and_after("abc", "abcd", references="abc", groups={})
    with pytest.raises(ValueError, match="group 'none' marks 0 of 3"):
        evaluation.before_and_after("abc", "abc", references="abc", groups={"none": [False] * 3})


def paired(both, only_first, only_second, neither):
    """Scores of two models that are right on so many prompts together, alone, and never."""
    first = [1] * both + [1] * only_first + [0] * only_second + [0] * neither
    second = [1] * both + [0] * only_first + [1] * only_second + [0] * neither
    return first, second


@pytest.mark.parametrize(
    ("table", "p"),
    [
        ((30, 5, 1, 4), 0.21875),
        ((29, 1, 8, 2), 0.039062),
        ((0, 0, 6, 0), 0.03125),
        ((10, 3, 3, 10), 1.0),
        ((0, 40, 60, 0), 0.056888),
    ],
)
def test_right_and_wrong_go_through_mcnemars_test(table, p):
    """As statsmodels 0.15.0 has it, `mcnemar(..., exact=True)`."""
    assert evaluation.compare(*paired(*table)).p == pytest.approx(p, abs=1e-6)


def test_a_model_that_is_better_and_one_that_may_be():
    better = evaluation.compare(*paired(29, 1, 8, 2))
    assert (better.verdict, better.first, better.second) == ("better", 0.75, 0.925)
    assert str(better).startswith("better: 75.0 % and 92.5 % (+17.5 points, 95 % interval ")
    assert evaluation.compare(*reversed(paired(29, 1, 8, 2))).verdict == "worse"
    perhaps = evaluation.compare(*paired(30, 1, 5, 4))
    assert perhaps.verdict == "not enough to tell"
    assert "takes about 116 prompts to see" in str(perhaps)
    same = evaluation.compare([1, 0], [1, 0])
    assert (same.verdict, same.n_needed, same.p) == ("not enough to tell", None, 1.0)
    assert evaluation.compare([0], [1]).verdict == "not enough to tell"


def test_scores_between_0_and_1_are_compared_too():
    draws = random.Random(0)
    first = [draws.uniform(0.2, 0.8) for _ in range(60)]
    second = [score + draws.uniform(-0.1, 0.15) for score in first]
    found = evaluation.compare(first, second)
    assert found.verdict == "better"
    assert found.interval[0] < found.second - found.first < found.interval[1]
    assert found == evaluation.compare(first, second), "the same each time"


def test_luck_is_called_better_or_worse_one_time_in_twenty_at_most():
    draws = random.Random(1)
    n_called = 0
    for _ in range(1_000):
        pairs = [(draws.random() < 0.7, draws.random() < 0.7) for _ in range(60)]
        n_called += evaluation.compare(*zip(*pairs, strict=True)).verdict != "not enough to tell"
    assert n_called <= 50


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_bootstrap_interval_holds_the_true_difference(share):
    draws = random.Random(2)
    held = 0
    for _ in range(400):
        pairs = [(draws.random() < share, draws.random() < share) for _ in range(200)]
        low, high = evaluation.compare(*zip(*pairs, strict=True)).interval
        held += low <= 0 <= high
    assert 0.92 <= held / 400 <= 0.98  # 95 %, give or take what 400 tries leave open


def test_groups_are_corrected_as_holm_does(monkeypatch):
    """As statsmodels 0.15.0 has it, `multipletests([.2, .001, .02, .02, .9], method="holm")`."""
    values = {"a": 0.2, "b": 0.001, "c": 0.02, "d": 0.02, "e": 0.9}
    left = iter(values.values())
    plain = evaluation.compare([0, 0], [1, 1])
    monkeypatch.setattr(
        "onegpu.evaluation.paired.compare",
        lambda first, second: evaluation.Comparison(**vars(plain) | {"p": next(left)}),
    )
    found = evaluation.compare_groups([0] * 2, [1] * 2, groups={n: [True] * 2 for n in values})
    expected = {"a": 0.4, "b": 0.005, "c": 0.08, "d": 0.08, "e": 0.9}
    assert {name: one.p for name, one in found.items()} == pytest.approx(expected)


def test_a_group_that_is_better_is_found_among_many():
    first, second = paired(100, 0, 20, 60)
    groups = {f"group {k}": [place % 9 == k for place in range(180)] for k in range(9)}
    groups["changed"] = [100 <= place < 120 for place in range(180)]
    found = evaluation.compare_groups(first, second, groups=groups)
    better = [name for name, one in found.items() if one.verdict == "better"]
    assert better == ["changed"]
    with pytest.raises(ValueError, match="group 'none' marks 0 of 180"):
        evaluation.compare_groups(first, second, groups={"none": [False] * 180})


def test_so_many_prompts_show_a_difference_four_times_of_five():
    draws = random.Random(3)
    n = evaluation.n_needed(0.1, spread=0.2)
    n_seen = 0
    for _ in range(300):
        changes = draws.choices([-1, 1, 0], [0.05, 0.15, 0.8], k=n)
        first = [int(change < 0) for change in changes]
        second = [int(change > 0) for change in changes]
        n_seen += evaluation.compare(first, second).verdict == "better"
    assert 0.7 < n_seen / 300 < 0.88


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([], [], "0 scores and 0"),
        ([1], [1, 0], "1 scores and 2"),
        ([0.5, 97.0], [0.5, 98.0], "between 0 and 1"),
        ([0.5, float("nan")], [0.5, 0.5], "between 0 and 1"),
    ],
)
def test_scores_that_cannot_be_compared(first, second, message):
    with pytest.raises(ValueError, match=message):
        evaluation.compare(first, second)


def test_no_number_of_prompts_shows_no_difference():
    with pytest.raises(ValueError, match="a difference of 0"):
        evaluation.n_needed(0, spread=0.2)


# onegpu eval ------------------------------------------------------------------------------------

ANSWERS = {"base": ["4", "no", "no", "no", "no", "no", "no"], "tuned": list("4444444")}


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Runs the command on seven rows, with two models that answer as in `ANSWERS`."""
    path = tmp_path / "test.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": f"{n} + {4 - n}?", "completion": "4"}) + "\n" for n in range(7)
        )
    )
    monkeypatch.setattr(sides, "check", lambda side: None)
    monkeypatch.setattr(sides, "load", lambda side: side)

    def record(side, prompts, *, max_new_tokens):
        answers = [
            parity.Answer(prompt_text="", prompt_ids=(), ids=(), text=text, end=None, likeliest=())
            for text in ANSWERS[side][: len(prompts)]
        ]
        return parity.Recording(tuple(answers))

    monkeypatch.setattr(parity, "record", record)
    return lambda *typed: __main__.main(["eval", *typed, "--data", str(path)])


def test_the_command_scores_a_model(evaluate, capsys):
    assert evaluate("tuned") == 0
    shown = capsys.readouterr().out
    assert "exact match  7 of 7 (95 % interval of the share: 59 to 100 %)" in shown
    assert evaluate("base", "--limit", "2") == 0
    shown = capsys.readouterr().out
    assert "exact match  1 of 2" in shown
    assert "prompt 2: 1 + 3?\n  said:   'no'\n  wanted: '4'" in shown


def test_the_command_says_whether_the_other_is_better(evaluate, capsys):
    assert evaluate("base", "--against", "tuned") == 0
    assert "is tuned better, by exact match? better: 14.3 % and 100.0 %" in capsys.readouterr().out
    assert evaluate("tuned", "--against", "base") == 1
    assert evaluate("base", "--against", "tuned", "--limit", "3") == 2
    capsys.readouterr()
    assert evaluate("base", "--against", "tuned", "--json", "--metric", "chrf") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["comparison"]["verdict"] == "better"
    assert shown["models"][1]["answers"] == ANSWERS["tuned"]


def test_rows_that_were_trained_on_are_refused(evaluate, tmp_path, capsys):
    train = tmp_path / "train.jsonl"
    train.write_text('{"prompt": "2 + 2?", "completion": " 4 "}\n')
    assert evaluate("tuned", "--train", str(train)) == 2
    assert "1 rows of" in (told := capsys.readouterr().err)
    assert "(line 3 is the first)" in told


def test_a_row_for_training_that_cannot_be_read_is_named(evaluate, tmp_path, capsys):
    """The message told what was wrong, of no file and no line."""
    train = tmp_path / "train.jsonl"
    train.write_text('{"prompt": "a?", "completion": "b"}\n{"text": "a"}\n')
    assert evaluate("tuned", "--train", str(train)) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"{train}, line 2: expected completion or messages, found text")


def test_the_command_writes_a_page(evaluate, tmp_path, capsys):
    folder = tmp_path / "pages" / "yoda"
    assert evaluate("base", "--against", "tuned", "--report", str(folder), "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["comparison"]["verdict"] == "better"
    assert "evaluation.html and evaluation.md are written" in printed.err
    page = (folder / "evaluation.md").read_text("utf-8")
    assert page.startswith("# tuned on test.jsonl\n\ntuned against base, by exact match: better: ")
    assert "test.jsonl | " in page
    assert evaluate("base", "--report", str(folder)) == 0
    assert (folder / "evaluation.md").read_text("utf-8").startswith("# base on test.jsonl\n\nbase")


def test_a_page_that_cannot_be_written_is_said_at_once(evaluate, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sides, "record", lambda *_, **__: pytest.fail("minutes of work"))
    taken = tmp_path / "taken"
    taken.touch()
    assert evaluate("base", "--report", str(taken)) == 2
    assert "is a file: give a folder" in capsys.readouterr().err
    assert evaluate("base", "--against", "base", "--report", str(tmp_path / "new")) == 2
    assert "base is given twice" in capsys.readouterr().err


def test_prompts_that_a_template_refuses_are_told_as_by_parity(evaluate, monkeypatch, capsys):
    """`eval` ended in `TemplateError`, with the last line of it."""

    def refuse(*_, **__):
        raise TemplateError("roles must alternate")

    monkeypatch.setattr(parity, "record", refuse)
    assert evaluate("base") == 2
    told = capsys.readouterr().err
    assert told == "a chat template refuses these prompts: roles must alternate\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "a"}, "expected completion or messages, found text"),
        ({"messages": [{"role": "user", "content": "a"}]}, "no answer of the assistant"),
        ({"completion": " "}, "no answer of the assistant"),
        ({"completion": []}, "no answer of the assistant"),
    ],
)
def test_rows_without_an_answer(row, message):
    with pytest.raises(ValueError, match=message):
        reference_of(row)


def test_the_answer_of_messages_is_their_last_turn():
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert reference_of({"messages": turns}) == "b"
    assert reference_of({"prompt": "a", "completion": turns[1:]}) == "b"
