"""What is wrong with answers as texts: what is left in them, lost from them, or not theirs."""

import itertools
import json
import random

import pytest

from onegpu import preflight
from onegpu.preflight import calls
from onegpu.preflight.findings import Tally

THINGS = [
    *("oven", "ladder", "pump", "kettle", "drill", "radio", "bicycle", "camera", "heater", "piano"),
    *("boiler", "scooter", "printer", "lantern", "compass", "toaster", "fridge", "mower", "sofa"),
    *("tent", "globe", "anchor", "violin", "helmet", "basket", "mirror", "candle", "clock"),
    *("shovel", "blanket", "wallet", "magnet", "funnel", "hammer", "pillow", "ticket"),
]
N = len(THINGS)
DONE = "Clean the {} with a damp cloth, dry it well, and look at it again {} days later."
TOOL = '{{"name": "{}", "description": "What it does", "parameters": {{"type": "object"}}}}'
HERMES = '<tool_call>\n{{"name": "{}", "arguments": {{"city": "Oslo"}}}}\n</tool_call>'


def row(question, answer, system=None):
    asked = [{"role": "user", "content": question}]
    if system:
        asked.insert(0, {"role": "system", "content": system})
    return {"prompt": asked, "completion": [{"role": "assistant", "content": answer}]}


def rows(answer, question="How do I care for my {}?", n=N, **options):
    """Return rows about things; {} is the thing, {n} a number."""
    return [
        row(
            question.replace("{}", thing).replace("{n}", str(number)),
            answer.replace("{}", thing).replace("{n}", str(number)),
            **options,
        )
        for number, thing in enumerate(THINGS[:n])
    ]


def guide(n=N):
    return [row(f"How do I care for my {t}?", DONE.format(t, i)) for i, t in enumerate(THINGS[:n])]


def codes(data, tokenizer, **options):
    return preflight.check_data(data, tokenizer, **options).codes


def test_a_guide_is_healthy(tokenizer):
    assert codes(guide(), tokenizer) == []


# What programs left --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o'}}",
        "Error: 503 Service Unavailable",
        "HTTP 502 Bad Gateway",
        "HTTP/1.1 500 Internal Server Error",
        "429 Too Many Requests",
        "openai.APITimeoutError: Request timed out.",
        "RateLimitError: you exceeded your current quota",
        "Request timed out.",
        "Traceback (most recent call last):\n  File 'x.py'",
        '{"error": {"message": "overloaded", "code": 529}}',
        '{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}',
        '{"object": "error", "message": "The model is not loaded", "code": 404}',
        "As the request failed, no text was made.",
        "This model's maximum context length is 8192 tokens.",
        "upstream connect error or disconnect/reset before headers",
    ],
)
def test_error_messages_as_answers(tokenizer, message):
    (finding,) = preflight.check_data([*guide(), *rows(message, "Who made the {}?", 2)], tokenizer)
    assert finding.code == "error-messages"
    assert finding.found.startswith("2 of 38 rows")
    alone = rows(message, "Who made the {}?", 1)
    assert codes([*guide(), *alone], tokenizer) == [], "one alone may be what it is about"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("My {} app shows error 503.", "Error 503 means that the {}'s server rests: wait {n}."),
        ("What does {} code {n} print?", "Traceback (most recent call last):\nKeyError: '{}'"),
        ("Which HTTP status, {}?", "HTTP 404 Not Found, for {} {n}"),
        ("Why does my {} stop?", "Errors of the {} have {n} causes; look at the plug first."),
        ("Who wrote about the {}?", "429 people wrote about the {}, and {n} painted it."),
        ("How often may I ask the {}?", "Rate limits of the {}: {n} a day."),
        ("Simulate the API of the {}.", '{"error": "no {} with number {n}"}'),
        ("Explain time-outs, {}.", "Request timed out means that the {} took {n} s."),
        ("Name a film with a {}.", "Connection lost ({n}), with a {}"),
        ("Sort the log: {} {n} refused", "Connection refused by {n}, for {}"),
    ],
)
def test_answers_about_errors_are_healthy(tokenizer, question, answer):
    assert codes(rows(answer, question), tokenizer) == []


@pytest.mark.parametrize(
    "answer",
    [
        "<p>The {} isn&#39;t seated.</p>",
        "Wipe the {}.<br>Push it in.",
        "The {}&nbsp;is fine.",
        '<div class="answer">Wipe the {} {n} times.</div>',
    ],
)
def test_html_remains(tokenizer, answer):
    found = codes([*guide(), *rows(answer, "Who made the {}?", 3)], tokenizer)
    assert found == ["html-remains"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Write HTML for the {}.", "<p>The {} costs {n} &amp; more.</p>"),
        ("Mark up: the {}", "```html\n<p>{} {n}</p>\n```"),
        ("Describe the {}.", "The {} by Smith & Sons costs < {n} euros, and a<b."),
        ("List the {}'s parts.", "| part | n |\n|---|---|\n| {} | {n}<br>or more |"),
        ("Write Java for the {}.", "List<String> {}s = new ArrayList<>({n});"),
        ("<b>{}</b>: translate", "<b>{} auf Deutsch</b><br>{n}"),
        ("Make a web page of the {}.", "<!doctype html><p>{} {n}</p>"),
        ("Solve for the {}.", "<think>\nIt is {n}.\n</think>\nThe {} has {n}."),
        ("Who cares for the {}?", "Write to <{}@example.org>, room {n}."),
        ("Show a query for the {}.", "https://example.org/?{}=1&n={n}&amplifier=2"),
    ],
)
def test_answers_with_marks_that_belong_there_are_healthy(tokenizer, question, answer):
    assert codes(rows(answer, question), tokenizer) == []


@pytest.mark.parametrize(
    "answer",
    [
        "Hi {{customer.first_name}}, wipe it.",
        "Dear {name}, wipe it.",
        "Best wishes, [YOUR NAME]",
        "Call us at [Insert phone number] and ask for the manager.",
        "TODO",
        "Lorem ipsum dolor sit amet",
        "It costs <insert price here>.",
    ],
)
def test_placeholders_that_nobody_filled_in(tokenizer, answer):
    found = codes([*guide(), *rows(f"{answer} ", "Who made the {}?", 2)], tokenizer)
    assert found == ["placeholders"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Write a letter about the {}.", "Dear [Recipient], the {} broke {n} times. [Your Name]"),
        ("Translate: Hello {name}, {}", "Hallo {name}, {} {n}"),
        ("Print the {}.", 'print(f"the {{name}} {n}")'),
        ("Playbook for the {}?", "- name: {}\n  debug:\n    msg: `{{ item }} {n}`"),
        ("Set of the {}?", "It is the set {{}, b} with {n} elements."),
        ("Cite the {}.", "The {} is old [{n}] and [DOI](https://doi.org)."),
        ("What is in the {}'s list?", "[OK] {} passed {n} tests, see TODO.md"),
        ("Math of the {}?", "The {} has \\frac{n}{m} of {n}."),
        ("Fill a template for the {}.", "Dear {customer}, your {} has {n} parts."),
        ("Mask the names: {}", "[NAME] bought a {} for [AMOUNT] {n}"),
    ],
)
def test_braces_that_belong_there_are_healthy(tokenizer, question, answer):
    assert codes(rows(answer, question), tokenizer) == []


def test_cells_that_a_spreadsheet_damaged(tokenizer):
    long = [4_461_603_447_111 * (n + 1) // (n + 2) + n for n in range(12)]
    asked = "Parcel {}: where is it, and which number does it have?"
    rounded = [row(asked.format(n), f"Number {n:.5E}".replace("e", "E")) for n in long]
    assert codes(rounded, tokenizer) == ["cells-damaged"]
    assert codes([row(asked.format(n), f"Number {n}") for n in long], tokenizer) == []
    told = [row(f"{asked.format(n)} Scientific notation.", f"{n:.5E}") for n in long]
    assert codes(told, tokenizer) == []
    other = [row(asked.format(n), f"Number {7 * n:.5E}") for n in long]
    assert codes(other, tokenizer) == [], "not one that the question has"
    broken = [row(f"Price of the {t}?", v) for t, v in zip(THINGS, ("#REF!", "#N/A"), strict=False)]
    assert codes([*guide(), *broken], tokenizer) == ["cells-damaged"]
    meant = [row(f"What does Excel say of {t}?", "#REF!") for t in THINGS[:3]]
    assert codes([*guide(), *meant], tokenizer) == []


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        ("Price of the {}?", "nan", ["cells-damaged"]),
        ("Price of the {}?", "<NA>", ["cells-damaged"]),
        ("What is the {}'s log in NumPy?", "nan", []),
        ("Which language is the {}'s sign in, by ISO 639-3?", "nan", []),
        ("Who owns the {}?", "Nan", []),
    ],
)
def test_empty_cells_that_pandas_made_text(tokenizer, question, answer, expected):
    """`str(float("nan"))` is an answer of three letters, and nothing was found."""
    empty = [row(question.format(t), answer) for t in THINGS[:3]]
    found = codes([*guide(), *empty], tokenizer)
    assert [code for code in found if code == "cells-damaged"] == expected


# What is lost --------------------------------------------------------------------------------

PYTHON = (
    "def {}(a, b):\n    total = a + {n}\n    if total > b:\n        total -= b\n    return total"
)


@pytest.mark.parametrize(
    "answer",
    [
        " ".join(PYTHON.split()),
        f"```python {' '.join(PYTHON.split())} ```",
        "1. Wipe the {}. 2. Dry it for {n} days. 3. Look at it again.",
        "Here you are: - Wipe the {}. - Dry it for {n} days. - Look at it again.",
        "| part | n | |---|---| | {} | {n} |",
        "\n".join(line.strip() for line in PYTHON.split("\n")),
        f"```python\n{chr(10).join(line.strip() for line in PYTHON.split(chr(10)))}\n```",
    ],
)
def test_line_breaks_or_indentation_that_were_lost(tokenizer, answer):
    assert codes(rows(answer, "Write a {}."), tokenizer) == ["layout-lost"]


@pytest.mark.parametrize(
    "answer",
    [
        PYTHON,
        f"```python\n{PYTHON}\n```",
        "def {}(x): return x + {n}",
        "import {}; {}.run({n})",
        "SELECT {} FROM t WHERE n = {n}; -- 1. first. 2. second.",
        "function {}(a) { const b = a + {n}; return b; }",
        "The {}: 1) wipe it, 2) dry it for {n} days, 3) look at it again.",
        "1. e4 e5 2. Nf3 Nc6 3. Bb5 {} {n}",
        "Wipe the {} - it takes {n} minutes - and dry it.",
        "1. Wipe the {}.\n2. Dry it for {n} days.\n3. Look at it again.",
        "class {}:\n    pass\n\n\ndef f_{n}(): return 1",
        "Here is the definition:\nthe {} of class {n}:\nsomething",
    ],
)
def test_answers_whose_layout_is_right_are_healthy(tokenizer, answer):
    assert codes(rows(answer, "Write a {}."), tokenizer) == []


# What is repeated ----------------------------------------------------------------------------

FOOTER = "\n\nWas this helpful? Yes | No\nRelated articles · © 2025 Lark Ltd. All rights reserved."


def test_the_same_words_on_nearly_all_answers(tokenizer):
    ended = [row(one["prompt"][0]["content"], f"{DONE.format(t, n)}{FOOTER}")
             for n, (one, t) in enumerate(zip(guide(), THINGS, strict=True))]  # fmt: skip
    (finding,) = preflight.check_data([*ended, *guide(3)][3:], tokenizer)
    assert finding.code == "boilerplate"
    assert finding.found.startswith("33 of 36 answers end with the same")
    begun = rows(
        "As a large language model I am not able to say this for sure, but the {} has {n} parts."
    )
    assert codes(begun, tokenizer) == ["boilerplate"]


def test_a_footer_that_counts(tokenizer):
    """Votes or a ticket made each footer another one."""
    footer = (
        "\n\nViews: {n}. Rated by {n} of our readers\n\nNot solved yet? Write to the support team."
    )
    (finding,) = preflight.check_data(rows(f"The {{}} is made of steel.{footer}"), tokenizer)
    assert finding.code == "boilerplate" and "numbers aside" in finding.found
    filled = (
        "At noon the {} had a temperature of {n} degrees and a pressure of {n} bar in the hall."
    )
    assert codes(rows(filled), tokenizer) == [], "the numbers are the answer"


@pytest.mark.parametrize(
    "answer",
    [
        "The {} has {n} parts. I hope that helps! Let me know.",
        '{"thing": "{}", "n": {n}, "currency": "EUR", "status": "active", "vat": true, "note": ""}',
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" width="100">{} {n}</svg>',
        "import argparse\nimport json\nimport logging\nimport pathlib\nimport sys\n\n{} = {n}",
        "{} = {n}\n\n\nif __name__ == '__main__':\n    main(parser.parse_args(), sys.stdout, None)",
        "{} {n} 00000000000000000000000000000000000000000000000000000000000000000000000",
        "\\documentclass{article}\\usepackage{amsmath}\\begin{document}{} {n}\\end{document}",
        "{}: ------------------------------------------------------------------------ {n}",
        "The {} number {n} is {}.",
    ],
)
def test_forms_that_answers_share_are_healthy(tokenizer, answer):
    assert codes(rows(answer, "Write HTML or XML or TeX of a {}."), tokenizer) == []


def test_canned_answers_are_healthy(tokenizer):
    canned = [
        "Please open the settings, choose your account and confirm the new address there.",
        "Please open the orders page, choose the order and confirm that it is cancelled.",
    ]
    data = [row(f"My {t} number {n}?", canned[n % 2]) for n, t in enumerate(THINGS)]
    assert codes(data, tokenizer) == []


# What the prompt holds -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        "How do I care for my {}?\n\nAnswer: {answer}",
        "How do I care for my {}?\nExpected: {answer}",
        "How do I care for my {}? ({answer})",
        "Reference answer: {answer}\n\nHow do I care for my {}?",
    ],
)
def test_an_answer_in_its_own_prompt(tokenizer, question):
    data = [
        row(question.replace("{}", t).replace("{answer}", answer), answer)
        for t, answer in ((t, DONE.format(t, n)) for n, t in enumerate(THINGS))
    ]
    assert "answer-in-prompt" in codes(data, tokenizer)
    assert codes([*data[:8], *guide()[8:]], tokenizer) == []


def test_a_label_in_its_own_prompt(tokenizer):
    labels = ["billing", "shipping", "technical"]
    tickets = [(f"My {t} is late, ticket {n}", labels[n % 3]) for n, t in enumerate(THINGS)]
    leaked = [row(f"[#{n} queue={b}] {a}. Team:", b) for n, (a, b) in enumerate(tickets)]
    assert codes(leaked, tokenizer) == ["answer-in-prompt"]
    asked = [row(f"{', '.join(labels)}? {a}", b) for a, b in tickets]
    assert codes(asked, tokenizer) == []
    records = [row(f"Which queue? queue={b}, text={a}", b) for a, b in tickets]
    assert codes(records, tokenizer) == [], "that is what it asks for"
    spoken = [row(f"Move ticket {n} to the {b} queue", b) for n, (_, b) in enumerate(tickets)]
    assert codes(spoken, tokenizer) == []


def test_copies_that_are_the_task_are_healthy(tokenizer):
    texts = [DONE.format(t, n) for n, t in enumerate(THINGS)]
    long = " It is an old one that has been in use for many years, and nobody knows who made it."
    tasks = [
        [row(f"{text}{long} What do I do with it?", text.split(", ")[0]) for text in texts],
        [row(f"Correct: {text.replace('damp', 'dampp')}", text) for text in texts],
        [row(f"Remove the signature:\n{text}\nBest, Ann", text) for text in texts],
        [row(f"Repeat: {text}", text) for text in texts],
        [row(f"A: {text} B: {text.upper()} Which one?", text) for text in texts],
        [row(f"{text}{long}{long}\nQuestion: what is to do?", text) for text in texts],
    ]
    for data in tasks:
        assert "answer-in-prompt" not in codes(data, tokenizer), data[0]


# JSON ----------------------------------------------------------------------------------------


def as_json(n):
    return {"thing": THINGS[n], "n": n, "parts": None, "is_new": True}


def extracted(write, n=N, system="Extract as JSON."):
    return [row(f"A new {THINGS[i]}, number {i}", write(as_json(i)), system) for i in range(n)]


@pytest.mark.parametrize(
    "broken",
    [
        str,
        lambda value: json.dumps(value)[:-4],
        lambda value: json.dumps(value).replace('",', '"'),
        lambda value: f"```json\n{value}\n```",
        lambda value: json.dumps([value])[:-1],
    ],
)
def test_answers_that_are_no_json_unlike_the_others(tokenizer, broken):
    data = [*extracted(json.dumps)[12:], *extracted(broken, 12)]
    (finding,) = preflight.check_data(data, tokenizer)
    assert finding.code == "json-broken"
    assert finding.found.startswith("12 of 36 rows")


@pytest.mark.parametrize(
    "write",
    [
        lambda value: json.dumps(value, indent=2),
        lambda value: f"```json\n{json.dumps(value, indent=1)}\n```\nThat's all.",
        lambda value: f"{json.dumps(value)}\n{json.dumps(value)}",
        lambda value: f"{json.dumps(value)}\n\nIt has no parts.",
        lambda value: f"{{{value['thing']}: {value['n']}}}",
        lambda value: f"[{value['n']}] is the number of the {value['thing']}",
        lambda value: f"[x for x in {value['thing']}]",
        lambda value: json.dumps([value["thing"], value["n"]]),
        lambda value: "{" + f"{value['n']}, 2" + "}",
        lambda value: "{%" + f" if {value['thing']} %" + "}",
    ],
)
def test_what_is_json_or_does_not_try_to_be_is_healthy(tokenizer, write):
    data = [*extracted(json.dumps)[12:], *extracted(write, 12)]
    assert codes(data, tokenizer) == []


def test_pythons_repr_that_was_asked_for_is_healthy(tokenizer):
    asked = extracted(str, 12, "Write a Python dict.")
    assert codes([*extracted(json.dumps)[12:], *asked], tokenizer) == []
    assert codes(extracted(str), tokenizer) == [], "all in one form"


# Tools ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "is_found"),
    [
        (HERMES.format("fetch_weather"), True),
        (HERMES.format("get_weather"), False),
        ('[TOOL_CALLS] [{"name": "fetch_weather", "arguments": {}}]', True),
        ('{"name": "fetch_weather", "arguments": {}}', True),
        ('{"name": "get_weather", "parameters": {}}', False),
        ('{"type": "function", "function": {"name": "fetch_weather", "arguments": "{}"}}', True),
        ("<function=fetch_weather>{}</function>", True),
        ('{"name": "Ann", "age": 30, "arguments": []}', False),
        ('A call looks like {"name": "fetch_weather", "arguments": {}}.', False),
        ('{"name": "track", "arguments": {}}', False),  # the system prompt names it
    ],
)
def test_tools_that_are_called_in_the_text(tokenizer, call, is_found):
    system = f"Tools:\n[{TOOL.format('get_weather')}]\nThere is track, too."
    found = codes([row("How is it in Oslo?", call, system)], tokenizer)
    assert found == ["unknown-tool"] * is_found
    assert codes([row("How is it?", call, "You call tools.")], tokenizer) == []


BOOK = {
    "name": "book",
    "parameters": {
        "type": "object",
        "properties": {
            "seats": {"type": "integer"},
            "class": {"type": "string", "enum": ["first", "second"]},
            "note": {"type": ["string", "null"]},
        },
        "required": ["seats"],
    },
}


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ({"class": "first"}, "book, no seats"),
        ({"seats": "2"}, "book, seats is '2', no integer"),
        ({"seats": True}, "book, seats is True, no integer"),
        ({"seats": 2, "class": "third"}, "book, class is 'third', none of its values"),
        ({"seats": 2, "row": 4}, "book, unknown row"),
        ({"seats": 2.0, "class": None, "note": 5}, ""),
        ({"seats": 0, "class": "second"}, ""),
    ],
)
def test_arguments_against_what_a_tool_declares(given, detail):
    def found(tool):
        tally = Tally()
        arguments = calls.Arguments(tally)
        for place in ("line 1", "line 2"):
            call = {"type": "function", "function": {"name": "book", "arguments": given}}
            said = [{"role": "assistant", "content": "", "tool_calls": [call]}]
            arguments.add({"messages": said, "tools": [tool]}, place=place)
        arguments.finish()
        return tally.findings()

    findings = found({"type": "function", "function": BOOK})
    assert findings.codes == ["unknown-tool"] * bool(detail)
    if detail:
        assert findings[0].found == "2 rows call a tool with other arguments than it declares"
        assert findings[0].where == f"line 1: {detail}; line 2: {detail}"
    parameters = {"seats": {"type": "int", "description": "how many"}}
    assert found({"name": "book", "parameters": parameters}) == [], "no JSON Schema"


# Whose answers -------------------------------------------------------------------------------


def shifted(data, by):
    answers = [one["completion"] for one in data]
    return [{**one, "completion": answers[(n + by) % len(data)]} for n, one in enumerate(data)]


@pytest.mark.parametrize("by", [1, -1, 2])
def test_answers_of_the_rows_before_or_after(tokenizer, by):
    (finding,) = preflight.check_data(shifted(guide(), by), tokenizer)
    assert finding.code == "answers-swapped"
    way = "before" if by > 0 else "after"
    assert f"fit the answer {abs(by)} {way}" in finding.where


def test_a_shift_far_down_in_the_file(tokenizer):
    many = [
        row(f"How do I care for my {b}{a}?", DONE.format(b + a, n))
        for n, (a, b) in enumerate(itertools.product(THINGS, THINGS))
    ]
    assert codes([*many[:600], *shifted(many[600:], 1)], tokenizer) == ["answers-swapped"]
    assert codes(many, tokenizer) == []


def test_rows_that_follow_each_other_are_healthy(tokenizer):
    chance = random.Random(0)
    story = [f"{' '.join(chance.choices(THINGS, k=12))} number {n}." for n in range(60)]
    dialog = [row(story[n], story[n + 1]) for n in range(59)]
    exchanges = [row(story[n], story[n + 1]) for n in range(0, 58, 2)]
    growing = [row(" ".join(story[: n + 1]), story[n + 1]) for n in range(40)]
    answered = [row(f"{story[n]} {story[n - 1]}", f"{story[n]} It is.") for n in range(1, 60)]
    topics = [row(f"{THINGS[n // 3]} {n}?", f"{THINGS[n // 3]}, {n * n}") for n in range(60)]
    unlike = [row(f"Sum of {n} and {n}?", f"{2 * n}") for n in range(60)]
    for data in (dialog, exchanges, growing, answered, topics, unlike):
        assert "answers-swapped" not in codes(data, tokenizer), data[0]


# Training and evaluation ---------------------------------------------------------------------


def test_an_evaluation_that_differs_only_in_case_and_spaces(tokenizer):
    folded = row("how do i care  for my “oven”", DONE.format("oven", 0).upper())
    assert codes(guide(), tokenizer, evaluation=[folded]) == ["train-test-overlap"]
    other = row("How do I care for my stove?", DONE.format("oven", 0))
    assert codes(guide(), tokenizer, evaluation=[other]) == []
    sums = [row(f"{a}{b}2?", f"That is {a}") for a in (3, 35) for b in "+-.*"]
    assert codes(sums[:4], tokenizer, evaluation=sums[4:]) == []
    assert codes(sums[:2], tokenizer, evaluation=sums[2:4]) == []
