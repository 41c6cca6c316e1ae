"""Try the newest versions in an environment of their own: the work of `make update`.

Resolves the requirements without the constraints, installs them into `.venv-update`, runs every
check there, and reports which versions changed and what broke. `constraints.txt`, and the table
made from it, are written only if all checks passed; `.venv` is never touched.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import check
import versions

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# The exact versions that the tests ran, for a fresh machine: Python {python} on a CPU.
# Made by `pip freeze` in a fresh environment after every check passed there.
"""
EVERYTHING = ".[dev,site,browser]"
# What torch's CUDA build brings, each at the version that torch itself names.
OF_CUDA = re.compile(r"nvidia-|cuda-|triton$")


def tested(text: str) -> dict[str, str]:
    """Return the versions in the output of `pip freeze`, without what only torch for CUDA needs."""
    return {name: v for name, v in versions.pins(text).items() if not OF_CUDA.match(name)}


def resolved(report: str) -> dict[str, str]:
    """Return the versions in a report of `pip install --report`, this project left out."""
    items = json.loads(report)["install"]
    found = (item["metadata"] for item in items if not item.get("is_direct"))
    return tested("\n".join(f"{data['name']}=={data['version']}" for data in found))


def changes(old: dict[str, str], new: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return each package whose version differs: name, version before, version after."""
    rows = [(name, old.get(name, "none"), new.get(name, "none")) for name in sorted(old | new)]
    return [row for row in rows if row[1] != row[2]]


def failures(output: str) -> dict[str, list[str]]:
    """Return what failed, by check, from the output of `tools/check.py`.

    A check's lines are those in which pytest names a test, or else its last ten, uncoloured.
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
    print("Setting up .venv-update", flush=True)
    run([sys.executable, "-m", "venv", "--clear", folder])
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--editable", EVERYTHING]
    plan = run([*install, "--dry-run", "--report", "-"])
    if plan.returncode:
        print("pip finds no set of versions that go together")
        return 1
    if not changes(old, resolved(plan.stdout)):
        print("Nothing is newer than constraints.txt")
        return 0
    if run(install).returncode:
        print("pip could not install what it had resolved")
        return 1
    frozen = run([python, "-m", "pip", "freeze", "--exclude-editable"]).stdout
    new = tested(frozen)
    checked = run([python, root / "tools" / "check.py"], show=True)
    broken = failures(checked.stdout)
    if checked.returncode and not broken:
        broken = {"tools/check.py": checked.stdout.splitlines()[-10:]}
    text = report(changes(old, new), broken)
    (folder / "report.md").write_text(text, "utf-8")
    print(f"\n{text}")
    if broken:
        print("constraints.txt stays as it is. This report: .venv-update/report.md")
        return 1
    header = HEADER.format(python=f"{sys.version_info.major}.{sys.version_info.minor}")
    pins = "".join(f"{name}=={version}\n" for name, version in new.items())
    constraints.write_text(header + pins, "utf-8")
    versions.write(root)
    print("wrote constraints.txt and the table in FAQ.md; `make test` in a fresh .venv comes next")
    return 0


if __name__ == "__main__":
    sys.exit(main())
