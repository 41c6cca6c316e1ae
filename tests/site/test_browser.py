"""The site in a real Chromium: from a server and from the disk, light and dark, wide and narrow."""

from pathlib import Path

import axe_playwright_python
import pytest

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")
LOOK = """() => ({
  broken: [...document.images].filter((i) => !(i.complete && i.naturalWidth)).map((i) => i.src),
  mute: [...document.images].filter((i) => !i.alt.trim()).map((i) => i.src),
  raw: [...document.querySelectorAll(".math")]
    .filter((m) => !m.querySelector("mjx-container svg") || m.querySelector("mjx-merror"))
    .map((m) => m.textContent),
  wider: document.documentElement.scrollWidth - document.documentElement.clientWidth,
})"""

# Code has thousands of colored words in a few colors: keep one word of each, to save minutes.
ONE_OF_EACH_COLOUR = """() => {
  const seen = new Set();
  for (const word of document.querySelectorAll(".highlight span[class]")) {
    if (seen.has(word.className)) word.replaceWith(word.textContent);
    else seen.add(word.className);
  }
}"""
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
@pytest.mark.parametrize("access", ["server", "disk"])
def test_pages_load_whole_and_ask_nobody(access, width, new_tab, site, server, pages):
    root = server if access == "server" else site.as_uri() + "/"
    tab = new_tab(root=root, width=width)
    found = {}
    for page in pages:
        tab.open(page)
        look = tab.page.evaluate(LOOK)
        if tab.problems or any(look.values()):
            found[page] = [*tab.problems, look]
        tab.problems.clear()
    assert found == {}


def test_equations_are_drawn(new_tab):
    """The check above passes a page whose equations are no equations any more."""
    tab = new_tab()
    tab.open("notebooks/03_lora.html")
    assert tab.page.locator("mjx-container svg").count() > 20


@pytest.mark.parametrize("access", ["server", "disk"])
def test_search_finds_a_phrase(access, new_tab, site, server):
    """From the disk a page may not fetch another, so there the results have no excerpts."""
    tab = new_tab(root=server if access == "server" else site.as_uri() + "/")
    tab.open("index.html")
    tab.page.keyboard.press("Control+k")
    tab.page.keyboard.type("singular value decomposition")
    tab.page.keyboard.press("Enter")
    result = tab.page.locator("#search-results li a", has_text="How little is enough?").first
    result.wait_for()
    if access == "server":
        tab.page.locator("#search-results .context").first.wait_for()
    result.click()
    tab.page.wait_for_url("**/notebooks/03_lora.html*")
    assert tab.problems == []


def test_a_solution_opens_by_click_and_by_keyboard(new_tab):
    tab = new_tab()
    tab.open("notebooks/02_quantization.html")
    solutions = tab.page.locator("details", has_text="Solution")
    assert solutions.count() >= 3
    first, second = solutions.nth(0), solutions.nth(1)
    for solution in (first, second):
        assert not solution.locator("pre").is_visible()
    first.locator("summary").click()
    assert first.locator("pre").is_visible()
    second.locator("summary").focus()
    tab.page.keyboard.press("Enter")
    assert second.locator("pre").is_visible()
    tab.page.keyboard.press("Space")
    assert not second.locator("pre").is_visible()


def test_the_setup_opens_by_click_and_by_keyboard(new_tab):
    tab = new_tab()
    tab.open("notebooks/00_tldr.html")
    setup = tab.page.locator("details", has_text="Show setup")
    cell = setup.locator("div.cell").first
    assert not cell.is_visible()
    setup.locator("summary").click()
    assert cell.is_visible()
    setup.locator("summary").focus()
    tab.page.keyboard.press("Enter")
    assert not cell.is_visible()


FIGURES = """() => [...document.querySelectorAll("article figure")].map((figure) => {
  const image = figure.querySelector("img");
  return {
    box: figure.clientWidth,
    caption: figure.querySelector("figcaption").clientWidth,
    drawn: Number(image.getAttribute("width")) || image.naturalWidth,
    image: image.clientWidth,
    focusable: figure.tabIndex === 0,
  };
})"""


@pytest.mark.parametrize("page", ["02_quantization", "04_formatting"])
def test_a_figure_scrolls_in_its_own_box_on_a_phone(page, new_tab):
    """Chapter 4 has no equations: there what scrolls was not reachable by keyboard."""
    tab = new_tab(width=390)
    tab.open(f"notebooks/{page}.html")
    figures = tab.page.evaluate(FIGURES)
    assert figures
    for figure in figures:
        assert figure["image"] == min(figure["drawn"], 520)
        assert figure["focusable"] == (figure["image"] > figure["box"])
        assert figure["caption"] <= figure["box"] < 390
    assert tab.page.evaluate(LOOK)["wider"] == 0
    figure = tab.page.locator("article figure").first
    caption = figure.locator("figcaption")
    before = caption.bounding_box()["x"]
    figure.evaluate("figure => figure.scrollLeft = 100")
    assert figure.locator("img").bounding_box()["x"] < before
    assert caption.bounding_box()["x"] == before


def test_a_figure_is_as_wide_as_drawn_on_a_wide_screen(new_tab):
    tab = new_tab()
    tab.open("notebooks/02_quantization.html")
    for figure in tab.page.evaluate(FIGURES):
        assert figure["image"] == min(figure["drawn"], figure["box"])
        assert not figure["focusable"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_are_on_white(scheme, new_tab):
    """The theme's gray-blue showed around them in the dark."""
    tab = new_tab(scheme=scheme)
    tab.open("notebooks/02_quantization.html")
    look = "img => [getComputedStyle(img).backgroundColor, getComputedStyle(img).filter]"
    image = tab.page.locator("article figure img").first
    assert image.evaluate(look) == ["rgb(255, 255, 255)", "none"]


def test_next_leads_through_the_course_and_previous_back(new_tab, pages):
    tab = new_tab()
    tab.open("index.html")
    visited = ["index.html"]
    while tab.page.locator("a.right-next").count():
        with tab.page.expect_navigation():
            tab.page.locator("a.right-next").click()
        visited.append(tab.page.url.removeprefix(tab.root))
    assert visited[1] == "notebooks/00_tldr.html"
    assert sorted([*visited, "search.html"]) == pages
    tab.page.locator("a.left-prev").click()
    tab.page.wait_for_url("**/" + visited[-2])


def test_the_theme_turns_dark_and_stays_so(new_tab):
    tab = new_tab()
    tab.open("index.html")
    light = tab.page.evaluate(BACKGROUND)
    tab.page.get_by_role("button", name="Color mode").first.click()
    tab.page.get_by_role("button", name="Dark").first.click()
    tab.page.wait_for_function(f"light => ({BACKGROUND})() !== light", arg=light)
    tab.open("notebooks/00_tldr.html")
    assert tab.page.locator("html[data-theme=dark]").count() == 1


@pytest.mark.parametrize("press", ["click", "Enter", "Space"])
def test_a_card_turns_and_turns_back(press, new_tab):
    tab = new_tab()
    tab.open("flashcards/00_tldr.html")
    card = tab.page.get_by_role("group", name="Card 1 of 2")
    button = card.get_by_role("button")

    def turn():
        if press == "click":
            card.locator(".flashcard-inner").click()
        else:
            button.focus()
            tab.page.keyboard.press(press)
        tab.page.wait_for_timeout(600)

    question, answer = "Which weights does LoRA leave", "Those of the base model."
    for turned in (False, True, False):
        tree = card.aria_snapshot()  # what a screen reader is told
        assert (question in tree, answer in tree) == (not turned, turned)
        assert button.get_attribute("aria-expanded") == str(turned).lower()
        if press == "click":  # what is looked at: the face that lies on top
            top = "(p => document.elementFromPoint(p.x + 40, p.y + 40).closest('.flashcard-face')"
            box = card.locator(".flashcard-inner").bounding_box()
            face = tab.page.evaluate(f"{top}.className)({{x: {box['x']}, y: {box['y']}}})")
            assert ("answer" in face) == turned
        turn()
    assert tab.problems == []


def test_a_link_on_a_card_is_followed_and_does_not_turn_it(new_tab):
    tab = new_tab()
    tab.open("flashcards/00_tldr.html")
    card = tab.page.get_by_role("group", name="Card 2 of 2")
    card.get_by_role("button").click()
    card.get_by_role("link", name="Chapter 0").click()
    tab.page.wait_for_url("**/notebooks/00_tldr.html")


def test_cards_can_be_read_without_javascript(new_tab):
    tab = new_tab(java_script_enabled=False)
    tab.page.goto(tab.root + "flashcards/00_tldr.html")
    for text in ("Which weights does LoRA leave", "Those of the base model."):
        assert tab.page.get_by_text(text).is_visible()
    assert tab.page.get_by_role("button", name="Show the answer").count() == 0


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(scheme, width, new_tab, examined):
    """Axe looks at contrast, names, roles, and whether the keyboard reaches all."""
    tab = new_tab(width=width, scheme=scheme, bypass_csp=True, reduced_motion="reduce")
    found = {}
    for page in examined:
        tab.open(page)
        tab.page.evaluate(ONE_OF_EACH_COLOUR)
        tab.page.evaluate(AXE)
        for rule in tab.page.evaluate("() => axe.run({resultTypes: ['violations']})")["violations"]:
            if rule["impact"] in ("serious", "critical"):
                nodes = [f"{n['html'][:150]} {n['failureSummary'][:200]}" for n in rule["nodes"]]
                found.setdefault(f"{rule['id']}: {rule['help']}", []).append((page, nodes[:3]))
    assert found == {}
