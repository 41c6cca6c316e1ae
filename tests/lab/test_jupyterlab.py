"""Chapter 0 as a reader runs it: in JupyterLab, in a browser, by the menu. Takes five minutes."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tools import browser as chromium

ROOT = Path(__file__).resolve().parents[2]
NAME = "00_tldr.ipynb"
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"  # in the chapter's first cell
SETTINGS = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
IDLE = "() => /\\| Idle/.test(document.querySelector('#jp-main-statusbar')?.innerText || '')"
RUN_SECONDS, START_MS = 900, 120_000


@pytest.fixture
def lab(tmp_path):
    """The address of a JupyterLab, its token, and a copy of the chapter without its outputs."""
    chapter = json.loads((ROOT / "notebooks" / NAME).read_text("utf-8"))
    for cell in _code(chapter):
        cell |= {"execution_count": None, "outputs": []}
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / NAME).write_text(json.dumps(chapter), "utf-8")
    settings = tmp_path / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(SETTINGS), "utf-8")
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    environment = {**os.environ, "FINETUNING_PROFILE": "cpu"}
    environment |= {name: str(tmp_path / folder) for name, folder in places.items()}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    options = [
        *("--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={tmp_path / 'work'}"),
        *("--LabApp.news_url=", "--LabApp.extension_manager=readonly"),
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    log = (tmp_path / "lab.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/status?token={token}", process, log.name)
        yield f"http://127.0.0.1:{port}", token, tmp_path / "work" / NAME
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


def _wait_for(address: str, process: subprocess.Popen, log: str) -> None:
    for _ in range(240):
        assert process.poll() is None, Path(log).read_text("utf-8")
        try:
            urllib.request.urlopen(address, timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise TimeoutError(f"JupyterLab did not start: {Path(log).read_text('utf-8')}")


def _code(notebook: dict) -> list[dict]:
    cells = notebook["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code" and cell["source"]]


def _errors(cells: list[dict]) -> list[str]:
    outputs = [output for cell in cells for output in cell["outputs"]]
    return [output["evalue"] for output in outputs if output["output_type"] == "error"]


def test_chapter_0_runs_in_jupyterlab_and_scores(lab):
    """The kernel's indicator says idle before there is a session; the status bar does not."""
    from playwright.sync_api import sync_playwright

    root, token, notebook = lab
    outside = []

    def route(request_route):
        if request_route.request.url.startswith((root, "data:", "blob:")):
            return request_route.continue_()
        outside.append(request_route.request.url)
        return request_route.abort()

    with sync_playwright() as playwright:
        launched = chromium.launch(playwright)
        context = launched.new_context(viewport={"width": 1280, "height": 900})
        context.route("**/*", route)
        page = context.new_page()
        page.goto(f"{root}/lab/tree/{NAME}?token={token}&reset", wait_until="domcontentloaded")
        page.wait_for_selector(".jp-NotebookPanel .jp-CodeCell", timeout=START_MS)
        page.wait_for_function(IDLE, timeout=START_MS)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name=re.compile("^Run All Cells")).first.click()
        code = []
        end = time.monotonic() + RUN_SECONDS
        while not code or (code[-1]["execution_count"] is None and not _errors(code)):
            assert time.monotonic() < end, f"not at its end after {RUN_SECONDS} s"
            page.keyboard.press("Control+s")
            page.wait_for_timeout(5000)
            code = _code(json.loads(notebook.read_text("utf-8")))
        launched.close()
    assert _errors(code) == []
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    printed = "".join("".join(o.get("text", "")) for o in outputs)
    assert "at least 90 % right in all: True" in printed
    assert set(outside) == {BADGE}
