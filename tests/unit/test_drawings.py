"""Every drawing: nothing overlaps, leaves its place or is too small, and all have words."""

import dataclasses
import itertools

import matplotlib
import pytest

matplotlib.use("Agg")
from helpers import figures
from helpers.figures import kit, transformer
from helpers.style import alt_text
from onegpu import parity

SHARES = {"norm 1": 0.0001, "q k v": 0.12, "attention": 0.0, "o": 0.07, "norm 2": 0.0001}
SHARES |= {"gate up": 0.39, "down": 0.2, "embedding": 0.21}
BYTES = (2e6, 1e6, 5e6, 1e6, 2e6, 9e6, 3e6)
LORA_STEP = {  # GiB
    "load": {"weights": 1.3},
    "forward": {"weights": 1.2, "adapters": 0.1, "optimizer": 0.1, "activations": 1.6},
    "backward": {"weights": 1.2, "adapters": 0.1, "optimizer": 0.1, "logits": 0.8},
    "optimizer": {"weights": 1.2, "adapters": 0.1, "optimizer": 0.1, "gradients": 0.1},
}
LORA_STEP["backward"] |= {"activations": 1.5, "temporaries": 1.5}
FULL_STEP = {
    "load": {"weights": 6.4},
    "backward": {"weights": 6.4, "optimizer": 12.7, "gradients": 6.2, "logits": 0.8},
    "optimizer": {"weights": 6.4, "optimizer": 12.7, "gradients": 6.4, "temporaries": 6.4},
}
PIECES = [
    "<|im_start|>",
    "user",
    "\n",
    "Hi",
    "<|im_end|>",
    "\n",
    "Hello",
    ",",
    " you",
    "<|im_end|>",
]
ENCODED = [
    {"input_ids": list(range(n)), "labels": [-100] * (n - 4) + list(range(n - 4, n))}
    for n in (10, 45, 53)
]
ROW = {"prompt": [{"role": "user", "content": "Hi " * 40}], "completion": "Hello, you"}
SAID = parity.Answer(
    "<s>Hi\n" * 20, tuple(range(49140, 49152)), (1, 2), "so " * 40, 2, ({1: -0.1},)
)
OTHER = dataclasses.replace(SAID, prompt_text="Hi", prompt_ids=(1,), ids=())
NOT = (
    "NOT THE SAME: another chat template: the reference writes 'im_start', the candidate 'user' "
    * 2
)
NF4 = (-1.0, -0.696, -0.525, -0.395, -0.284, -0.185, -0.091, 0.0)
NF4 += (0.080, 0.161, 0.246, 0.338, 0.441, 0.563, 0.723, 1.0)
NEXT = [
    {" Paris": 0.62, " the": 0.1},
    {".": 0.51, ",": 0.3, " and": 0.05},
    {" The": 0.3, "\n": 0.2},
]
HEARD = [("empty", 32.0), ("empty", 32.0), ("bmm", 4096.0), ("_softmax", 8192.0)]
HEARD += [("_to_copy", 4096.0)]
RESULTS = ("queries", "keys", "scores", "softmax", "back to 16 bits")
FOUR_BITS = {"MXFP4": (32, "E8M0", 8), "NVFP4": (16, "E4M3", 8), "NF4": (64, "FP32", 32)}
DRAWINGS = {  # name: how it is drawn
    "generation_loop": lambda: figures.generation_loop(
        ["The", " capital", " of", " France", " is"], NEXT
    ),
    "rotary_positions": lambda: figures.rotary_positions(64, theta=100_000.0),
    "number_line": lambda: figures.number_line([-0.31, -0.02, 0.02, 0.22], NF4, absmax=0.31),
    "block_scales": lambda: figures.block_scales(1536, 576, block_size=64),
    "quantized_layer": lambda: figures.quantized_layer(1536, 576, block_size=64),
    "lora_matrices": lambda: figures.lora_matrices(576, 1536, rank=16, alpha=32),
    "lora_matrices, square": lambda: figures.lora_matrices(576, 576, rank=8, alpha=16),
    "lora_matrices, tall": lambda: figures.lora_matrices(1536, 576, rank=16, alpha=16),
    "adapter_places": figures.adapter_places,
    "adapter_uses": figures.adapter_uses,
    "rounded_back": lambda: figures.rounded_back(0.0176, 0.00097),
    "rounded_back, far": lambda: figures.rounded_back(0.0176, 0.0158),
    "row_to_batch": lambda: figures.row_to_batch(
        ROW, text="".join(PIECES), pieces=PIECES, encoded=ENCODED
    ),
    "label_shift": lambda: figures.label_shift(PIECES, ENCODED[0]["labels"], end="<|im_end|>"),
    "template_roles": lambda: figures.template_roles(
        {
            "SmolLM2": (f"<|im_start|>system\n{'You ' * 18}\n", "<|im_end|>\n", "<|im_end|>\n"),
            "Mistral": ("<s>[INST] ", " [/INST] ", "</s>"),
        },
        question="Hi.",
        answer="Hello.",
    ),
    "attention_masks": lambda: figures.attention_masks([4, 3]),
    "attention_masks of three": lambda: figures.attention_masks([5, 2, 3]),
    "padding_packing": lambda: figures.padding_packing([42, 45, 53, 37, 35], max_length=128),
    "deployment_path": figures.deployment_path,
    "super_blocks": lambda: figures.super_blocks({"ours, most": 576, "8B, most": 4096}),
    "super_blocks, one": lambda: figures.super_blocks({"tiny": 64}),
    "parity": lambda: figures.parity(
        SAID, SAID, mean_kl=2e-5, n_prompts=40, verdict="THE SAME MODEL", decode=str
    ),
    "parity, other": lambda: figures.parity(
        SAID, OTHER, mean_kl=None, n_prompts=40, verdict=NOT, decode=str
    ),
    "journey": figures.journey,
    "journey of Chapter 0": lambda: figures.journey(chapter=0),
    "journey of Chapter 3": lambda: figures.journey(chapter=3),
    "decision": figures.decision,
    "choose_format": figures.choose_format,
    "tunnel": figures.tunnel,
    "three_splits": lambda: figures.three_splits((720, 120, 160)),
    "two_splits": lambda: figures.two_splits(),
    "rows_pipeline": lambda: figures.rows_pipeline(
        n_documents=1234,
        kept={"train": 10_580, "validation": 1_008, "test": 1_015},
        rejected={"near-duplicate": 123, "personal-data": 241, "refusal": 1, "too-short": 20},
    ),
    "agreement": lambda: figures.agreement((29, 1, 8, 2), names=("half trained", "trained")),
    "improvement_loop": figures.improvement_loop,
    "planning": lambda: figures.planning(HEARD, limit_mib=14909, card="T4", results=RESULTS),
    "planning of little": lambda: figures.planning([("mm", 43)], limit_mib=14909, card="T4"),
    "training_step": figures.training_step,
    "step_dtypes in bf16": lambda: figures.step_dtypes("bf16"),
    "step_dtypes in fp16": lambda: figures.step_dtypes("fp16"),
    "checkpointing": lambda: figures.checkpointing(30, block_mib=25.5, input_mib=1.1),
    "checkpointing of few": lambda: figures.checkpointing(3, block_mib=8, input_mib=2),
    "block_memory": lambda: figures.block_memory(dict(zip(transformer.PARTS, BYTES, strict=True))),
    "step_memory": lambda: figures.step_memory(LORA_STEP, limit_gib=14.6, card="T4"),
    "step_memory, too much": lambda: figures.step_memory(FULL_STEP, limit_gib=14.6, card="T4"),
    "bit_fields": lambda: figures.bit_fields({"FP32": (1, 8, 23), "NVFP4 scale": (1, 4, 3)}),
    "integer_circle": figures.integer_circle,
    "integer_circle of 3 bits": lambda: figures.integer_circle(3),
    "shared_scales": lambda: figures.shared_scales(FOUR_BITS),
    "transformer_block": lambda: transformer.transformer_block(SHARES, n_blocks=30),
}


def boxes_of(ax):
    """Return each text of the axes with the rectangle that it covers, in pixels."""
    ax.figure.canvas.draw()
    renderer = ax.figure.canvas.get_renderer()
    texts = [text for text in ax.texts if text.get_text().strip()]
    return [(text, text.get_window_extent(renderer)) for text in texts]


@pytest.mark.parametrize("name", DRAWINGS)
def test_texts_are_large_enough_do_not_overlap_and_stay_on_the_page(name):
    ax = DRAWINGS[name]()
    found = boxes_of(ax)
    assert found
    page = ax.get_window_extent().padded(2)
    for text, place in found:
        assert text.get_fontsize() >= kit.SMALL, text
        assert page.x0 <= place.x0 and place.x1 <= page.x1, f"{text} leaves the page"
        assert page.y0 <= place.y0 and place.y1 <= page.y1, f"{text} leaves the page"
    for (one, a), (other, b) in itertools.combinations(found, 2):
        over = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(over) <= 2, f"{one.get_text()!r} and {other.get_text()!r} overlap"


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_text_that_begins_in_a_box_ends_in_it(name):
    ax = DRAWINGS[name]()
    found = boxes_of(ax)
    renderer = ax.figure.canvas.get_renderer()
    for patch in ax.patches:
        if patch.get_facecolor()[3] == 0:
            continue  # a frame
        around = patch.get_window_extent(renderer).padded(2)
        for text, place in found:
            x, y = (place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2
            if around.contains(x, y) and around.height > 8:
                fits = around.x0 <= place.x0 and place.x1 <= around.x1
                assert fits, f"{text.get_text()!r} is wider than its box"


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_has_words_and_fits_a_page(name):
    figure = DRAWINGS[name]().figure
    assert figure.get_figwidth() <= kit.WIDTH
    assert len(alt_text(figure)) > 60
    assert all(ax.get_title("left") for ax in figure.axes)


def test_the_block_is_told_the_share_of_each_part():
    words = [text.get_text() for text in transformer.transformer_block(SHARES, n_blocks=30).texts]
    for share in ("12 %", "39 %", "20 %", "21 %", "7 %", "none"):
        assert words.count(share) == 1
    with pytest.raises(ValueError, match=r"no share for \['attention'\]"):
        transformer.transformer_block(
            {k: v for k, v in SHARES.items() if k != "attention"}, n_blocks=1
        )


def test_the_kit_refuses_what_a_phone_cannot_show():
    with pytest.raises(ValueError, match="wider than a page"):
        kit.canvas(9, 2)
    with pytest.raises(ValueError, match="can't be read on a phone"):
        kit.label(kit.canvas(3, 1), (1, 1), "tiny", size=6)


def test_a_matrix_is_drawn_to_scale_and_tells_its_shape():
    ax = kit.canvas(5, 5)
    drawn = kit.matrix(ax, (2.5, 2.5), (40, 20), scale=0.05, name="W")
    assert (drawn.height, drawn.width) == pytest.approx((2, 1))
    assert {text.get_text() for text in ax.texts} == {"W", "40", "20"}


def test_an_arrow_runs_between_the_sides_that_face_each_other():
    ax = kit.canvas(5, 5)
    a, b, c = (kit.box(ax, at, size=(1, 0.4)) for at in ((1, 1), (4, 1), (1, 4)))
    kit.connect(ax, a, b)
    kit.connect(ax, c, a)
    ends = [(note.xyann, note.xy) for note in ax.texts if hasattr(note, "xyann")]
    assert ends == [((1.5, 1), (3.5, 1)), ((1, 3.8), (1, 1.2))]
