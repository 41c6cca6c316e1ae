"""Run Chapter 0 and say what came of it: the work of `make run`.

What is there is used again: the model, and the adapter with its scores as long as neither the
notebook, nor the library, nor the profile has changed.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

from nbclient.exceptions import CellExecutionError

from helpers import adapters, environment, models
from tools import notebook

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = ROOT / "notebooks" / "00_tldr.ipynb"
LIBRARY = ("onegpu", "helpers")
SETUP_SECONDS = ROOT / ".venv" / ".installed"


def fingerprint(profile: environment.Profile) -> str:
    """Return a digest of all that decides the outcome: profile, versions, library, chapter."""
    digest = hashlib.sha256(repr(profile).encode())
    library = [path for name in LIBRARY for path in sorted((ROOT / name).rglob("*.py"))]
    for path in [ROOT / "constraints.txt", *library]:
        digest.update(path.read_bytes())
    for cell in json.loads(CHAPTER.read_text("utf-8"))["cells"]:
        digest.update("".join(cell["source"]).encode())
    return digest.hexdigest()


def run(profile: environment.Profile) -> dict:
    """Fetch the model, execute the chapter, and return what is to be reported."""
    start = time.monotonic()
    models.source(profile)
    seconds = {"fetch and check the model": time.monotonic() - start}
    copy = environment.runs_folder() / CHAPTER.name
    sections = notebook.execute(CHAPTER, copy)
    seconds |= {f"chapter: {name or 'setup'}": passed for name, passed in sections.items()}
    return {"fingerprint": fingerprint(profile), "seconds": seconds}


def show(folder: Path, seconds: dict[str, float]) -> None:
    """Print answers, scores, the adapter, the time of each phase, and what to open next."""
    results = adapters.read_report(folder)["results"]
    for example in results["examples"]:
        print(f"\n  sentence  {example['sentence']}")
        print(f"  before    {' '.join(example['before'].split())[:90]}")
        print(f"  after     {example['after']}")
    scores = results["scores"]
    print(f"\nOn {scores['all']['sentences']} held-out sentences     before    after")
    for name, row in scores.items():
        n = row["sentences"]
        for label, measure, unit in (
            ("exact match", "exact", f" of {n}"),
            ("chrF", "chrF", ""),
        ):
            before, after = row[f"{measure} before"], row[f"{measure} after"]
            print(f"  {name:10} {label:12}  {before:7.0f}{unit}  {after:5.0f}{unit}")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"\nThe adapter: {folder.relative_to(ROOT)} ({size / 1e6:.0f} MB)")
    print("\nSeconds:")
    for name, passed in seconds.items():
        print(f"  {passed:6.0f}  {name}")
    print("\nNext: `make lab` opens the course; start with notebooks/00_tldr.ipynb.")


def main() -> int:
    """Run or reuse, then report. Return the exit code."""
    try:
        profile = environment.profile()
        folder = adapters.adapter_folder(profile)
        record = environment.runs_folder() / "first_run.json"
        known = json.loads(record.read_text("utf-8")) if record.exists() else {}
        usable = known.get("fingerprint") == fingerprint(profile) and adapters.read_report(folder)
        if usable:
            print("Chapter 0 was run before and nothing has changed since: its results again.")
        else:
            known = run(profile)
            if SETUP_SECONDS.exists():
                installed = float(SETUP_SECONDS.read_text() or 0)
                known["seconds"] = {"install": installed, **known["seconds"]}
            record.write_text(json.dumps(known, indent=1), "utf-8")
    except (ValueError, RuntimeError, CellExecutionError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    show(folder, known["seconds"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
