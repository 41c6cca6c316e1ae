"""What inspectors show, compared with counts by hand."""

import pytest

from onegpu import chat


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
