"""Exercises: every solution is right, plausible wrong answers are told what is wrong with them."""

import ast
import itertools
import json
import math
import re
from pathlib import Path

import nbformat
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file

from helpers import exercises
from onegpu.quantization import quantize

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
CALL = re.compile(r'exercises\.check\("([^"]+)", (\w+)\)')
SOLUTION = re.compile(r"<details><summary>Solution</summary>\n\n```python\n(.*?)```", re.DOTALL)


def found() -> dict[str, tuple[str, str, str, Path]]:
    """Return for each exercise the answer's name, the open cell, the solution, the notebook."""
    all_found = {}
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        for cell, following in itertools.pairwise(cells):
            if cell.cell_type == "code" and (call := CALL.search(cell.source)):
                solution = SOLUTION.search(following.source)
                assert solution, f"{path.name}: {call[1]} has no folded solution after it"
                all_found[call[1]] = call[2], cell.source, solution[1], path
    return all_found


def e5m2(bias: int = 15, subnormal: bool = True, special: bool = True):
    """Return a decoder of FP8 E5M2, right or with a mistake."""

    def decoder(digits: str) -> float:
        sign, exponent, mantissa = int(digits[0]), int(digits[1:6], 2), int(digits[6:], 2)
        value = 2.0 ** (exponent - bias) * (1 + mantissa / 4)
        if subnormal and exponent == 0:
            value = 2.0 ** (1 - bias) * mantissa / 4
        if special and exponent == 31:
            value = math.nan if mantissa else math.inf
        return -value if sign else value

    return decoder


EXERCISES = found()


def nf4(weight):
    """Return a weight as NF4 keeps it."""
    return quantize(weight, format="nf4", block_size=64).dequantize()


def merging(scaled: bool = True, every_layer: bool = True):
    """Return a way to merge an adapter's file, right or with a mistake."""

    def merge(model, folder):
        tensors = load_file(folder / "adapter_model.safetensors")
        settings = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        scaling = settings["lora_alpha"] / settings["r"] if scaled else 1.0
        keys = [key for key in tensors if "lora_A" in key]
        for key in keys if every_layer else keys[:1]:
            name = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
            b = tensors[key.replace("lora_A", "lora_B")]
            model.get_submodule(name).weight.data += scaling * b @ tensors[key]
        return model

    return merge


def folding(change):
    """Return a folder of system prompts that changes the messages it was given."""

    def fold(messages):
        if messages[0]["role"] != "system":
            return messages
        change(messages[0]["content"], messages[1])
        return messages[1:]

    return fold


def turns(answer_too: bool = False, end_too: bool = True):
    """Return a masker of turns that learns one token too many or too few."""

    def mask(ids, answer_id, end_id):
        labels, learning = [], False
        for token in ids:
            learning = learning and not (token == end_id and not end_too)
            learns = learning or (answer_too and token == answer_id)
            labels.append(token if learns else -100)
            learning = token == answer_id or (learning and token != end_id)
        return labels

    return mask


def best_fit(ordered: bool = True, room: int = 0):
    """Return a packer that does not sort, or that leaves room."""

    def pack(lengths, max_length):
        bins = []
        for length in sorted(lengths, reverse=True) if ordered else lengths:
            fitting = [b for b in bins if sum(b) + length <= max_length - room]
            if fitting:
                max(fitting, key=sum).append(length)
            else:
                bins.append([length])
        return bins

    return pack


def loss_of(model, tokens, place=None):
    """Return the loss of tokens, each at the position that a function of its place returns."""
    positions = None if place is None else torch.tensor([[place(i) for i in range(12)]])
    with torch.inference_mode():
        return model(tokens, labels=tokens, position_ids=positions).loss.item()


def skipping(chosen, put_back: bool = True):
    """Return a loss without some modules, which add nothing to the stream or pass it unchanged."""

    def nothing(module, args, output):
        return (torch.zeros_like(output[0]), None) if isinstance(output, tuple) else args[0]

    def loss_without(model, tokens, number):
        hooks = [module.register_forward_hook(nothing) for module in chosen(model, number)]
        loss = loss_of(model, tokens)
        for hook in hooks if put_back else ():
            hook.remove()
        return loss

    return loss_without


WRONG = {
    "0.1": [
        lambda n_rows, batch, epochs: n_rows * epochs // batch,
        lambda n_rows, batch, epochs: n_rows // batch * epochs,
        lambda n_rows, batch, epochs: math.ceil(n_rows * epochs / batch),  # across epochs
    ],
    "0.2": [
        ("You are strong.", "Strong, you are."),
        ("You are strong.", "You are strong."),  # wrong, but no word was changed
        ("You are strong.", ""),
        "Strong, you are.",  # the answer alone
    ],
    "0.3": [
        {40: 1, 160: 15},  # a run is missing
        {40: 19, 160: 19, 360: 19},  # all went on from the tuned model
        {40: 0, 160: 0, 360: 0},  # nothing was learned
        {40: 0.0, 160: 0.7, 360: 0.9},  # shares
    ],
    "1.1": [
        lambda probabilities, p: probabilities * (probabilities >= p * probabilities.max()),
        lambda probabilities, p: (q := probabilities * (probabilities >= p)) / q.sum(),  # of 1
        lambda probabilities, p: (
            (  # top-p
                q := probabilities * (probabilities.sort(descending=True)[0].cumsum(0) <= 1 - p)
            )
            / q.sum()
        ),
    ],
    "1.2": [
        torch.nn.functional.cross_entropy,  # not shifted
        lambda logits, tokens: torch.nn.functional.cross_entropy(logits[1:], tokens[:-1]),
        lambda logits, labels: (
            -logits[:-1].log_softmax(-1).gather(1, labels[1:, None].clamp(min=0)).mean()
        ),  # learns the masked positions too
    ],
    "1.3": [
        lambda model, tokens, start, step: loss_of(model, tokens),  # no positions
        lambda model, tokens, start, step: loss_of(model, tokens, lambda i: start + i),  # no step
        lambda model, tokens, start, step: loss_of(model, tokens, lambda i: (start + i) * step),
        lambda model, tokens, start, step: (
            loss_of(model, tokens, lambda i: start + step * i) * tokens.shape[1]  # a sum
        ),
    ],
    "1.4": [
        skipping(lambda model, number: [model.model.layers[number].self_attn]),  # the MLP stays
        skipping(lambda model, number: model.model.layers[number:]),  # all from there on
        skipping(lambda model, number: [model.model.layers[number]], put_back=False),
        lambda model, tokens, number: loss_of(model, tokens),  # skips nothing
    ],
    "2.1": [
        lambda linear, embedding, tied: linear / 2 + 2 * embedding * (2 - tied),  # no scales
        lambda linear, embedding, tied: linear * 4.5 / 8 + 2 * embedding,  # always tied
        lambda linear, embedding, tied: (linear + embedding * (2 - tied)) * 4.5 / 8,
    ],
    "2.2": [
        lambda v, n: ((v - v.min()) / (d := (v.max() - v.min()) / 2**n)).round() * d + v.min(),
        lambda v, n: (v / (d := v.abs().max() / (2 ** (n - 1) - 1))).round() * d,  # absmax
        lambda v, n: (
            ((v - v.min()) / (d := (v.max() - v.min()) / (2**n - 1))).floor() * d + v.min()
        ),
    ],
    "2.3": ["up_proj", "k_proj", "lm_head", 5.4],
    "2.4": [64, 16, 4, 12, 8.0],
    "3.1": [
        LoraConfig(r=4, target_modules="all-linear"),  # over the budget
        LoraConfig(r=2, target_modules="all-linear"),  # not the highest
        LoraConfig(r=16, target_modules=["q_proj", "v_proj"]),  # fits, but leaves layers out
        LoraConfig(r=3),  # PEFT's default layers
        {"r": 3, "target_modules": "all-linear"},
    ],
    "3.2": [
        merging(scaled=False),
        merging(every_layer=False),
        lambda model, folder: model,  # nothing merged
        lambda model, folder: folder,
    ],
    "3.3": [
        {1e-3: 7.4, 1e-4: 0.2},  # too few
        {1e-3: 7.4, 1e-4: 0.2, 3e-4: 0.9},  # none below the best
        {1e-5: 0.4, 1e-6: 2.0, 1e-7: 2.4},  # none above the best
        {1e-2: 9.0, 1e-3: 7.4, 1e-4: 8.0},  # never saved
        {1e-2: 9.0, 1e-4: 0.2, 1e-6: 2.0},  # far apart
    ],
    "3.4": [
        lambda weight, update: 1.0,
        lambda weight, update: 0.0,
        lambda weight, update: float(nf4(weight + update).sub(weight).norm() / update.norm()),
        lambda weight, update: float((nf4(weight + update) != weight).float().mean()),
        lambda weight, update: float((nf4(update) * update).sum() / update.square().sum()),
    ],
    "4.1": [
        lambda messages: [m for m in messages if m["role"] != "system"],  # its text is lost
        folding(lambda system, first: first.update(content=f"{system}\n\n{first['content']}")),
        folding(lambda system, first: first.update(content=f"{first['content']}\n\n{system}")),
    ],
    "4.2": [
        turns(answer_too=True),
        turns(end_too=False),
        lambda ids, answer_id, end_id: [
            i if answer_id in ids[:n] else -100 for n, i in enumerate(ids)
        ],
    ],
    "4.3": [
        lambda lengths, max_length: [[length] for length in lengths],
        best_fit(ordered=False),
        best_fit(room=1),
    ],
    "4.4": [
        lambda lengths: list(range(sum(lengths))),
        lambda lengths: [p for n in lengths for p in range(1, n + 1)],
        lambda lengths: [number for number, n in enumerate(lengths) for _ in range(n)],
    ],
    "5.1": [
        lambda n_frozen, n_trained, bits: (n_frozen + n_trained) * bits / 8 + n_trained * 12,
        lambda n_frozen, n_trained, bits: n_frozen * bits / 8 + n_trained * 12,  # no weights
        lambda n_frozen, n_trained, bits: n_frozen * bits + n_trained * 16,  # bits for bytes
    ],
    "5.2": [
        lambda losses, counts: sum(losses) / len(losses),
        lambda losses, counts: sum(a * b for a, b in zip(losses, counts, strict=True)),
        lambda losses, counts: sum(losses) / sum(counts),
    ],
    "5.3": [
        lambda batch, largest: (min(batch, largest), -(-batch // largest)),  # rows left over
        lambda batch, largest: (1, batch),
        lambda batch, largest: (batch, 1),
    ],
    "5.4": [
        lambda step, n_steps, n_warmup, highest: highest * min(1, step / n_warmup),
        lambda step, n_steps, n_warmup, highest: (
            highest * (1 + math.cos(math.pi * step / n_steps)) / 2
        ),
        lambda step, n_steps, n_warmup, highest: (
            highest * min(step / n_warmup, (n_steps - step) / (n_steps - n_warmup))  # linear
        ),
    ],
    "6.1": [
        lambda columns: "Q4_K",
        lambda columns: "Q4_K" if columns % 256 == 0 else "Q5_0",
        lambda columns: "Q4_K" if columns >= 256 else "Q5_0",
    ],
    "6.2": [
        lambda ours, theirs: sum(a == b for a, b in zip(ours, theirs, strict=False)),
        lambda ours, theirs: len(ours),
        lambda ours, theirs: min(len(ours), len(theirs)),
    ],
    "6.3": [
        lambda p, q: sum(a * math.log2(a / b) for a, b in zip(p, q, strict=True) if a),  # in bits
        lambda p, q: sum(b * math.log(b / a) for a, b in zip(p, q, strict=True) if a),  # reversed
        lambda p, q: sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)),  # log of 0
    ],
    "B.1": [
        lambda value, mantissa_bits: 2.0**-mantissa_bits,  # the gap at 1, everywhere
        lambda value, mantissa_bits: value * 2.0**-mantissa_bits,  # grows inside a power of two
        lambda value, mantissa_bits: 2.0 ** (math.frexp(value)[1] - mantissa_bits),  # twice
    ],
    "B.2": [e5m2(bias=16), e5m2(subnormal=False), e5m2(special=False)],
    "B.3": [
        lambda gradients: 2.0 ** math.ceil(math.log2(65504 / max(map(abs, gradients)))),
        lambda gradients: 2.0 ** math.floor(math.log2(65504 / max(gradients))),  # signs
        lambda gradients: 65504 / max(map(abs, gradients)),  # no power of two
    ],
}


def namespace(path: Path) -> dict:
    """Return the names that a notebook imports."""
    names: dict = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "install" not in cell.metadata.get("tags", []):
            body = ast.parse(cell.source).body
            imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
            exec(compile(ast.Module(imports, []), path.name, "exec"), names)
    return names


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_solution_is_right(exercise):
    name, _, solution, path = EXERCISES[exercise]
    names = namespace(path)
    exec(solution, names)
    assert exercises.check(exercise, names[name]).status == "right"


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_cell_is_open_before_it_is_answered(exercise):
    _, source, _, path = EXERCISES[exercise]
    names = namespace(path)
    exec("\n".join(line for line in source.splitlines() if not CALL.search(line)), names)
    assert exercises.check(exercise, names[EXERCISES[exercise][0]]).status == "open"


@pytest.mark.parametrize("exercise", EXERCISES)
def test_wrong_answers_are_told_what_is_wrong(exercise):
    answers = WRONG[exercise]
    assert len(answers) >= 3
    for answer in answers:
        verdict = exercises.check(exercise, answer)
        assert verdict.status == "wrong" and verdict.message
        assert verdict.message in repr(verdict)


def test_exercises_are_numbered_in_the_order_of_the_text():
    assert list(WRONG) == list(EXERCISES)
    for path in NOTEBOOKS:
        of_notebook = [e.split(".") for e, found in EXERCISES.items() if found[3] == path]
        assert [int(number) for _, number in of_notebook] == list(range(1, len(of_notebook) + 1))


def test_an_answer_that_fails_is_told_how():
    verdict = exercises.check("B.1", lambda value, mantissa_bits: 1 / 0)
    assert repr(verdict) == "Exercise B.1: not yet: it raised ZeroDivisionError: division by zero"
    assert "&lt;" in exercises.Verdict("B.1", "wrong", "a < b")._repr_html_()


def test_an_unknown_exercise_is_refused():
    for name in ("B.99", "nowhere.1", "B"):
        with pytest.raises(ValueError, match="no exercise .*: give chapter and number"):
            exercises.check(name, ...)
