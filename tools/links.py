"""Write the repository's address and the course's version into badges, install cells and findings.

`pyproject.toml` holds both; everything else is generated from it.
usage: python -m tools.links [owner/name]
"""

import re
import sys
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = "your_name/fine-tuning-on-one-gpu"  # until the course is published
REPOSITORY = re.compile(r'(?<=Repository = "https://github\.com/)[^"]+')
COLAB = re.compile(r"https://colab\.research\.google\.com/github/[^)]+?/notebooks/")
CITATION = re.compile(r"(?<={https://github\.com/)[^}]+")
CLONE = re.compile(r"(?<=git clone https://github\.com/)\S+")
WHEEL = re.compile(r"(?<=fine_tuning_on_one_gpu-)[\d.]+(?=-py3-none-any\.whl)")
PAGES = re.compile(r'https://[\w.-]+\.github\.io/[\w.-]+(?="|/notebooks/)')  # on the web

BADGE = "[![Open In Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})"
INSTALL = """\
# On Colab this installs the course and leaves torch and numpy alone; elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    import importlib.metadata
    import os
    from glob import glob

    # Your own wheel comes first (Appendix A), from this session's files or from your Drive.
    wheels = glob("fine_tuning_*.whl") or glob("drive/MyDrive/fine-tuning-on-one-gpu/*.whl")
    if wheels:
        course = max(wheels, key=os.path.getmtime) + "[course]"
    else:
        {otherwise}
    # Colab's gradio wants this hub, and its torchao is too old for PEFT's adapters in 16 bits.
    %pip install --quiet "{{course}}" "huggingface_hub<2"
    %pip uninstall -qq --yes torchao
    import pyarrow

    if pyarrow.__version__ != importlib.metadata.version("pyarrow"):
        sys.exit("pyarrow was upgraded: choose Runtime > Restart session, then run all cells")"""
PUBLISHED = (
    'course = "fine-tuning-on-one-gpu[course] @ git+https://github.com/{repository}@v{version}"'
)
UNPUBLISHED = (
    'sys.exit("The course is not on GitHub yet, and no wheel of it is here: see Appendix A")'
)


def _project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]


def repository(root: Path = ROOT) -> str:
    """Return `owner/name` as `pyproject.toml` has it."""
    return _project(root)["urls"]["Repository"].removeprefix("https://github.com/")


def version(root: Path = ROOT) -> str:
    """Return the version as `pyproject.toml` has it; the release's tag is `v` and the version."""
    return _project(root)["version"]


def colab(root: Path = ROOT) -> str:
    """Return the address below which Colab opens the notebooks of this version's release."""
    released = f"{repository(root)}/blob/v{version(root)}"
    return f"https://colab.research.google.com/github/{released}/notebooks/"


def pages(address: str) -> str:
    """Return where GitHub shows the pages of `owner/name`."""
    owner, _, name = address.partition("/")
    return f"https://{owner.lower()}.github.io/{name}"


def generated(tag: str, notebook: str, root: Path = ROOT) -> str:
    """Return the source of a notebook's cell tagged `badge` or `install`."""
    if tag == "badge":
        return BADGE.format(address=colab(root) + notebook)
    otherwise = UNPUBLISHED if repository(root) == PLACEHOLDER else PUBLISHED
    return INSTALL.format(
        otherwise=otherwise.format(repository=repository(root), version=version(root))
    )


def rewrite(root: Path, new: str) -> list[Path]:
    """Set the address to `owner/name` and rewrite all that is generated from it.

    Returns:
        The files that changed.

    Raises:
        ValueError: The address has another form.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", new):
        raise ValueError(f"{new!r} is not of the form owner/name")
    changed = []

    def write(path: Path, text: str) -> None:
        if text != path.read_text("utf-8"):
            path.write_text(text, "utf-8")
            changed.append(path)

    project, readme = root / "pyproject.toml", root / "README.md"
    findings = root / "onegpu" / "preflight" / "findings.py"
    text = REPOSITORY.sub(new, project.read_text("utf-8"))
    write(project, PAGES.sub(pages(new), text))
    text = COLAB.sub(colab(root), readme.read_text("utf-8"))
    text = WHEEL.sub(version(root), CLONE.sub(new, CITATION.sub(new, text)))
    write(readme, PAGES.sub(pages(new), text))
    write(findings, PAGES.sub(pages(new), findings.read_text("utf-8")))
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            for tag in {"badge", "install"} & set(cell.metadata.get("tags", [])):
                cell.source = generated(tag, path.name, root)
        write(path, nbformat.writes(notebook) + "\n")
    return changed


if __name__ == "__main__":
    for file in rewrite(ROOT, sys.argv[1] if len(sys.argv) > 1 else repository()):
        print("rewrote", file.relative_to(ROOT))
