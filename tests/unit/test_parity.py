"""Verdicts on recordings written by hand, whose probabilities are known, and on a tiny model."""

import dataclasses
import math

import pytest
import torch
from transformers import GenerationConfig

from helpers import yoda
from onegpu import parity
from onegpu.parity import servers
from onegpu.parity.probabilities import divergence

END = 2
PROMPTS = [yoda.prompt(row["sentence"]) for row in yoda.rows("test")[:6]]


def place(**probabilities):
    """Return log-probabilities by token: `place(t5=0.9, t7=0.1)`."""
    return {int(token[1:]): math.log(p) for token, p in probabilities.items()}


def answer(*ids, end=END, likeliest=None):
    """Return an answer that takes each token at a probability of 0.9; token 900 has the rest."""
    sure = [{token: math.log(0.9), 900: math.log(0.1)} for token in (*ids, END)]
    return parity.Answer(
        prompt_text="P",
        prompt_ids=(1, 2, 3),
        ids=ids,
        text=" ".join(map(str, ids)),
        end=end,
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


SAME = {  # how a verdict begins, and what a program reads
    "THE SAME MODEL": True,
    "THE SAME ANSWERS": None,
    "NOT THE SAME": False,
    "ALIKE": False,
    "CANNOT TELL": None,
}


@pytest.fixture(autouse=True)
def the_verdict_is_the_same_for_readers_and_programs(monkeypatch):
    """Every comparison of this file is read both ways."""
    compare = parity.compare

    def checked(*arguments, **settings):
        report = compare(*arguments, **settings)
        (expected,) = (same for text, same in SAME.items() if report.verdict.startswith(text))
        assert report.same is expected, report.verdict
        return report

    monkeypatch.setattr(parity, "compare", checked)


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
        assert verdict.startswith(
            f"NOT THE SAME: in 1 of 6 answers the {name} takes a token that is not"
        )
        assert "a repetition penalty" in verdict


@pytest.fixture
def surer_of_10(tiny_model):
    """A model to which, whatever it reads, tokens 10 and 11 are likeliest, 0.2 nats apart."""
    with torch.no_grad():
        for layer in tiny_model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        tiny_model.get_input_embeddings().weight.fill_(1)
        output = tiny_model.get_output_embeddings().weight.zero_()
        output[10], output[11] = 14 / output.shape[1], 13.8 / output.shape[1]
    return tiny_model


def test_a_repetition_penalty_of_a_real_model(surer_of_10, tokenizer):
    """The same weights were not the same model for a penalty in one side's generation config."""
    side = (surer_of_10, tokenizer)
    recorded = parity.record(side, PROMPTS, max_new_tokens=12)
    for penalty in (1.1, 1.3):
        surer_of_10.generation_config.repetition_penalty = penalty
        report = parity.compare(recorded, side, PROMPTS, max_new_tokens=12)
        assert report.verdict == "THE SAME MODEL", report
        (note,) = report.notes
        assert note.startswith(
            f"the candidate: asked without its repetition_penalty={penalty}, so that it takes"
        )
        assert note in repr(report)
        assert surer_of_10.generation_config.repetition_penalty == penalty


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("no_repeat_ngram_size", 1),
        ("bad_words_ids", [[10]]),
        ("sequence_bias", [[[10], -9.0]]),
        ("suppress_tokens", [10]),
        ("begin_suppress_tokens", [10]),
        ("forced_eos_token_id", 11),
        ("exponential_decay_length_penalty", (0, 99.0)),
    ],
)
def test_settings_that_take_another_token_than_the_likeliest(surer_of_10, tokenizer, name, value):
    """Each changes the answer of `generate`, and none that of a recording."""
    config = GenerationConfig(eos_token_id=11, pad_token_id=2, max_new_tokens=4, **{name: value})
    surer_of_10.generation_config = config
    ids = torch.tensor([[5, 6]])
    assert surer_of_10.generate(ids, do_sample=False)[0, 2:].tolist() != [10] * 4
    found = parity.record((surer_of_10, tokenizer), PROMPTS[:1], max_new_tokens=4)
    assert found.answers[0].ids == (10,) * 4
    (note,) = found.notes
    assert f"asked without its {name}={value!r}," in note


def test_a_few_prompts_are_not_enough():
    sides = [parity.Recording((answer(*range(10, 40)),) * 4)] * 2
    verdict = parity.compare(*sides, PROMPTS[:4]).verdict
    assert verdict.startswith("CANNOT TELL: no fault shows, and 4 prompts are not enough")
    only = [parity.Recording((answer(*range(10, 40)),))] * 2
    assert "1 prompt is not enough" in parity.compare(*only, PROMPTS[:1]).verdict


def test_a_folder_whose_positions_transformers_4_does_not_read(tiny_model, tokenizer):
    """What a config of 4.57 looks like: `rope_theta` is its own default."""
    tiny_model.config.rope_parameters = {"rope_theta": 100000.0, "rope_type": "default"}
    assert parity.record((tiny_model, tokenizer), PROMPTS[:1], max_new_tokens=1).notes == ()
    tiny_model.config.rope_theta = 10000.0
    (note,) = parity.record((tiny_model, tokenizer), PROMPTS[:1], max_new_tokens=1).notes
    assert "reads rope_theta 10,000, and config.json has 100,000 in rope_parameters" in note


def test_two_models_that_know_nothing_are_not_the_same(tiny_model, tokenizer):
    """All tokens are about equally likely to them, so that their divergence is tiny."""
    prompts = [yoda.prompt(row["sentence"]) for row in yoda.rows("test")[:24]]
    recorded = parity.record((tiny_model, tokenizer), prompts, max_new_tokens=4)
    torch.nn.init.normal_(tiny_model.get_output_embeddings().weight, std=0.02)
    report = parity.compare(recorded, (tiny_model, tokenizer), prompts, max_new_tokens=4)
    assert report.n_same_answers == 0
    assert report.mean_kl < parity.SAME_KL
    assert report.verdict.startswith("CANNOT TELL: there are 24 places to compare"), report


def test_recordings_without_probabilities():
    """Their docstring allows it, and comparing two of them ended in a TypeError."""
    ours, theirs = (answer(*ids, likeliest=({},) * 4) for ids in ((5, 6, 7), (5, 6, 8)))
    only = [parity.Recording((one,)) for one in (ours, theirs)]
    same = parity.compare(only[0], only[0], PROMPTS[:1])
    assert same.mean_kl is same.worst_kl is None
    assert same.verdict.startswith("THE SAME ANSWERS, with too few probabilities")
    assert "no place to compare" in repr(same)
    other = parity.compare(*only, PROMPTS[:1]).verdict
    assert other == "NOT THE SAME: 1 of 1 answers differ, with too few probabilities to tell why"
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
    assert "probabilities are not numbers from 0 to 1 (NaN?)" in compare(*sides).verdict


def test_a_side_that_is_cut():
    whole, cut = answer(5, 6, 7), answer(5, 6, end=None)
    verdict = compare(whole, cut).verdict
    assert verdict.startswith("NOT THE SAME: 1 of 6 answers of the candidate are cut")
    assert "1 of 6 answers of the reference are cut" in compare(cut, whole).verdict
    same_tokens = dataclasses.replace(whole, end=None)
    assert "1 of 6 answers of the candidate are cut" in compare(whole, same_tokens).verdict


def test_an_end_token_that_is_not_stopped_at_and_one_too_many():
    whole = answer(5, 6)
    goes_on = answer(5, 6, END, 9, end=None)
    assert "its end token is missing" in compare(whole, goes_on).verdict
    assert "the two have different stop tokens" in compare(goes_on, whole).verdict


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
    assert "agree on average, but differ by 0.23 nats at one place" in report.verdict
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


@pytest.mark.parametrize(
    ("prompt_ids", "expected"),
    [
        ((1, 1, 2, 3), "one more token before the prompt, a BOS twice"),
        ((9, 1, 2, 3), "one more token before the prompt, a BOS of its own"),
        ((2, 3), "leaves out the first token of the prompt, its BOS"),
        ((1, 2, 4), "becomes other tokens"),
        ((), "becomes other tokens"),
    ],
)
def test_other_tokens_of_the_prompt(prompt_ids, expected):
    other = dataclasses.replace(answer(5, 6, 7), prompt_ids=prompt_ids)
    assert expected in compare(answer(5, 6, 7), other).verdict


@pytest.mark.parametrize(("candidate", "expected"), [(0.8875, "NOT THE SAME"), (0.893, "CANNOT")])
def test_an_adapter_that_is_forgotten_beside_rounding(candidate, expected):
    """Rounding hid that the adapter was not there: 0.885 without it, 0.9 with it."""

    def sure(p):
        places = [{token: math.log(p), 900: math.log(1 - p)} for token in (5, 6, 7, END)]
        return answer(5, 6, 7, likeliest=places)

    reference = parity.Recording((sure(0.9),) * 6, (sure(0.885),) * 6)
    report = parity.compare(reference, parity.Recording((sure(candidate),) * 6), PROMPTS)
    assert report.mean_kl < parity.SAME_KL
    assert report.verdict.startswith(expected)


def test_probability_that_only_one_side_tells_of():
    """Two sides agreed on a token of 0.6, and differed in all the rest: THE SAME MODEL."""
    ours, theirs = (
        answer(5, 6, likeliest=[place(**{f"t{t}": 0.6, other: 0.4}) for t in (5, 6, END)])
        for other in ("t20", "t30")
    )
    sides = (parity.Recording((one,) * 20) for one in (ours, theirs))
    report = parity.compare(*sides, PROMPTS[:1] * 20)
    assert report.mean_kl < parity.SAME_KL
    assert "agree, as far as both sides report them: 60%" in report.verdict


def test_answers_that_part_where_nothing_is_told():
    """One of 31 answers was the same, and it said THE SAME MODEL, but for near-ties."""
    same = answer(*range(10, 60))
    tie = changed(answer(5, 6), 0, place(t5=0.52, t8=0.48))
    silent = answer(8, 9, likeliest=({},) * 3)
    sides = (parity.Recording((same, *[one] * 30)) for one in (tie, silent))
    report = parity.compare(*sides, PROMPTS[:1] * 31)
    assert report.verdict.startswith("CANNOT TELL: 30 answers part where a side reports no")


def test_logits_are_no_probabilities():
    logits = answer(5, 6, likeliest=[{5: 800.0, 6: 1.0}, {6: 20.0}, {END: 20.0}])
    assert "not numbers from 0 to 1" in compare(logits, logits).verdict


def test_a_penalty_that_decides_where_an_answer_ends():
    """It was called an end token too many, or one that is missing."""
    whole = changed(answer(5, 6, 7, 8), 2, place(t7=0.55, t2=0.45))
    ends = dataclasses.replace(whole, ids=(5, 6), likeliest=whole.likeliest[:3])
    for sides, name in (((whole, ends), "candidate"), ((ends, whole), "reference")):
        verdict = compare(*sides).verdict
        assert f"the {name} takes a token that is not its likeliest" in verdict


def test_a_penalty_on_both_sides():
    """A copy in 16 bits was accused of it, because the reference had it as well."""
    overruled = changed(answer(5, 6, 7), 0, place(t9=0.6, t5=0.4))
    ours = changed(overruled, 1, place(t6=0.51, t8=0.49))
    theirs = dataclasses.replace(
        changed(ours, 1, place(t6=0.505, t8=0.495)), ids=(5, 8, 9), text="other"
    )
    assert compare(ours, theirs).verdict.startswith("CANNOT TELL: something other than the model")


def test_a_recording_of_other_prompts(tiny_model, tokenizer):
    """It was taken for another chat template."""
    recorded = parity.record((tiny_model, tokenizer), PROMPTS[:2], max_new_tokens=2)
    with pytest.raises(ValueError, match="a recording of other prompts: record the side again"):
        parity.compare(recorded, recorded, PROMPTS[2:4])


def test_an_answer_of_a_model_ends_with_its_end_token(tiny_model, tokenizer):
    """The place of the end has probabilities too, and what comes after it is padding."""
    (whole,) = parity.record((tiny_model, tokenizer), PROMPTS[:1], max_new_tokens=6).answers
    assert whole.end is None
    assert len(whole.ids) == len(whole.likeliest) == 6
    assert [max(place, key=place.get) for place in whole.likeliest] == list(whole.ids)
    end = whole.ids[-1]
    n = whole.ids.index(end)
    tiny_model.generation_config.eos_token_id = [49151, end]
    (ended, _) = parity.record((tiny_model, tokenizer), PROMPTS[:2], max_new_tokens=6).answers
    assert (ended.ids, ended.end) == (whole.ids[:n], end)
    assert [max(place, key=place.get) for place in ended.likeliest] == [*whole.ids[:n], end]


def test_a_recording_that_is_shorter_than_what_it_holds_of_the_base():
    one = answer(5, 6, 7)
    reference = parity.Recording((one,) * 6, (one,) * 8)
    candidate = parity.Recording((one,) * 6)
    assert parity.compare(reference, candidate, PROMPTS).verdict == "THE SAME MODEL"


def test_a_server_tells_of_whole_characters_only():
    """Matched from the start, a part that equals the last one took its probabilities."""

    def told(token, logprob=-0.1):
        return {"id": token, "top_logprobs": [{"id": token, "logprob": logprob}]}

    found = servers._told([101, 7, 7, 2], [told(7), told(2)])
    assert found == ({}, {}, {7: -0.1}, {2: -0.1})
    assert math.isnan(servers._told([5], [told(5, None)])[0][5])  # what JSON makes of NaN
    assert servers._told([101], []) == ({},)


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


def test_a_token_that_is_forbidden_counts_as_very_unlikely():
    """llama.cpp writes -3.4e38 for it, and one such place made the mean infinite."""
    reference = {5: math.log(0.9), 6: -70.0, 900: math.log(0.1)}
    candidate = {5: math.log(0.9), 6: -3.4e38, 900: math.log(0.1)}
    assert divergence(reference, candidate) < 1e-6
    assert math.isfinite(divergence(place(t5=0.5, t6=0.5), {5: 0.0, 6: -math.inf}))


def test_beams_of_the_generation_config_are_left_out(tiny_model, tokenizer):
    """The logits then have a row for each beam, and those of other prompts were read."""
    expected = parity.record((tiny_model, tokenizer), PROMPTS, max_new_tokens=3)
    tiny_model.generation_config.num_beams = 3
    found = parity.record((tiny_model, tokenizer), PROMPTS, max_new_tokens=3)
    assert [one.ids for one in found.answers] == [one.ids for one in expected.answers]


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
