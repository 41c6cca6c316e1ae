"""llama.cpp's own converter, quantizer and server: found on the machine, or compiled once.

Builds are kept in the cache, one folder for each kind of processor, because a build may not run on
an older one. `onegpu.llama_build` compiles them.
"""

import functools
import hashlib
import platform
import re
import shutil
import sys
import tempfile
from pathlib import Path

from onegpu import downloads, llama_build, processes
from onegpu.downloads import cache_folder
from onegpu.llama_build import PROGRAMS, SCRIPTS

__all__ = ["PROGRAMS", "SCRIPTS", "install", "is_installed", "run", "tool"]

CPU_INFO = Path("/proc/cpuinfo")  # Linux: what the processor can do
# The instruction sets that a compiler chooses from; other flags tell of the kernel and its patches.
INSTRUCTIONS = re.compile(
    r"\b(?:s?sse\w+|avx\w*|fma\w*|f16c|bmi\d|amx_\w+|asimd\w*|i8mm|bf16|s[mv]e\w*|vxe?)\b"
)


def tool(name: str) -> Path:
    """Return the path of one of llama.cpp's tools.

    Args:
        name: One of `PROGRAMS` or `SCRIPTS`.

    Returns:
        The one that `install` built, else the one on the machine's PATH.

    Raises:
        ValueError: There is no such tool.
        FileNotFoundError: It is not there yet.
    """
    if name not in PROGRAMS + SCRIPTS:
        raise ValueError(f"unknown tool {name!r}: choose one of {', '.join(PROGRAMS + SCRIPTS)}")
    found = _find(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: run llama_cpp.install() first")
    return found


def is_installed() -> bool:
    """Return whether all tools are there.

    Returns:
        True where `tool` finds each of them, whether it runs or not.

    Example:
        >>> is_installed() in (True, False)
        True
    """
    return all(_find(name) for name in PROGRAMS + SCRIPTS)


def install() -> None:
    """Make sure that llama.cpp's tools are installed and run on this machine: minutes, once.

    Installed tools are tested on a tiny quantized model. Where they are missing or fail, they are
    compiled for this processor; where such a build fails the test, a portable one replaces it. Why
    it compiles again is printed.

    Raises:
        RuntimeError: No network, no C++ compiler, a full disk, the compiler failed, or even the
            portable build fails. The message says what to do.

    Taught in: notebooks/06_deployment.ipynb
    """
    if is_installed() and not _crash():
        return
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise RuntimeError(
            "llama.cpp has to be compiled on this machine, and there is no C++ compiler. Install "
            "one (Debian, Ubuntu: apt install g++; macOS: xcode-select --install), and run this "
            "again"
        )
    home = _home()
    with downloads.workplace(home.parent, llama_build.PACKAGE) as scratch:
        kinds = [False, True]
        if home.exists():  # it crashes on what it was compiled for, and would do so again
            kinds = [True]
        for portable in kinds:
            if is_installed():
                crash = _crash()
                if not crash:  # another process may have compiled it meanwhile
                    return
                print(f"llama.cpp is installed, but it failed a test on this machine: {crash}")
            if portable:
                print("Compiling a portable build: it runs slower, but on nearly every processor")
            built = llama_build.build(home.parent, scratch, portable=portable)
            shutil.rmtree(home, ignore_errors=True)
            built.rename(home)
        crash = _crash()
        if crash:
            raise RuntimeError(
                f"llama.cpp was compiled, but even the portable build failed: {crash}\nInstall "
                "llama.cpp another way, so that these are on your PATH: "
                f"{', '.join(PROGRAMS + SCRIPTS)}. Then delete {home}, which comes before the PATH"
            )


def run(name: str, *arguments: str | Path) -> str:
    """Run a tool to its end.

    Args:
        name: See `tool`.
        *arguments: For its command line.

    Returns:
        All that it printed.

    Raises:
        FileNotFoundError: See `tool`.
        RuntimeError: It failed. The message ends with the last lines that it printed.
    """
    path = tool(name)
    command = [sys.executable, path] if name in SCRIPTS else [path]
    return processes.run([*command, *arguments], f"{name} failed")


@functools.cache
def _processor() -> str:
    """Return what a build is compiled for: architecture, C library, and instruction sets."""
    found = platform.processor()
    text = CPU_INFO.read_text("utf-8") if CPU_INFO.exists() else ""
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    if flags:
        found = " ".join(sorted(set(INSTRUCTIONS.findall(flags[1]))))
    short = hashlib.sha256(found.encode()).hexdigest()[:8]
    return "-".join(part for part in (platform.machine(), *platform.libc_ver(), short) if part)


def _home() -> Path:
    """Return the folder of the build for this processor, whether it is there or not."""
    return cache_folder() / "llama.cpp" / f"{llama_build.COMMIT[:9]}-{_processor()}"


def _find(name: str) -> Path | None:
    built = _home() / name
    if name in PROGRAMS:
        built = _home() / "bin" / name
    if built.exists():
        return built
    found = shutil.which(name)
    return Path(found) if found else None


def _crash() -> str:
    """Test the tools on a tiny quantized model. Return what went wrong, or an empty string."""
    from onegpu import serving  # which imports this module

    with tempfile.TemporaryDirectory() as folder:
        model = llama_build.tiny_model(Path(folder) / "tiny.gguf")
        try:
            with serving.serve(model) as server:
                serving.request(server, "/completion", {"prompt": "Hello", "n_predict": 2})
        except (OSError, RuntimeError) as error:
            return str(error)
    return ""
