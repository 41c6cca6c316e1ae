"""The commands of onegpu: what they take, what they print, and how they end."""

import json
import shlex
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from gguf import GGUFWriter
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from onegpu import __main__, command_line, gguf, llama_build, llama_cpp, memory, parity, sources
from onegpu.command_line.parity import prompt_of, prompts_of
from tools import links

ROOT = Path(__file__).resolve().parents[2]
QUESTION = {"role": "user", "content": "2 + 2?"}
ANSWER = {"role": "assistant", "content": "4"}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.fixture
def rows(tmp_path):
    """Writes rows into a file."""

    def write(*values, name: str = "rows.jsonl") -> str:
        path = tmp_path / name
        path.write_text("".join(f"{json.dumps(value)}\n" for value in values), "utf-8")
        return str(path)

    return write


@pytest.fixture(scope="module")
def sides(tokenizer, tmp_path_factory) -> Path:
    """Folders of a tiny model, of an adapter on it, and of the two merged."""
    folder = tmp_path_factory.mktemp("sides")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        model = LlamaForCausalLM(config)
        for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
            torch.nn.init.normal_(layer.weight)  # sure of its next token, as trained models are
        model.save_pretrained(folder / "base")
        model = AutoModelForCausalLM.from_pretrained(folder / "base", dtype=torch.float32)
        model = get_peft_model(model, LoraConfig(r=4, lora_alpha=64, target_modules="all-linear"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(folder / "adapter")
    model.merge_and_unload().save_pretrained(folder / "merged")
    for name in ("base", "merged"):
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize("name", command_line.COMMANDS)
def test_help_shows_an_example_that_can_be_typed(name, capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main([name, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    examples = [line for line in shown.splitlines() if line.startswith("  onegpu ")]
    assert "\nexample: " in shown
    assert examples
    for line in examples:
        typed = shlex.split(line)[1:]
        assert command_line.parser().parse_args(typed).command == name


def test_help_names_all_commands_and_needs_no_torch():
    code = """if True:
        import sys
        from onegpu import command_line
        try:
            command_line.run(sys.argv[1:])
        finally:
            assert not {"torch", "transformers", "peft"} & set(sys.modules)
    """
    run = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert all(f"\n    {name}" in run.stdout for name in command_line.COMMANDS)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("plan SmolLM2-135M --gpu gtx", "unknown card 'gtx': choose one of t4, p100,"),
        ("plan SmolLM2-135M --gpu 24 --quantization nf4", "quantized weights cannot be trained"),
        ("plan SmolLM2-135M --gpu 24 --targets q_proj", "give --lora-rank too"),
        (
            "plan SmolLM2-135M --gpu 24 --lora-rank 8 --targets query",
            "no layer of the model is called query",
        ),
        ("preflight nowhere.jsonl", "nowhere.jsonl does not exist"),
        ("preflight README.md", "expected a file that ends in .jsonl, .ndjson, .json, .csv"),
        ("preflight README.md --model nowhere", "unknown model 'nowhere'"),
        ("parity a b --prompts nowhere.jsonl", "nowhere.jsonl does not exist"),
        ("parity a b --prompts helpers/data/samples/three_rows.jsonl", "unknown model 'a'"),
        ("parity a.gguf b --prompts helpers/data/samples/three_rows.jsonl", "a.gguf is no file"),
        (
            "parity http://127.0.0.1:9 b --prompts helpers/data/samples/three_rows.jsonl",
            "no server answers at http://127.0.0.1:9",
        ),
        ("inspect nowhere.gguf", "nowhere.gguf is no file"),
        ("inspect README.md", "README.md is no GGUF file"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(typed, said, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert __main__.main(typed.split()) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "required: COMMAND"),
        ("train", "invalid choice: 'train'"),
        ("plan SmolLM2-135M", "required: --gpu"),
        ("plan SmolLM2-135M --gpu 24 --seq 0", "expected a whole number, 1 or more, got '0'"),
        ("plan SmolLM2-135M --gpu 24 --lora-rank 0", "1 or more, got '0'"),
        ("plan SmolLM2-135M --gpu 24 --optimizer sgd", "choose from 'adamw_torch_fused', "),
        ("preflight rows.jsonl --max-length -1", "1 or more, got '-1'"),
        ("parity a b", "required: --prompts"),
        ("parity a b --prompts c.jsonl --limit many", "1 or more, got 'many'"),
    ],
)
def test_what_cannot_be_typed_ends_with_2(typed, said, capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(typed.split())
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "figures",
    [{"hidden_size": "big"}, {"hidden_size": 0}, {"hidden_act": "nope"}],
    ids=["text", "zero", "unknown name"],
)
def test_an_odd_configuration_ends_with_2_and_no_traceback(figures, tmp_path, capsys):
    """Each of these left a traceback and code 1, which says that the model does not fit."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", **figures}), "utf-8")
    assert __main__.main(["plan", str(tmp_path), "--gpu", "t4"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("plan ended in a ") or "is no configuration of 'llama'" in line


def test_ctrl_c_says_nothing(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line.COMMANDS["doctor"], "run", interrupted)
    assert __main__.main(["doctor"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_stops_reading_is_no_error():
    """`onegpu doctor | head -1` ended in "Broken pipe"."""
    doctor = [sys.executable, "-m", "onegpu", "doctor"]
    process = subprocess.Popen(doctor, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 141


def test_the_version_is_that_of_the_project(capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"onegpu {links.version()}\n"


def test_a_missing_package_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gguf", None)
    file = ROOT / "README.md"
    assert __main__.main(["inspect", str(file)]) == 2
    assert capsys.readouterr().err.endswith(": `onegpu doctor` says what installs it\n")


# plan


def asked(monkeypatch, typed: str) -> dict:
    """Return what `memory.plan` is asked for."""
    found = {}

    def plan(model, **fields):
        found.update(fields, model=model)
        raise ValueError("enough")

    monkeypatch.setattr(memory, "plan", plan)
    assert __main__.main(typed.split()) == 2
    return found


def test_a_plan_is_asked_for_with_the_defaults_of_the_library(monkeypatch):
    found = asked(monkeypatch, "plan Qwen2.5-7B --gpu l4")
    assert (found.pop("model"), found.pop("gpu")) == ("Qwen2.5-7B", "l4")
    assert memory.TrainingStep(**found) == memory.TrainingStep(seq=1024, batch=1)


def test_every_setting_reaches_the_plan(monkeypatch):
    typed = (
        "plan m --gpu 10 --seq 64 --batch 3 --lora-rank 8 --targets q_proj,v_proj "
        "--quantization nf4 --precision fp16 --optimizer paged_adamw_8bit --attention eager "
        "--trainer loop --loss liger --no-checkpointing --no-autocast"
    )
    assert asked(monkeypatch, typed) == {
        "model": "m",
        "gpu": "10",
        "seq": 64,
        "batch": 3,
        "lora": {"r": 8, "target_modules": ["q_proj", "v_proj"]},
        "quantization": "nf4",
        "precision": "fp16",
        "optimizer": "paged_adamw_8bit",
        "attention": "eager",
        "trainer": "loop",
        "loss": "liger",
        "checkpointing": False,
        "autocast": False,
    }
    adapter = asked(monkeypatch, "plan m --gpu 10 --lora-rank 8")["lora"]
    assert adapter == {"r": 8, "target_modules": "all-linear"}


@pytest.mark.parametrize(("gpu", "ended"), [("24", 0), ("0.1", 1)])
def test_the_exit_code_says_whether_it_fits(sides, gpu, ended, capsys):
    assert __main__.main(["plan", str(sides / "base"), "--gpu", gpu, "--seq", "16"]) == ended
    shown = capsys.readouterr().out
    assert ("DOES NOT FIT" in shown) is (ended == 1)


def test_a_plan_and_its_table_as_json(sides, monkeypatch, capsys):
    monkeypatch.setattr(memory, "sweep", lambda found: {"512": {"1": found.step.seq}})
    typed = ["plan", str(sides / "base"), "--gpu", "24", "--seq", "16", "--json"]
    assert __main__.main(typed) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["fits"] is True
    assert __main__.main([*typed, "--sweep"]) == 0
    assert json.loads(capsys.readouterr().out) == plain | {"sweep": {"512": {"1": 16}}}


def test_other_answers_are_printed_after_the_plan(sides, capsys):
    """Switches, settings that fit, and all cards; as JSON, too."""
    typed = ["plan", str(sides / "base"), "--gpu", "0.1", "--seq", "32", "--batch", "4"]
    assert __main__.main([*typed, "--explain", "--fit", "--compare"]) == 1
    shown = capsys.readouterr().out
    assert "what one setting alone would change at the peak:" in shown
    assert "  twice the rows: fuller use of the card" in shown
    assert "not even this fits: " in shown or "to fit it: " in shown
    assert all(f"\n{name} " in shown for name in memory.CARDS)
    assert __main__.main([*typed, "--explain", "--fit", "--compare", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {row["card"] for row in found["compare"]} == set(memory.CARDS)
    assert found["fit"]["plan"]["batch"] * found["fit"]["accumulation"] >= 4
    saved = [row["saved_bytes"] for row in found["explain"]]
    assert saved == sorted(saved, reverse=True)


# preflight


def test_a_tokenizer_that_was_not_named_is_said(rows, capsys):
    fine = rows({"prompt": [QUESTION], "completion": [ANSWER]})
    assert __main__.main(["preflight", fine]) == 0
    printed = capsys.readouterr()
    assert printed.out == "nothing found\n"
    expected = "with the tokenizer of SmolLM2-135M-Instruct; --model takes another\n"
    assert printed.err == expected
    assert __main__.main(["preflight", fine, "--model", sources.EMBEDDED]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("row", "options", "codes", "ended"),
    [
        ({"messages": [QUESTION, ANSWER]}, [], ["prompt-learned"], 0),
        ({"prompt": [QUESTION], "completion": [ANSWER]}, ["--max-length", "8"], "rows-dropped", 1),
    ],
)
def test_only_errors_end_with_1(rows, capsys, row, options, codes, ended):
    assert __main__.main(["preflight", rows(row), "--json", *options]) == ended
    found = json.loads(capsys.readouterr().out)
    assert [finding["code"] for finding in found] == (codes if ended == 0 else [codes])
    (kind,) = {finding["severity"] for finding in found}
    assert kind == ("error" if ended else "warning")


def test_what_fetching_says_is_no_finding(rows, capsys, monkeypatch):
    """With --json the lines of the download came before the JSON, which nothing could read."""
    folder = sources.embedded_folder()

    def fetch():
        print("Fetching ...")
        return folder

    monkeypatch.setattr(sources, "embedded_folder", fetch)
    __main__.main(["preflight", rows({"messages": [QUESTION, ANSWER]}), "--json"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)
    assert "Fetching" in printed.err


# parity


@pytest.mark.parametrize(
    ("candidate", "options", "ended", "verdict"),
    [
        ("merged", [], 0, "THE SAME MODEL"),
        ("base", [], 1, "NOT THE SAME: the candidate answers like the base model"),
        ("merged", ["--limit", "1"], 2, "CANNOT TELL: there are 8 places"),
    ],
)
def test_folders_are_compared(sides, rows, capsys, candidate, options, ended, verdict):
    asked = rows(*({"prompt": f"What is {n}?"} for n in range(6)))
    typed = ["parity", str(sides / "adapter"), str(sides / candidate), "--prompts", asked]
    assert __main__.main([*typed, "--max-new-tokens", "8", *options]) == ended
    printed = capsys.readouterr()
    assert printed.out.startswith(verdict)
    assert f"of {1 if options else 6}\n" in printed.out
    assert printed.err == ""


def test_the_report_as_json(sides, rows, capsys):
    asked = rows(*({"prompt": f"What is {n}?"} for n in range(6)))
    base = str(sides / "base")
    typed = ["parity", base, base, "--prompts", asked, "--max-new-tokens", "8", "--json"]
    assert __main__.main(typed) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same"] is True
    assert found["n_same_answers"] == found["n_prompts"] == 6
    assert found["verdict"] == "THE SAME MODEL"


def test_a_folder_that_cannot_be_read_is_named(sides, rows, capsys, tmp_path):
    broken = tmp_path / "broken"
    subprocess.run(["cp", "-r", sides / "base", broken], check=True)
    (broken / "model.safetensors").write_bytes(b"cut short")
    typed = ["parity", str(broken), str(sides / "base"), "--prompts", rows({"prompt": "Hello!"})]
    assert __main__.main(typed) == 2
    assert capsys.readouterr().err.startswith(f"{broken} cannot be loaded: ")


def test_prompts_that_a_template_refuses(sides, rows, capsys, tmp_path):
    picky = tmp_path / "picky"
    subprocess.run(["cp", "-r", sides / "base", picky], check=True)
    template = "{{ raise_exception('system role not supported') }}"
    (picky / "chat_template.jinja").write_text(template, "utf-8")
    typed = ["parity", str(picky), str(picky), "--prompts", rows({"prompt": [SYSTEM, QUESTION]})]
    assert __main__.main(typed) == 2
    expected = "a chat template refuses these prompts: system role not supported\n"
    assert capsys.readouterr().err == expected


def test_a_file_is_served_by_llama_cpp_which_is_installed_first(rows, monkeypatch, tmp_path):
    calls = []
    file = tmp_path / "model.gguf"
    file.touch()

    def record(side, prompts, *, max_new_tokens):
        calls.append((side, prompts, max_new_tokens))
        return "recorded"

    monkeypatch.setattr(llama_cpp, "install", lambda: calls.append("install"))
    monkeypatch.setattr(parity, "record", record)
    monkeypatch.setattr(parity, "compare", lambda a, b, prompts, **more: Same(None))
    typed = ["parity", str(file), str(file), "--prompts", rows({"prompt": "Hello!"})]
    assert __main__.main(typed) == 2
    asked = [{"role": "user", "content": "Hello!"}]
    assert calls == ["install", "install", *[(str(file), [asked], 48)] * 2]


class Same(types.SimpleNamespace):
    """A report that says nothing but whether two sides are the same."""

    def __init__(self, same):
        super().__init__(same=same)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "2 + 2?", "completion": "4"}, [QUESTION]),
        ({"prompt": [SYSTEM, QUESTION], "completion": [ANSWER]}, [SYSTEM, QUESTION]),
        ({"messages": [QUESTION, ANSWER]}, [QUESTION]),
        ({"messages": [QUESTION, ANSWER, QUESTION, ANSWER]}, [QUESTION, ANSWER, QUESTION]),
        ({"messages": [QUESTION, ANSWER, QUESTION]}, [QUESTION]),
        ({"messages": [SYSTEM, QUESTION]}, [SYSTEM, QUESTION]),
        ({"text": "2 + 2?"}, [QUESTION]),
    ],
)
def test_what_a_row_asks(row, expected):
    assert prompt_of(row) == expected


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "2 + 2?", "answer": "4"}, "found question, answer"),
        ({"prompt": "", "text": "2 + 2?"}, "prompt is empty"),
        ({"prompt": 4}, "prompt holds neither text nor messages, but '4'"),
        ({"messages": "2 + 2?"}, "messages holds neither text nor messages"),
        ({"messages": [ANSWER]}, "nothing comes before the assistant's turn"),
        ({"messages": [{"role": "user"}]}, "every message needs a role and a content"),
        ({"prompt": [{"role": "user", "content": ["a"]}]}, "every message needs a role and"),
        ({"prompt": [QUESTION, "and then?"]}, "every message needs a role and"),
    ],
)
def test_a_row_that_asks_nothing_is_named(row, said, rows):
    with pytest.raises(ValueError, match=r"rows.jsonl, line 2: .*") as error:
        prompts_of(rows({"prompt": "Hello!"}, row))
    assert said in str(error.value)


def test_a_file_without_prompts(rows, tmp_path):
    with pytest.raises(ValueError, match="holds no rows"):
        prompts_of(rows())
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "Hello!"}\n{"prompt": \n', "utf-8")
    with pytest.raises(ValueError, match=r"broken.jsonl, line 2: broken JSON"):
        prompts_of(broken)


# inspect, fetch


def test_a_file_that_lacks_something_ends_with_1(tmp_path, capsys):
    path = llama_build.tiny_model(tmp_path / "tiny.gguf")
    assert __main__.main(["inspect", str(path)]) == 1
    shown = capsys.readouterr().out
    assert shown == f"{gguf.inspect(path)}\n"
    assert "warning: no chat template" in shown
    assert __main__.main(["inspect", str(path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert len(found["tensors"]) == 12
    embeddings = {"name": "token_embd.weight", "type": "Q4_0", "shape": [64, 259]}
    assert [t for t in found["tensors"] if embeddings.items() <= t.items()]
    assert found["metadata"]["general.architecture"] == "llama"
    assert any(warning.startswith("no chat template") for warning in found["warnings"])


def test_a_file_that_lacks_nothing_ends_with_0(tmp_path, capsys):
    writer = GGUFWriter(tmp_path / "adapter.gguf", "llama")
    writer.add_type("adapter")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert __main__.main(["inspect", str(tmp_path / "adapter.gguf")]) == 0
    assert capsys.readouterr().out.endswith("nothing is missing\n")


def test_fetch_prints_the_folder(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sources, "embedded_folder", lambda: tmp_path)
    assert __main__.main(["fetch"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}\n"

    def fail():
        raise RuntimeError("could not download it")

    monkeypatch.setattr(sources, "embedded_folder", fail)
    assert __main__.main(["fetch"]) == 2
    assert capsys.readouterr().err == "could not download it\n"
