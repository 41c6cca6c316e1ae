"""An environment that stands in for Colab: its Python, its packages, and its own package's name.

`google.colab` is a stub: it has the shell's name that libraries look for, the packages that the
original imports when a session starts, and the versions that it insists on.
"""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

from tools import links, update

__all__ = [
    "IMPORTED",
    "build",
    "find_python",
    "is_built",
    "packages",
    "python_of",
    "variables",
    "version",
]

ROOT = Path(__file__).resolve().parents[2]
PYTHON = "3.13"
VERSIONS = Path(__file__).with_name("versions.txt")
# Of what `import google.colab` has imported when the first cell runs, what pip can replace. Colab
# shows a button to restart the session where a cell has installed another version of it.
IMPORTED = {
    *("certifi", "decorator", "ipykernel", "ipython", "ipywidgets", "jedi", "numpy", "packaging"),
    *("pillow", "platformdirs", "prompt-toolkit", "psutil", "pygments", "pyparsing"),
    *("python-dateutil", "pyzmq", "six", "tornado", "traitlets"),
}
STUB = {
    "colab_kernel_launcher.py": """\
from google.colab import Kernel
from ipykernel.kernelapp import IPKernelApp

IPKernelApp.launch_instance(kernel_class=Kernel)
""",
    "google/colab/__init__.py": """\
import certifi, dateutil, ipywidgets, numpy, packaging, PIL, psutil
from ipykernel.ipkernel import IPythonKernel
from ipykernel.zmqshell import ZMQInteractiveShell


class Shell(ZMQInteractiveShell):
    def init_magics(self):
        super().init_magics()
        self.register_magic_function(lambda line: self.system(f"pip {line}"), magic_name="pip")


class Kernel(IPythonKernel):
    def _shell_class_default(self):
        return Shell
""",
    "google/colab/userdata.py": """\
class SecretNotFoundError(Exception):
    pass


class NotebookAccessError(Exception):
    pass


class TimeoutException(Exception):
    pass


def get(key):
    raise SecretNotFoundError(f"Secret {key} does not exist.")
""",
    "google_colab-1.0.0.dist-info/METADATA": """\
Metadata-Version: 2.1
Name: google-colab
Version: 1.0.0
Requires-Dist: google-auth==2.49.0
Requires-Dist: ipykernel==6.17.1
Requires-Dist: ipyparallel==8.8.0
Requires-Dist: ipython==7.34.0
Requires-Dist: jupyter-server==2.20.0
Requires-Dist: pandas==2.2.3
Requires-Dist: portpicker==1.5.2
Requires-Dist: requests==2.32.4
Requires-Dist: tornado==6.5.7
""",
}


def find_python(given: str | None = None) -> Path:
    """Return a Python of Colab's version: the one given, the system's, or pyenv's.

    Raises:
        ValueError: There is none, or the one given has another version or does not run.
    """
    if given:
        candidates = [given]
    else:
        pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
        candidates = [f"python{PYTHON}", *sorted(map(str, pyenv.glob(f"{PYTHON}.*/bin/python")))]
    for path in filter(None, map(shutil.which, candidates)):
        # pyenv has a command for each of its Pythons; those that are not chosen fail.
        if version(path).startswith(f"{PYTHON}."):
            return Path(path)
    where = f"{given!r} is none" if given else "it is neither on the PATH nor among pyenv's"
    raise ValueError(
        f"Colab has Python {PYTHON}, and {where}: install it (`pyenv install {PYTHON}`), or name "
        "one with --python"
    )


def version(python: str | Path) -> str:
    """Return the version of a Python, nothing where it does not run."""
    command = [python, "-c", "import platform; print(platform.python_version())"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def python_of(folder: Path) -> Path:
    """Return the Python of an environment."""
    return folder / "bin" / "python"


def variables(folder: Path) -> dict[str, str]:
    """Return the variables of a session: this process's, with the environment's commands first.

    Neither the profile nor an environment that is active here may reach the session.
    """
    hidden = ("FINETUNING_PROFILE", "PYTHONPATH", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    path = os.pathsep.join([str(folder / "bin"), os.environ.get("PATH", "")])
    return {**kept, "PATH": path, "COLAB_RELEASE_TAG": "release-colab"}


def packages(folder: Path) -> str:
    """Return what is installed, as `pip freeze` prints it."""
    return update.run([python_of(folder), "-m", "pip", "list", "--format", "freeze"]).stdout


def _digest() -> str:
    """Return a digest of what an environment is made of, the install cell included."""
    files = [VERSIONS, ROOT / "requirements.txt"]
    texts = [path.read_text("utf-8") for path in files] + [links.INSTALL, *STUB.values()]
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def is_built(folder: Path) -> bool:
    """Return whether an environment is there, complete, and made of what it is made of today."""
    stamp = folder / "stamp"  # written last
    return stamp.exists() and stamp.read_text("utf-8") == _digest()


def build(folder: Path, python: Path) -> None:
    """Make an environment that has Colab's packages, the stub, and a kernel named `colab`.

    Raises:
        RuntimeError: A command failed; what it printed stands above.
    """
    print(f"Setting up {folder.name}: about ten minutes and 8 GB, once", flush=True)
    commands = [
        [python, "-m", "venv", "--clear", folder],
        [python_of(folder), "-m", "pip", "install", "--quiet", "--requirement", VERSIONS],
    ]
    for command in commands:
        if update.run(command, show=True).returncode:
            raise RuntimeError(f"`{' '.join(map(str, command))}` failed")
    (site,) = folder.glob("lib/python*/site-packages")
    for name, text in STUB.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text, "utf-8")
    command = [str(python_of(folder)), "-Xfrozen_modules=off"]  # or its debugger prints a warning
    command += ["-m", "colab_kernel_launcher", "-f", "{connection_file}"]
    kernel = {"argv": command, "display_name": "Colab", "language": "python"}
    kernels = folder / "kernels" / "colab"
    kernels.mkdir(parents=True, exist_ok=True)
    (kernels / "kernel.json").write_text(json.dumps(kernel), "utf-8")
    (folder / "before.txt").write_text(packages(folder), "utf-8")
    (folder / "stamp").write_text(_digest(), "utf-8")
