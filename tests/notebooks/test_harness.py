"""The harness itself: each planted fault must fail, and the healthy notebook must pass."""

import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import nbformat
import pytest
import strict_nbval
from test_static import ROOT, problems

HEALTHY = [
    "print('mean 0.1234567')",
    "import matplotlib.pyplot as plt\n\nfrom helpers import style\n\n"
    "style.use_style()\nplt.plot([1, 2])\nplt.title('Up');",
    # It outlives its line, because the kernel reads it in a thread: what comes as the cell ends is
    # lost at times, when the machine is busy.
    "import subprocess\n\nsubprocess.run('echo from a subprocess; sleep 0.5', shell=True);",
    "from IPython.display import clear_output\n\nprint('progress')\nclear_output()\nprint('done')",
    "{'loss': 0.5}",
    "n_right = 38\nassert n_right > 30\nprint(n_right, 'of 40, 95 %')",
]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory) -> Path:
    """An executed notebook that uses all that nbval alone gets wrong."""
    path = tmp_path_factory.mktemp("harness") / "healthy.ipynb"
    cells = [nbformat.v4.new_code_cell(source) for source in HEALTHY]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    # As `make notebooks` does: outside of pytest, whose variable in the environment would make
    # the kernel lose what subprocesses print.
    env = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
    subprocess.run([sys.executable, "-m", "tools.notebook", path], cwd=ROOT, env=env, check=True)
    return path


def nbval(path: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-p", "strict_nbval", "--nbval", "-q", str(path)]
    command += ["--nbval-current-env", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml")]
    sanitize = ["--nbval-sanitize-with", str(ROOT / "tests/notebooks/sanitize.cfg")]
    return subprocess.run(
        [*command, *sanitize, "-p", "no:cacheprovider"], capture_output=True, text=True, cwd=ROOT
    )


def planted(healthy: Path, folder: Path, cell: int, change) -> Path:
    """Write a copy of the healthy notebook with one cell changed."""
    notebook = nbformat.read(healthy, as_version=4)
    change(notebook.cells[cell])
    path = folder / "planted.ipynb"
    nbformat.write(notebook, path)
    return path


def test_the_healthy_notebook_passes(healthy, tmp_path):
    path = shutil.copy(healthy, tmp_path)
    run = nbval(Path(path))
    assert run.returncode == 0, run.stdout
    assert f"{len(HEALTHY)} passed" in run.stdout
    assert re.search(r"\d s  \S*healthy.ipynb$", run.stdout, re.MULTILINE)


def test_the_seconds_of_each_notebook_are_printed(capsys):
    """The start of a kernel is no cell, and a cell that failed took its time too."""

    def took(name: str, seconds: float) -> types.SimpleNamespace:
        return types.SimpleNamespace(location=(name, 0, ""), duration=seconds)

    deselected = types.SimpleNamespace(location=("a.ipynb", 0, ""))
    reporter = types.SimpleNamespace(write_line=print)
    reporter.stats = {
        "": [took("a.ipynb", 0.5), took("b.ipynb", 0.25)],
        "passed": [took("a.ipynb", 2), took("b.ipynb", 40), took("c.py", 9)],
        "failed": [took("a.ipynb", 1)],
        "deselected": [deselected],
    }
    strict_nbval.pytest_terminal_summary(reporter)
    assert capsys.readouterr().out.splitlines() == ["  40.2 s  b.ipynb", "   3.5 s  a.ipynb"]


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("torch 2.13.0+cpu, trl 1.16.0", "torch 2.15.0, trl 1.16.0"),
        ("ValueError: too long", "\x1b[1;35mValueError\x1b[0m: \x1b[35mtoo long\x1b[0m"),
        (
            "got an unexpected keyword argument 'a'",
            "got an unexpected keyword argument 'a'. Did you mean 'b'?",
        ),
    ],
    ids=["version", "color", "suggestion"],
)
def test_what_newer_versions_print_otherwise_passes(healthy, tmp_path, stored, new):
    """Nothing newer ever passed: two cells print torch's version, and three Python's errors."""

    def newer(cell):
        cell.source = f"print({new!r})"
        cell.outputs[0].text = stored + "\n"

    run = nbval(planted(healthy, tmp_path, 0, newer))
    assert run.returncode == 0, run.stdout


def wrong_value(cell):
    cell.outputs[0].text = "mean 0.1244567\n"


def missing_figure(cell):
    cell.outputs.clear()


def larger_figure(cell):
    cell.source = cell.source.replace("plt.plot", "plt.figure(figsize=(9, 9))\nplt.plot")


def lost_subprocess_output(cell):
    cell.outputs.clear()


def extra_warning(cell):
    cell.source = "import warnings\n\nwarnings.warn('new')\n" + cell.source


def never_run(cell):
    cell.execution_count = None
    cell.outputs.clear()


def another_error(cell):
    cell.source = "1 / 0"


def counted(stored: str, *tags: str):
    """Return a change of the cell that prints '38 of 40, 95 %': what is stored, and its tags."""

    def counts(cell):
        cell.outputs[0].text = stored + "\n"
        cell.metadata["tags"] = list(tags)

    return counts


@pytest.mark.parametrize(
    ("cell", "change", "message"),
    [
        (0, wrong_value, "outputs differ"),
        (1, missing_figure, "images differ"),
        (1, larger_figure, "images differ"),
        (2, lost_subprocess_output, "outputs differ"),
        (0, extra_warning, "outputs differ"),
        (4, never_run, "never run"),
        (3, another_error, "ZeroDivisionError"),
        (5, counted("37 of 40, 95 %"), "'38 of 40': off by 1, and 0 is allowed"),
        (5, counted("41 of 40, 95 %", "within-2"), "'38 of 40': off by 3, and 2 is allowed"),
        (5, counted("38 of 41, 95 %", "within-2"), "outputs differ"),
        (5, counted("38 of 40, 98 %", "within-2"), "'95 %': off by 3, and 2 is allowed"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_planted_fault_fails(healthy, tmp_path, cell, change, message):
    run = nbval(planted(healthy, tmp_path, cell, change))
    assert run.returncode == 1, run.stdout
    assert message in run.stdout
    assert "1 failed" in run.stdout


def test_counts_within_their_tag_pass(healthy, tmp_path):
    run = nbval(planted(healthy, tmp_path, 5, counted("40 of 40, 93 %", "within-2")))
    assert run.returncode == 0, run.stdout


def test_counts_in_a_table_may_differ_by_as_much():
    """Tables are stored as HTML and as text; what stands between the counts is compared."""
    table = "<td>LoRA 16</td><td>{} of 40</td><td>{}%</td>"
    stored, new = table.format(38, 95), table.format(36, 100)
    assert strict_nbval.equal_but_for_counts(stored, new)
    assert strict_nbval.largest_difference(stored, new) == (5, "'95%' is now '100%'")
    for other in (new.replace("16", "17"), new.replace("40", "41"), new.replace("%", "")):
        assert not strict_nbval.equal_but_for_counts(stored, other)


@pytest.mark.parametrize("text", ["16", "9.5 %", "1,038 of 2,000", "1e-5 %", "v3 of 4", "3 of a"])
def test_other_numbers_are_no_counts(text):
    assert not strict_nbval.COUNT.search(text)


@pytest.mark.parametrize(
    ("stored", "new", "same"),
    [
        ("loss 0.123456", "loss 0.123457", True),
        ("loss 0.12", "loss 0.13", False),
        ("38 of 40", "37 of 40", False),
        ("a 0.5", "b 0.5", False),
        ("1e-5  x", "1.00001e-5 x", True),
        ("0.1 0.2", "0.1", False),
    ],
)
def test_decimals_are_compared_within_a_tolerance(stored, new, same):
    assert strict_nbval.equal_but_for_rounding(stored, new) is same


def stderr(cell):
    cell.outputs.append(nbformat.v4.new_output("stream", name="stderr", text="warning"))


def widget(cell):
    data = {"application/vnd.jupyter.widget-view+json": {}}
    cell.outputs.append(nbformat.v4.new_output("display_data", data=data))


def home_path(cell):
    cell.outputs[0].text = "/home" + "/reader/adapter"


def token(cell):
    cell.source += "\nlogin('hf_" + "a" * 30 + "')"


def silent_skip(cell):
    cell.metadata["tags"] = ["nbval-skip"]


def out_of_order(cell):
    cell.execution_count = 7


def syntax_error(cell):
    cell.source = "print("


def no_alt(cell):
    cell.outputs.append(nbformat.v4.new_output("display_data", data={"image/png": ""}))


def tagged(tag: str, source: str, printed: str):
    def within(cell):
        cell.metadata["tags"] = [tag]
        cell.source, cell.outputs[0].text = source, printed

    return within


ASSERTED = "assert n_right > 30\nprint(n_right, 'of 40')"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (no_alt, "without alt text"),
        (tagged("within-x", ASSERTED, "38 of 40"), "write one tag, such as within-2"),
        (tagged("within-", ASSERTED, "38 of 40"), "write one tag, such as within-2"),
        (tagged("within-2", "print(n_right, 'of 40')", "38 of 40"), "without an assert"),
        (tagged("within-2", ASSERTED, "0.95"), "no count"),
        (stderr, "stderr is stored"),
        (widget, "widget's state"),
        (home_path, "machine's path"),
        (token, "access token"),
        (silent_skip, "without a comment"),
        (out_of_order, "in order"),
        (syntax_error, "was never closed"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_planted_flaw_is_found_without_running(healthy, tmp_path, change, message):
    path = planted(healthy, tmp_path, 0, change)
    notebook = nbformat.read(path, as_version=4)
    before = problems(healthy, nbformat.read(healthy, as_version=4))
    new = set(problems(path, notebook)) - set(before)
    assert any(message in line for line in new), new


def test_generated_cells_and_captions_are_missed(healthy):
    """The healthy notebook has a figure without a caption, no badge and no install cell."""
    found = problems(healthy, nbformat.read(healthy, as_version=4))
    assert [line for line in found if "badge" in line or "install" in line or "captions" in line]
    assert len(found) == 3


def test_a_link_to_no_heading_is_found(healthy):
    notebook = nbformat.read(healthy, as_version=4)
    notebook.cells.append(
        nbformat.v4.new_markdown_cell("## A heading\n\n[a](#A-heading) [b](#none)")
    )
    nbformat.write(notebook, healthy.with_name("linked.ipynb"))
    found = problems(healthy.with_name("linked.ipynb"), notebook)
    assert [line for line in found if "link to" in line] == [
        "link to #none, a heading that linked.ipynb does not have"
    ]
