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
    runs = records.rows("lora_ablation_cpu")
    trainable = runs.groupby("variant")["trainable"].first()
    assert trainable["rank 1"] * 16 == trainable["chapter"]
    assert trainable["rank 4"] * 16 == trainable["rank 64"]
    assert trainable["attention"] + trainable["MLP"] == trainable["chapter"]
    assert trainable["alpha 8"] == trainable["learning rate 5e-3"] == trainable["chapter"]


def test_every_variant_was_trained_with_the_same_three_seeds():
    for name, what in (
        ("lora_ablation_cpu", "variant"),
        ("full_or_lora_cpu", "way"),
        ("new_token_cpu", ["use", "row_trained"]),
        ("recovery_cpu", ["base", "trained_on"]),
    ):
        runs = records.rows(name)
        if "story_perplexity" in runs:  # the others are the search for a rate
            runs = runs[runs["story_perplexity"].notna() & runs["seed"].notna()]
        runs = runs[runs["seed"].notna()]  # an untrained base has none
        assert all(sorted(seeds) == [42, 43, 44] for _, seeds in runs.groupby(what)["seed"]), name


def test_a_rate_was_searched_until_it_was_not_at_the_edge():
    """At the edge of a grid, the best rate may lie beyond it."""
    runs = records.rows("full_or_lora_cpu")
    for way in ("full", "lora"):
        tried = runs[(runs["way"] == way) & (runs["steps"] == 90)].sort_values("learning_rate")
        best = tried["validation_loss"].argmin()
        assert 0 < best < len(tried) - 1
        used = runs[(runs["way"] == way) & (runs["steps"] == 180)]["learning_rate"].unique()
        assert used.tolist() == [tried["learning_rate"].iloc[best]]


def test_an_adapter_wins_back_a_part_of_what_4_bits_cost_and_not_all():
    """Chapter 2: against the 16-bit model trained alike. Against it untrained, nearly all."""
    runs = records.rows("recovery_cpu")
    loss = runs.pivot_table(index=["trained_on", "base"], values="paragraphs_loss")[
        "paragraphs_loss"
    ]
    before = loss["nothing", "4 bits"] - loss["nothing", "16 bits"]
    after = loss["text", "4 bits"] - loss["text", "16 bits"]
    assert 0.25 < 1 - after / before < 0.45
    assert loss["text", "4 bits"] - loss["nothing", "16 bits"] < 0.1 * before


def test_rows_of_a_record_without_runs_are_refused():
    with pytest.raises(ValueError, match="has no named rows"):
        records.rows("training_cpu")


def test_the_ways_of_training_are_compared_with_the_same_one():
    ways = records.training_ways()
    ratios = ways["seconds"] / ways.loc["rate", "seconds"]
    assert ratios.to_list() == pytest.approx(ways["time"].to_list(), abs=0.02)
    assert ways["exact_matches"].between(0, 40).all()
