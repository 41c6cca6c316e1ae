"""Models by name and cards by name: their sizes against published ones, and no network needed."""

import http.server
import json
import os
import re
import subprocess
import sys
import threading

import pytest
import torch

from onegpu import memory
from onegpu.memory import cards
from onegpu.memory.architectures import FILE, _find, configuration
from onegpu.memory.cards import card

# Exact counts, of the text part. Those of Keras count 64 rows of Gemma's embedding less.
# https://github.com/keras-team/keras-hub/tree/71453d08f59e/keras_hub/src/models (`*_presets.py`)
# https://github.com/TejasNaik24/Kleos-Models/blob/fd879316dbcd/src/kleos_models/models/feasibility.py
PUBLISHED = {
    "Llama-3.1-8B": 8_030_261_248,
    "Mistral-7B-v0.1": 7_241_732_096,
    "Mistral-7B-v0.3": 7_248_023_552,
    "Mistral-Nemo": 12_247_782_400,
    "Mistral-Small-3.2-24B": 23_572_403_200,
    "Ministral-3-14B": 13_506_073_600,
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-3B": 3_085_938_688,
    "Qwen2.5-32B": 32_763_876_352,
    "Qwen2.5-72B": 72_706_203_648,
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-1.7B": 1_720_574_976,
    "Qwen3-4B": 4_022_468_096,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-14B": 14_768_307_200,
    "Qwen3-32B": 32_762_123_264,
    "Qwen3-30B-A3B": 30_532_122_624,
    "Qwen3.5-35B-A3B": 34_660_610_688,
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b": 3_880_099_328,
    "gemma-3-12b": 11_765_788_416,
    "gemma-3-27b": 27_009_002_240,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
    "SmolLM3-3B": 3_075_100_928,
}
# What a name says otherwise, in billions. Those of Gemma 4 count what sees and hears, too.
SAID = {
    "google/gemma-4-E2B-it": 5.1,
    "google/gemma-4-E4B-it": 7.9,
    "microsoft/phi-4": 14,
    "microsoft/Phi-4-mini-instruct": 3.8,
    "mistralai/Mixtral-8x7B-v0.1": 46.7,
    "zai-org/GLM-4.5-Air": 106,
    "zai-org/GLM-4.7-Flash": 30,
    "ibm-granite/granite-4.0-micro": 3,
}


def count(name):
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(configuration(name))
    return sum(p.numel() for p in model.parameters())


@pytest.mark.slow
def test_every_model_has_the_size_that_its_maker_or_its_name_says():
    """Built on `meta`. GLM-4-32B had three layers too many in the table it was first copied from.

    Names round generously: the largest deviation, of those of 1B, is two thirds.
    """
    exact = {_find(name): published for name, published in PUBLISHED.items()}
    assert None not in exact
    for name in memory.ARCHITECTURES:
        counted = count(name)
        if name in exact:
            assert counted == pytest.approx(exact[name], rel=1e-4), name
        elif name in SAID:
            assert counted == pytest.approx(SAID[name] * 1e9, rel=0.15), name
        else:
            number, unit = re.search(r"-(\d+(?:\.\d+)?)([BM])\b", name, re.IGNORECASE).groups()
            said = float(number) * {"B": 1e9, "M": 1e6}[unit.upper()]
            assert counted == pytest.approx(said, rel=0.65 if number == "1" else 0.1), name


def test_every_model_says_where_its_figures_are_from():
    for name, entry in json.loads(FILE.read_text("utf-8")).items():
        assert next(iter(entry)) == "source", name
        assert entry["source"].startswith("https://github.com/"), name
        assert "source" not in memory.ARCHITECTURES[name]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Qwen/Qwen3-4B", "Qwen/Qwen3-4B"),
        ("qwen3-4b-base", "Qwen/Qwen3-4B"),
        ("Qwen3-4B-Thinking-2507", "Qwen/Qwen3-4B-Instruct-2507"),
        ("unsloth/Qwen3-4B-Instruct-2507-unsloth-bnb-4bit", "Qwen/Qwen3-4B-Instruct-2507"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "meta-llama/Llama-3.1-8B"),
        ("google/gemma-3-4b-pt", "google/gemma-3-4b-it"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistralai/Mistral-7B-v0.3"),
        ("OLMo-2-7B-Instruct", "allenai/OLMo-2-1124-7B"),
        ("Qwen3-4", None),
        ("gpt-oss-20b-GGUF", None),
    ],
)
def test_a_name_is_found_without_what_changes_no_size(name, known):
    assert _find(name) == known


def test_no_two_models_are_found_by_one_name():
    for known in memory.ARCHITECTURES:
        assert _find(known) == _find(known.rpartition("/")[2].lower()) == known


TEXT = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
}


@pytest.mark.parametrize(
    ("whole", "of_text", "kind", "tied"),
    [
        ({"model_type": "gemma3"}, {}, "gemma3_text", True),
        ({"model_type": "qwen3_5", "tie_word_embeddings": True}, {}, "qwen3_5_text", True),
        ({"model_type": "qwen3_5", "tie_word_embeddings": False}, {}, "qwen3_5_text", False),
        ({"model_type": "mistral3"}, {"model_type": "mistral"}, "mistral", False),
    ],
)
def test_of_a_model_that_sees_the_text_part_is_planned(tmp_path, whole, of_text, kind, tied):
    """Whether the embeddings are tied is said of the whole, by Qwen3.5: its 4B has no head."""
    from transformers import AutoConfig, AutoModelForCausalLM

    file = tmp_path / "config.json"
    file.write_text(json.dumps({**whole, "text_config": {**TEXT, **of_text}}), "utf-8")
    found = configuration(tmp_path)
    assert (found.model_type, found.tie_word_embeddings) == (kind, tied)
    assert configuration(AutoConfig.from_pretrained(tmp_path)).to_dict() == found.to_dict()
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(found)
    assert not [name for name, _ in model.named_parameters() if "vision" in name or "vis" in name]
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"model_type": "llama",', "config.json cannot be read as JSON: Expecting property name"),
        ("[1]", "config.json names no model_type: it must be the config.json of a model"),
        ("{}", "config.json names no model_type"),
        ('{"model_type": "my_own"}', "'my_own' of .* is not in the installed transformers: update"),
        (
            '{"model_type": "my_own", "auto_map": {"AutoConfig": "code.MyConfig"}}',
            "but in Python code that comes with the model, which is not run here",
        ),
        (
            '{"model_type": "llama", "hidden_size": "wide"}',
            "config.json is no configuration of 'llama': .*hidden_size",
        ),
    ],
)
def test_a_broken_file_says_what_is_wrong_with_it(tmp_path, text, message):
    """It was an unknown model, and code in a repository made transformers ask on the terminal."""
    (tmp_path / "config.json").write_text(text, "utf-8")
    for given in (tmp_path, tmp_path / "config.json"):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            configuration(given)


def test_a_folder_without_the_file_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*config\.json: give a folder with"):
        configuration(tmp_path)


@pytest.fixture
def hub():
    """A hub on this machine, with one model; yields its address and the requests that it got."""
    content = json.dumps({"model_type": "llama", **TEXT}).encode()
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            requests.append(f"{self.command} {self.path}")
            if not self.path.startswith("/me/tiny/resolve/main/config.json"):
                self.send_error(503)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"1234"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.end_headers()

        def do_GET(self):
            self.do_HEAD()
            self.wfile.write(content)

        def log_message(self, *_):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", requests
        server.shutdown()


LOOK_UP = """
import sys
from onegpu.memory.architectures import configuration
for name in sys.argv[1:]:
    try:
        print(configuration(name).hidden_size)
    except ValueError as error:
        print(error)
"""


def look_up(*names, address, cache):
    """Look up names in a new process, which alone reads where the hub is; nothing else printed."""
    settings = {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", LOOK_UP, *names],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | settings | {"NO_PROXY": "127.0.0.1"},
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_name_on_the_hub_is_looked_up_once(hub, tmp_path):
    """The second time it is in the cache; and a hub that fails is not asked again."""
    address, requests = hub
    names = ["me/tiny", "me/other", "me/tiny"]
    found = look_up(*names, address=address, cache=tmp_path)
    assert found[::2] == ["64", "64"]
    assert re.match(r"unknown model 'me/other': .* where there is a network \(.*503", found[1])
    asked = [request.split("?")[0].replace("/resolve/main", "") for request in requests]
    assert asked.count("HEAD /me/other/config.json") == 1
    assert asked.count("GET /me/tiny/config.json") == 1
    assert len([request for request in asked if "tiny" in request]) == 3


def test_without_a_network_an_unknown_name_is_refused_quietly(tmp_path):
    """It took up to a minute, and eleven lines of warnings. Nobody listens at this address."""
    found = look_up("me/other", "Qwen3-4", address="http://127.0.0.1:9", cache=tmp_path)
    assert re.match(r"unknown model 'me/other': give a name that .* \(.*refused", found[0])
    assert re.match(r"unknown model 'Qwen3-4': did you mean Qwen3-4B or ", found[1])


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("RTX 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 3060", "rtx3060"),
        ("A100-80GB", "a100-80"),
        ("v100_32", "v100-32"),
        ("NVIDIA H100", "h100"),
    ],
)
def test_a_card_is_found_as_one_writes_it(given, name):
    assert card(given).name == name


def test_a_card_of_which_only_the_memory_is_given_says_what_is_assumed():
    """A GB is 1e9 bytes: 24 of them are 22.35 GiB."""
    for given, memory_gib in ((24, 24), ("24", 24), ("24 GiB", 24), ("24gb", 24e9 / 2**30)):
        found = card(given)
        assert found.memory_gib == pytest.approx(memory_gib)
        assert "taken for a card of capability 8.0" in found.note


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a100", "unknown card 'a100': did you mean a100-40 or a100-80\\? Or choose one of t4"),
        ("rtx4900", "unknown card 'rtx4900': did you mean rtx4090"),
        ("-3", "unknown card '-3': choose one of t4, .* or 24gb for 24e9 bytes"),
        (0, "unknown card 0: choose one of t4"),
        ("24tb", "unknown card '24tb'"),
    ],
)
def test_a_card_that_there_is_not(given, message):
    with pytest.raises(ValueError, match=message):
        card(given)


def test_what_follows_from_the_capability():
    """Flash attention and bfloat16 from 8.0, a workspace of 32 MiB from 9.0; notes below 7.5."""
    for name, found in memory.CARDS.items():
        assert found.name == name
        assert found.has_bf16 == (found.sdpa_kernel == "flash") == (found.capability >= 8)
        assert found.workspace_bytes == (32 if found.capability >= 9 else 8.125) * 2**20
        assert ("CUDA 12.6" in found.note) == (found.capability < 7.5)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("4090", "rtx4090"),
        ("Tesla T4", "t4"),
        ("NVIDIA A100-SXM4-80GB", "a100-80"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("L40S 48GB", "l40s"),
        ("NVIDIA RTX A6000", "a6000"),
        ("Tesla V100-SXM2-16GB", "v100-16"),
    ],
)
def test_a_card_is_known_as_its_driver_names_it(name, known):
    """A `4090` was planned as a card of 4,090 GiB."""
    assert cards.card(name).name == known


def test_no_card_has_more_than_a_tebibyte():
    with pytest.raises(ValueError, match="unknown card '9999'"):
        cards.card("9999")
