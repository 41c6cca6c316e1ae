"""llama.cpp's own converter, quantizer and server: found on the machine, or built once.

The source comes through pip: the source package of llama-cpp-python (MIT) holds all of llama.cpp
(MIT) as of one commit, its converter's scripts included. Four of its programs are compiled for the
processor of this machine; that takes a C++ compiler and some minutes, and is kept in the cache.
"""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from helpers import downloads
from helpers.environment import cache_folder

__all__ = ["PROGRAMS", "SCRIPTS", "install", "is_installed", "run", "tool"]

COMMIT = "0c1e57098bba43ac29e6e3b677cdceebdd22334f"
PACKAGE = downloads.Package(
    requirement="llama-cpp-python==0.3.36",
    file="llama_cpp_python-0.3.36.tar.gz",
    sha256="832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    file_bytes=77_000_000,
    needed_bytes=1_200_000_000,  # the package, its source, and what the compiler writes
    holds="llama.cpp's source",
)
PROGRAMS = ("llama-server", "llama-quantize", "llama-imatrix", "llama-perplexity")
SCRIPTS = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py")
BUILD_TOOLS = {  # what pip brings where they are missing, and where the program lies in it
    "cmake": ("cmake==4.1.2", "cmake/data/bin/cmake"),
    "ninja": ("ninja==1.13.0", "bin/ninja"),
}
# What cmake reads after the project of each name. Files that include the same headers are compiled
# together, which takes a third off the time, but for those that cannot be.
INCLUDES = {
    "ggml": 'set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")',
    "llama.cpp": """\
set(alone common/json.cpp tools/mtmd/mtmd-helper.cpp tools/mtmd/mtmd-helper-gen.cpp)
list(TRANSFORM alone PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")
set(targets llama-common mtmd server-context llama-server-impl)
cmake_language(DEFER CALL set_source_files_properties ${alone}
    TARGET_DIRECTORY llama-common mtmd PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
cmake_language(DEFER CALL set_target_properties ${targets}
    PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)""",
}
OPTIONS = {
    "CMAKE_BUILD_TYPE": "Release",
    # Only ggml computes: the rest is optimized little, which halves the time that compiling takes.
    "CMAKE_CXX_FLAGS_RELEASE": "-O1 -DNDEBUG",
    "CMAKE_BUILD_RPATH_USE_ORIGIN": "ON",  # so that the folder can be moved
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_ALL_WARNINGS": "OFF",
}


def tool(name: str) -> Path:
    """Return where one of llama.cpp's tools lies.

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
        raise FileNotFoundError(f"{name} is not there: run llama_cpp.install() first")
    return found


def is_installed() -> bool:
    """Return whether all tools are there.

    Example:
        >>> is_installed() in (True, False)
        True
    """
    return all(_find(name) for name in PROGRAMS + SCRIPTS)


def install() -> None:
    """Fetch llama.cpp's source and build its tools, unless they are there: some minutes, once.

    Raises:
        RuntimeError: No network, no C++ compiler, a full disk, or the compiler failed. The message
            says what to do.

    Taught in: notebooks/06_deployment.ipynb
    """
    if is_installed():
        return
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise RuntimeError(
            "llama.cpp is compiled here, and there is no C++ compiler: install one (Debian, "
            "Ubuntu: apt install g++; macOS: xcode-select --install), and run this again"
        )
    home = _home()
    with downloads.workplace(home.parent, PACKAGE) as scratch:
        if not is_installed():
            archive = downloads.fetch(PACKAGE, home.parent, scratch)
            source = _unpack(archive, scratch)
            _build(source, scratch)
            shutil.rmtree(home, ignore_errors=True)
            _gather(source, scratch).rename(home)


def run(name: str, *arguments: str | Path) -> str:
    """Run a tool to its end.

    Args:
        name: See `tool`.
        arguments: For its command line.

    Returns:
        All that it printed.

    Raises:
        FileNotFoundError: See `tool`.
        RuntimeError: It failed. The message ends with the last lines that it printed.
    """
    path = tool(name)
    command = [sys.executable, path] if name in SCRIPTS else [path]
    return _run([*command, *arguments], f"{name} failed")


def _home() -> Path:
    return cache_folder() / "llama.cpp" / COMMIT[:9]


def _find(name: str) -> Path | None:
    built = _home() / ("bin" if name in PROGRAMS else "") / name
    if built.exists():
        return built
    found = shutil.which(name)
    return Path(found) if found else None


def _unpack(archive: Path, scratch: Path) -> Path:
    """Unpack llama.cpp's part of the package; return its folder."""
    with tarfile.open(archive) as package:
        prefix = f"{archive.name.removesuffix('.tar.gz')}/vendor/llama.cpp/"
        members = [member for member in package if member.name.startswith(prefix)]
        package.extractall(scratch, members, filter="data")
    return scratch / prefix


def _build(source: Path, scratch: Path) -> None:
    """Compile the programs into `scratch/build/bin`, with a line of progress."""
    cmake, ninja = (_build_tool(name, scratch) for name in BUILD_TOOLS)
    build = scratch / "build"
    options = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    options += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    for project, text in INCLUDES.items():
        included = scratch / f"{project}.cmake"
        included.write_text(f"{text}\n", "utf-8")
        options.append(f"-DCMAKE_PROJECT_{project}_INCLUDE={included}")
    _run([cmake, "-S", source, "-B", build, *options], "cmake could not configure llama.cpp")
    compiler = subprocess.Popen(
        [ninja, "-C", build, *PROGRAMS],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in compiler.stdout:
        lines.append(line)
        if step := re.match(r"\[(\d+)/(\d+)\]", line):
            done, of = map(int, step.groups())
            print(f"\rCompiling llama.cpp: {100 * done // of} %", end="", flush=True)
    print()
    if compiler.wait():
        raise RuntimeError(f"llama.cpp could not be compiled:\n{''.join(lines[-20:])}")


def _build_tool(name: str, scratch: Path) -> Path:
    """Return cmake or ninja: the one on the PATH, else one that pip brings for this build."""
    found = shutil.which(name)
    if found:
        return Path(found)
    requirement, program = BUILD_TOOLS[name]
    target = scratch / name
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--target", target, requirement], f"pip could not fetch {requirement}")
    return target / program


def _gather(source: Path, scratch: Path) -> Path:
    """Return a folder of what is kept: programs, their libraries, scripts, and the licence."""
    kept = scratch / "kept"
    shutil.copytree(scratch / "build/bin", kept / "bin", symlinks=True)
    for name in ("conversion", "gguf-py"):
        shutil.copytree(source / name, kept / name)
    for name in (*SCRIPTS, "LICENSE"):
        shutil.copy(source / name, kept)
    return kept


def _run(command: list[str | Path], complaint: str) -> str:
    ended = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        last = "\n".join(ended.stdout.strip().splitlines()[-5:])
        raise RuntimeError(f"{complaint} (code {ended.returncode}):\n{last}")
    return ended.stdout
