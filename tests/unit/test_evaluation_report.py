"""The page of an evaluation, read back by a parser of HTML and by one of Markdown."""

import hashlib
import html
import re

import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt

from onegpu import evaluation

NASTY = (
    "<script>alert('|')</script> *a* `b` $c$ [d](e) \\| &amp; ~~f~~ _g_\n| new | row |\x00\ud800"
)
GIVEN = {
    "title": "Yoda",
    "prompts": [f"prompt {n}" for n in range(12)],
    "references": ["Strong, you are."] * 12,
    "answers": {
        "base": ["You are strong."] * 12,
        "tuned": ["Strong, you are."] * 9 + ["Strong you are", "", NASTY],
    },
}


@pytest.fixture
def write(tmp_path):
    def written(**changed):
        return evaluation.report(tmp_path / "page", **{**GIVEN, **changed})

    return written


def tables(report) -> dict[str, list[list[str]]]:
    """Return the rows of all tables of a page, by the heading above."""
    soup = BeautifulSoup(report.html.read_text("utf-8"), "html.parser")
    return {
        section.h2.get_text(): [
            [cell.get_text() for cell in row.select("th, td")] for row in section.select("tr")
        ]
        for section in soup.select("section")
    }


def in_markdown(report) -> list[list[str]]:
    """Return the rows of all tables of the Markdown, as a parser of GitHub's understands them."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    soup = BeautifulSoup(parser.render(report.markdown.read_text("utf-8")), "html.parser")
    for line_end in soup.select("br"):
        line_end.replace_with("\n")
    return [[cell.get_text() for cell in row.select("th, td")] for row in soup.select("tr")]


def test_scores_and_verdict(write):
    found = write()
    exact = [[False] * 12, [True] * 9 + [False] * 3]
    assert found.verdicts == {"tuned": evaluation.compare(*exact)}
    scores = tables(found)["Scores"]
    assert scores[1][:2] == ["base", "0 of 12 (0 to 26 %)"]
    assert scores[2][:2] == ["tuned", "9 of 12 (43 to 95 %)"]
    assert scores[4][0] == "tuned"
    assert scores[4][1] == "better"
    page = found.html.read_text("utf-8")
    assert f"tuned against base, by exact match: {found.verdicts['tuned']}" in html.unescape(page)
    assert "better: 0.0 % and 75.0 %" in found.markdown.read_text("utf-8")
    assert str(found).startswith("tuned: better: 0.0 %")


def test_both_files_say_the_same(write, tmp_path):
    file = tmp_path / "test.jsonl"
    file.write_bytes(b"{}\n")
    groups = {"first half": [n < 6 for n in range(12)], "all | of it": [True] * 12}
    found = write(groups=groups, forgetting={"capitals": (44, 40, 50)}, files=[file])
    of_html = [row for rows in tables(found).values() for row in rows]
    assert [[cell.strip() for cell in row] for row in of_html] == in_markdown(found)
    shown = tables(found)
    assert shown["Data"][1] == ["test.jsonl", hashlib.sha256(b"{}\n").hexdigest()]
    assert shown["Forgetting"][1] == ["capitals", "44 of 50 (76 to 95 %)", "40 of 50 (66 to 90 %)"]
    assert [row[0] for row in shown["Slice by slice"][1:]] == list(groups)
    assert "torch" in [row[0] for row in shown["Made with"]]


def test_what_answers_hold_is_text_in_both_files(write):
    found = write(title=NASTY, prompts=[NASTY] * 12)
    page = found.html.read_text("utf-8")
    assert "<script" not in page
    soup = BeautifulSoup(page, "html.parser")
    assert soup.h1.get_text() == NASTY.replace("\x00", "\\x00").replace("\ud800", "\\ud800")
    said = [row[1] for row in in_markdown(found) if row[0] == "tuned said"]
    assert NASTY.replace("\x00", "\\x00").replace("\ud800", "\\ud800") in said
    assert not re.search(r'(src|href)="|url\(|@import|https?:', page), "it loads something"


def test_examples_are_ranked_by_chrf(write):
    answers = {"base": ["x"] * 5, "tuned": ["abcdef"[:n] for n in (3, 6, 1, 5, 2)]}
    found = write(prompts=list("vwxyz"), references=["abcdef"] * 5, answers=answers)
    rows = tables(found)["Examples"]
    assert [row[0] for row in rows if "chrF" in row[1]] == [
        *("worst", "second worst", "median", "second best", "best")
    ]
    assert [row[1] for row in rows if row[0] == "prompt"] == list("xzvyw")
    assert [row[1] for row in rows if row[0] == "tuned said"][2] == "abc"


@pytest.mark.parametrize(
    ("n", "names"),
    [
        (1, ["the only one"]),
        (2, ["worst", "best"]),
        (3, ["worst", "median", "best"]),
        (4, ["worst", "median", "second best", "best"]),
    ],
)
def test_few_examples_are_each_shown_once(write, n, names):
    found = write(prompts=["p"] * n, references=["r"] * n, answers={"base": ["r"] * n})
    heads = [row for row in tables(found)["Examples"] if "chrF" in row[1]]
    assert [row[0] for row in heads] == names
    assert len({row[1] for row in heads}) == n


def test_versions_are_corrected_together_as_holm_does(write):
    """Two versions, p and q: the smaller is doubled, and the larger is at least that."""
    references = GIVEN["references"]
    right, wrong = references[0], "no"
    answers = {
        "base": [wrong] * 12,
        "six": [right] * 6 + [wrong] * 6,
        "nine": [right] * 9 + [wrong] * 3,
    }
    verdicts = write(answers=answers).verdicts
    assert verdicts["nine"].p == pytest.approx(2 * 2 / 2**9)
    assert verdicts["six"].p == pytest.approx(2 / 2**6)
    slices = {f"half {k}": [n % 2 == k for n in range(12)] for k in (0, 1)}
    shown = tables(write(answers=answers, groups=slices))["Slice by slice"]
    assert len([row for row in shown if row[0].startswith("half")]) == 4
    assert {row[2] for row in shown if row[0].startswith("half")} == {"not enough to tell"}


def test_one_example_is_not_enough_to_tell(write):
    found = write(prompts=["a"], references=["b"], answers={"base": ["a"], "tuned": ["b"]})
    assert found.verdicts["tuned"].verdict == "not enough to tell"
    assert tables(found)["Examples"][0][0] == "the only one"
    assert write(answers={"base": ["x"] * 12}).verdicts == {}
    assert "base: 0 of 12" in found.html.read_text("utf-8")


def test_a_conversation_and_a_long_answer(write):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    answers = {"base": [""], "tuned": ["x" * 5000]}
    found = write(prompts=[turns], references=["y"], answers=answers, metric="chrf")
    rows = dict(row[:2] for row in tables(found)["Examples"])
    assert rows["prompt"] == "system: Be brief.\nuser: Hi"
    assert rows["base said"] == "(nothing)"
    assert rows["tuned said"].endswith("x ... (5,000 characters in all)")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"title": " "}, "title ' '"),
        ({"prompts": []}, "0 prompts"),
        ({"answers": {}}, "0 versions"),
        ({"references": ["a"]}, "'references' has 1 texts for 12 prompts"),
        ({"answers": {"base": ["a"] * 11}}, "'base' has 11 texts for 12 prompts"),
        ({"answers": {"base": "abcdefghijkl"}}, "give a list"),
        ({"answers": {"base": ["a"] * 11 + [None]}}, "'base': number 12 is no text, but None"),
        ({"groups": {"none": [False] * 12}}, "group 'none' marks 0 of 12"),
        ({"groups": {"few": [True]}}, "group 'few' marks 1 of 1"),
        ({"forgetting": {"capitals": (4, 9, 8)}}, "forgetting 'capitals': 4 before and 9 after"),
        ({"forgetting": {"capitals": (0, 0, 0)}}, "at least one"),
        ({"metric": "bleu"}, "metric is 'bleu': choose from exact, chrf"),
    ],
)
def test_what_cannot_be_reported(write, tmp_path, changed, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        write(**changed)
    assert not (tmp_path / "page").exists(), "nothing is written"


def test_a_file_that_is_not_there(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.jsonl is no file"):
        write(files=["nowhere.jsonl"])
    assert not (tmp_path / "page").exists()
