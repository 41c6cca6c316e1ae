"""Records of benchmarks: every one is read, and its tables agree with what they are made from."""

import pytest

from helpers import records


def test_every_record_is_read_and_names_where_it_was_made():
    names = [path.stem for path in records.FOLDER.iterdir()]
    assert names
    for name in names:
        assert {"environment", "machine", "source"} & set(records.read(name)), name


def test_an_unknown_record_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"no record 'memory_t5': choose one of .*memory_t4"):
        records.read("memory_t5")


def test_the_ablation_counts_what_its_ranks_take():
    """LoRA's parameters are proportional to the rank; alpha and learning rate add none."""
    trainable = records.lora_ablation()["trainable"]
    assert trainable["rank 1"] * 16 == trainable["chapter"]
    assert trainable["rank 4"] * 16 == trainable["rank 64"]
    assert trainable["attention"] + trainable["MLP"] == trainable["chapter"]
    assert trainable["alpha 8"] == trainable["learning rate 5e-3"] == trainable["chapter"]


def test_the_ways_of_training_are_compared_with_the_same_one():
    ways = records.training_ways()
    ratios = ways["seconds"] / ways.loc["rate", "seconds"]
    assert ratios.to_list() == pytest.approx(ways["time"].to_list(), abs=0.02)
    assert ways["exact_matches"].between(0, 40).all()
