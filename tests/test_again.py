"""scripts/again, which runs a few tests that failed once more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

AGAIN = Path(__file__).parent.parent / "scripts/again"
SOMETIMES = """
from pathlib import Path
def test_sometimes():
    seen = Path("seen")
    before = seen.exists()
    seen.touch()
    assert before
"""
NEVER = "def test_never(): assert False"


def pytest_in(folder: Path) -> Path:
    """A pytest of that folder alone."""
    command = folder / "pytest"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m pytest "$@"\n')
    command.chmod(0o755)
    (folder / "pytest.ini").write_text("[pytest]\n")
    return command


@pytest.mark.parametrize(
    ("tests", "status", "said"),
    [
        pytest.param(SOMETIMES, 0, "PASSED ONLY WHEN RUN AGAIN", id="passes then"),
        pytest.param(NEVER, 1, "1 of all tests failed", id="fails again"),
        pytest.param(
            SOMETIMES + "def test_never(): assert False", 1, "2 of all tests failed", id="one of two"
        ),
        pytest.param(
            "import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_never(n): assert False",
            1,
            "4 failed",
            id="too many",
        ),
        pytest.param("def test_ever(", 2, "SyntaxError", id="cannot be read"),
    ],
)
def test_a_few_that_failed_run_once_more(tests: str, status: int, said: str, tmp_path: Path) -> None:
    """Who passes then is named; who fails again, or fails with many others, fails."""
    command = pytest_in(tmp_path)
    (tmp_path / "test_it.py").write_text(tests)
    script = f"{command} || exec {AGAIN} {command} $?"
    done = subprocess.run(
        ["bash", "-c", script],  # as in the Makefile
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert (done.returncode, said in done.stdout) == (status, True), done.stdout
    assert ("once more" in done.stdout) == (" of all tests" in said or status == 0)
