"""Bars of long work: drawn on a terminal, and nowhere else."""

import io
import sys

from onegpu import llama_build, processes, progress


def terminal(monkeypatch) -> io.StringIO:
    """Put a terminal in the place of stderr."""
    found = io.StringIO()
    found.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", found)
    return found


def test_a_bar_is_drawn_on_a_terminal_and_is_gone_at_the_end(monkeypatch):
    stderr = terminal(monkeypatch)
    assert list(progress.bar("abc", what="letters")) == ["a", "b", "c"]
    drawn = stderr.getvalue()
    assert "letters:   0%" in drawn
    assert drawn.endswith("\r"), "nothing is left of it"


def test_bytes_are_shortened(monkeypatch):
    stderr = terminal(monkeypatch)
    with progress.bar(what="reading", total=2_000_000, unit="B") as shown:
        shown.update(2_000_000)
        shown.refresh()
    assert "2.00M/2.00M" in stderr.getvalue()


def test_nothing_is_drawn_elsewhere(capsys):
    assert list(progress.bar("abc", what="letters")) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_compiling_shows_how_far_it_is(monkeypatch, tmp_path, capsys):
    stderr = terminal(monkeypatch)
    ninja = tmp_path / "ninja"
    lines = "".join(f"echo '[{n}/400] compiling {n}.cpp'\n" for n in (1, 2, 3, 400))
    ninja.write_text(f"#!/bin/sh\n{lines}", "utf-8")
    ninja.chmod(0o755)
    monkeypatch.setattr(processes, "run", lambda *arguments: "")
    monkeypatch.setattr(llama_build, "_build_tool", lambda name, scratch: ninja)
    steps = []
    original = progress.bar

    def bar(**settings):
        steps.append(original(**settings))
        return steps[-1]

    monkeypatch.setattr(progress, "bar", bar)
    llama_build._compile(tmp_path, tmp_path / "build", {}, tmp_path)
    assert [(shown.n, shown.total) for shown in steps] == [(400, 400)]
    assert "compiling llama.cpp" in stderr.getvalue()
    assert capsys.readouterr().out == "Compiling llama.cpp: some minutes, once\n"
