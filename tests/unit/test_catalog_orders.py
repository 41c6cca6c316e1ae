"""The invented catalog and the orders of Chapter 8."""

import json

import pytest

from helpers import catalog, orders


def test_products_differ_and_their_rows_say_what_their_pages_say():
    found = catalog.products(200)
    assert len({product.name for product in found}) == 200
    for product in found:
        sentences = set(product.document.split(". "))
        for row in product.rows:
            assert row["answer"].rstrip(".") in {sentence.rstrip(".") for sentence in sentences}
            assert str(row["value"]) in str(row["answer"]) and product.name in str(row["question"])


def test_a_guess_is_right_once_in_eight():
    found = catalog.products(1000)
    for fact, values in catalog.VALUES.items():
        assert len(set(values)) == 8
        share = sum(product.facts[fact] == values[0] for product in found) / 1000
        assert 0.08 < share < 0.17


def test_the_same_seed_gives_the_same_products():
    assert catalog.products(5, seed=3) == catalog.products(5, seed=3) != catalog.products(5, seed=4)
    with pytest.raises(ValueError, match="1,?025"):
        catalog.products(1025)


def test_requests_of_training_and_test_share_no_phrase():
    sets = {
        split: {row["request"] for row in orders.requests(600, split=split, seed=1)}
        for split in ("train", "test")
    }
    assert not sets["train"] & sets["test"]
    with pytest.raises(ValueError, match="choose train or test"):
        orders.requests(1, split="validation", seed=1)


def test_one_request_in_six_asks_for_nothing():
    rows = orders.requests(60, split="test", seed=5)
    assert sum(row["call"] is None for row in rows) == 10


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_right_answer_is_judged_right(split):
    for row in orders.requests(60, split=split, seed=2):
        assert all(orders.judge(row["answer"], row).values())


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("I'll send them.", (False, False, False)),
        ('["order_part"]', (False, False, False)),
        ('{"name": "cancel", "arguments": {}}', (True, False, False)),
        ('{"name": "order_part", "arguments": "{}"}', (True, True, False)),
    ],
)
def test_a_wrong_call_is_judged_by_how_far_it_came(answer, verdict):
    row = orders.requests(1, split="test", seed=1)[0]
    assert tuple(orders.judge(answer, row).values()) == verdict


def test_small_talk_must_be_no_call():
    row = next(row for row in orders.requests(6, split="test", seed=1) if row["call"] is None)
    assert orders.judge("You're welcome!", row) == {"text": True}
    assert orders.judge('{"name": "order_part"}', row) == orders.judge(" ", row) == {"text": False}


def test_the_function_behind_the_tool_takes_every_call():
    for row in orders.requests(60, split="test", seed=3):
        if row["call"]:
            arguments = row["call"]["arguments"]
            bill = orders.order_part(**arguments)
            single = orders.order_part(arguments["part"], 1, False)["price"]
            express = 5 * arguments["express"]
            assert bill["price"] == pytest.approx(arguments["quantity"] * single + express)
    with pytest.raises(ValueError, match="unknown part 'heater'"):
        orders.order_part("heater", 1, False)
    with pytest.raises(ValueError, match="order at least one"):
        orders.order_part("fan", 0, False)


def test_the_tool_and_its_schema_name_the_parts_of_the_table():
    schema = orders.constrained(orders.prompt("A fan!"))["response_format"]["json_schema"]["schema"]
    parts = schema["properties"]["arguments"]["properties"]["part"]["enum"]
    assert parts == [row["part"] for row in orders.parts()] and len(parts) == 10
    assert json.dumps(orders.TOOL) in orders.prompt("A fan!")[0]["content"]
