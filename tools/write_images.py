"""Write the pictures of the Markdown pages into `images/`, and that of the chat page.

The chat page is shot in a browser, on the Q8_0 file that Chapter 6 leaves in `runs/`. Without that
file or a Chromium the picture stays as it is.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from helpers import figures, yoda
from helpers.environment import runs_folder
from tools import browser

IMAGES = Path(__file__).resolve().parent.parent / "images"
SIZE, SCALE = {"width": 560, "height": 390}, 1.3


def shoot_chat_page(model: Path, path: Path) -> None:
    """Ask the model one sentence on its chat page, and write what the browser shows."""
    from playwright.sync_api import sync_playwright

    from onegpu import serving

    with serving.serve(model) as server, sync_playwright() as playwright:
        chromium = browser.launch(playwright)
        page = chromium.new_page(viewport=SIZE, device_scale_factor=SCALE, color_scheme="light")
        page.goto(server.url)
        page.fill("#system", yoda.INSTRUCTION)
        page.fill("#text", "The farmer was feeding the duck.")
        page.get_by_role("button", name="Send").click()
        page.wait_for_function("!document.getElementById('form').inert")
        page.screenshot(path=path)
        chromium.close()


if __name__ == "__main__":
    for draw in (figures.journey, figures.tunnel):
        draw().figure.savefig(IMAGES / f"{draw.__name__}.png", dpi=120)
    served = runs_folder() / "yoda-deployed" / "yoda-Q8_0.gguf"
    if served.exists() and browser.find():
        shoot_chat_page(served, IMAGES / "chat_page.png")
    else:
        print("the chat page is not shot: run Chapter 6, and python -m tools.browser")
