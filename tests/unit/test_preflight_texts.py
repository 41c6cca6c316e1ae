"""What is in the texts of rows, in all answers together, and in files that read differently."""

import copy
import gzip
import json
import unicodedata

import pytest
from datasets import Dataset, load_dataset

from onegpu import preflight, rows

ACCENTS = "Où est la crème brûlée ? À côté, près du réfrigérateur."
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
TOOL_TEMPLATE = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content }}{{ m.tool_calls | tojson if m.tool_calls }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def row(answer, question="Why?"):
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def many(values, question="Question {}?"):
    return [row(value, question.format(number)) for number, value in enumerate(values)]


def found(data, tokenizer, **options):
    return preflight.check_data(data, tokenizer, **options)


def misread(text):
    return text.encode().decode("cp1252", "ignore")


def decomposed(text):
    return unicodedata.normalize("NFD", text)


@pytest.mark.parametrize(
    ("text", "code", "detail"),
    [
        ("A\x00fixed\x00field", "control-characters", "U+0000 in assistant"),
        ("A lost \ufffd letter", "control-characters", "U+FFFD"),
        (misread("crème brûlée, “quoted”"), "mojibake", "crÃ¨me for crème"),
        (misread("À la crème brûlée, à l'été"), "mojibake", "for À"),  # some bytes are lost
        (misread("Привет, мир"), "mojibake", "for Привет"),
        ("🦁 " + misread("un été"), "mojibake", "for été"),
        ("ﻪﻟﻮﻃ ﻎﻠﺒﻳ", "presentation-forms", "ﻪ"),
        ("the ﬁnal word", "presentation-forms", "ﬁ"),
        ("positiv\u043e", "mixed-scripts", "positivо"),  # the last letter is Cyrillic
        ("\u0421hina and \u039fslo", "mixed-scripts", "Сhina"),
        ("c\u043bово", "mixed-scripts", "cлово"),
        (decomposed("crème"), "decomposed", decomposed("crème")),
        (decomposed("김치는"), "decomposed", decomposed("김치는")),
        ("It is so.</s>\n", "foreign-tokens", "</s>"),
        ("<|eot_id|>", "foreign-tokens", "<|eot_id|>"),
        ("[INST] Why? [/INST] So.", "foreign-tokens", "[INST]"),
        ("<start_of_turn>", "foreign-tokens", "<start_of_turn>"),
        ("<｜end▁of▁sentence｜>", "foreign-tokens", "<｜end▁of▁sentence｜>"),
        ("Push it in.【4:1†manual.pdf】", "citation-marks", "【4:1†"),
        ("Every two months. \ue200cite\ue202turn0search2\ue201", "citation-marks", "turn0search2"),
        ("Assistant: It is so.", "roles-as-text", "Assistant:"),
        ("It is so.\n\nUser: And that?\nAssistant: That too.", "roles-as-text", "User:"),
    ],
)
def test_what_is_in_a_text_is_found(tokenizer, text, code, detail):
    findings = found([row(text)], tokenizer)
    assert findings.codes == [code]
    assert detail in findings[0].where


@pytest.mark.parametrize(
    "text",
    [
        ACCENTS,
        "„Spaß“, « déjà\xa0» — naïve…",
        "JOSÉ’S CAFÉ",
        "👨‍👩‍👧 🇫🇷",
        "کتاب‌ها را بچینید ﷺ",
        "SMSки, VIPов, IT-специалист, 5 μm, ΔT, hν",
        "<s>old price</s> new price</s>",
        "f <| x |> y",
        "as in [1] and [2]",
        "page 1\x0cpage 2\ttab\u2028",
        "אָב, 각, Å",
        "def chat():\n    # User: asks\n    return 'User: hi'",
    ],
)
def test_nothing_is_found_in_odd_but_healthy_texts(tokenizer, text):
    assert found([row(text, text)], tokenizer).codes == []


def test_what_the_question_asks_for_is_no_remainder(tokenizer):
    quoted = "Sum up:\n\nUser: Where is it?\nAssistant: In Leipzig."
    assert found([row("They talk.\n\nUser: Where?", quoted)], tokenizer).codes == []
    assert found([row("Yes 【1†a】", "The source 【1†a】?")], tokenizer).codes == []


def test_a_tokenizer_that_knows_a_token_or_composes_letters(tokenizer):
    from tokenizers import normalizers

    mine = copy.deepcopy(tokenizer)
    mine.add_special_tokens({"additional_special_tokens": ["<|eot_id|>"]})
    mine.backend_tokenizer.normalizer = normalizers.NFC()
    assert found([row(decomposed("crème"))], mine).codes == []
    assert found([row("Done. <|eot_id|>")], mine).codes == []


def test_a_tool_that_is_not_declared(tokenizer):
    mine = copy.deepcopy(tokenizer)
    mine.chat_template = TOOL_TEMPLATE
    for name, codes in (("get_weather", []), ("fetch_weather", ["unknown-tool"])):
        call = {"type": "function", "function": {"name": name, "arguments": {}}}
        answer = {"role": "assistant", "content": "", "tool_calls": [call]}
        data = [{**row("x"), "completion": [answer], "tools": [WEATHER]}]
        assert found(data, mine).codes == codes


def test_a_thought_that_nothing_renders(tokenizer):
    answer = {"role": "assistant", "thought": "First, add.", "content": "11:15"}
    assert found([{**row("x"), "completion": [answer]}], tokenizer).codes == ["left-out"]


@pytest.mark.parametrize(
    ("prompt", "completion", "expected"),
    [
        ("Capital: ", "Vienna", ["prompt-merges"]),
        ("Capital:", " Vienna", []),
        ("Capital:\n", "Vienna", []),
        ("It is impor", "tant.", ["prompt-merges"]),
    ],
)
def test_a_prompt_that_merges_with_its_answer(tokenizer, prompt, completion, expected):
    data = [{"prompt": prompt, "completion": completion}]
    assert [c for c in found(data, tokenizer).codes if c != "template-not-applied"] == expected
    merges = (
        tokenizer(prompt)["input_ids"]
        != tokenizer(prompt + completion)["input_ids"][: len(tokenizer(prompt)["input_ids"])]
    )
    assert merges == bool(expected)


def test_one_prompt_of_many_that_merges_is_healthy(tokenizer):
    rows = [{"prompt": f"Capital {n}:", "completion": f" City {n}"} for n in range(100)]
    merging = {"prompt": "Capital: ", "completion": "Vienna"}
    assert "prompt-merges" not in found([*rows, merging], tokenizer).codes
    assert "prompt-merges" in found([*rows, merging, merging, merging], tokenizer).codes


def test_a_prompt_that_is_no_text_merges_with_nothing(tokenizer):
    assert "unreadable" in found([{"prompt": "\ud83d", "completion": "a"}], tokenizer).codes
    asked = {"prompt": "Why?", "chosen": row("So.")["completion"], "rejected": "No."}
    assert found([asked], tokenizer).codes == ["mixed-formats"]


def test_an_assistant_that_speaks_first(tokenizer):
    greeting = {"role": "assistant", "content": "Welcome!"}
    turns = [greeting, *row("x")["prompt"], *row("So.")["completion"]]
    assert found([{"messages": turns}], tokenizer).codes == ["prompt-learned"]
    assert "wrong-roles" in found([{"messages": [greeting]}], tokenizer).codes


def test_one_answer_for_all(tokenizer):
    assert found(many(["not spam"] * 20), tokenizer).codes == ["one-answer"]
    assert found(many(["not spam"] * 19), tokenizer).codes == []
    assert found(many(["not spam"] * 19 + ["spam"]), tokenizer).codes == []


def test_labels_that_are_written_in_several_ways(tokenizer):
    findings = found(many(["bug", "billing", "Bug", "bug ", "billing"] * 4), tokenizer)
    assert findings.codes == ["labels-vary"]
    assert "12 of 20" in findings[0].found
    assert found(many(["bug", "billing", "bugs"] * 7), tokenizer).codes == []
    names = [f"Name number {number}" for number in range(30)]
    assert found(many([*names, "name number 3"]), tokenizer).codes == []  # no labels


def test_one_question_with_two_labels(tokenizer):
    data = many(["yes", "no"] * 10)
    shouted = row("no", "QUESTION 4!")
    assert found([*data, shouted], tokenizer).codes == ["answers-contradict"]
    assert found([*data, row("yes", "QUESTION 4!")], tokenizer).codes == []
    long = many([f"It is {number}, as far as anybody could see it." for number in range(20)])
    assert (
        found([*long, row("It may be anything else, too.", "QUESTION 4!")], tokenizer).codes == []
    )
    labeled = [{**one, "label": number % 2 == 0} for number, one in enumerate([*data, shouted])]
    assert "answers-contradict" not in found(labeled, tokenizer).codes  # KTO learns from both


def test_answers_that_an_export_cut(tokenizer):
    text = "The tank is full. Wipe the contacts, push it in until it clicks, and start the machine."
    whole = [f"{number} {text}"[: 30 + 2 * number] + "." for number in range(10)]
    cut = [f"{'very ' * (number % 7)}{text}"[:60] for number in range(7)]
    findings = found(many([*whole[:5], *cut]), tokenizer)
    assert findings.codes == ["answers-cut"]
    assert "7 answers" in findings[0].found and "60 characters" in findings[0].found
    assert found(many([f"{answer[:-1]}." for answer in cut]), tokenizer).codes == []
    assert found(many(whole), tokenizer).codes == []


def test_rows_that_are_tokens(tokenizer):
    turns = [*row("x")["prompt"], *row("So.")["completion"]]
    ids = tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]
    masked = [-100] * (len(ids) - 5) + ids[-5:]
    codes = lambda data: found([data], tokenizer).codes  # noqa: E731
    assert codes({"input_ids": ids, "labels": masked}) == []
    assert codes({"input_ids": ids}) == ["prompt-learned"]
    bits = [int(label != -100) for label in masked]
    assert codes({"input_ids": ids, "assistant_masks": bits}) == []
    assert codes({"input_ids": ids, "labels": [-100] * len(ids)}) == ["nothing-learned"]
    assert codes({"input_ids": [*ids, 128_009], "labels": [*masked, 1]}) == ["unknown-ids"]
    assert codes({"input_ids": ids, "labels": masked[1:]}) == ["unknown-columns"]
    assert codes({"input_ids": "1 2 3"}) == ["unknown-columns"]
    assert codes({"input_ids": ids, "labels": masked, "prompt": [{}], "completion": 5}) == []


ROWS = [{"prompt": f"What is {n}?", "completion": f" It is {n}."} for n in range(3)]
COLUMNS = {name: {str(n): one[name] for n, one in enumerate(ROWS)} for name in ROWS[0]}


def table(mark, *answers):
    answers = answers or [one["completion"] for one in ROWS]
    return "".join(
        f"{a}{mark}{b}\n" for a, b in [("prompt", "completion"), *zip("qrs", answers, strict=True)]
    )


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("lines.jsonl", "\n".join(map(json.dumps, ROWS)), {}),
        ("array.json", json.dumps(ROWS, indent=1), {}),
        ("objects.json", "\n".join(json.dumps(one, indent=1) for one in ROWS), {}),
        ("data.json", json.dumps({"version": 1, "data": ROWS}), {"field": "data"}),
        ("columns.json", json.dumps(COLUMNS), None),
        ("lists.json", json.dumps({k: list(v.values()) for k, v in COLUMNS.items()}), None),
        ("index.json", json.dumps(dict(zip("012", ROWS, strict=True))), None),
        ("twice.json", json.dumps(ROWS) * 2, None),
        ("comma.csv", table(","), {}),
        ("tab.tsv", table("\t"), {}),
        ("semicolon.csv", table(";"), {"sep": ";"}),
        ("tab.csv", table("\t"), {"sep": "\t"}),
        ("comma.tsv", table(","), {"sep": ","}),
        ("null.csv", table(",", "NA", "b", "null"), {"keep_default_na": False}),
        ("spaced.csv", table(",", " NA", " b", " null"), {}),
        ("zeros.csv", table(",", "01067", "04109", " 06108"), {"converters": {"completion": str}}),
        ("true.csv", table(",", "True", "FALSE", "true"), {"converters": {"completion": str}}),
        ("mixed.csv", table(",", "01067", "b", "True"), {}),
    ],
)
def test_files_that_load_dataset_reads_differently(tokenizer, tmp_path, name, text, options):
    """What is reported is what `load_dataset` really does, and what is named reads it right."""
    (tmp_path / name).write_text(text)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    ours = [value for _, value in rows.read(tmp_path / name)]
    packed = [value for _, value in rows.read(tmp_path / f"{name}.gz")]
    assert packed == ours

    def loaded(**given):
        kind = "json" if "json" in name else "csv"
        given = {"sep": "\t", **given} if name.endswith(".tsv") else given
        files = {"data_files": str(tmp_path / name), "cache_dir": str(tmp_path / "cache")}
        return load_dataset(kind, split="train", **files, **given).to_list()

    for path in (tmp_path / name, tmp_path / f"{name}.gz"):
        findings = [f for f in found(path, tokenizer) if f.code == "reads-differently"]
        assert len(findings) == (options != {})
    if options is None:
        assert Dataset.from_list(ours).to_list() == ours
        return
    assert loaded(**options) == ours
    if options:
        assert loaded() != ours
        assert all(key in findings[0].where for key in options)


def test_rows_that_a_quote_swallows(tokenizer, tmp_path):
    """Of two quotes that were not doubled, each closed the other one: all could be read."""
    lines = [f"{n},What is {n} + 1?,It is {n + 1}." for n in range(100, 140)]
    open_, close = '90,How wide?,"It is wide.', '91,How high?,It is 24"'
    text = "\n".join(
        ["id,prompt,completion", *lines[:20], open_, *lines[20:25], close, *lines[25:]]
    )
    path = tmp_path / "rows.csv"
    path.write_text(text)
    (one,) = [f for f in found(path, tokenizer) if f.code == "unreadable"]
    assert "a cell holds 6 further lines" in one.where
    poem = "line one, two, three\nfour, five, six\nseven, eight, nine\nten"
    path.write_text("\n".join(["id,prompt,completion", *lines, f'90,Write a poem,"{poem}"']))
    assert "unreadable" not in found(path, tokenizer).codes


def test_an_answer_of_characters_without_width_is_empty(tokenizer):
    assert found([row("\u200b\u00a0\ufeff")], tokenizer).codes[0] == "empty-turn"


def test_a_special_token_in_the_middle_of_an_answer(tokenizer):
    """It ends the turn there; in a row of text it is the format."""
    (one,) = found([row("The end is <|im_end|> here.")], tokenizer)
    assert (one.code, "<|im_end|> in assistant" in one.where) == ("template-twice", True)
    text = {"text": "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\nSo.<|im_end|>\n"}
    assert "template-twice" not in found([text], tokenizer).codes


@pytest.mark.parametrize("more", [{"image": "lamp.png"}, {"labels": 3}])
def test_columns_whose_names_trl_takes_for_others(more, tokenizer):
    assert found([row("So.") | more], tokenizer).codes == ["reserved-column"]


def test_answers_that_begin_with_their_prompts(tokenizer):
    """They were decoded with them. One that quotes its question is none, nor are equal ones."""
    questions = [f"What is the capital of country {n}?" for n in range(6)]
    repeated = [row(f"{q} It is City {n}.", q) for n, q in enumerate(questions)]
    assert "prompt-repeated" in found(repeated, tokenizer).codes
    once = [row(f"It is City {n}.", q) for n, q in enumerate(questions)]
    assert found([repeated[0], *once[1:]], tokenizer).codes == []
    assert "prompt-repeated" not in found([row(q, q) for q in questions], tokenizer).codes


def test_line_breaks_that_were_escaped_once_too_often(tokenizer):
    steps = many([f"1. Take {n} eggs.\\n2. Boil them.\\n3. Eat." for n in range(6)])
    assert found(steps, tokenizer).codes == ["line-breaks-escaped"]
    code = row('print("a\\n")\nprint("b")')
    assert found([*steps, code], tokenizer).codes == ["line-breaks-escaped"], "one has real ones"
    quoted = many([f'Write "a{n}\\n2" and the line ends there.' for n in range(6)])
    formulas = many([rf"The gradient \nabla f_{n} is \nu times \neq zero." for n in range(6)])
    assert found([*quoted, *formulas, code], tokenizer).codes == [], "meant"
