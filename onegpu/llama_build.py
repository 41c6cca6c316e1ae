"""Compile llama.cpp's tools from a pinned source.

The source comes through pip: the source package of llama-cpp-python (MIT) holds all of llama.cpp
(MIT) as of one commit, its converter's scripts included. Compiling four of its programs takes a C++
compiler and some minutes.
"""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from onegpu import downloads, processes, progress

__all__ = ["COMMIT", "PACKAGE", "PROGRAMS", "SCRIPTS", "build", "tiny_model"]

# The commit of llama.cpp.
COMMIT = "0c1e57098bba43ac29e6e3b677cdceebdd22334f"
# The package that holds its source.
PACKAGE = downloads.Package(
    requirement="llama-cpp-python==0.3.36",
    file="llama_cpp_python-0.3.36.tar.gz",
    sha256="832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
    file_bytes=77_000_000,
    needed_bytes=1_200_000_000,  # the package, its source, and what the compiler writes
    holds="llama.cpp's source",
)
# What is compiled.
PROGRAMS = ("llama-server", "llama-quantize", "llama-imatrix", "llama-perplexity")
# What is copied and run by Python.
SCRIPTS = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py")
BUILD_TOOLS = {  # what pip brings where they are missing, and where the program lies in it
    "cmake": ("cmake==4.1.2", "cmake/data/bin/cmake"),
    "ninja": ("ninja==1.13.0", "bin/ninja"),
}
# What cmake reads after the project of each name. Files that include the same headers are compiled
# together, which takes a third off the time, but for those that cannot be.
INCLUDES = {
    # Some virtual machines list AMX and do not grant it, and every quantized model then dies of
    # SIGILL. A compiler for another architecture knows no such option, and needs none.
    "ggml": """\
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-mno-amx-tile KNOWS_AMX)
if(KNOWS_AMX)
    add_compile_options(-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)
endif()""",
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


def build(cache: Path, scratch: Path, *, portable: bool) -> Path:
    """Compile the tools.

    Args:
        cache: Where a reader without a network puts the source package.
        scratch: Where all work is done.
        portable: For the instructions that most processors of this architecture have (on x86
            AVX2), instead of all that this one has.

    Returns:
        A folder in `scratch`: `bin` with programs and libraries, scripts, and the licence.

    Raises:
        RuntimeError: The source cannot be fetched, or the compiler failed.
    """
    source = scratch / PACKAGE.file.removesuffix(".tar.gz") / "vendor/llama.cpp"
    if not source.exists():
        _unpack(downloads.fetch(PACKAGE, cache, scratch), scratch)
    name = "portable" if portable else "native"
    options = OPTIONS | {"GGML_NATIVE": "OFF" if portable else "ON"}
    _compile(source, scratch / f"build-{name}", options, scratch)
    return _gather(source, scratch / f"build-{name}", scratch / name)


def tiny_model(path: Path) -> Path:
    """Write a GGUF file of a few random weights in 4 and 8 bits, to try a build with.

    Args:
        path: The file to write.

    Returns:
        The file, about 70 KB: a Llama of one layer, 64 wide, and 259 tokens.
    """
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quants

    size, kinds = 64, (GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0)
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(2048)
    writer.add_embedding_length(size)
    writer.add_feed_forward_length(2 * size)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * len(words))
    writer.add_token_types([TokenType.UNKNOWN, *[TokenType.CONTROL] * 2, *[TokenType.BYTE] * 256])
    shapes = {f"blk.0.attn_{name}": (size, size) for name in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.ffn_{name}": (2 * size, size) for name in ("gate", "up")}
    shapes["blk.0.ffn_down"] = (size, 2 * size)
    shapes |= {"token_embd": (len(words), size), "output": (len(words), size)}
    generator = np.random.default_rng(0)
    for number, (name, shape) in enumerate(shapes.items()):
        weights = generator.standard_normal(shape, dtype=np.float32)
        kind = kinds[number % len(kinds)]
        writer.add_tensor(f"{name}.weight", quants.quantize(weights, kind), raw_dtype=kind)
    for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(size, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _unpack(archive: Path, scratch: Path) -> None:
    """Unpack llama.cpp's part of the package."""
    with tarfile.open(archive) as package:
        prefix = f"{archive.name.removesuffix('.tar.gz')}/vendor/llama.cpp/"
        members = [member for member in package if member.name.startswith(prefix)]
        package.extractall(scratch, members, filter="data")


def _compile(source: Path, build: Path, settings: dict[str, str], scratch: Path) -> None:
    """Compile the programs into `build/bin`."""
    cmake, ninja = (_build_tool(name, scratch) for name in BUILD_TOOLS)
    options = [f"-D{name}={value}" for name, value in settings.items()]
    options += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    for project, text in INCLUDES.items():
        included = scratch / f"{project}.cmake"
        included.write_text(f"{text}\n", "utf-8")
        options.append(f"-DCMAKE_PROJECT_{project}_INCLUDE={included}")
    processes.run(
        [cmake, "-S", source, "-B", build, *options], "cmake could not configure llama.cpp"
    )
    print("Compiling llama.cpp: some minutes, once", flush=True)
    compiler = subprocess.Popen(
        [ninja, "-C", build, *PROGRAMS],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    with progress.bar(what="compiling llama.cpp", unit="file") as shown:
        for line in compiler.stdout:
            lines.append(line)
            if step := re.match(r"\[(\d+)/(\d+)\]", line):
                done, shown.total = map(int, step.groups())
                shown.update(done - shown.n)
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
    processes.run([*pip, "--target", target, requirement], f"pip could not fetch {requirement}")
    return target / program


def _gather(source: Path, build: Path, kept: Path) -> Path:
    """Copy what is kept into a folder: programs, their libraries, scripts, and the licence."""
    shutil.copytree(build / "bin", kept / "bin", symlinks=True)
    for name in ("conversion", "gguf-py"):
        shutil.copytree(source / name, kept / name)
    for name in (*SCRIPTS, "LICENSE"):
        shutil.copy(source / name, kept)
    return kept
