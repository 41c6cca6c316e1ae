"""What is planted is found by its name, and what is right is left alone."""

import itertools
import tracemalloc

import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from onegpu import making
from onegpu.making.sieve import Sieve

PASSAGE = """\
The Heron 2 weighs 3.5 kilograms and draws 28 watts. It costs 1,200 euros, and its warranty lasts
two years from the day of purchase. Never run it dry: the seal wears out within 40 minutes.
"""
HERON = making.Document("heron.md", text=PASSAGE)


TITLED = making.Document(
    "aws.md", text="# Machines\n\nYes.", sections=(making.Section(("Machines",), 0, 10, 16),)
)


def made(question, answer, **options):
    return making.row(HERON, question, answer, writer="test", **options)


@pytest.mark.parametrize(
    "answer",
    [
        "It weighs 3.5 kilograms.",
        "3.50 kilograms",
        "It costs 1200 euros.",
        "Its warranty is for 2 years.",
        "Don't run it dry, or the seal wears out.",
        "Yes.",
        "28 watts is what the Heron draws.",
    ],
)
def test_an_answer_in_other_words_is_grounded(answer):
    assert making.not_grounded(made("What about the Heron?", answer), HERON) == ""


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("It weighs 4 kilograms.", "numbers not in the passage: 4"),
        ("Its warranty lasts five years.", "numbers not in the passage: 5"),
        ("It costs 12 euros.", "numbers not in the passage: 12"),
        ("It comes with a free carrying bag.", "words not in the passage: comes, free, carrying"),
    ],
)
def test_an_invented_answer_is_not(answer, found):
    assert making.not_grounded(made("What about the Heron?", answer), HERON) == found


def test_an_invented_quote_is_found():
    row = made("How heavy?", "9 kilograms", quote="It weighs 9 kilograms.")
    assert making.not_grounded(row, HERON) == "the quote is not in the document"
    row = made("How heavy?", "3.5 kilograms", quote="weighs 3.5\nkilograms")
    assert making.not_grounded(row, HERON) == "", "line breaks may differ"


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("", "the question is empty"),
        ("?!", "the question is empty"),
        ("What does the text above say?", "whoever asks does not see it: 'text above'"),
        ("According to the passage, how heavy is it?", "whoever asks does not see it"),
        ("Who invented the telephone?", "the passage has none of: invented, telephone"),
    ],
)
def test_a_question_that_cannot_be_answered(question, found):
    assert making.not_answerable(made(question, "3.5"), HERON).startswith(found)


@pytest.mark.parametrize(
    "question", ["How heavy is the Heron 2?", "What if I run it dry?", "And then?", "重いですか"]
)
def test_a_question_that_can(question):
    assert making.not_answerable(made(question, "3.5"), HERON) == ""


def test_a_question_may_be_about_the_title():
    """Of a section with a heading of three letters, a template's question names the title alone."""
    row = making.row(
        TITLED, "What do “Machines” say about “AWS”?", "Yes.", writer="x", quote="Yes."
    )
    assert making.not_answerable(row, TITLED) == ""


@pytest.mark.parametrize(
    "answer",
    [
        "As an AI language model, I have no opinion.",
        "I'm sorry, but I can't help with that.",
        "I cannot assist with this request.",
        "Sorry, I'm unable to answer that.",
        "I don't have access to that information.",
        "The passage does not mention a price.",
        "I am just a large language model.",
    ],
)
def test_a_refusal_is_found(answer):
    assert making.refusal(made("Why?", answer), HERON)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry that it leaks. Please send us a photo.",
        "You cannot run it dry.",
        "We can't ship before Monday.",
        "As an air pump, it is loud.",
        "No. It can't be helped.",
    ],
)
def test_what_a_person_says_at_work_is_no_refusal(answer):
    assert making.refusal(made("Why?", answer), HERON) == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mail: ana.li+x@mail.example.org.", ["e-mail address ana.li+x@mail.example.org"]),
        ("call +44 20 7946 0958", ["phone number +44 20 7946 0958"]),
        ("pay with 4111 1111 1111 1111", ["card number 4111 1111 1111 1111"]),
        ("to DE89 3704 0044 0532 0130 00 TODAY", ["IBAN DE89370400440532013000"]),
        ("Mara Lindqvist, 12 Mill Lane", []),
        ("at 14:05 on 2026-03-02, part 4111 1111 1111 1112, @home, v1.2.3.4", []),
        ("DE89 3704 0044 0532 0130 01", []),
        ("(650) 253-0000", []),
    ],
)
def test_personal_data(text, found):
    assert making.personal(text) == found


def test_numbers_as_they_are_dialed_somewhere():
    assert making.personal("(650) 253-0000", phone_region="US") == ["phone number (650) 253-0000"]
    with pytest.raises(ValueError, match="phone_region is 'us'"):
        making.Settings(phone_region="us")


# Alike --------------------------------------------------------------------------------------------

WORDS = [f"word{letter}{other}" for letter in "abcdefgh" for other in "abcdefgh"]


def test_the_same_and_nearly_the_same():
    seen = making.Alike()
    seen.add("Why is it wet? " + " ".join(WORDS), label="first")
    assert seen.same("why is it WET\n" + "  ".join(WORDS)) == "first"
    changed = " ".join(["Why is it wet?", *WORDS[:30], "other", *WORDS[31:]])
    assert seen.same(changed) == ""
    assert seen.like(changed) == "first"
    assert seen.like(changed + " 7") == "", "another number is another fact"
    assert seen.like(" ".join(reversed(WORDS))) == ""
    assert seen.same("") == seen.like("") == seen.like("?!") == ""


def test_signatures_are_those_of_datasketch():
    """Whoever learns MinHash from the library gets the same similarity as the filter."""
    one, other = (" ".join(WORDS[:n]) for n in (60, 64))
    sketches = []
    for words in (WORDS[:60], WORDS[:64]):
        sketch = MinHash(128)
        for pair in itertools.pairwise(words):
            sketch.update(" ".join(pair).encode())
        sketches.append(sketch)
    assert abs(sketches[0].jaccard(sketches[1]) - 59 / 63) < 0.1
    seen = making.Alike()
    assert (seen._signature(other.split()) == sketches[1].hashvalues).all()
    seen.add(one, label="one")
    assert seen.like(other) == "one"


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=30), max_size=12))
def test_what_was_added_is_found_and_nothing_that_is_far(texts):
    seen = making.Alike()
    for words in texts:
        text = " ".join(words)
        pairs = set(itertools.pairwise(words))
        found = seen.like(text)
        if found:
            others = found.split()
            shared = set(itertools.pairwise(others))
            if pairs and shared:
                assert len(pairs & shared) >= 0.6 * len(pairs | shared)
        seen.add(text, label=text)
        assert seen.same(text)
        assert seen.like(text)


def test_a_text_that_is_remembered_takes_no_memory_but_on_disk():
    seen = making.Alike()
    for number in range(50):
        seen.add(f"warm up {number}", label="x")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(500):
        seen.add(f"the text of the row {number} is another one", label=f"row {number}")
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 500 * 1024


# All together -------------------------------------------------------------------------------------


def test_each_fault_is_called_by_its_name(tmp_path):
    tests = tmp_path / "test.jsonl"
    tests.write_text('{"prompt": "How many watts does the Heron 2 draw?", "completion": "28"}\n')
    sieve = Sieve(making.Settings(test_rows=str(tests), max_words=20))
    right = made("How heavy is the Heron 2?", "It weighs 3.5 kilograms.")
    assert sieve.why_not(right, HERON) == ("", "")
    sieve.keep(right)
    long = "Never run the Heron 2 dry: its seal wears out within 40 minutes, and you need another."
    sieve.keep(made("What happens when I run the Heron 2 dry for too long?", long))
    planted = {
        "too-short": made("How heavy is the Heron 2?", "..."),
        "too-long": made("How heavy is the Heron 2?", "heavy " * 21),
        "refusal": made("How heavy is the Heron 2?", "As an AI, I cannot weigh."),
        "not-answerable": made("What does the text above say?", "3.5 kilograms"),
        "not-grounded": made("How heavy is the Heron 2?", "99 kilograms"),
        "duplicate": made("how heavy is the heron 2", "It weighs 3.5 kilograms"),
        "in-test-set": made("How many watts does the Heron 2 draw?", "28 watts"),
        "near-duplicate": made(
            "What happens when I run the Heron 2 dry for too long?",
            long.replace("another", "more"),
        ),
    }
    address = making.Document("a.md", text="The Heron 2: write to heron@example.com")
    assert {name: sieve.why_not(row, HERON)[0] for name, row in planted.items()} == {
        name: name for name in planted
    }
    row = making.row(address, "Where do I write about the Heron?", "heron@example.com", writer="x")
    assert sieve.why_not(row, address) == ("personal-data", "e-mail address heron@example.com")
    assert {*planted, "personal-data"} == set(making.FILTERS)
    assert set(making.FILTERS) < set(making.REASONS)


def test_a_filter_can_be_left_out():
    sieve = Sieve(making.Settings(without=["not-grounded"]))
    assert sieve.why_not(made("What do two Herons cost?", "2400 euros"), HERON) == ("", "")
    with pytest.raises(ValueError, match="unknown filter 'grounded': choose from too-short"):
        making.Settings(without=["grounded"])


@pytest.mark.parametrize(
    ("content", "problem"),
    [("", "holds no rows"), ('{"a": 1}\n', "line 1: expected prompt and completion, or messages")],
)
def test_test_rows_that_are_none(tmp_path, content, problem):
    path = tmp_path / "test.jsonl"
    path.write_text(content)
    with pytest.raises(ValueError, match=problem):
        Sieve(making.Settings(test_rows=str(path)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"split_by": "rows"}, "split_by is 'rows'"),
        ({"test_share": 1.0}, "give 0 or more, below 1"),
        ({"validation_share": -0.1}, "give 0 or more, below 1"),
        ({"min_words": 9, "max_words": 3}, "9 to 3 words"),
    ],
)
def test_settings_that_cannot_be(wrong, said):
    with pytest.raises(ValueError, match=said):
        making.Settings(**wrong)
