"""Builds that crash, and servers that are killed, with stand-ins that kill themselves."""

import os
import shutil
import signal
import stat
import sys

import pytest

from onegpu import llama_build, llama_cpp, processes, serving

FAKE_SERVER = """\
#!{python}
import http.server, os, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == {dies_at!r}:
            os.kill(os.getpid(), {how})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{{}}")

    do_POST = do_GET

print("loading", flush=True)
if {dies_at!r} == "start":
    os.kill(os.getpid(), {how})
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def program(path, *, dies_at="", how=signal.SIGILL):
    """Write a program that serves nothing, and kills itself at its start or at a request."""
    path.write_text(FAKE_SERVER.format(python=sys.executable, dies_at=dies_at, how=int(how)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("how", "meaning"),
    [
        (signal.SIGILL, r"instruction this processor lacks\. Run llama_cpp\.install\(\)"),
        (signal.SIGKILL, r"memory ran out\. Close other programs"),
    ],
)
@pytest.mark.parametrize("dies_at", ["start", "/completion"])
def test_a_server_that_is_killed(monkeypatch, tmp_path, dies_at, how, meaning):
    """All that was said of a crash on another processor was "code 132"."""
    fake = program(tmp_path / "llama-server", dies_at=dies_at, how=how)
    monkeypatch.setattr(llama_cpp, "tool", lambda name: fake)
    model = tmp_path / "model.gguf"
    model.touch()
    expected = rf"(?s)llama-server was killed by {how.name}: .*{meaning}.*loading"
    with (
        pytest.raises((RuntimeError, ConnectionError), match=expected),
        serving.serve(model) as server,
    ):
        serving.request(server, "/completion", {"prompt": "Hello"})


def test_a_program_that_is_killed():
    """A tool's end is told in the same words as a server's."""
    script = f"import os; print('half', flush=True); os.kill(os.getpid(), {int(signal.SIGKILL)})"
    with pytest.raises(RuntimeError, match=r"(?s)it did not: it was killed by SIGKILL: .*half"):
        processes.run([sys.executable, "-c", script], "it did not")
    with pytest.raises(RuntimeError, match="it did not: it ended with code 3"):
        processes.run([sys.executable, "-c", "raise SystemExit(3)"], "it did not")
    assert processes.how_it_ended(-9) == processes.how_it_ended(137)
    assert processes.how_it_ended(127) == "ended with code 127"
    assert processes.how_it_ended(255) == "ended with code 255"


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with a compiler and nothing built; what is "compiled" is noted, and may crash."""
    machine = type("Machine", (), {"built": [], "crashing": {"native"}})()

    def build(cache, scratch, *, portable):
        kind = "portable" if portable else "native"
        machine.built.append(kind)
        kept = scratch / kind
        (kept / "bin").mkdir(parents=True)
        for name in llama_cpp.PROGRAMS:
            program(kept / "bin" / name, dies_at="start" if kind in machine.crashing else "")
        for name in llama_cpp.SCRIPTS:
            (kept / name).touch()
        return kept

    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "c++").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("FINETUNING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(llama_build, "build", build)
    cpu_info = tmp_path / "cpuinfo"
    cpu_info.write_text("flags\t\t: fpu sse2 avx2 avx512_bf16 amx_tile\nbugs: none\n")
    monkeypatch.setattr(llama_cpp, "CPU_INFO", cpu_info)
    llama_cpp._processor.cache_clear()
    yield machine
    llama_cpp._processor.cache_clear()


def test_a_build_that_crashes_is_compiled_again_portable(machine, capsys):
    """On a processor that listed AMX without granting it, all quantized models died of SIGILL."""
    llama_cpp.install()
    assert machine.built == ["native", "portable"]
    said = capsys.readouterr().out
    assert "it failed a test on this machine: llama-server ended before it answered" in said
    assert "was killed by SIGILL" in said
    assert "Compiling a portable build" in said
    llama_cpp.install()  # it is tried again, and runs
    assert machine.built == ["native", "portable"]


def test_a_build_that_runs_is_kept(machine, capsys):
    machine.crashing = set()
    llama_cpp.install()
    llama_cpp.install()
    assert machine.built == ["native"]
    assert capsys.readouterr().out == ""


def test_a_build_that_crashes_even_portable(machine):
    machine.crashing = {"native", "portable"}
    with pytest.raises(RuntimeError, match=r"(?s)even the portable build failed: .*SIGILL.*PATH"):
        llama_cpp.install()


def test_a_build_from_a_machine_of_the_same_kind_that_crashes_here(machine):
    """Two machines may list the same instructions, and one of them not grant some."""
    machine.crashing = set()
    llama_cpp.install()
    program(llama_cpp.tool("llama-server"), dies_at="start")
    llama_cpp.install()
    assert machine.built == ["native", "portable"]


def test_programs_on_the_path_are_taken_if_they_run(machine, tmp_path, capsys):
    for name in llama_cpp.PROGRAMS + llama_cpp.SCRIPTS:
        program(tmp_path / "path" / name)
    llama_cpp.install()
    assert machine.built == []
    for name in llama_cpp.PROGRAMS:
        program(tmp_path / "path" / name, dies_at="start")
    machine.crashing = set()
    llama_cpp.install()
    assert machine.built == ["native"]
    assert "it failed a test on this machine" in capsys.readouterr().out
    assert llama_cpp.tool("llama-server").parent != tmp_path / "path"


def test_a_build_for_another_processor_is_not_taken(machine):
    """A cache that was moved, or is shared, held one build for all."""
    machine.crashing = set()
    llama_cpp.install()
    first = llama_cpp.tool("llama-server")
    llama_cpp.CPU_INFO.write_text("flags\t\t: fpu sse2 avx2\n")
    llama_cpp._processor.cache_clear()
    assert not llama_cpp.is_installed()
    with pytest.raises(FileNotFoundError, match=r"run llama_cpp\.install\(\) first"):
        llama_cpp.tool("llama-server")
    llama_cpp.install()
    assert machine.built == ["native", "native"]
    assert first.exists()  # the other machine finds its own again
    llama_cpp.CPU_INFO.write_text("flags\t\t: avx2 sse2 fpu ibrs md_clear\n")
    llama_cpp._processor.cache_clear()
    assert llama_cpp.is_installed()  # flags that no compiler asks for, in another order


def test_the_tiny_model_is_a_whole_file(tmp_path):
    from gguf import GGUFReader

    reader = GGUFReader(llama_build.tiny_model(tmp_path / "tiny.gguf"))
    kinds = {tensor.tensor_type.name for tensor in reader.tensors}
    assert kinds == {"F32", "Q8_0", "Q4_0"}


def test_no_amx_is_compiled_in(tmp_path):
    """The option is asked for where the compiler knows it, and then nothing uses AMX."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None or os.uname().machine != "x86_64":
        pytest.skip("needs a compiler for x86-64")
    options = llama_build.INCLUDES["ggml"].split("add_compile_options(")[1].split(")")[0].split()
    command = [compiler, "-march=sapphirerapids", "-dM", "-E", "-x", "c++", "/dev/null"]
    with_amx = processes.run(command, "the compiler failed")
    assert "__AMX_INT8__" in with_amx
    assert "__AMX" not in processes.run([*command, *options], "the compiler failed")
