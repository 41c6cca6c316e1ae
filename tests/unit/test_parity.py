"""Verdicts on recordings written by hand, whose probabilities are known, and on a tiny model."""

import dataclasses
import math

import pytest
import torch
from transformers import GenerationConfig

from helpers import parity, yoda
from helpers.parity.probabilities import divergence

END = 2
PROMPTS = [yoda.prompt(row["sentence"]) for row in yoda.rows("test")[:6]]


def place(**probabilities):
    """Return log-probabilities by token: `place(t5=0.9, t7=0.1)`."""
    return {int(token[1:]): math.log(p) for token, p in probabilities.items()}


def answer(*ids, ended=True, likeliest=None):
    """Return an answer that takes each token at a probability of 0.9; token 900 has the rest."""
    sure = [{token: math.log(0.9), 900: math.log(0.1)} for token in (*ids, END)]
    return parity.Answer(
        prompt_text="P",
        prompt_ids=(1, 2, 3),
        ids=ids,
        text=" ".join(map(str, ids)),
        ended=ended,
        likeliest=tuple(sure if likeliest is None else likeliest),
    )


def compare(ours, theirs, *, without_adapter=(), n=6):
    """Compare one pair of answers beside `n - 1` that are the same on both sides."""
    same = [answer(5, 6, number) for number in range(10, 9 + n)]
    reference = parity.Recording((ours, *same), tuple(without_adapter))
    return parity.compare(reference, parity.Recording((theirs, *same)), PROMPTS[:1] * n)


def changed(one, at, new):
    """Return an answer with other probabilities at one place."""
    likeliest = (*one.likeliest[:at], new, *one.likeliest[at + 1 :])
    return dataclasses.replace(one, likeliest=likeliest)


def test_the_same():
    report = compare(answer(5, 6, 7), answer(5, 6, 7))
    assert (report.verdict, report.mean_kl, report.worst_kl) == ("THE SAME MODEL", 0.0, 0.0)


@pytest.mark.parametrize(("gap", "expected"), [(0.125, "THE SAME MODEL, but"), (0.4, "ALIKE")])
def test_answers_that_part_at_a_near_tie_are_of_the_same_model(gap, expected):
    """A faithful merge was called ALIKE for one answer of 40, whose tokens lay 0.125 nats apart."""
    share = 1 / (1 + math.exp(-gap))  # of two tokens that share all probability
    ours = changed(answer(5, 6, 7), 1, place(t6=share, t8=1 - share))
    theirs = changed(answer(5, 8, 9), 1, place(t6=0.499, t8=0.501))
    assert compare(ours, theirs, n=30).verdict.startswith(expected)


def test_a_side_that_does_not_take_its_likeliest_token():
    """With a repetition penalty 0 of 6 answers were the same, and it said THE SAME MODEL."""
    ours = answer(5, 6, 7)
    theirs = dataclasses.replace(ours, ids=(5, 8, 9))  # the same probabilities, other tokens
    for sides, name in (((ours, theirs), "candidate"), ((theirs, ours), "reference")):
        verdict = compare(*sides).verdict
        assert verdict.startswith(f"NOT THE SAME: 1 answers of the {name} leave the other side's")
        assert "a repetition penalty" in verdict


def test_a_repetition_penalty_of_a_real_model(tiny_model, tokenizer):
    """The same weights, asked with a penalty: their logits are equal, and their answers are not."""
    with torch.no_grad():  # whatever it reads, tokens 10 and 11 are likeliest, 0.2 nats apart
        for layer in tiny_model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        tiny_model.get_input_embeddings().weight.fill_(1)
        output = tiny_model.get_output_embeddings().weight.zero_()
        output[10], output[11] = 14 / output.shape[1], 13.8 / output.shape[1]
    recorded = parity.record((tiny_model, tokenizer), PROMPTS, max_new_tokens=12)
    for penalty in (1.1, 1.3):
        tiny_model.generation_config = GenerationConfig(
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            repetition_penalty=penalty,
        )
        report = parity.compare(recorded, (tiny_model, tokenizer), PROMPTS, max_new_tokens=12)
        assert report.mean_kl < 1e-6
        assert report.n_same_answers < len(PROMPTS)
        assert report.verdict.startswith("NOT THE SAME:"), report
        assert "repetition penalty" in report.verdict


def test_two_models_that_know_nothing_are_not_the_same(tiny_model, tokenizer):
    """All tokens are about equally likely to them, so that their divergence is tiny."""
    recorded = parity.record((tiny_model, tokenizer), PROMPTS, max_new_tokens=4)
    torch.nn.init.normal_(tiny_model.get_output_embeddings().weight, std=0.02)
    report = parity.compare(recorded, (tiny_model, tokenizer), PROMPTS, max_new_tokens=4)
    assert report.n_same_answers == 0
    assert report.verdict.startswith("CANNOT TELL: only"), report


def test_recordings_without_probabilities():
    """Their docstring allows it, and comparing two of them ended in a TypeError."""
    ours, theirs = (answer(*ids, likeliest=({},) * 4) for ids in ((5, 6, 7), (5, 6, 8)))
    only = [parity.Recording((one,)) for one in (ours, theirs)]
    same = parity.compare(only[0], only[0], PROMPTS[:1])
    assert same.mean_kl is same.worst_kl is None
    assert same.verdict.startswith("THE SAME ANSWERS, with too few probabilities")
    assert "no place to compare" in repr(same)
    other = parity.compare(*only, PROMPTS[:1]).verdict
    assert other == "NOT THE SAME: 1 of 1 answers differ, and no probabilities say why"
    empty = dataclasses.replace(ours, likeliest=())
    report = parity.compare(parity.Recording((empty,)), only[0], PROMPTS[:1])
    assert report.verdict.startswith("THE SAME ANSWERS")


def test_probabilities_at_a_few_places_are_too_few():
    one = answer(*range(10, 30))
    few = dataclasses.replace(one, likeliest=(one.likeliest[0], *({},) * 20))
    sides = (parity.Recording((one,)), parity.Recording((few,)))
    report = parity.compare(*sides, PROMPTS[:1])
    assert report.n_places == 1
    assert report.verdict.startswith("THE SAME ANSWERS, with too few probabilities")


@pytest.mark.parametrize("broken", ["reference", "candidate", "both"])
def test_what_is_not_a_number_is_not_the_same(broken):
    """NaN is not greater than any limit, so two broken models came out the same."""
    good = answer(5, 6, 7)
    bad = changed(good, 2, {7: math.nan, 900: math.nan})
    sides = {"reference": (bad, good), "candidate": (good, bad), "both": (bad, bad)}[broken]
    assert "probabilities are not numbers (NaN)" in compare(*sides).verdict


def test_a_side_that_is_cut():
    whole, cut = answer(5, 6, 7), answer(5, 6, ended=False)
    verdict = compare(whole, cut).verdict
    assert verdict.startswith("NOT THE SAME: 1 answers of the candidate are cut")
    assert "1 answers of the reference are cut" in compare(cut, whole).verdict
    same_tokens = dataclasses.replace(whole, ended=False)
    assert "1 answers of the candidate are cut" in compare(whole, same_tokens).verdict


def test_an_end_token_that_is_not_stopped_at_and_one_too_many():
    whole = answer(5, 6)
    goes_on = dataclasses.replace(answer(5, 6, END, 9), ended=False)
    assert "the end token is missing" in compare(whole, goes_on).verdict
    assert "one stops at more tokens" in compare(goes_on, whole).verdict


def test_a_quantized_model_that_ends_one_token_later_is_not_accused():
    """Its end token works: it lay in a tie with another."""
    ours = changed(answer(5, 6), 2, place(t2=0.52, t9=0.48))
    theirs = changed(answer(5, 6, 9), 2, place(t2=0.49, t9=0.51))
    assert compare(ours, theirs).verdict == "THE SAME MODEL, but for near-ties between tokens"
    assert compare(theirs, ours).verdict == "THE SAME MODEL, but for near-ties between tokens"


def test_one_place_that_differs_much_is_not_averaged_away():
    ours = answer(*range(10, 40))
    theirs = changed(ours, 20, place(t30=0.6, t900=0.4))
    sides = (parity.Recording((one,) * 20) for one in (ours, ours))
    assert parity.compare(*sides, PROMPTS[:1] * 20).verdict == "THE SAME MODEL"
    same = (ours,) * 199
    sides = (parity.Recording((one, *same)) for one in (ours, theirs))
    report = parity.compare(*sides, PROMPTS[:1] * 200)
    assert report.mean_kl < parity.SAME_KL
    assert "differ at one place by 0.23 nats" in report.verdict
    assert report.verdict.startswith("ALIKE")


def test_an_adapter_that_hardly_changes_the_model_and_is_not_applied():
    """Its effect lay below the limit of what counts as the same."""
    tuned = answer(5, 6, 7)
    base = tuned
    for at, token in enumerate((5, 6, 7, END)):
        base = changed(base, at, {token: math.log(0.895), 900: math.log(0.105)})
    reference = parity.Recording((tuned,) * 6, (base,) * 6)
    report = parity.compare(reference, parity.Recording((base,) * 6), PROMPTS)
    assert report.mean_kl < parity.SAME_KL
    assert "its adapter is not applied" in report.verdict
    good = parity.compare(reference, parity.Recording((tuned,) * 6), PROMPTS)
    assert good.verdict == "THE SAME MODEL"


def test_a_candidate_without_tokens_of_the_prompt():
    nothing = dataclasses.replace(answer(5, 6, 7), prompt_ids=())
    assert "cut into other tokens" in compare(answer(5, 6, 7), nothing).verdict


def test_divergences_are_lower_bounds_and_near_the_truth():
    torch.manual_seed(0)
    logits = 4 * torch.randn(3, 1000)
    for noise in (0.0, 0.1, 1.0, 10.0):
        p = logits.log_softmax(-1)
        q = (logits + noise * torch.randn(3, 1000)).log_softmax(-1)
        true = (p.exp() * (p - q)).sum(-1)
        for row in range(3):
            for n_told in (1, 5, parity.N_LIKELIEST):
                sides = [x[row].topk(n) for x, n in ((p, parity.N_LIKELIEST), (q, n_told))]
                tops = [dict(zip(i.tolist(), v.tolist(), strict=True)) for v, i in sides]
                found = divergence(*tops)
                assert found <= true[row] + 1e-5
                if n_told == parity.N_LIKELIEST:
                    assert found >= 0.5 * true[row] - 1e-5


def test_a_candidate_that_tells_one_token_only():
    """Bounded by that token alone, the divergence of two unlike models came out at zero."""
    reference = place(t5=0.5, t6=0.3, t7=0.2)
    by_hand = 0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1)
    assert divergence(reference, place(t5=0.9)) == pytest.approx(by_hand)


def test_what_is_no_side_is_refused():
    trained = parity.Recording((answer(5),) * 6)
    with pytest.raises(ValueError, match="is no side: give"):
        parity.compare(trained, "model.bin", PROMPTS)
    with pytest.raises(ValueError, match="no prompts"):
        parity.compare(trained, trained, [])
    with pytest.raises(ValueError, match="a recording of 6 prompts, and 2 here"):
        parity.compare(trained, trained, PROMPTS[:2])
    with pytest.raises(ConnectionError, match="no server answers at http"):
        parity.compare(trained, "http://127.0.0.1:9", PROMPTS)
