"""Try the newest versions in an environment of their own: the work of `make update`.

Resolves the newest versions that go together, installs them into `.venv-update`, runs every check
there, and reports which versions changed and what broke. `constraints.txt`, and the table made
from it, are written only if all checks passed; `.venv` is never touched.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

from tools import check, versions

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# The exact versions that the tests ran, for a fresh machine: Python {python} on a CPU.
# Resolved by `uv pip compile`, and written after every check passed in a fresh environment.
"""
# uv reads none of pip's settings, and has the same options.
SHARED = ("index-url", "extra-index-url", "find-links", "constraint")
# The newest of all indexes, as pip takes it; uv by itself stops at the first that has the name.
RESOLVE = ["-m", "uv", "pip", "compile", "pyproject.toml", "--all-extras", "--no-annotate"]
RESOLVE += ["--index-strategy", "unsafe-best-match"]
# What torch's CUDA build brings, each at the version that torch itself names.
OF_CUDA = re.compile(r"nvidia-|cuda-|triton$")


def tested(text: str) -> dict[str, str]:
    """Return the versions that uv resolved, without what only torch for CUDA needs."""
    return {name: v for name, v in versions.pins(text).items() if not OF_CUDA.match(name)}


def as_pip(settings: str) -> list[str]:
    r"""Return options that let uv look where pip looks.

    Args:
        settings: The output of `pip config list`, in which the environment's settings come first.

    Example:
        >>> as_pip(r"global.find-links='\n/wheels\n/more'")
        ['--find-links', '/wheels', '--find-links', '/more']
    """
    options = []
    for name in SHARED:
        if found := re.search(rf"^\S+\.{name}=(.+)$", settings, re.MULTILINE):
            for place in ast.literal_eval(found[1]).split():
                options += [f"--{name}", place]
    return options


def changes(old: dict[str, str], new: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return each package whose version differs: name, version before, version after."""
    rows = [(name, old.get(name, "none"), new.get(name, "none")) for name in sorted(old | new)]
    return [row for row in rows if row[1] != row[2]]


def failures(output: str) -> dict[str, list[str]]:
    """Return what failed, by check, from the output of `tools.check`.

    A check's lines are those in which pytest names a test, or else its last ten, uncolored.
    """
    output = re.sub(r"\x1b\[\d+m", "", output)
    names = "|".join(check.CHECKS)
    body = re.split(rf"^(?:{names}) +(?:ok|FAILED)", output, maxsplit=1, flags=re.MULTILINE)[0]
    parts = re.split(rf"^== ({names})\n", body, flags=re.MULTILINE)
    printed = dict(zip(parts[1::2], parts[2::2], strict=True))
    found = {}
    for name in re.findall(rf"^({names}) +FAILED \(", output, re.MULTILINE):
        lines = printed[name].strip().splitlines()
        tests = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
        found[name] = tests or lines[-10:]
    return found


def report(changed: list[tuple[str, str, str]], broken: dict[str, list[str]]) -> str:
    """Return what was tried and what came of it, as Markdown."""
    lines = ["| package | tested | newest |", "|---|---|---|"]
    lines += [f"| {name} | {before} | {after} |" for name, before, after in changed]
    verdict = f"**Checks that failed: {len(broken)}.**" if broken else "**Every check passed.**"
    lines += ["", f"{len(changed)} packages differ. {verdict}", ""]
    for name, tests in broken.items():
        lines += [f"### {name}", "", "```text", *tests, "```", ""]
    return "\n".join(lines)


def run(command: list[str | Path], *, show: bool = False) -> subprocess.CompletedProcess:
    """Run a command in the project's folder and return it with its output, shown as it comes."""
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if show:
            print(line, end="", flush=True)
    return subprocess.CompletedProcess(command, process.wait(), "".join(lines))


def main(root: Path = ROOT) -> int:
    """Try, report, and write the constraints if all is well. Return 1 if something broke."""
    folder, constraints = root / ".venv-update", root / "constraints.txt"
    old = versions.pins(constraints.read_text("utf-8"))
    settings = run([sys.executable, "-m", "pip", "config", "list"]).stdout
    plan = run([sys.executable, *RESOLVE, "--python", sys.executable, *as_pip(settings)])
    if plan.returncode:
        print("uv finds no set of versions that go together")
        return 1
    new = tested(plan.stdout)
    if not changes(old, new):
        print("Nothing is newer than constraints.txt")
        return 0
    print("Setting up .venv-update", flush=True)
    run([sys.executable, "-m", "venv", "--clear", folder])
    python = folder / "bin" / "python"
    pins = "".join(f"{name}=={version}\n" for name, version in new.items())
    (folder / "pins.txt").write_text(pins, "utf-8")
    pinned = ["--requirement", folder / "pins.txt", "--editable", "."]
    if run([python, "-m", "pip", "install", "--quiet", *pinned]).returncode:
        print("pip could not install what uv had resolved")
        return 1
    checked = run([python, "-m", "tools.check"], show=True)
    broken = failures(checked.stdout)
    if checked.returncode and not broken:
        broken = {"tools.check": checked.stdout.splitlines()[-10:]}
    text = report(changes(old, new), broken)
    (folder / "report.md").write_text(text, "utf-8")
    print(f"\n{text}")
    if broken:
        print("constraints.txt stays as it is. This report: .venv-update/report.md")
        return 1
    header = HEADER.format(python=f"{sys.version_info.major}.{sys.version_info.minor}")
    constraints.write_text(header + pins, "utf-8")
    versions.write(root)
    print("wrote constraints.txt and the table in FAQ.md; `make test` in a fresh .venv comes next")
    return 0


if __name__ == "__main__":
    sys.exit(main())
