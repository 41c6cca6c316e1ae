"""Which checks run, and with how many threads."""

import importlib.util
import sys

import pytest

from tools import check

PRINT_THREADS = [sys.executable, "-c", "import os; print('threads', os.environ['OMP_NUM_THREADS'])"]


@pytest.fixture(autouse=True)
def checks(monkeypatch):
    """Two quick checks in place of the real ones, one of them in two processes."""
    fails = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(
        check, "CHECKS", {"threads": [*PRINT_THREADS, *check.IN_TWO], "fails": fails}
    )
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_two_processes_have_a_thread_each_unless_the_caller_says_otherwise(monkeypatch, capsys):
    """The caller's OMP_NUM_THREADS was overwritten, so that no other number could be tried."""
    assert check.main(["threads"]) == 0
    assert "threads 1" in capsys.readouterr().out
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert check.main(["threads"]) == 0
    assert "threads 4" in capsys.readouterr().out


def test_only_the_checks_that_are_named(capsys):
    assert check.main(["threads"]) == 0
    assert "1 passed, 0 failed" in capsys.readouterr().out
    assert check.main([]) == 1
    assert "1 passed, 1 failed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        check.main(["notebook"])
    assert "unknown check 'notebook': choose from threads, fails" in capsys.readouterr().err


def test_each_check_is_a_module_that_is_there():
    for name, command in check.FAST_CHECKS.items():
        assert command[:2] == [sys.executable, "-m"], name
        assert importlib.util.find_spec(command[2]), name
