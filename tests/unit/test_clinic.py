"""The tiny model and the trainers that Troubleshooting breaks."""

import logging

import pytest
import torch
import transformers

from helpers import clinic
from onegpu import preflight


def test_what_should_fail_is_printed_without_a_path(capsys):
    def broken():
        raise ImportError("cannot import name 'x' from 'trl' (/somewhere/trl/__init__.py)")

    clinic.fails(broken)
    assert capsys.readouterr().out == "ImportError: cannot import name 'x' from 'trl'\n"


def test_a_long_message_ends_with_a_whole_word(capsys):
    """It used to end in the middle of one: "a shorter co"."""

    def broken():
        raise ValueError("word " * 40)

    clinic.fails(broken)
    shown = capsys.readouterr().out
    assert shown.startswith("ValueError: word word") and shown.endswith(" word …\n")
    assert len(shown) <= len("ValueError: \n") + clinic.N_SHOWN


def test_what_does_not_fail_is_an_error():
    with pytest.raises(AssertionError, match="should have failed"):
        clinic.fails(lambda: None)


def test_the_log_is_caught_and_then_given_back():
    logger = transformers.utils.logging.get_logger("transformers.clinic")
    before = set(logging.getLogger("transformers").handlers)
    with clinic.caught_log() as messages:
        logger.warning("caught")
    logger.warning("not caught")
    assert messages == ["caught"]
    assert set(logging.getLogger("transformers").handlers) == before


def test_the_tiny_model_is_the_same_each_time_and_guesses():
    first, second = clinic.tiny(), clinic.tiny()
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    ids = torch.tensor([[1, 2, 3, 4, 5, 6]])
    loss = first(ids, labels=ids).loss.item()
    assert loss == pytest.approx(torch.tensor(len(clinic.tokenizer())).log().item(), abs=0.2)


def test_a_tokenizer_is_a_copy():
    clinic.tokenizer().chat_template = None
    assert clinic.tokenizer().chat_template
    assert clinic.of_family("qwen3").chat_template != clinic.tokenizer().chat_template


def test_healthy_rows_are_healthy():
    """What the page shows as fixed must not carry a finding that the page itself causes."""
    rows = clinic.capitals()
    assert preflight.check_data(rows, clinic.tokenizer()).codes == []
    trainer = clinic.sft_trainer(rows[:8])
    assert clinic.learned(trainer) == "The capital of France is Paris.<|im_end|>\n"
    assert preflight.check(trainer).codes == []


def test_settings_reach_their_trainer():
    rows = clinic.capitals()[:2]
    trainer = clinic.sft_trainer(rows, evaluation=rows, adapter={"r": 2}, max_length=77)
    assert trainer.args.max_length == 77
    assert trainer.model.peft_config["default"].r == 2
    assert len(trainer.eval_dataset) == 2
    pairs = [
        {"prompt": r["prompt"], "chosen": clinic.said("Yes."), "rejected": clinic.said("No.")}
        for r in rows
    ]
    assert clinic.dpo_trainer(pairs, beta=0.7).args.beta == 0.7
    judged = [{**row, "label": n == 0} for n, row in enumerate(rows)]
    assert clinic.kto_trainer(judged, undesirable_weight=7.0).args.undesirable_weight == 7.0
