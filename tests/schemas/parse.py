"""Parse a task file of `deploy/` with the tool that it is for, which must be installed.

usage: python tests/schemas/parse.py skypilot|dstack
"""

import sys
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"


def parse(tool: str) -> object:
    """Return the task as the tool understands it; the tool raises an error if it does not."""
    if tool == "skypilot":
        import sky

        return sky.Task.from_yaml(str(DEPLOY / "skypilot.yaml")).resources
    import yaml
    from dstack._internal.core.models.configurations import parse_apply_configuration

    text = (DEPLOY / "course.dstack.yml").read_text("utf-8")
    return parse_apply_configuration(yaml.safe_load(text))


if __name__ == "__main__":
    print(parse(sys.argv[1]))
