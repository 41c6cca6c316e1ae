"""What is cut from answers, lost from words and repeated between texts; and what only looks so."""

import pytest

from onegpu import preflight

THINGS = ["oven", "pump", "kettle", "drill", "radio", "camera", "heater", "piano", "lamp", "tent"]


def row(question, answer):
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": answer}],
    }


def pair(number, chosen, rejected):
    asked = row(f"Question {number} about a {THINGS[number % 10]}?", "")["prompt"]
    said = {"chosen": chosen, "rejected": rejected}
    return {"prompt": asked, **{k: row("", v)["completion"] for k, v in said.items()}}


def found(data, tokenizer, **options):
    findings = preflight.check_data(data, tokenizer, **options)
    return [f for f in findings if f.code not in ("template-not-applied", "eos-not-learned")]


def codes(data, tokenizer, **options):
    return [f.code for f in found(data, tokenizer, **options)]


# Answers that were cut ---------------------------------------------------------------------------

STORY = (
    "The {t} number {n} stood in the hall for years, and nobody knew who had brought it there. "
    "One morning it was gone, and so was the neighbor with all of his {n} keys and every letter."
)
STORIES = [STORY.format(t=THINGS[n % 10], n=n * n) for n in range(24)]
TITLES = [f"Whole answers are many, and this one about a {t} is one of them." for t in THINGS]


def asked(answers, question="What about {}?"):
    return [row(question.format(n), answer) for n, answer in enumerate(answers)]


def test_answers_that_were_cut_at_their_beginning(tokenizer):
    """A field that keeps its last 90 characters; whole answers may be longer."""
    ends = [f"{'so ' * (n % 5)}{story}"[-95 - n % 7 :][:90] for n, story in enumerate(STORIES)]
    cut = [end if end[0].islower() else f"a{end[1:]}" for end in ends]
    (one,) = found(asked([*(f"{c[:-1]}." for c in cut), *TITLES, STORY]), tokenizer)
    assert (one.code, "24 answers of 90 characters begin" in one.found) == ("answers-cut", True)
    continued = [f"{'and ' * (n % 9)}{story[4:].lower()}" for n, story in enumerate(STORIES)]
    assert codes(asked([*continued, *TITLES]), tokenizer) == [], "of all lengths"
    lower = [f"{c[:-1]}." for c in cut]
    assert codes(asked([*lower, *(t.lower() for t in TITLES)]), tokenizer) == [], "as the others"
    hashes = [f"{n:064x}" for n in range(10**70, 10**70 + 24)]
    assert codes(asked([*(h[-64:] for h in hashes), *TITLES]), tokenizer) == [], "no sentences"


def test_answers_that_were_cut_at_a_limit(tokenizer):
    """By a limit of tokens, their characters differ; those of `max_new_tokens` were not found."""
    short = [f"The {t} is small. It costs {n} coins." for n, t in enumerate(THINGS * 2)]
    cut = [
        story[: 120 + 3 * (n % 8)].rstrip(" ,.").rstrip("0123456789 ")
        for n, story in enumerate(STORIES)
    ]
    (one,) = found(asked([*cut, *short]), tokenizer)
    assert (one.code, "24 answers end in mid-sentence" in one.found) == ("answers-cut", True)
    loose = [answer.rstrip(".") for answer in short]
    assert codes(asked([*loose, *STORIES]), tokenizer) == [], "others are longer: no limit"
    ended = [f"{answer}." for answer in cut]
    assert codes(asked([*ended, *short]), tokenizer) == []


def test_answers_that_lack_their_first_letter(tokenizer):
    starts = ["Polish", "Keep", "Give", "Look", "Remove", "Replace", "Follow"]
    whole = [
        f"{starts[n % 7]} it with {n} friends. The {THINGS[n % 10]} likes it." for n in range(28)
    ]
    (one,) = found(asked([answer[1:] for answer in whole]), tokenizer)
    assert (one.code, one.found[:18]) == ("answers-cut", "28 of 28 answers s")
    assert codes(asked([answer.lower() for answer in whole]), tokenizer) == []
    slang = [answer[1:].replace(" it ", " ooking ", 1) for answer in whole]
    assert codes(asked(slang), tokenizer) == [], "other words lack letters, too"


def test_thoughts_that_are_cut(tokenizer):
    thoughts = [f"<think>\nThe {t} has {n} parts." for n, t in enumerate(THINGS)]
    whole = [f"{thought}\n</think>\n\n{n}" for n, thought in enumerate(thoughts)]
    (one,) = found(asked([*whole[2:], *thoughts[:2]]), tokenizer)
    assert (one.code, one.found[:18]) == ("answers-cut", "2 of 10 answers en")
    named = [f"Write <think> {n} times, and nothing after it." for n in range(10)]
    assert codes(asked([*whole, *named]), tokenizer) == []


@pytest.mark.parametrize("which", ["rejected", "chosen"])
def test_answers_of_one_kind_that_a_limit_cut(tokenizer, which):
    def pairs(*answers):
        order = answers if which == "chosen" else answers[::-1]
        return [pair(n, *order_of) for n, order_of in enumerate(zip(*order, strict=True))]

    cut = [story[: 120 + n % 9].rstrip(" ,.") for n, story in enumerate(STORIES)]
    whole = [f"It is the {THINGS[n % 10]}, which {n} people saw in the hall of that old house, "
             "and all of them said that it worked well." for n in range(24)]  # fmt: skip
    (one,) = found(pairs(cut, whole), tokenizer)
    assert one.code == "answers-cut" and f"in 24 of 24 rows only {which} ends" in one.found
    both = [f"{w[:-1]}" for w in whole]
    assert codes(pairs(cut, both), tokenizer) == [], "both kinds end so"
    loose = [f"just {'try and ' * (2 + n % 20)}look at the {THINGS[n % 10]}" for n in range(24)]
    assert "answers-cut" not in codes(pairs(loose, whole), tokenizer), "a style without full stops"
    lists = [
        f"So:\n- the {THINGS[n % 10]} stands in a hall of a house by a river" for n in range(24)
    ]
    assert "answers-cut" not in codes(pairs(lists, whole), tokenizer)


@pytest.mark.parametrize(
    ("question", "last", "expected"),
    [
        ("How much is {n} × 1,234?", "#### {first}", ["answers-cut"]),
        ("How much is {n} × 1,234?", "Answer: {first} euros", ["answers-cut"]),
        ("How much is {n} × 1,234?", "#### {whole}", []),
        ("How much is {n} × 1,234?", "#### {plain}", []),
        ("How many thousands are in {n} × 1,234?", "#### {first}", []),
        ("How much is {n} × 1,234 and 5?", "#### {other}", []),
    ],
)
def test_results_that_end_at_a_thousands_separator(tokenizer, question, last, expected):
    def answer(n):
        whole = f"{n * 1234:,}"
        values = {"first": whole.split(",")[0], "whole": whole, "plain": n * 1234, "other": n + 900}
        return f"We have {n} × 1,234 = {whole}.\n{last.format(**values)}"

    data = [row(question.format(n=n), answer(n)) for n in range(11, 31)]
    assert codes(data, tokenizer) == expected


# Letters that were lost or reversed --------------------------------------------------------------

OFFICE = (
    "The first officer of flight {} specified different benefits, filed a definition of sufficient "
    "efforts, offered five modified figures and finally confirmed the financial office in field {}."
)


def without_ligatures(text):
    for letters in ("ffi", "ffl", "ff", "fi", "fl"):
        text = text.replace(letters, "")
    return text


def test_ligatures_that_were_lost(tokenizer):
    whole = [OFFICE.format(n, t) for n, t in enumerate(THINGS)]
    lost = [without_ligatures(text) for text in whole]
    for data in ([{"text": text} for text in lost], asked(lost)):
        (one,) = found(data, tokenizer)
        assert one.code == "letters-lost" and "have no fi, fl or ff" in one.found
    assert codes(asked(whole), tokenizer) == []
    assert codes(asked(whole[:6] + lost[6:]), tokenizer) == [], "four are too few"
    typos = ["advange advsary", "admiraon adventurs", "aeronaucs aesthec", "adversed advocang"]
    more = [f"{text} {typos[n % 4]} {n}" for n, text in enumerate(lost * 2)]
    assert codes(asked(more), tokenizer) == [], "letters of all kinds are missing"


FRENCH = [
    ("Où est la clé de la réserve {} ?", "La clé de la réserve est posée près du réfrigérateur."),
    (
        "Pourquoi la pâte {} est-elle dorée après la cuisson ?",
        "Elle a été posée près de la fenêtre, à côté de la clé.",
    ),
    ("Quel été {} a été le plus chaud à la météo ?", "La météo a été modérée à la fin du mois."),
    (
        "Comment réparer la fenêtre {} qui était abîmée ?",
        "Après la météo, il faut réparer le musée.",
    ),
    ("Qui a créé le musée {} du côté de la forêt ?", "Le musée de la forêt a été créé après."),
]
PLAIN = str.maketrans("éèêëàâîïôûüçÉÀ", "eeeeaaiiouucEA")
ENGLISH = [
    *("The key of the region is kept in the general operation, near the national museum.",),
    *("It was the creation of a general of the region, and the operation was national.",),
]


def french(change, n=40):
    return [row(q.format(i), change(a)) for i, (q, a) in enumerate(FRENCH * (n // 5))]


def test_accents_that_were_lost(tokenizer):
    (one,) = found(french(lambda answer: answer.translate(PLAIN)), tokenizer)
    assert one.code == "letters-lost" and "letters with accents, and prompts" in one.found
    assert codes(french(lambda answer: answer), tokenizer) == []


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Traduis : la région générale de l'opération créée {}", ENGLISH[0]),
        ("Où est la création générale de la région nationale {} ?", ENGLISH[1]),
        ("Écris sans accents : la clé dorée a été posée {}", "la cle doree a ete posee {}"),
    ],
)
def test_answers_in_another_language_or_form_are_healthy(tokenizer, question, answer):
    data = [row(question.format(n), f"{n}: {answer.format(n)}") for n in range(40)]
    assert "letters-lost" not in codes(data, tokenizer)


def test_letters_that_became_question_marks(tokenizer):
    """As `text.encode("ascii", "replace")` writes them."""
    lost = french(lambda answer: answer.encode("ascii", "replace").decode())
    (one,) = found(lost, tokenizer)
    assert one.code == "letters-lost" and "question marks in place of letters" in one.found
    shown = ["isn't it?", "a?b:c", "/look?name=x", "x?.y", "colou?r", "Who?! Me?", "what?no"]
    odd = [row(f"Which {n}?", f"Here: {shown[n % 7]} and {THINGS[n % 10]} {n}") for n in range(35)]
    assert codes(odd, tokenizer) == []


HEBREW = "הספרים של המלך עומדים על השולחן בתוך הארון"
ARABIC = "المدرسة الكبيرة في المدينة القديمة"


@pytest.mark.parametrize("text", [HEBREW, ARABIC])
def test_text_from_right_to_left_in_the_order_it_is_seen(tokenizer, text):
    assert codes([row("מה?", text[::-1])], tokenizer) == ["letters-reversed"]
    assert codes([row("מה?", text)], tokenizer) == []
    assert codes([row(f"Repair: {text[::-1]}", text)], tokenizer) == [], "that is the task"
    assert codes([row("מה?", 'האותיות ם ן ץ ף ך, צה"ל, מנכ"ל, ת"ם')], tokenizer) == []
    assert codes([row("מה?", f"{text}, {text} ({text.split()[0][::-1]})")], tokenizer) == []


def misread(text):
    return text.encode().decode("cp1252", "ignore")


def test_texts_to_be_repaired_are_healthy(tokenizer):
    task = [(misread("schöner"), "schöner"), (misread("don’t"), "don't"), ("ﬁrst", "first")]
    for damaged, right in task:
        asked_for = f"Repair: the {damaged} day"
        assert codes([row(asked_for, f"the {right} day")], tokenizer) == []
        assert len(codes([row(asked_for, "I can't read it")], tokenizer)) == 1
        assert len(codes([row(asked_for, f"the {damaged} day")], tokenizer)) == 1


# Rows that overlap -------------------------------------------------------------------------------


def test_chunks_with_an_overlap(tokenizer):
    book = " ".join(f"{n * 7919 % 10007} {THINGS[n * n % 10]}" for n in range(600))
    chunks = [{"text": book[n : n + 400]} for n in range(0, len(book) - 400, 300)]
    (one,) = found(chunks[::-1], tokenizer)
    assert one.code == "duplicate-rows" and "begin with the end of another" in one.found
    whole = [{"text": book[n : n + 300]} for n in range(0, len(book) - 300, 300)]
    assert codes(whole, tokenizer) == []
    ended = [{"text": f"{TITLES[0]} {s} {TITLES[0]}"} for s in STORIES]
    assert codes(ended, tokenizer) == [], "all begin and end so"


TURNS = [
    {"role": role, "content": text.format(n)}
    for n in range(2)
    for role, text in (("user", "Where is number {}?"), ("assistant", "In the hall, number {}."))
]


def test_evaluations_that_are_the_first_turns_of_a_training_row(tokenizer):
    train = [{"messages": TURNS}]
    options = {"assistant_only": False}

    def leaks(turns):
        return "train-test-overlap" in codes(
            train, tokenizer, evaluation=[{"messages": turns}], **options
        )

    assert leaks(TURNS[:2])
    assert leaks([{**TURNS[0], "content": "where is number 0"}, TURNS[1]])
    assert not leaks([TURNS[0], {**TURNS[1], "content": "In the yard."}])
    assert not leaks(TURNS[2:])
    assert not leaks([*TURNS[:2], TURNS[0], TURNS[1]])


# What else programs leave ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "is_found"),
    [
        ("It works.\n\n7. Why does a {} purr?", True),
        ("It works. 7. Why does a {} purr?", True),
        ("It works.\n\n7) Why does a {} purr?\nAnswer:", True),
        ("Ask this:\n\n6. Why does a {} bark?\n7. Why does a {} purr?", False),
        ("It works. Shall I go on?", False),
        ("1. Why does a {} purr?", False),
        ("See section 7. Would you like to know more?", False),
    ],
)
def test_the_next_numbered_question(tokenizer, end, is_found):
    data = [
        row(f"Is the {t} good?", f"A {t} is what it is. {end.replace('{}', t)}") for t in THINGS
    ]
    assert codes(data, tokenizer) == ["roles-as-text"] * is_found
    assert codes([*data[:1], *asked(STORIES)], tokenizer) == [], "one alone"
    listed = [row(f"6. Is the {t} good?", f"A {t} is. {end.replace('{}', t)}") for t in THINGS]
    assert codes(listed, tokenizer) == [], "the numbering goes on from the prompt"


def test_html_is_no_remainder_where_it_is_the_subject(tokenizer):
    plain = [row(f"Ordered list of a {t}", f"<ol>\n  <li>{t}</li>\n</ol>") for t in THINGS]
    tagged = [row(f"HTML for a {t}", f"<p>A {t}</p>") for t in THINGS[:5]]
    assert codes(plain, tokenizer) == ["html-remains"]
    assert codes([*plain, *tagged], tokenizer) == []
    assert codes([*plain, *tagged[:4]], tokenizer) == ["html-remains"]


def test_a_conversation_in_another_script(tokenizer):
    """An answer in the script of its own question is no accident."""
    others = asked(STORIES)
    assert codes([*others, row("なぜですか", "わかりません。")], tokenizer) == []
    assert codes([*others, row("Why?", "わかりません。")], tokenizer) == ["script-outlier"]


CODE = "def {}(a):\n    if a > {n}:\n        return a\n    return {n}"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("def {}(a): if a > {n}: return a return {n}", ["layout-lost"]),
        ("def {}(a): return a + {n}", []),
        ("def {}(a: Int): Int = { if (a > {n}) a else {n} }", []),
        ("def is the keyword that makes the {} number {n}.", []),
        ("#include\n\nint {}() { return {n}; }", ["layout-lost"]),
        ("int {}(const std::vector& a) { return {n}; }", ["layout-lost"]),
        ("let {} = line.parse::().unwrap() + {n};", ["layout-lost"]),
        ("#include <{}.h>\n\nint f(std::vector<int>& a) { return {n}; }", []),
        ("**std::vector** is better than std::list for a {} with {n} parts.", []),
        ("std::vector {}s{1, 2, {n}};", []),
    ],
)
def test_code_that_was_joined_or_lost_its_brackets_beside_other_code(tokenizer, answer, expected):
    fill = lambda text, t, n: text.replace("{}", t).replace("{n}", str(n))  # noqa: E731
    data = [row(f"Code a {t}", fill(answer, t, n)) for n, t in enumerate(THINGS)]
    more = [row(f"Write a {t}", fill(CODE, t, n)) for n, t in enumerate(THINGS)]
    assert codes([*data, *more], tokenizer) == expected
