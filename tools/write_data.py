"""Write the Yoda data set into the package, from its grammar."""

import json

from helpers import yoda


def text(split: str) -> str:
    """Return the content of a split's JSONL file."""
    return "".join(json.dumps(row) + "\n" for row in yoda.rows(split))


if __name__ == "__main__":
    for name in yoda.SPLITS:
        (yoda.DATA_FOLDER / f"{name}.jsonl").write_text(text(name), "utf-8")
