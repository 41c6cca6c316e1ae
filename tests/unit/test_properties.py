"""Properties of what takes free input: files of rows, conversations, probabilities.

The examples are derived from each test's own code: all machines and runs try the same ones, so a
check never fails by chance, and one that fails does so again. An example that was found to fail
is kept as a plain test beside the subject's others.
"""

import io
import itertools
import json
import math
import tracemalloc
from unittest import mock

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from onegpu import chat, preflight, rows
from onegpu.parity.probabilities import divergence
from onegpu.rows import json_files

repeatable = settings(derandomize=True, deadline=None, max_examples=100)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
COLUMNS = st.dictionaries(st.text(max_size=4), JSON, max_size=3)


# Files of rows ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rows")


@st.composite
def arrays(draw):
    """Return rows, and their text as an array with white space wherever it is allowed."""
    items = draw(st.lists(COLUMNS, max_size=4))
    text = json.dumps(
        items,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 0, 1])),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), ("\t, \r", "\n: \r\n")])),
    )
    return items, draw(st.sampled_from(["", " ", "\r\n\t"])) + text + "\n"


@repeatable
@given(arrays(), st.integers(1, 60))
def test_an_array_is_read_back_as_it_was_written(array, chunk):
    """A number or literal that a chunk ended in was two values, the first of them wrong."""
    items, text = array
    with mock.patch.object(json_files, "CHUNK", chunk):
        found = list(json_files.values(io.StringIO(text)))
    assert [(row.number, row.value, row.problem) for row in found] == [
        (number, item, "") for number, item in enumerate(items, start=1)
    ]


EDITS = st.tuples(
    st.floats(0, 1), st.booleans(), st.sampled_from(['"', *",:[]{}\\ex1-.\n\0", "\ud800", ""])
)


def in_sequence(data):
    """Return the rows of arrays, or the objects, that follow one another; None if broken."""
    try:
        text = data.decode("utf-8-sig", "surrogateescape").lstrip(" \t\r\n")
        expected = []
        while text:
            value, end = json.JSONDecoder().raw_decode(text)
            expected.append(value)
            text = text[end:].lstrip(" \t\r\n")
    except ValueError:
        return None
    if expected and all(isinstance(value, list) for value in expected):
        return [item for value in expected for item in value]
    return expected if expected and all(isinstance(v, dict) for v in expected) else None


def _is_utf_8(data):
    return data.decode("utf-8", "replace").encode() == data


@settings(repeatable, max_examples=200)
@given(arrays(), st.lists(EDITS, min_size=1, max_size=3), st.integers(1, 60))
def test_what_json_refuses_has_a_problem(folder, array, edits, chunk):
    """Missing commas, and text after an array, passed as valid: here anything may be broken."""
    characters = list(array[1])
    for place, replaces, new in edits:
        at = int(place * len(characters))
        characters[at : at + replaces] = new
    path = folder / "broken.json"
    path.write_bytes("".join(characters).encode("utf-8", "surrogatepass"))
    expected = in_sequence(path.read_bytes())
    with mock.patch.object(json_files, "CHUNK", chunk):
        found = list(rows.scan(path))
    if expected is None:
        assert found[-1].problem
    elif not _is_utf_8(path.read_bytes()):
        assert any(row.problem for row in found)  # the rows after it can be read
    elif not any(row.problem for row in found):  # JSON knows no columns, and takes any item
        assert [row.value for row in found] == expected


FRAGMENTS = [b'{"a": 1}', b'{"a": ', b"[", b"]", b"}", b",", b"\n", b"\r", b'"', b"a,b", b"\\"]
FRAGMENTS += [b"9" * 5_000, b"[" * 100_000, b"-Infinity", b"\\ud83d", b"\0", b"\xff", b"\xff\xfe"]
FRAGMENTS += ["\ufeff".encode(), "é".encode(), "\u00a0".encode(), "\u2028".encode()]
BYTES = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=12).map(b"".join)


@settings(repeatable, max_examples=200)
@given(
    BYTES,
    st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz", ".parquet"]),
    st.integers(1, 9),
)
def test_any_bytes_give_rows(folder, data, suffix, chunk):
    """No exception but those of a wrong path may leave `scan`, whatever is in the file."""
    path = folder / f"any{suffix}"
    path.write_bytes(data)
    with mock.patch.object(json_files, "CHUNK", chunk):
        found = list(rows.scan(path))
    numbers = [row.number for row in found]
    assert all(before < after for before, after in itertools.pairwise(numbers))
    for row in found:
        if row.problem:
            assert row.value == {}
        else:  # columns that can be written again
            assert isinstance(row.value, dict)
            json.dumps(row.value, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_the_memory_that_reading_takes_does_not_grow_with_the_file(folder, monkeypatch, suffix):
    monkeypatch.setattr(json_files, "CHUNK", 10_000)
    peaks = []
    for n_rows in (1_000, 10_000):
        path = folder / f"many{suffix}"
        values = [{"a": f"row {number:08}", "b": "text " * 10} for number in range(n_rows)]
        if suffix == ".jsonl":
            text = "\n".join(map(json.dumps, values))
        elif suffix == ".json":
            text = json.dumps(values)
        else:
            text = "a,b\n" + "\n".join(f"{value['a']},{value['b']}" for value in values)
        path.write_text(text, "utf-8")
        tracemalloc.start()
        try:
            assert sum(not row.problem for row in rows.scan(path)) == n_rows
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] + 20_000  # of files of 80 kB and 800 kB


# Converters -------------------------------------------------------------------------------------

TURN = st.dictionaries(
    st.sampled_from(["role", "content", "from", "value", "tool_calls", "function_call"]),
    st.sampled_from(["user", "assistant", "gpt", "function_call", "{}", "[{}]"])
    | st.fixed_dictionaries({"name": JSON, "arguments": JSON})
    | st.lists(st.fixed_dictionaries({"function": JSON}), max_size=2)
    | JSON,
)
NAMES = ["messages", "conversations", "tools", "system", "input", "preferred_output", "prompt"]
NAMES += ["instruction", "output", "question", "answer", "document", "answers", "scores"]
ANY_ROW = st.dictionaries(st.sampled_from(NAMES), st.lists(TURN, max_size=3) | TURN | JSON)


@pytest.mark.parametrize("name", [name for name in rows.__all__ if name.startswith("from_")])
@repeatable
@given(ANY_ROW)
def test_a_converter_returns_columns_or_says_what_is_wrong(name, row):
    """An instruction that was no text raised a TypeError; a turn that was none did, too."""
    before = json.dumps(row)
    try:
        assert isinstance(getattr(rows, name)(row), dict)
    except ValueError as error:
        assert str(error)
    assert json.dumps(row) == before


# Rows that are checked --------------------------------------------------------------------------

MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["system", "user", "assistant", "tool"]) | JSON,
        "content": st.text(max_size=4) | JSON,
        "tool_calls": JSON,
    },
)
CELL = JSON | st.lists(MESSAGE | JSON, max_size=3) | st.text(max_size=4)
NAMES = ["messages", "prompt", "completion", "text", "conversations"]
ANY_ROW = st.fixed_dictionaries(
    {}, optional=dict.fromkeys([*NAMES, "tools", "chat_template_kwargs"], CELL)
)


@settings(repeatable, max_examples=200)
@given(st.lists(ANY_ROW, min_size=1, max_size=3), st.booleans())
def test_any_rows_can_be_checked(tokenizer, some, assistant_only):
    """What a file can hold is reported, and never raised."""
    found = preflight.check_data(some, tokenizer, assistant_only=assistant_only)
    assert set(found.codes) <= set(preflight.KINDS)


# Tokens and labels ------------------------------------------------------------------------------


def texts(characters):
    pieces = st.sampled_from(["<|im_end|>", "<|im_start|>user\n", " ", "\n", "you"])
    return st.lists(st.text(characters, max_size=6) | pieces, max_size=3).map("".join)


ANY_TEXT = texts(st.characters(exclude_categories=["Cs"]))
# What the tokenizer has tokens for. It leaves out some control characters and most planes, and of
# an answer that begins with such a character nothing is learned: trl refuses a row of this alone
KNOWN_TEXT = texts(st.characters(exclude_categories=["Cs", "Cc"], max_codepoint=0x3FFFF))
MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@st.composite
def conversations(draw, text):
    turns = []
    if draw(st.booleans()):
        turns.append({"role": "system", "content": draw(text)})
    for _ in range(draw(st.integers(1, 3))):
        turns.append({"role": "user", "content": draw(text)})
        turns.append({"role": "assistant", "content": draw(text)})
    return turns


def in_messages(text):
    return st.builds(lambda turns: {"messages": turns}, conversations(text))


def in_prompts(text):
    return st.builds(
        lambda turns: {"prompt": turns[:-1], "completion": turns[-1:]}, conversations(text)
    )


def in_texts(*columns):
    return st.fixed_dictionaries(dict.fromkeys(columns, ANY_TEXT))


@pytest.fixture(scope="module")
def tokenized_by_trl(tokenizer, tmp_path_factory):
    """Return a function that gives rows to an SFTTrainer and returns what it made of them."""
    import copy

    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    from helpers import environment

    environment.quiet()
    sizes = dict(vocab_size=len(tokenizer), hidden_size=2, intermediate_size=2)
    model = LlamaForCausalLM(
        LlamaConfig(**sizes, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1)
    )
    output = str(tmp_path_factory.mktemp("trainer"))

    def tokenize(some, template, assistant_only):
        mine = copy.deepcopy(tokenizer)
        mine.chat_template = template
        settings = SFTConfig(
            output,
            use_cpu=True,
            bf16=False,
            max_length=None,
            shuffle_dataset=False,
            assistant_only_loss=assistant_only,
            report_to="none",
            disable_tqdm=True,
        )
        trainer = SFTTrainer(
            model, settings, train_dataset=Dataset.from_list(some), processing_class=mine
        )
        made = [
            {name: row[name] for name in ("input_ids", "labels")} for row in trainer.train_dataset
        ]
        return mine, made

    return tokenize


@pytest.mark.parametrize(
    ("kind", "assistant_only"),
    [
        pytest.param(in_messages(ANY_TEXT), False, id="messages"),
        pytest.param(in_messages(KNOWN_TEXT), True, id="messages, assistant only"),
        pytest.param(in_prompts(ANY_TEXT), False, id="prompts"),
        pytest.param(in_prompts(KNOWN_TEXT), True, id="prompts, assistant only"),
        pytest.param(in_texts("prompt", "completion"), False, id="texts"),
        pytest.param(in_texts("prompt", "completion", "text"), False, id="texts and a text"),
        pytest.param(in_texts("text"), False, id="a text"),
    ],
)
def test_rows_are_encoded_as_trl_does_it(tokenizer, tokenized_by_trl, kind, assistant_only):
    template = MARKED if assistant_only else tokenizer.chat_template

    # A trainer takes a third of a second to build: so many rows each, few examples, no shrinking
    @settings(repeatable, max_examples=3, phases=[Phase.generate])
    @given(st.lists(kind, min_size=10, max_size=20))
    def check(some):
        mine, expected = tokenized_by_trl(some, template, assistant_only)
        for row, tokens in zip(some, expected, strict=True):
            assert chat.encode(mine, row, assistant_only=assistant_only) == tokens, row

    check()


# Probabilities ----------------------------------------------------------------------------------


@st.composite
def two_distributions(draw, *, least):
    """Return the log-probabilities of two full distributions over the same tokens.

    Before they are scaled to a sum of 1, the logarithms lie between `least` and 0.
    """
    n = draw(st.integers(1, 8))
    sides = []
    for _ in range(2):
        weights = draw(st.lists(st.floats(least, 0), min_size=n, max_size=n))
        total = math.log(sum(math.exp(weight) for weight in weights))
        sides.append([weight - total for weight in weights])
    return sides


def likeliest(logarithms, k):
    """Return the `k` likeliest tokens with their log-probabilities; of equals the first ones."""
    order = sorted(range(len(logarithms)), key=lambda token: -logarithms[token])
    return {token: logarithms[token] for token in order[:k]}


def exact(p, q):
    return sum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))


@settings(repeatable, max_examples=300)
@given(two_distributions(least=-45), st.integers(1, 8), st.integers(1, 8))
def test_the_divergence_is_a_lower_bound(both, k_reference, k_candidate):
    p, q = both
    found = divergence(likeliest(p, k_reference), likeliest(q, k_candidate))
    assert 0 <= found <= max(exact(p, q), 0) + 1e-7
    assert divergence(likeliest(p, k_reference), likeliest(p, k_candidate)) <= 1e-7


@settings(repeatable, max_examples=300)
@given(two_distributions(least=-12), st.integers(1, 8))
def test_the_divergence_grows_with_what_the_candidate_tells(both, k_reference):
    """Where both tell all, nothing is left to bound, and it is exact.

    With what the reference alone tells it may shrink: a token that the candidate leaves out is
    bounded by the last that it tells. And below 1e-7 what is left over is rounding, so no token
    here is that unlikely.
    """
    p, q = both
    told = [divergence(likeliest(p, k_reference), likeliest(q, k)) for k in range(1, len(q) + 1)]
    assert all(before <= after + 1e-7 for before, after in itertools.pairwise(told))
    whole = divergence(likeliest(p, len(p)), likeliest(q, len(q)))
    assert whole == pytest.approx(max(exact(p, q), 0), abs=1e-6)
