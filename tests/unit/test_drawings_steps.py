"""Drawings of a training step and of its memory: what they show is read back and compared."""

import matplotlib
import pytest
from matplotlib.colors import to_hex, to_rgba

matplotlib.use("Agg")
import onegpu.memory
from helpers import figures
from helpers.figures import kit, memory, steps, transformer
from helpers.style import AREAS

MIB = 1024**2


def texts(ax):
    """Return what is written, and at which height."""
    return {text.get_text(): text.get_position()[1] for text in ax.texts if text.get_text()}


def filled(ax, role):
    """Return the extent of each area with a role's color, in inches: x0, y0, x1, y1."""
    color = kit.ROLES[role].fill.lower()
    areas = [patch for patch in ax.patches if to_hex(patch.get_facecolor()) == color]
    return [
        tuple(area.get_path().get_extents(area.get_patch_transform()).extents) for area in areas
    ]


def test_activations_are_gone_when_the_optimizer_steps_and_gradients_are_not():
    ax = figures.training_step()
    clip = steps.PITCH * list(steps.STATIONS).index("clip") + 0.1
    step = steps.PITCH * list(steps.STATIONS).index("step") + 0.1
    activations, gradients, states, weights = filled(ax, "memory")
    assert activations[2] <= clip + 0.01
    assert gradients[0] < clip and gradients[2] > step + steps.PITCH
    assert states[0] == weights[0] < activations[0] and states[2] == weights[2] > gradients[2]


@pytest.mark.parametrize("compute", ["bf16", "fp16"])
def test_only_the_base_model_is_in_4_bits_and_what_is_trained_in_32(compute):
    found = texts(figures.step_dtypes(compute))
    lanes = {
        text: min((steps.TOP, steps.MIDDLE, steps.LOW), key=lambda lane: abs(lane - y))
        for text, y in found.items()
    }
    for name in ("adapter", "loss", "gradients of\nadapter", "optimizer\nstates", "FP32"):
        assert lanes[name] == steps.TOP
    for name in ("activations,\nlogits", "gradients of\nactivations", compute.upper()):
        assert lanes[name] == steps.MIDDLE
    assert lanes["linear\nlayers"] == lanes["NF4"] == steps.LOW
    assert lanes["embeddings\nand norms"] == steps.MIDDLE
    assert ("loss × scale" in found) == (compute == "fp16"), "only fp16 needs it"
    checks = [text for text in found if text.startswith("inf or NaN")]
    assert len(checks) == (compute == "fp16")


def test_a_step_in_another_number_type_is_refused():
    with pytest.raises(ValueError, match="compute is 'fp8': choose 'bf16' or 'fp16'"):
        figures.step_dtypes("fp8")


def test_checkpointing_goes_through_a_block_three_times_and_keeps_inputs_and_one_block():
    ax = figures.checkpointing(30, block_mib=20, input_mib=2)
    found = [text.get_text() for text in ax.texts]
    assert "30 × 20.0 = 600 MiB" in found
    assert "60 + 18 = 78 MiB" in found
    at_right = [t for t in ax.texts if t.get_position()[0] > 3.78 and t.get_text().isdigit()]
    rows = {}
    for text in at_right:
        rows.setdefault(round(text.get_position()[1], 2), []).append(int(text.get_text()))
    orders = [sorted(row) for _, row in sorted(rows.items())]
    assert orders == [[1, 89, 90], [2, 87, 88], [29, 33, 34], [30, 31, 32]]
    lengths = [x1 - x0 for x0, _, x1, _ in filled(ax, "memory") if x0 > 3.78]
    assert len(lengths) == 4 + 1, "four inputs, and the rest of the last block alone"
    assert max(lengths) == pytest.approx(9 * min(lengths))


def test_checkpointing_refuses_an_input_larger_than_all_that_a_block_keeps():
    with pytest.raises(ValueError, match="less for the input"):
        figures.checkpointing(30, block_mib=1, input_mib=2)


def test_a_block_tells_its_memory_at_each_part():
    n_bytes = {part: (i + 1) * MIB for i, part in enumerate(transformer.PARTS)}
    ax = figures.block_memory(n_bytes)
    assert ax.get_title("left").endswith("28.0 MiB")
    assert "attention 3," in ax.get_label()
    bars = sorted(filled(ax, "memory"), key=lambda bar: bar[1])
    lengths = [x1 - x0 for x0, _, x1, _ in bars]
    upward = [part for part, _ in sorted(transformer.PLACES.items(), key=lambda item: item[1])]
    assert lengths == pytest.approx([lengths[-1] * n_bytes[part] / (7 * MIB) for part in upward])
    with pytest.raises(ValueError, match="give each of"):
        figures.block_memory({"down": MIB})


STEP = {"load": {"weights": 2.0}, "backward": {"weights": 2.0, "activations": 6.0}}


def piles(ax):
    """Return the lower and the upper end of what is drawn of each kind, in inches."""
    kinds = {to_rgba(color): kind for kind, color in zip(memory.KINDS, AREAS, strict=True)}
    ends = {}
    for patch in ax.patches:
        kind = kinds.get(patch.get_facecolor())
        if kind and patch.get_x() < memory.PILES:
            ends.setdefault(kind, []).append((patch.get_y(), patch.get_y() + patch.get_height()))
    return ends


def test_the_word_under_the_highest_pile_is_in_its_column():
    for limit, word in ((10, "the peak"), (7.9, "too much ✗")):
        ax = figures.step_memory(STEP, limit_gib=limit, card="T4")
        x = {text.get_text(): text.get_position()[0] for text in ax.texts}
        assert x[word] == x["backward"] != x["load"]


def test_piles_are_as_high_as_their_parts_beside_the_limit_of_the_card():
    ax = figures.step_memory(STEP, limit_gib=10, card="T4")
    (line,) = ax.lines
    (limit,) = set(line.get_ydata())
    ends = piles(ax)
    floor = ends["weights"][0][0]
    for kind, expected in {"weights": [(0, 2), (0, 2)], "activations": [(2, 8)]}.items():
        found = [10 * (y - floor) / (limit - floor) for end in ends[kind] for y in end]
        assert found == pytest.approx([y for end in expected for y in end]), kind
    found = texts(ax)
    assert {"2.0 GiB", "8.0 GiB", "the peak", "T4: 10.0 GiB"} <= set(found)
    assert "too much ✗" in texts(figures.step_memory(STEP, limit_gib=7.9, card="T4"))


def test_kinds_have_the_colors_of_the_timeline_and_only_those_shown_are_named():
    assert set(memory.KINDS) & set(texts(figures.step_memory(STEP, limit_gib=9, card="T4"))) == {
        "weights",
        "activations",
    }
    assert memory.KINDS == onegpu.memory.KINDS, "AREAS go by this order"


def test_a_step_with_another_kind_of_memory_is_refused():
    with pytest.raises(ValueError, match=r"\['cache'\] are no kinds of memory"):
        figures.step_memory({"load": {"cache": 1.0}}, limit_gib=10, card="T4")


def test_a_plan_piles_up_what_it_heard_and_marks_what_crosses_the_limit():
    heard = [("empty", 100.0), ("bmm", 400.0), ("softmax", 600.0)]
    ax = figures.planning(heard, limit_mib=1000, card="T4")
    (line,) = ax.lines
    (limit,) = set(line.get_ydata())
    allocator, *added = filled(ax, "memory")
    (crossing,) = filled(ax, "wrong")
    floor = added[0][1]
    tops = [1000 * (y1 - floor) / (limit - floor) for _, _, _, y1 in [*added, crossing]]
    assert tops == pytest.approx([100, 500, 1100])
    assert 1000 * (crossing[1] - floor) / (limit - floor) == pytest.approx(500)
    assert allocator[1] > limit and {"T4: 1,000 MiB", "+600 MiB ✗"} <= set(texts(ax))
    returned = ("queries", "scores", "probabilities")
    named = texts(figures.planning(heard, limit_mib=1000, card="T4", results=returned))
    assert [named[name] for name in returned] == [named["queries"]] * 3
    assert named["queries"] < named["bmm"], "below the name of the operation"
    assert "softmax 600" in ax.get_label() and "Together 1,100 MiB" in ax.get_label()


def test_a_plan_that_heard_nothing_is_refused():
    with pytest.raises(ValueError, match="give operations, and MiB of 0 or more"):
        figures.planning([], limit_mib=1000, card="T4")
    with pytest.raises(ValueError, match="1 results of 2 operations: give one for each"):
        figures.planning([("bmm", 1), ("mm", 1)], limit_mib=1000, card="T4", results=("a",))


def test_bit_fields_are_as_wide_as_they_have_bits():
    ax = figures.bit_fields({"FP16": (1, 5, 10), "E8M0": (0, 8, 0)})
    *fields, _, _, _ = ax.patches  # three are the key's
    bit = fields[0].get_width()
    widths = [round(field.get_width() / bit, 3) for field in fields]
    assert widths == [1, 5, 10, 8], "one scale for all rows"
    lefts = [round((field.get_x() - fields[0].get_x()) / bit, 3) for field in fields]
    assert lefts == [0, 1, 6, 0]
    colors = [to_hex(field.get_facecolor()) for field in fields]
    assert len(set(colors)) == 3 and colors[3] == colors[1], "E8M0 has exponent bits alone"
    assert [len(lines.get_paths()) for lines in ax.collections] == [0, 4, 9, 7]
    written = [text.get_text() for text in ax.texts]
    assert written[:5] == ["FP16", "1", "5", "10", "16 bits"]
