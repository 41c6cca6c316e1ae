"""What a row says against what the model sees of it: with the chat templates of many families."""

import copy
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onegpu import chat, preflight, rows
from onegpu.preflight import conversations, fidelity

SPECIAL = re.compile(r"<[|｜][^<>\n{}'\"]{1,30}[|｜]>|</?(?:start|end)_of_turn>|<turn\|>|<\|turn>")
ROOM = {
    "type": "function",
    "function": {
        "name": "room_heat",
        "description": "Heat of a room",
        "parameters": {"type": "object", "properties": {"room": {"type": "string"}}},
    },
}


def templates():
    """Return the path of each chat template that trl has, by its name."""
    import trl

    folder = Path(trl.__file__).parent / "chat_templates"
    return {path.stem: path for path in sorted(folder.glob("*.jinja"))}


ALL = templates()
WITH_TOOLS = ("qwen2_5", "qwen3", "qwen3_5_think", "llama3_1", "gptoss", "gemma4_v5", "glm4moe")
WITHOUT_TOOLS = ("llama3", "phi3", "qwen2_5_vl")
IN_PARTS_ONLY = ("idefics3", "llava_next", "smolvlm")
OF_TEXTS = [name for name in ALL if name.removesuffix("_training") not in IN_PARTS_ONLY]


@pytest.fixture(scope="session")
def of_family(tokenizer):
    """Return a function that gives the embedded tokenizer another family's template and tokens."""
    made = {}

    def of_family(name):
        if name not in made:
            made[name] = copy.deepcopy(tokenizer)
            if name != "smollm2":
                made[name].chat_template = ALL[name].read_text("utf-8")
                made[name].add_tokens(
                    sorted(set(SPECIAL.findall(made[name].chat_template))), special_tokens=True
                )
        return made[name]

    return of_family


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


def call(arguments):
    function = {"name": "room_heat", "arguments": arguments}
    return {"id": "abcdefghi", "type": "function", "function": function}


def with_call(content="", arguments=None, **more):
    arguments = {"room": "attic"} if arguments is None else arguments
    result = {"role": "tool", "name": "room_heat", "tool_call_id": "abcdefghi", "content": "14"}
    return {
        "messages": [
            user("How warm is the attic?"),
            assistant(content, tool_calls=[call(arguments)]),
            result,
            assistant("14 degrees."),
        ],
        "tools": [ROOM],
        **more,
    }


def found_in(tokenizer, row, **settings):
    """Return the findings of a row by their code, without what is true of each such row."""
    found = preflight.check_data([row], tokenizer, **settings)
    return {f.code: f.where for f in found if f.code not in ("prompt-learned", "prompt-differs")}


def codes(tokenizer, row):
    found = fidelity.problems(tokenizer, conversations.as_trl_reads(row))
    return [code for code, _ in found if code != "prompt-differs"]


# Healthy rows ------------------------------------------------------------------------------------

WRITTEN = (
    ("Hi there", "Hello!"),
    ("  \n Hi  there\n\n", "\n\nHello!\t x\n"),
    ("```py\nif a<b and c>d: print('x&y')\n```", '{"a": [1, "é"], "b": null} <b>&amp;</b> \\n'),
    ('[{"type": "text"}]', "None"),
    ("日本語の質問？", "答え é ü 😀"),
)


@pytest.mark.parametrize("name", ["smollm2", *OF_TEXTS])
def test_what_a_template_writes_in_its_own_way_is_not_left_out(of_family, name):
    """Templates strip, escape, move and rename; only what they drop is a fault."""
    for question, answer in WRITTEN:
        turns = [user(question), assistant(answer), user("And?"), assistant("No.")]
        assert codes(of_family(name), {"messages": turns}) == []
        assert codes(of_family(name), {"prompt": turns[:3], "completion": turns[3:]}) == []


@pytest.mark.parametrize("name", WITH_TOOLS)
def test_tool_calls_of_any_shape_are_found_in_the_text(of_family, name):
    arguments = {"room": 'att"ic\n<é>', "deep": {"a": {"b": [1, True, "z'q"]}}, "tags": ["one"]}
    assert codes(of_family(name), with_call(arguments=arguments)) == []


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_think", "glm4moe", "gptoss"])
def test_the_thought_of_the_last_answer_is_kept(of_family, name):
    row = {"messages": [user("6 x 7?"), assistant("<think>\nSix sevens.\n</think>\n\n42")]}
    assert codes(of_family(name), row) == []


# Roles and columns -------------------------------------------------------------------------------

SHAREGPT = {
    "conversations": [
        {"from": "human", "value": "Which city governs France?"},
        {"from": "gpt", "value": "Paris."},
    ]
}


@pytest.mark.parametrize("name", ["smollm2", "qwen2_5", "qwen3", "phi3"])
def test_trl_renames_the_keys_of_sharegpt_and_not_its_roles(of_family, name):
    """check_data converted the rows first, and found nothing; Qwen and Phi drop both turns."""
    assert found_in(of_family(name), SHAREGPT) == {"unknown-roles": "rows[0]: 'human'"}
    assert codes(of_family(name), rows.from_sharegpt(SHAREGPT)) == []


def test_rows_are_read_as_trl_converts_them():
    from trl import maybe_convert_to_chatml

    for row in (SHAREGPT, {"messages": [user("a")]}, {**SHAREGPT, "id": 3}):
        before = copy.deepcopy(row)
        assert conversations.as_trl_reads(row) == maybe_convert_to_chatml(copy.deepcopy(row))
        assert row == before


def test_the_texts_of_rows_that_must_be_converted(of_family):
    """Nothing but the format was found, and after the conversion the rest."""
    failed = "Error code: 429 - Too many requests"
    formats = [
        lambda asked, said: {"instruction": asked, "input": "", "output": said},
        lambda asked, said: {"question": asked, "answer": said},
        lambda asked, said: {"id": 1, "prompt": asked, "response": said},
        lambda asked, said: {
            "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": said}]
        },
    ]
    for write, code in zip(formats, ["unknown-columns"] * 3 + ["unknown-roles"], strict=True):
        rows = [write(f"Who wrote book {n}?", f"Author {n} did.") for n in range(10)]
        assert preflight.check_data(rows, of_family("qwen3")).codes == [code]
        rows += [write(f"When was book {n} written?", failed) for n in range(3)]
        found = preflight.check_data(rows, of_family("qwen3")).codes
        assert found == [code, "error-messages"]


def test_the_texts_of_rows_that_a_template_does_not_write(of_family):
    """It leaves out the tools, so nothing was said of the calls."""
    rows = [with_call(arguments={"door": f"number {n}"}) for n in range(3)]
    findings = preflight.check_data(rows, of_family("smollm2"))
    assert findings.codes == ["unknown-tool", "left-out"]
    assert "room_heat, unknown door" in findings[0].where
    right = [with_call(arguments={"room": f"number {n}"}) for n in range(3)]
    assert preflight.check_data(right, of_family("smollm2")).codes == ["left-out"]


def test_a_system_prompt_in_a_column_of_its_own(of_family):
    """ShareGPT has one beside the conversation, and trl trains without it."""
    turns = [user("a"), assistant("b")]
    for row in ({"messages": turns}, {"prompt": "a", "completion": "b"}):
        assert codes(of_family("qwen3"), {**row, "system": "Be brief."}) == ["system-ignored"]
        assert codes(of_family("qwen3"), {**row, "system": ""}) == []
    first = [{"role": "system", "content": "Be brief."}, *turns]
    assert codes(of_family("qwen3"), {"messages": first, "system": "Be brief."}) == []
    whole = rows.from_sharegpt({**SHAREGPT, "system": "Be brief."})
    assert codes(of_family("qwen3"), whole) == []


@pytest.mark.parametrize("encode", [json.dumps, repr])
@pytest.mark.parametrize("column", ["messages", "conversations", "prompt"])
def test_messages_as_text(of_family, encode, column):
    """A CSV file of pandas holds them so; trl dropped all rows, and nothing was found."""
    row = {"prompt": [user("a")], "completion": [assistant("it's")]}
    if column == "messages":
        row = {"messages": [user("a"), assistant("it's")]}
    if column == "conversations":
        row = SHAREGPT
    text = {**row, column: encode(row[column])}
    assert found_in(of_family("smollm2"), text) == {"messages-as-text": f"rows[0]: {column}"}
    assert rows.from_encoded(text, columns=[column]) == row


def test_a_text_in_brackets_is_no_list_of_messages(of_family):
    for text in ("[INST] Hi [/INST]", "[1, 2]", '[{"a": 1}]', "['a']"):
        row = {"prompt": text, "completion": text}
        assert codes(of_family("smollm2"), row) == []


def test_messages_beside_text(of_family):
    """The sum of a list and a text ended in a TypeError."""
    row = {"prompt": [user("Capital of Peru?")], "completion": "Lima"}
    assert codes(of_family("smollm2"), row) == ["mixed-formats"]
    with pytest.raises(ValueError, match="two texts or two lists"):
        chat.encode(of_family("smollm2"), row)
    fixed = {**row, "completion": [assistant(row["completion"])]}
    assert codes(of_family("smollm2"), fixed) == []


@pytest.mark.parametrize(
    "mark", [{"weight": 0}, {"train": False}, {"masked": True}, {"loss_mask": 0}, {"loss": False}]
)
def test_marks_of_answers_that_others_do_not_learn(of_family, mark):
    """`weight: 0` of OpenAI: trl learns the answer."""
    turns = [user("Capital of Peru?"), assistant("Cusco!", **mark), user("Sure?"), assistant("No.")]
    tokenizer = of_family("smollm2")
    assert codes(tokenizer, {"messages": turns}) == ["weight-ignored"]
    learned = [i for i in chat.encode(tokenizer, {"messages": turns})["labels"] if i >= 0]
    assert "Cusco!" in tokenizer.decode(learned)
    assert codes(tokenizer, rows.from_messages({"messages": turns})) == []
    opposite = {key: int(not value) for key, value in mark.items()}
    assert codes(tokenizer, {"messages": [user("a"), assistant("b", **opposite)]}) == []


# Tool calls --------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, ""])
@pytest.mark.parametrize("name", ["smollm2", *WITHOUT_TOOLS])
def test_a_template_without_tools(of_family, name, content):
    """With null the row was refused, with the advice to make it "": then the call vanished."""
    where = found_in(of_family(name), with_call(content))["left-out"]
    assert "characters, first the tools" in where
    row = {key: value for key, value in with_call(content).items() if key != "tools"}
    where = found_in(of_family(name), row)["left-out"]
    assert where == "rows[0]: 18 characters, first the tool call of turn 2"
    assert len("room_heat" + "room" + "attic") == 18


@pytest.mark.parametrize("name", WITH_TOOLS)
def test_null_beside_a_tool_call(of_family, name):
    assert codes(of_family(name), with_call(None)) == []


def test_null_beside_a_tool_call_that_a_template_refuses(of_family):
    tokenizer = copy.copy(of_family("qwen3"))
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role + m.content }}"
        "{% for c in m.tool_calls or [] %}{{ c | tojson }}{% endfor %}{% endfor %}"
        "{{ tools | tojson }}"
    )
    assert found_in(tokenizer, with_call(None))["not-text"] == "rows[0]: null"
    assert codes(tokenizer, with_call("")) == []


@pytest.mark.parametrize("name", ["qwen2_5", "llama3_1", "gptoss", "qwen3_5_think", "gemma4_v5"])
def test_arguments_as_json(of_family, name):
    """They were encoded twice, or ended the check in a TypeError, and nothing was said."""
    row = with_call(arguments='{"room": "attic"}')
    assert found_in(of_family(name), row) == {"arguments-as-text": "rows[0]: tool_calls"}
    assert codes(of_family(name), rows.from_openai(row)) == []


@pytest.mark.parametrize("name", ["qwen3", "qwen3_instruct_2507"])
def test_arguments_as_json_where_a_template_reads_them(of_family, name):
    """Qwen 3 writes a text as it is: the model sees the same, but for the space in it."""
    for arguments in ('{"room": "attic"}', '{"room":"attic"}'):
        assert codes(of_family(name), with_call(arguments=arguments)) == []


def test_a_template_that_takes_arguments_as_json_alone(of_family):
    """That of DeepSeek V3 adds them to a text; it leaves the tools out, too."""
    row = {"messages": with_call(arguments='{"room": "attic"}')["messages"]}
    assert codes(of_family("deepseekv3"), row) == []
    assert codes(of_family("deepseekv3"), {**row, "tools": [ROOM]}) == ["left-out"]
    assert codes(of_family("deepseekv3"), with_call()) == ["template-refuses"]


def test_a_second_call_and_words_beside_a_call_that_are_left_out(of_family):
    two = with_call()
    two["messages"][1]["tool_calls"].append(call({"room": "hall"}))
    assert codes(of_family("qwen3"), two) == []
    assert codes(of_family("gptoss"), two) == ["left-out"]
    assert codes(of_family("qwen3"), with_call("Let me look.")) == []
    assert codes(of_family("llama3_1"), with_call("Let me look.")) == ["left-out"]


def test_parameters_that_a_table_fills_in(of_family):
    """Arrow gives the arguments of all tools to each, as null, and templates write them."""
    from datasets import Dataset

    yard = {"type": "object", "properties": {"tree": {"type": "string"}}}
    other = {**ROOM, "function": {"name": "yard", "description": "A yard", "parameters": yard}}
    plain = with_call(tools=[ROOM, other])
    second = copy.deepcopy(plain)
    second["messages"][1]["tool_calls"][0]["function"] = {
        "name": "yard",
        "arguments": {"tree": "oak"},
    }
    both = [plain, second]
    tokenizer = of_family("qwen3")
    filled = list(Dataset.from_list(both))
    assert '"tree": null' in chat.apply_template(
        tokenizer, filled[0]["messages"], row=filled[0], tokenize=False
    )
    assert [codes(tokenizer, row) for row in filled] == [["nulls-filled-in"]] * 2
    kept = Dataset.from_list(both, on_mixed_types="use_json")
    assert [codes(tokenizer, row) for row in kept] == [[], []]
    assert codes(tokenizer, with_call(arguments={"room": None})) == []  # a null that is meant


# Thoughts ----------------------------------------------------------------------------------------

THINKING = [
    user("6 x 7?"),
    assistant("<think>\nSix sevens are forty-two.\n</think>\n\n42"),
    user("And plus 1?"),
    assistant("<think>\nForty-two and one.\n</think>\n\n43"),
]


def apart(turns):
    """Return turns whose thoughts have a key of their own."""
    found = []
    for turn in turns:
        thought, mark, answer = turn["content"].removeprefix("<think>\n").partition("\n</think>")
        more = {"reasoning_content": thought} if mark else {}
        found.append({**turn, "content": answer.strip() if mark else turn["content"], **more})
    return found


@pytest.mark.parametrize("turns", [THINKING, apart(THINKING)], ids=["in content", "apart"])
def test_thoughts_of_earlier_answers_that_are_cut(of_family, turns):
    """Qwen 3 cuts them, and the earlier answers are learned without a thought."""
    thought = "Six sevens are forty-two."
    row = {"messages": turns}
    for name in ("qwen3", "qwen3_5_think"):
        found = [p for p in fidelity.problems(of_family(name), row) if p[0] != "prompt-differs"]
        assert [code for code, _ in found] == ["thoughts-cut"]
        assert found[0][1].endswith("characters, first turn 2")
        assert thought not in chat.apply_template(of_family(name), turns, row={}, tokenize=False)
    assert codes(of_family("qwen3"), rows.from_messages(row)) == []
    assert codes(of_family("qwen3_training"), row) == []
    assert found_in(of_family("qwen3"), row, assistant_only=True) == {}


def test_thoughts_that_a_template_does_not_know(of_family):
    row = {"messages": apart(THINKING)}
    for name in ("smollm2", "qwen2_5", "llama3_1"):
        where = found_in(of_family(name), row)["left-out"]
        assert where == "rows[0]: 18 characters, first the thought of turn 4"
        assert len("Forty-two and one.") == 18
    assert codes(of_family("deepseek_r1_distill"), {"messages": THINKING}) == ["left-out"]


def test_a_thought_is_no_other_format(of_family):
    """Between question and answer stood a thought in place of the empty one: a false alarm."""
    assert found_in(of_family("qwen3_training"), {"messages": THINKING}) == {}
    text = {"text": "6 x 7? 42"}
    assert "template-not-applied" in found_in(of_family("qwen3_training"), text)


# Contents in parts -------------------------------------------------------------------------------


def in_parts(*turns, before=()):
    return {
        "messages": [
            {**turn, "content": [*before, {"type": "text", "text": turn["content"]}]}
            for turn in turns
        ]
    }


PARTS = in_parts(user("Capital of France?"), assistant("Paris"))


@pytest.mark.parametrize("name", ["smollm2", "qwen2_5", "qwen3", "llama3", "phi3", "gemma"])
def test_parts_that_a_template_does_not_read(of_family, name):
    """Qwen 3 writes empty turns, Llama 3 and SmolLM2 refuse."""
    assert found_in(of_family(name), PARTS) == {"not-text": "rows[0]: a list of parts"}


@pytest.mark.parametrize(
    "name", ["gemma3", "gemma4_v5", "qwen3_vl", "qwen3_5_think", *IN_PARTS_ONLY]
)
def test_parts_that_a_template_reads(of_family, name):
    """All were refused. Some templates read nothing else."""
    assert codes(of_family(name), PARTS) == []


@pytest.mark.parametrize("name", IN_PARTS_ONLY)
def test_texts_that_a_template_of_parts_drops(of_family, name):
    row = {"messages": [user("Capital of France?"), assistant("Paris")]}
    assert codes(of_family(name), row)[0] in ("left-out", "template-refuses")


def test_an_image_that_the_template_does_not_write(of_family):
    row = in_parts(user("What is on it?"), before=[{"type": "image"}])
    row["messages"].append(assistant("A cat."))
    for name in ("gemma3", "qwen3_vl", "smolvlm"):
        assert codes(of_family(name), row) in ([], ["left-out"])
    assert codes(of_family("gemma3"), row) == []
    for name in ("smollm2", "qwen3", "llama3", "lfm2_v2"):
        assert codes(of_family(name), row) == ["not-text"]


def test_parts_that_are_written_as_python(of_family):
    tokenizer = copy.copy(of_family("smollm2"))
    tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    assert "[{'type': 'text'" in chat.apply_template(
        tokenizer, PARTS["messages"], row={}, tokenize=False
    )
    assert codes(tokenizer, PARTS) == ["not-text"]


# Only answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "llama3", "gemma", "phi3"])
def test_answers_are_masked_with_the_template_that_trl_takes(of_family, name):
    """These have no marks of answers, trl has versions that do: a false nothing-learned."""
    tokenizer = of_family(name)
    row = {"messages": [user("Capital of Peru?"), assistant("Lima, on the coast.")]}
    assert "nothing-learned" not in found_in(tokenizer, row, assistant_only=True)
    tokens = chat.encode(tokenizer, row, assistant_only=True)
    learned = tokenizer.decode([label for label in tokens["labels"] if label != chat.IGNORED])
    assert "Lima, on the coast." in learned
    assert "Peru" not in learned
    assert tokenizer.chat_template == ALL[name].read_text("utf-8")


def test_answers_are_masked_as_the_trainer_does_it(of_family, tiny_model, tmp_path):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    tokenizer = of_family("qwen3")
    tiny_model.resize_token_embeddings(len(tokenizer))
    some = [{"messages": THINKING}, {"messages": THINKING[:2]}]
    trainer = SFTTrainer(
        tiny_model,
        args=SFTConfig(
            str(tmp_path), assistant_only_loss=True, report_to="none", use_cpu=True, bf16=False
        ),
        train_dataset=Dataset.from_list(some),
        processing_class=tokenizer,
    )
    for row, tokens in zip(some, trainer.train_dataset, strict=True):
        expected = {key: tokens[key] for key in ("input_ids", "labels")}
        assert chat.encode(tokenizer, row, assistant_only=True) == expected
    assert "thoughts-cut" not in preflight.check(trainer).codes


def test_what_cannot_be_masked(of_family):
    """Text ended in a KeyError. Llama 3.1 has no marks, and trl no version of it: it refuses."""
    row = {"messages": [user("a"), assistant("b")]}
    assert found_in(of_family("llama3_1"), row, assistant_only=True).keys() == {"no-answer-mask"}
    with pytest.raises(ValueError, match="marks no answers .* set tokenizer.chat_template"):
        chat.encode(of_family("llama3_1"), row, assistant_only=True)
    for text in ({"text": "a"}, {"prompt": "a", "completion": "b"}):
        found = found_in(of_family("qwen3"), text, assistant_only=True)
        assert found == {"no-answer-mask": "rows[0]: text, not messages"}


# What raises -------------------------------------------------------------------------------------

RAISING = (
    "{{ 1 / 0 }}",
    "{{ messages[9].x.y }}",
    "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "{% if %}",
    "{{ messages[0].content.items() }}",
    "{{ raise_exception(messages) }}",
)


@pytest.mark.parametrize("template", RAISING)
def test_a_template_that_raises_anything(of_family, template):
    tokenizer = copy.copy(of_family("smollm2"))
    tokenizer.chat_template = template
    row = {"messages": [user("a"), assistant("b")]}
    assert found_in(tokenizer, row).keys() == {"template-refuses"}
    assert chat.template(tokenizer) is None
    assert found_in(tokenizer, row, assistant_only=True).keys() == {"template-refuses"}


TEXTS = st.sampled_from(["", "a", "Hi there", "<think>x</think>y", "</think>", "[{", "é"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 1) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "text", "name", "arguments"]), inner, max_size=2)
    ),
    max_leaves=4,
)
PART = st.builds(lambda text: {"type": "text", "text": text}, TEXTS | JSON) | JSON
CALL = st.builds(lambda value: call(value), JSON) | JSON
MORE = st.fixed_dictionaries(
    {},
    optional={
        "tool_calls": st.lists(CALL, max_size=2) | JSON,
        "function_call": JSON,
        "reasoning_content": JSON,
        "weight": JSON,
    },
)
CONTENT = TEXTS | TEXTS | st.none() | st.lists(PART, max_size=2) | JSON
ANSWERS = st.builds(assistant, CONTENT).flatmap(
    lambda turn: MORE.map(lambda more: {**turn, **more})
)
TURNS = st.lists(st.tuples(st.builds(user, CONTENT), ANSWERS), min_size=1, max_size=2).map(
    lambda pairs: [turn for pair in pairs for turn in pair]
)
ROWS = st.builds(lambda turns: {"messages": turns}, TURNS).flatmap(
    lambda row: st.fixed_dictionaries(
        {}, optional={"tools": st.just([ROOM]) | JSON, "chat_template_kwargs": JSON, "system": JSON}
    ).map(lambda more: {**row, **more})
)


@settings(derandomize=True, database=None, deadline=None, max_examples=150)
@given(ROWS, st.sampled_from([*ALL, "smollm2"]), st.booleans())
def test_any_row_can_be_checked_with_any_template(of_family, row, name, assistant_only):
    """What a template or a row raises is reported."""
    found = preflight.check_data([row], of_family(name), assistant_only=assistant_only)
    assert set(found.codes) <= set(preflight.KINDS)
