"""What GitHub reads: workflows, Dependabot and issue forms, checked against their schemas.

The schemas are those that check-jsonschema carries along. (actionlint's package fetches its binary
from elsewhere while it installs, so it cannot be had everywhere.)
"""

import importlib.resources
import importlib.util
import json
import re
import tomllib
from pathlib import Path

import pytest
import ruamel.yaml
import yaml
from jsonschema.validators import validator_for
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
SCHEMAS = {
    **dict.fromkeys(WORKFLOWS, "github-workflows"),
    **dict.fromkeys(FORMS, "github-issue-forms"),
    GITHUB / "ISSUE_TEMPLATE" / "config.yml": "github-issue-config",
    GITHUB / "dependabot.yml": "dependabot",
}
PIN = re.compile(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
PERMISSIONS = {  # of the workflows that do more than read the repository
    "release.yml": {"contents": "write"},
    "pages.yml": {"contents": "read", "pages": "write", "id-token": "write"},
}


def schema_problems(text: str, name: str) -> list[str]:
    """Return what a schema finds wrong with a YAML file, a line each."""
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / f"{name}.json").read_text("utf-8"))
    content = ruamel.yaml.YAML(typ="safe").load(text)  # YAML 1.2, in which `on` is no truth value
    return [e.message for e in validator_for(schema)(schema).iter_errors(content)]


def workflow_problems(text: str, name: str) -> list[str]:
    """Return what no schema says is wrong with a workflow, a line each."""
    found = [
        f"not pinned to a commit with its version: {used}"
        for used in re.findall(r"uses: (.+)", text)
        if not PIN.match(used)
    ]
    workflow = yaml.safe_load(text)
    needed = PERMISSIONS.get(name, {"contents": "read"})
    if workflow.get("permissions") != needed:
        found.append(f"its permissions are not {needed}")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for job_name, job in workflow["jobs"].items():
        if "permissions" in job:
            found.append(f"{job_name}: has permissions of its own")
        if "continue-on-error" in yaml.safe_dump(job):
            found.append(f"{job_name}: hides a failure")
        matrix = job.get("strategy", {}).get("matrix", {})
        for used in re.findall(r"matrix\.(\w+)", yaml.safe_dump(job)):
            if used not in matrix:
                found.append(f"{job_name}: matrix.{used} is not in its matrix")
        for step in job["steps"]:
            for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", "")):
                if target not in targets | {"site"}:  # whose folder comes with the site
                    found.append(f"{job_name}: the Makefile has no target {target}")
            for script in re.findall(r"\bpython ([^-\s]\S*)", step.get("run", "")):
                if not (ROOT / script).exists():
                    found.append(f"{job_name}: there is no {script}")
            for module in re.findall(r"\bpython -m (\S+)", step.get("run", "")):
                if not importlib.util.find_spec(module):
                    found.append(f"{job_name}: there is no module {module}")
    return found


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_a_file_fits_its_schema(path):
    assert schema_problems(path.read_text("utf-8"), SCHEMAS[path]) == []


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("workflows/test.yml", "runs-on:", "run-on:"),
        ("workflows/newest.yml", "- cron:", "- crone:"),
        ("dependabot.yml", "github-actions", "github-action"),
        ("ISSUE_TEMPLATE/notebook.yml", "type: input", "type: inputs"),
        ("ISSUE_TEMPLATE/config.yml", "false", "perhaps"),
    ],
)
def test_a_planted_fault_does_not_fit(name, old, new):
    text = (GITHUB / name).read_text("utf-8")
    assert old in text
    assert schema_problems(text.replace(old, new), SCHEMAS[GITHUB / name])


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_well_kept(path):
    assert workflow_problems(path.read_text("utf-8"), path.name) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("test.yml", "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7", "not pinned"),
        ("test.yml", "contents: read", "contents: write", "its permissions are not"),
        ("test.yml", "permissions:\n  contents: read\n", "", "its permissions are not"),
        ("release.yml", "contents: write", "contents: write\n  pages: write", "its permissions"),
        ("pages.yml", "contents: read", "contents: write", "its permissions are not"),
        ("pages.yml", "  id-token: write", "  packages: write", "its permissions are not"),
        (
            "systems.yml",
            "  fast:\n",
            "  fast:\n    permissions: write-all\n",
            "fast: has permissions",
        ),
        (
            "systems.yml",
            "  fast:\n",
            "  fast:\n    continue-on-error: true\n",
            "fast: hides a failure",
        ),
        ("newest.yml", "schemas/parse.py", "schemas/parser.py", "there is no tests/schemas/parser"),
        ("systems.yml", "tools.check", "tools.checks", "fast: there is no module tools.checks"),
        ("test.yml", "matrix.python", "matrix.pyton", "test: matrix.pyton is not in its matrix"),
        ("test.yml", "make test", "make tests", "the Makefile has no target tests"),
    ],
)
def test_planted_faults_in_a_workflow_are_found(name, old, new, problem):
    text = (GITHUB / "workflows" / name).read_text("utf-8")
    assert old in text
    assert any(problem in found for found in workflow_problems(text.replace(old, new), name))


def test_every_python_that_the_course_allows_is_tested_and_no_other():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    allowed = SpecifierSet(project["requires-python"])
    expected = [f"3.{minor}" for minor in range(8, 20) if allowed.contains(f"3.{minor}")]
    workflow = yaml.safe_load((GITHUB / "workflows" / "test.yml").read_text("utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == expected
