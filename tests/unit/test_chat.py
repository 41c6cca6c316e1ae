"""What inspectors and scores show, compared with counts by hand."""

import pytest

from onegpu import chat, evaluation


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
    [(38, 40, 0.835, 0.986), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (15, 50, 0.191, 0.4375)],
)
def test_the_interval_is_wilsons(n_right, n_answers, low, high):
    """Where none or all are right, the usual interval has no width, as if ten were proof."""
    found = evaluation.interval(n_right, n_answers)
    assert found == pytest.approx((low, high), abs=5e-4)


def test_the_ends_of_the_interval_are_where_a_test_would_just_reject():
    """By its definition: the observed share is 1.96 standard errors from either end."""
    for end in evaluation.interval(7, 20):
        assert abs(7 / 20 - end) == pytest.approx(1.959964 * (end * (1 - end) / 20) ** 0.5)


def test_an_interval_holds_the_share_that_it_is_of():
    """All of 14 right had an interval that ended at 0.9999999999999998, and a chart refused it."""
    for n_answers in range(1, 200):
        assert evaluation.interval(n_answers, n_answers)[1] == 1.0
        assert evaluation.interval(0, n_answers)[0] == 0.0


def test_an_interval_needs_answers():
    for n_right, n_answers in ((0, 0), (3, 2), (-1, 2)):
        with pytest.raises(ValueError, match=f"{n_right} of {n_answers} right"):
            evaluation.interval(n_right, n_answers)


def test_compare_counts_each_group():
    table = evaluation.compare(
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
        evaluation.compare("ab", "abc", references="abc", groups={})
    with pytest.raises(ValueError, match="after has 4 answers for 3 references"):
        evaluation.compare("abc", "abcd", references="abc", groups={})
    with pytest.raises(ValueError, match="group 'none' marks 0 of 3"):
        evaluation.compare("abc", "abc", references="abc", groups={"none": [False] * 3})


def test_token_view_marks_the_learned_tokens(tokenizer):
    ids = tokenizer("Strong, <b>you</b> are.\n")["input_ids"]
    labels = [-100] * 2 + ids[2:]
    view = chat.show(tokenizer, {"input_ids": ids, "labels": labels})
    assert "".join(token.text for token in view.tokens) == "Strong, <b>you</b> are.\n"
    assert [token.learned for token in view.tokens[:3]] == [False, False, True]
    assert view.n_learned == len(ids) - 2
    assert repr(view).startswith("Strong,[")
    page = view._repr_html_()
    assert page.count("#ffd58a") == view.n_learned
    assert "<b>" not in page, "text is escaped"


def test_token_view_refuses_what_has_no_labels(tokenizer):
    with pytest.raises(ValueError, match=r"has input_ids and no labels"):
        chat.show(tokenizer, {"input_ids": [1]})
    with pytest.raises(ValueError, match="2 input_ids but 1 labels"):
        chat.show(tokenizer, {"input_ids": [1, 2], "labels": [1]})


def test_a_row_of_ones_own_data_is_shown(tokenizer):
    pair = {
        "prompt": [{"role": "user", "content": "Hi."}],
        "completion": [{"role": "assistant", "content": "Yo."}],
    }
    view = chat.show(tokenizer, pair)
    assert "".join(t.text for t in view.tokens if t.learned) == "Yo.<|im_end|>\n"
    with pytest.raises(ValueError, match="columns question: expected messages, prompt and comp"):
        chat.show(tokenizer, {"question": "Hi."})


def test_a_template_is_taken_apart(tokenizer):
    import copy

    mine = copy.deepcopy(tokenizer)
    mine.chat_template = (
        "START{% for m in messages %}<{{ m.role }}>{{ m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}!{% endif %}{% endfor %}"
    )
    parts = chat.template(mine)
    assert (parts.start, parts.answer) == ("START<user>", "<assistant>")
    assert (parts.next_question, parts.end) == ("<|im_end|>!<user>", "<|im_end|>!")
    assert parts.end_of_turn_id == tokenizer.eos_token_id
    assert chat.end_ids(mine) == {2}
    mine.eos_token = "<|endoftext|>"  # as a base model's, whose template ends with another
    mine.chat_template = mine.chat_template.replace("{{ eos_token }}", "<|im_end|>")
    assert chat.end_ids(mine) == {0, 2}
    mine.chat_template = mine.chat_template.replace("<|im_end|>", "")
    assert chat.template(mine).end_of_turn_id is None
    assert chat.end_ids(mine) == {0}
    mine.chat_template = None
    assert chat.template(mine) is None
    assert chat.end_ids(mine) == {0}


def on_the_left(rows):
    """Collate two rows, the first of which is two tokens shorter."""
    import torch

    return {
        "input_ids": torch.tensor([[0, 0, *rows[0]["input_ids"]], rows[1]["input_ids"]]),
        "labels": torch.tensor([[-100, -100, *rows[0]["labels"]], rows[1]["labels"]]),
        "attention_mask": torch.tensor([[0, 0, 1, 1, 1], [1] * 5]),
    }


def test_a_batch_shows_its_padding(tokenizer):
    """Two rows of 3 and 5 tokens, padded: 8 of 10 positions in use; packed: all."""
    from types import SimpleNamespace

    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    rows = [
        {"input_ids": list(range(20, 20 + n)), "labels": [-100, *range(21, 20 + n)]} for n in (3, 5)
    ]
    on_the_right = DataCollatorForLanguageModeling(pad_token_id=2)
    packed = DataCollatorForLanguageModeling(pad_token_id=2, padding_free=True)
    for collator, in_use in ((on_the_right, 0.8), (on_the_left, 0.8), (packed, 1.0)):
        view = chat.show_batch(
            SimpleNamespace(
                train_dataset=rows,
                data_collator=collator,
                processing_class=tokenizer,
                args=SimpleNamespace(per_device_train_batch_size=2),
            )
        )
        assert [[t.id for t in v.tokens] for v in view.sequences] == [
            row["input_ids"] for row in rows
        ]
        assert [v.n_learned for v in view.sequences] == [2, 4]
        assert view.efficiency == pytest.approx(in_use)
        assert f"{in_use:.0%} of the positions in use" in repr(view)
        assert ("2 of padding" in view._repr_html_()) is (in_use < 1)
