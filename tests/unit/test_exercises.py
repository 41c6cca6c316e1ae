"""Exercises: every solution is right, plausible wrong answers are told what is wrong with them."""

import ast
import copy
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
MODELFILE = '''
FROM yoda-Q8_0.gguf
TEMPLATE """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
SYSTEM """Translate to Yoda-speak."""
PARAMETER stop <|im_end|>
PARAMETER temperature 0
'''


ALL_LINEAR = {"r": 16, "target_modules": "all-linear"}


def accumulating(weigh: str = "tokens", zero: str = "once"):
    """Return a way to add up the gradients of micro-batches, right or with a mistake."""

    def accumulate(model, micro_batches):
        first = 0 if weigh == "all labels" else 1
        counts = [(b["labels"][:, first:] != -100).sum().item() for b in micro_batches]
        shares = {"rows": [1 / len(counts)] * len(counts), "sum": [1] * len(counts)}
        total = 0.0
        if zero == "once":
            model.zero_grad()
        for i, batch in enumerate(micro_batches):
            if zero == "each":
                model.zero_grad()
            loss = model(**batch).loss * shares.get(weigh, [n / sum(counts) for n in counts])[i]
            loss.backward()
            total += loss.item()
        return total

    return accumulate


def checkpointing(copied=("model", "optimizer"), random=None, averages: bool = True):
    """Return a way to make a checkpoint, right or with a mistake."""

    def checkpoint(model, optimizer):
        kept = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        kept |= {name: copy.deepcopy(kept[name]) for name in copied}
        if not averages:
            kept["optimizer"]["state"] = {}
        return kept | {"random": torch.get_rng_state() if random is None else random}

    return checkpoint


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


def trigrams(text):
    """Return the different runs of three letters."""
    return {text[i : i + 3] for i in range(len(text) - 2)}


def called(line):
    """Return the call of a log line, as a dict."""
    entry = json.loads(line)
    return {"name": entry["tool"], "arguments": json.loads(entry["input"])}


def by_document(ordered, lost: bool = False):
    """Return a split that takes whole documents in some order, and may lose a row."""

    def split(rows, share):
        test = []
        for document in ordered(
            sorted({row["document"] for row in rows}, key=lambda d: int(d[1:]))
        ):
            if len(test) < share * len(rows):
                test += [row for row in rows if row["document"] == document]
        return [row for row in rows if row not in test][lost:], test

    return split


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
        lambda question, answer, follow_up: f"{question}\n{answer}\n{follow_up}",  # one message
        lambda question, answer, follow_up: (  # no turn of the user's after it
            f"{question}<|im_end|>\n<|im_start|>assistant\n{answer}{follow_up}"
        ),
        lambda question, answer, follow_up: (  # a line break is missing
            f"{question}<|im_end|><|im_start|>assistant\n{answer}<|im_end|>\n"
            f"<|im_start|>user\n{follow_up}"
        ),
        lambda question, answer, follow_up: [{"role": "user", "content": question}],
    ],
    "4.3": [
        turns(answer_too=True),
        turns(end_too=False),
        lambda ids, answer_id, end_id: [
            i if answer_id in ids[:n] else -100 for n, i in enumerate(ids)
        ],
    ],
    "4.4": [61, 62, 56, 58, 42.5],  # the longest, its line break too, one off, the mean
    "4.5": [
        lambda labels, end: labels,  # everything
        lambda labels, end: labels.masked_fill(labels == end, -100),  # all but the end
        lambda labels, end: labels.masked_fill(labels != end, 0),  # 0 is a token, not a mask
        lambda labels, end: torch.full_like(labels, -100),
        lambda labels, end: torch.full_like(labels, end),  # every position is an end
        lambda labels, end: labels.masked_fill(labels != end, -100).roll(1, dims=1),  # shifted
        lambda labels, end: labels[:1].masked_fill(labels[:1] != end, -100),  # one row
    ],
    "5.1": [
        lambda n_frozen, n_trained, bits: (n_frozen + n_trained) * bits / 8 + n_trained * 12,
        lambda n_frozen, n_trained, bits: n_frozen * bits / 8 + n_trained * 12,  # no weights
        lambda n_frozen, n_trained, bits: n_frozen * bits + n_trained * 16,  # bits for bytes
    ],
    "5.2": [
        {"batch": 8, "lora": ALL_LINEAR, "quantization": "nf4-double"},  # doesn't fit
        {"batch": 2, "lora": ALL_LINEAR},  # 16 bits don't, either
        {"batch": 1, "lora": ALL_LINEAR, "quantization": "nf4-double"},  # twice the passes
        {"batch": 3, "lora": ALL_LINEAR, "quantization": "nf4-double"},  # not eight rows
        {"batch": 4, "seq": 2048, "lora": ALL_LINEAR, "quantization": "nf4-double"},
        {"batch": 2, "lora": {"r": 16}, "quantization": "nf4-double"},  # PEFT's two layers
    ],
    "5.3": [
        accumulating(weigh="rows"),
        accumulating(weigh="sum"),
        accumulating(weigh="all labels"),
        accumulating(zero="never"),
        accumulating(zero="each"),
    ],
    "5.4": [
        checkpointing(copied=("optimizer",)),
        checkpointing(copied=("model",)),
        checkpointing(random=torch.Generator().get_state()),
        checkpointing(averages=False),
        lambda model, optimizer: {"model": copy.deepcopy(model.state_dict())},
    ],
    "6.1": [
        "q6_k",  # the weights alone fit
        "q4_k_m",  # fits, but a larger one does, too
        "q8_0",
        "q2_k",
    ],
    "6.2": [
        {0.003: (39, 0.0002), 0.03: (39, 0.002)},  # too few
        {0.003: (39, 0.0002), 0.1: (35, 0.03), 0.3: (0, 8.7)},  # nobody is fooled
        {0.003: (39, 0.0002), 0.03: (39, 0.002), 0.1: (35, 0.03)},  # most answers remain
        {0.003: (39, 0.0002), 0.03: (39, 0.002), 0.3: (0, 0.001)},  # nearer with more noise
        {0.0: (40, 0.0), 0.03: (39, 0.002), 0.3: (0, 8.7)},
    ],
    "6.3": [
        "What is the capital of France?",
        "DON'T stop, it's 2026",  # capitals and digits: other pieces, the same tokens
        "One line\nand another",  # a line break after a letter
        "a  b   c\n\n  d",  # the chapter's own
        "Thank you!\n\n" + "What is the capital of France, and what of Spain? " * 2,
        42,
    ],
    "6.4": [
        MODELFILE.replace('SYSTEM """Translate to Yoda-speak."""\n', ""),
        MODELFILE.replace("{{ end }}<|im_start|>assistant\n", "{{ end }}"),
        MODELFILE.replace("{{ .Role }}\n", r"{{ .Role }}\n"),
        MODELFILE.replace("stop <|im_end|>", "stop </s>"),
        MODELFILE.replace("PARAMETER temperature 0\n", ""),
        MODELFILE.replace("{{ .Content }}", "{{ .Role }}"),
    ],
    "7.1": [40, 385, 1000, 90.0],  # far too few, the normal approximation, far too many, a share
    "7.2": [
        lambda rows, share: (rows[: (cut := round(len(rows) * (1 - share)))], rows[cut:]),
        lambda rows, share: (rows, []),
        lambda rows, share: ([], rows),
        by_document(lambda documents: documents),  # in the order of the file
        by_document(lambda documents: documents[::-1], lost=True),
    ],
    "7.3": [
        lambda text: text,  # too long
        lambda text: text.split(". ")[0] + ".",  # the first sentence itself
        lambda text: text.split()[0],
    ],
    "7.4": [
        lambda judge: judge,
        lambda judge: lambda prompt, a, b: 0.5,  # fair to all, and useless
        lambda judge: lambda prompt, a, b: max(judge(prompt, a, b), 1 - judge(prompt, b, a)),
    ],
    "8.1": [43, 85, 0.5, "64"],  # two thirds, of the first list, a share, a text
    "8.2": [
        lambda a, b: len(set(a) & set(b)) / len(set(a) | set(b)),  # letters
        lambda a, b: len(trigrams(a) & trigrams(b)) / len(trigrams(a)),  # not symmetric
        lambda a, b: 2 * len(trigrams(a) & trigrams(b)) / (len(trigrams(a)) + len(trigrams(b))),
    ],
    "8.3": ["It lasts 36 hours.", "It lasts 50 hours.", "", "It lasts long on level 1."],
    "8.4": [
        lambda line: {"role": "assistant", "content": line},
        lambda line: {"role": "assistant", "content": str(called(line))},  # Python, not JSON
        lambda line: {"role": "tool", "content": json.dumps(called(line))},
        lambda line: {  # encoded twice
            "role": "assistant",
            "content": json.dumps({"name": "order_part", "arguments": json.loads(line)["input"]}),
        },
    ],
    "B.1": [
        lambda step, mantissa_bits: 2.0 ** (mantissa_bits + 1) * step,  # no power of two
        lambda step, mantissa_bits: 2.0 ** (math.ceil(math.log2(step)) + mantissa_bits),  # a gap
        lambda step, mantissa_bits: 2.0 ** (math.floor(math.log2(step)) + mantissa_bits + 1),
        lambda step, mantissa_bits: 2.0 ** (math.floor(math.log2(step)) + mantissa_bits + 2),
    ],
    "B.2": [e5m2(bias=16), e5m2(subnormal=False), e5m2(special=False)],
    "B.3": [
        lambda x: x.square().mean().sqrt(),  # the one that breaks
        lambda x: x.float().square().mean().sqrt().half(),  # leaves FP16
        lambda x: 256 * (x / 256).square().mean().sqrt(),  # small numbers vanish
        lambda x: x.abs().max() * (x / x.abs().max()).square().mean().sqrt(),  # NaN of zeros
        lambda x: math.sqrt(sum(number**2 for number in x.tolist()) / len(x)),
    ],
    "B.4": [
        lambda block: 2.0 ** (math.floor(math.log2(block.abs().max().item())) - 2),  # the rule's
        lambda block: 2.0 ** (math.floor(math.log2(block.abs().max().item())) - 1),  # never clips
        lambda block: 2.0 ** math.ceil(math.log2(block.abs().max().item() / 6)),  # clips nothing
        lambda block: block.abs().max().item() / 6,  # no power of two
        lambda block: -1.0,
    ],
}


def namespace(path: Path, solution: str = "") -> dict:
    """Return the names that a notebook imports, and its functions that a solution calls."""
    names: dict = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "install" not in cell.metadata.get("tags", []):
            body = ast.parse(cell.source).body
            kept = [
                node
                for node in body
                if isinstance(node, ast.Import | ast.ImportFrom)
                or (isinstance(node, ast.FunctionDef) and f"{node.name}(" in solution)
            ]
            exec(compile(ast.Module(kept, []), path.name, "exec"), names)
    return names


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_solution_is_right(exercise):
    name, _, solution, path = EXERCISES[exercise]
    names = namespace(path, solution)
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
