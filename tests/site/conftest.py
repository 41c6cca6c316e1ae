"""The site, built once with sample decks; a local server; Chromium with the outside shut off."""

import functools
import http.server
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tools import browser as chromium
from tools.site import build

DECKS = Path(__file__).parent / "flashcards"


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("site")
    return build.build(folder / "html", source=folder / "source", decks=DECKS).parent


@pytest.fixture(scope="session")
def pages(site) -> list[str]:
    """Every page, as a path from the folder of the site."""
    found = sorted(site.rglob("*.html"))
    return [str(p.relative_to(site)) for p in found if "_static" not in p.parts]


@pytest.fixture(scope="session")
def examined(site, pages) -> list[str]:
    """The pages for slow checks: of the reference, a package's and the three longest modules'."""
    modules = [page for page in pages if re.fullmatch(r"reference/\w+\.\w+\.html", page)]
    modules.sort(key=lambda page: (site / page).stat().st_size)
    return [page for page in pages if page not in modules[:-3]]


@pytest.fixture(scope="session")
def soups(site, pages) -> dict[str, BeautifulSoup]:
    """The parsed pages by their paths."""
    return {page: BeautifulSoup((site / page).read_text("utf-8"), "lxml") for page in pages}


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def server(site):
    """The address of a server of the site on this machine."""
    handler = functools.partial(_QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium. SITE_TESTS=skip skips the tests that need it."""
    if os.environ.get("SITE_TESTS") == "skip":
        pytest.skip("SITE_TESTS=skip")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = chromium.launch(playwright)
        yield launched
        launched.close()


@dataclass
class Tab:
    """A page of the browser, and all that went wrong in it."""

    page: object
    root: str
    problems: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Open a page of the site, and wait for its scripts and equations."""
        self.page.goto(self.root + path, wait_until="load")
        self.page.evaluate("() => window.MathJax?.startup?.promise")


@pytest.fixture
def new_tab(browser, server):
    """Return a function that opens a tab; requests to other hosts are stopped and noted."""
    contexts = []

    def make(*, width: int = 1280, scheme: str = "light", root: str = server, **options) -> Tab:
        size = {"width": width, "height": 844 if width < 700 else 900}
        context = browser.new_context(viewport=size, color_scheme=scheme, **options)
        contexts.append(context)
        tab = Tab(context.new_page(), root)

        def route(request_route):
            url = request_route.request.url
            if url.startswith((root, "data:", "blob:")):
                return request_route.continue_()
            tab.problems.append(f"asked for {url}")
            return request_route.abort()

        context.route("**/*", route)
        note = tab.problems.append
        tab.page.on("console", lambda m: note(m.text) if m.type == "error" else None)
        tab.page.on("pageerror", lambda error: note(str(error)))
        tab.page.on(
            "response", lambda r: note(f"{r.status} for {r.url}") if r.status >= 400 else None
        )
        return tab

    yield make
    for context in contexts:
        context.close()
