"""The pages of the site as text: links, captions, indexes, cards."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.site import pages

BADGE = "[![Open In Colab](https://host/assets/colab-badge.svg)](https://colab/x.ipynb)"


def fixed(text: str, page: str = "notebooks/00_tldr.ipynb") -> str:
    """Fix links in a repository that has NOTES.md, which is not on the site."""
    known = {"NOTES.md": "https://repository/NOTES.md"}
    return pages.links_on_site(text, page=page, elsewhere=known.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[a](../NOTES.md#b)", "[a](https://repository/NOTES.md#b)"),
        ("[a](../README.md#b)", "[a](../index.md#b)"),
        ("[a](01_language_models.ipynb#b)", "[a](01_language_models.ipynb#b)"),
        ("[a](https://host/NOTES.md)", "[a](https://host/NOTES.md)"),
        ("[a](#b)", "[a](#b)"),
        ("`x[0](y)`", "`x[0](y)`"),
    ],
)
def test_links(text, expected):
    assert fixed(text) == expected


def test_a_link_to_the_readme_from_beside_it():
    assert fixed("[a](README.md)", page="FAQ.md") == "[a](index.md)"


def test_badges_become_links():
    badge = BADGE.replace("Open In Colab", "Open Chapter 0 in Colab")
    expected = '[Open in Colab](https://colab/x.ipynb){title="Open Chapter 0 in Colab"}'
    assert pages.without_badges(f"| a | {badge} |") == f"| a | {expected} |"


def page_of(*cells):
    notebook = new_notebook(cells=list(cells))
    before = nbformat.writes(notebook)
    page = pages.notebook_page(notebook, name="00_tldr.ipynb", rewrite=str.upper)
    assert nbformat.writes(notebook) == before, "the notebook itself was changed"
    return page


def test_a_caption_moves_into_its_figure():
    picture = new_output("display_data", {"image/png": "iVBORw0KGgo="})
    page = page_of(
        new_code_cell("draw();", outputs=[picture]),
        new_markdown_cell("*Figure 0.1. The rank $r$ of `A`.*\n\nWhat follows."),
        new_code_cell("draw();", outputs=[picture]),
        new_markdown_cell("*Figure 0.2. Alone.*"),
        new_markdown_cell("*Figure 0.3. Of no figure.*"),
    )
    first, text, second, rest = page.cells
    assert first.metadata["mystnb"]["image"]["alt"] == "Figure 0.1. The rank r of A."
    assert first.metadata["mystnb"]["figure"]["caption"] == "FIGURE 0.1. THE RANK $R$ OF `A`."
    assert text.source == "WHAT FOLLOWS."
    assert second.metadata["mystnb"]["image"]["alt"] == "Figure 0.2. Alone."
    assert rest.source == "*FIGURE 0.3. OF NO FIGURE.*"


def test_a_badge_becomes_two_buttons():
    badge = new_markdown_cell(BADGE, metadata={"tags": ["badge"]})
    source = page_of(badge).cells[0].source
    assert "colab-badge.svg" not in source
    assert 'href="https://colab/x.ipynb"' in source
    assert 'href="../_sources/notebooks/00_tldr.ipynb" download' in source


def test_links_in_stored_outputs_name_pages():
    """The findings of preflight are stored as HTML, and linked to a notebook that no page is."""
    stored = '<a href="99_troubleshooting.ipynb#two-gpus">two-gpus</a>'
    page = page_of(new_code_cell("x", outputs=[new_output("display_data", {"text/html": stored})]))
    output = page.cells[0].outputs[0].data["text/html"]
    assert output == '<a href="99_troubleshooting.html#two-gpus">two-gpus</a>'


def test_errors_are_sorted_by_their_words_and_apart_from_silence():
    text = "### b-two\n\n**`ValueError: no` (or `yes`)**\n\nText.\n\n### a-one\n\n**`IOError: b`**"
    silent = "### quiet\n\n**`eos` is never written. No error.**"
    found = pages.troubles(new_notebook(cells=[new_markdown_cell(c) for c in (text, silent)]))
    assert [heading for heading, _ in found] == ["b-two", "a-one", "quiet"]
    index = pages.error_index(found, page="t.ipynb")
    places = [index.index(f"[{h}](t.ipynb#{h})") for h in ("a-one", "b-two", "quiet")]
    assert places == sorted(places)
    assert places[1] < index.index("## What raises no error") < places[2]


def test_the_glossary_is_sorted_whatever_the_case():
    page = pages.glossary_page("# Words\n\nAll.\n\nNF4\n: Sixteen\nvalues.\n\nadapter\n: Small.")
    assert page.index("adapter\n  Small.") < page.index("NF4\n  Sixteen values.")
    assert page.startswith("# Words\n\nAll.\n\n```{glossary}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Words\n\nAll.\n\na\n: One.\n\na\n: Two.", "explains 'a' twice"),
        ("# Words\n\nAll.\n\na\n: One.\n\nb, unexplained", "'b, unexplained' has no line"),
    ],
)
def test_a_faulty_glossary_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        pages.glossary_page(text)
