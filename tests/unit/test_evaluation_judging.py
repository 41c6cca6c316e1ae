"""Matches, strengths and judges, against choix, counts by hand, and judges with known faults."""

import math
import random

import pytest
import torch

from onegpu import evaluation
from onegpu.evaluation import Match

GAMES = [
    *[Match("a", "b", "a")] * 6,
    *[Match("b", "a", "b")] * 3,
    *[Match("a", "c", "c")] * 2,
    *[Match("c", "a", "a")] * 7,
    *[Match("b", "c", None)] * 3,
    *[Match("c", "b", "b")] * 4,
    *[Match("b", "c", "c")],
]
A_BEAT_B_AND_B_BEAT_C = [*[Match("a", "b", "a")] * 5, *[Match("b", "c", "b")] * 4]


@pytest.mark.parametrize(
    ("matches", "expected"),
    [
        (GAMES, {"a": 1106.6881, "b": 1004.2990, "c": 889.0130}),
        (A_BEAT_B_AND_B_BEAT_C, {"a": 1389.4059, "b": 987.0960, "c": 623.4981}),
    ],
)
def test_strengths_are_those_of_choix(matches, expected):
    """As choix 0.4.1 has them, `opt_pairwise` and `ilsr_pairwise` with `alpha=0`.

    Each match was given to it four times, a tie as two wins of each, and one win more of each
    player over each other one: a quarter of a win, that is, in units of a match.
    """
    found = evaluation.bradley_terry(matches, n_resamples=2)
    assert {one.name: one.points for one in found} == pytest.approx(expected, abs=1e-3)
    assert [one.name for one in found] == ["a", "b", "c"], "the strongest first"


@pytest.mark.parametrize(("wins", "losses", "ties"), [(30, 10, 0), (3, 1, 2), (7, 0, 0), (0, 5, 1)])
def test_the_strengths_of_two_by_hand(wins, losses, ties):
    matches = [
        *[Match("new", "old", "new")] * wins,
        *[Match("old", "new", "old")] * losses,
        *[Match("old", "new", None)] * ties,
    ]
    points = {one.name: one.points for one in evaluation.bradley_terry(matches, n_resamples=2)}
    expected = 400 * math.log10((wins + ties / 2 + 0.5) / (losses + ties / 2 + 0.5))
    assert points["new"] - points["old"] == pytest.approx(expected, abs=1e-6)
    assert points["new"] + points["old"] == pytest.approx(2000)


def test_with_next_to_no_prior_400_points_are_odds_of_10_to_1():
    matches = [*[Match("a", "b", "a")] * 10, Match("a", "b", "b")]
    first, second = evaluation.bradley_terry(matches, n_resamples=2, prior_ties=1e-9)
    assert first.points - second.points == pytest.approx(400, abs=1e-4)
    assert (first.n_matches, second.n_matches) == (11, 11)


def test_the_order_of_matches_changes_elo_alone():
    reordered = random.Random(0).sample(GAMES, len(GAMES))
    assert evaluation.bradley_terry(GAMES) == evaluation.bradley_terry(GAMES), "the same each time"
    found = [evaluation.bradley_terry(games, n_resamples=2) for games in (GAMES, reordered)]
    points = [{one.name: one.points for one in strengths} for strengths in found]
    assert points[0] == pytest.approx(points[1])
    assert evaluation.elo(GAMES) != pytest.approx(evaluation.elo(reordered))


def test_elo_of_three_games_by_hand():
    """1: even, so 16 points. 2: a is 32 ahead and loses. 3: a tie with one who never played."""
    games = [Match("a", "b", "a"), Match("b", "a", "b"), Match("c", "b", None)]
    after_two = 984 + 32 * (1 - 1 / (1 + 10 ** (32 / 400)))
    expected_of_c = 1 / (1 + 10 ** ((after_two - 1000) / 400))
    c = 1000 + 32 * (0.5 - expected_of_c)
    by_hand = {"a": 2000 - after_two, "b": after_two + 1000 - c, "c": c}
    assert evaluation.elo(games) == pytest.approx(by_hand)
    assert after_two == pytest.approx(1001.4696, abs=1e-3)


def test_the_bootstrap_interval_holds_the_true_strength():
    """Of two players, of whom one wins 70 of 100, and a third who is even with the first."""
    strengths = {"a": math.log(0.7 / 0.3), "b": 0.0, "c": math.log(0.7 / 0.3)}
    mean = sum(strengths.values()) / 3
    true = {name: 1000 + 400 / math.log(10) * (x - mean) for name, x in strengths.items()}
    draws, held, n = random.Random(0), 0, 100
    for _ in range(n):
        matches = []
        for first, second in (("a", "b"), ("b", "c"), ("c", "a")) * 40:
            chance = 1 / (1 + math.exp(strengths[second] - strengths[first]))
            matches.append(Match(first, second, first if draws.random() < chance else second))
        for one in evaluation.bradley_terry(matches, n_resamples=200):
            held += one.interval[0] <= true[one.name] <= one.interval[1]
    assert 0.90 <= held / (3 * n) <= 0.985  # 95 %, give or take what 100 tries leave open


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: Match("a", "a", None), "plays against itself"),
        (lambda: Match("a", "b", "tie"), "the winner is 'tie'"),
        (lambda: evaluation.bradley_terry([]), "0 matches"),
        (lambda: evaluation.bradley_terry(GAMES, n_resamples=1), "at least 2 resamples"),
        (lambda: evaluation.bradley_terry(GAMES, prior_ties=0), "above 0"),
        (lambda: evaluation.position_bias([]), "no pairs"),
        (lambda: evaluation.agreement([], []), "0 verdicts"),
        (lambda: evaluation.agreement("AB", "A"), "2 verdicts and 1"),
        (
            lambda: evaluation.Judged(Match("a", "b", "a"), Match("a", "b", "a")),
            "in the other order",
        ),
    ],
)
def test_what_cannot_be(made, message):
    with pytest.raises(ValueError, match=message):
        made()


# Judges -------------------------------------------------------------------------------------------


def longer(prompts, firsts, seconds):
    """A fair judge, who prefers the longer answer."""
    pairs = zip(firsts, seconds, strict=True)
    return [0.5 + 0.5 * ((len(a) > len(b)) - (len(a) < len(b))) for a, b in pairs]


def first_shown(prompts, firsts, seconds):
    return [0.6] * len(prompts)


ANSWERS = {"short": ["a", "b", "c"], "long": ["aa", "bb", "c"]}


def test_a_fair_judge_agrees_with_itself():
    judged = evaluation.in_both_orders(longer, prompts=["?"] * 3, answers=ANSWERS)
    assert [pair.match.winner for pair in judged] == ["long", "long", None]
    bias = evaluation.position_bias(judged)
    assert (bias.n_changed, bias.n_wins, bias.first_share) == (0, 4, 0.5)
    assert bias.to_first_interval == (0.0, 1.0), "nothing is known of it"


def test_a_judge_who_goes_by_the_place_gives_ties_alone():
    judged = evaluation.in_both_orders(first_shown, prompts=["?"] * 3, answers=ANSWERS)
    assert [pair.match.winner for pair in judged] == [None] * 3
    bias = evaluation.position_bias(judged)
    assert (bias.first_share, bias.changed_share) == (1.0, 1.0)
    assert bias.to_first_interval == evaluation.interval(3, 3)
    assert "changes 3 of 3 verdicts" in str(bias)


def test_half_a_change_is_a_change():
    """The first place wins in one order, and the other order is a tie; or the second place does."""
    tie = Match("b", "a", None)
    to_first = evaluation.Judged(Match("a", "b", "a"), tie)
    to_second = evaluation.Judged(Match("a", "b", "b"), tie)
    bias = evaluation.position_bias([to_first, to_first, to_second])
    assert (bias.n_pairs, bias.n_changed, bias.n_to_first) == (3, 3, 2)
    assert (bias.n_wins, bias.n_first_wins) == (3, 2)
    assert to_first.match.winner is None


def test_all_pairs_of_versions_are_judged():
    answers = {**ANSWERS, "longest": ["aaa"] * 3}
    judged = evaluation.in_both_orders(longer, prompts=["?"] * 3, answers=answers)
    assert len(judged) == 9
    ranked = evaluation.bradley_terry([pair.match for pair in judged], n_resamples=20)
    assert [one.name for one in ranked] == ["longest", "long", "short"]


@pytest.mark.parametrize(
    ("judge", "answers", "message"),
    [
        (longer, {"one": ["a"]}, "two versions or more"),
        (longer, {"one": ["a"], "other": ["a", "b"]}, "one answer a prompt"),
        (lambda *_: [0.5, 0.5], {"one": ["a"], "other": ["b"]}, "for 1 prompts"),
        (lambda *_: [float("nan")], {"one": ["a"], "other": ["b"]}, "the probability"),
    ],
)
def test_judges_and_answers_that_do_not_go_together(judge, answers, message):
    with pytest.raises(ValueError, match=message):
        evaluation.in_both_orders(judge, prompts=["?"], answers=answers)


def test_kappa_by_hand():
    """30 + 40 of 100 agree; A is said 45 and true 50 times: by chance .45 · .5 + .55 · .5 = .5."""
    verdicts = "A" * 45 + "B" * 55
    truth = "A" * 30 + "B" * 15 + "A" * 20 + "B" * 35
    found = evaluation.agreement(verdicts, truth)
    assert (found.n_agreed, found.share) == (65, 0.65)
    assert found.kappa == pytest.approx((0.65 - 0.5) / (1 - 0.5))
    assert found.interval == evaluation.interval(65, 100)
    assert evaluation.agreement("AAAA", "AAAA").kappa is None
    assert evaluation.agreement("AABB", "BBAA").kappa == -1
    assert evaluation.agreement(["a", None], ["a", None]).kappa == 1


def test_a_model_is_asked_for_a_letter(tiny_model, tokenizer):
    """One at a time, without padding, and from the model's own logits: the same."""
    judge = evaluation.ModelJudge(tiny_model, tokenizer, batch_size=2)
    three = (
        ["Hi", "A much longer question {braces}", "2 + 2?"],
        ["a", "b c d", "4"],
        ["x", "y", "5"],
    )
    letters = judge.letter_logprobs(*three)
    for place, (prompt, first, second) in enumerate(zip(*three, strict=True)):
        content = evaluation.model_judge.QUESTION.format(prompt=prompt, first=first, second=second)
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            return_tensors="pt",
            return_dict=True,
        )["input_ids"]
        with torch.inference_mode():
            expected = tiny_model.eval()(ids).logits[0, -1].log_softmax(-1)
        of_both = expected[tokenizer.convert_tokens_to_ids(["A", "B"])]
        torch.testing.assert_close(letters[place], of_both, atol=1e-4, rtol=1e-4)
    odds = letters.exp()
    chances = (odds[:, 0] / odds.sum(dim=1)).tolist()
    assert judge(*three) == pytest.approx(chances, abs=1e-5)


def test_a_judge_needs_a_template_and_answers(tiny_model, tokenizer, monkeypatch):
    judge = evaluation.ModelJudge(tiny_model, tokenizer)
    with pytest.raises(ValueError, match="1 prompts, 2 and 1 answers"):
        judge(["?"], ["a", "b"], ["c"])
    monkeypatch.setattr(tokenizer, "chat_template", None)
    with pytest.raises(ValueError, match="no chat template"):
        judge(["?"], ["a"], ["b"])
