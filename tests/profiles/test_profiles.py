"""Every notebook that asks for the machine's profile runs as `t4` and as `pod`, on this CPU.

The small model takes the place of the large ones. See `gpu_profiles_on_a_cpu.py` for what a CPU
cannot do; optimizers that page to the computer's memory are not tried either.
"""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from onegpu.sources import EMBEDDED

HERE = Path(__file__).resolve().parent
NOTEBOOKS = sorted((HERE.parent.parent / "notebooks").glob("*.ipynb"))


def asks_for_the_profile(path):
    """Whether a notebook takes the machine's profile; the others name theirs, and it is `cpu`."""
    cells = nbformat.read(path, as_version=4).cells
    return any("environment.profile()" in cell.source for cell in cells)


@pytest.mark.parametrize("profile", ["pod", "t4"])
@pytest.mark.parametrize(
    "path", [p for p in NOTEBOOKS if asks_for_the_profile(p)], ids=lambda path: path.stem
)
def test_a_notebook_runs_as_a_gpu_profile(path, profile, tmp_path):
    startup = tmp_path / "profile_default" / "startup"
    startup.mkdir(parents=True)
    shutil.copy(HERE / "gpu_profiles_on_a_cpu.py", startup)
    client = NotebookClient(
        nbformat.read(path, as_version=4),
        timeout=3600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    )
    variables = {"FINETUNING_PROFILE": profile, "FINETUNING_BASE_MODEL": EMBEDDED}
    client.execute(env={**os.environ, **variables, "IPYTHONDIR": str(tmp_path)})
    printed = "".join(
        output.get("text", "") for cell in client.nb.cells for output in cell.get("outputs", [])
    )
    assert f"profile: {profile}" in printed
