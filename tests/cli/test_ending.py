"""How the command ends: where the disk fails it, and whatever its threads are at."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from io import StringIO

import pytest

from airboss.cli.ending import told

PATH = "/data/journal/owner"


@pytest.mark.parametrize("why", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("path", [PATH, None])
def test_a_disk_that_fails_is_told_in_words(
    why: int, path: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which file, why and what to do, and no trace; whoever stops meets it too."""
    monkeypatch.setattr(sys, "stdout", StringIO())  # it is closed
    error = OSError(why, os.strerror(why), path) if path else OSError(why, os.strerror(why))
    with pytest.raises(SystemExit) as ended, told(as_json=False):
        raise error
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert f"{path or 'the output, or a file of Airboss,'} cannot be written: {os.strerror(why)}; " in said
    assert "make that writable" in said


def test_another_failure_is_a_defect() -> None:
    """It is raised, so that the log has its trace."""
    with pytest.raises(PermissionError), told(as_json=False):
        raise PermissionError(errno.EACCES, "no", PATH)


BUSY = """
import sys, threading, weakref
from pathlib import Path
from airboss.cli.ending import leave

class Thing: pass
things, busy = [], threading.Event()

def go_on():  # as a thread does that asks a database
    while True:
        things.append(Thing())
        weakref.finalize(things[-1], int)
        if len(things) > 100_000:
            busy.set()
            del things[0]

def main():
    threading.Thread(target=go_on, daemon=True).start()
    busy.wait()
    print("done", end="")
    sys.exit(int(sys.argv[1])) if sys.argv[1:] else None

leave(main)
"""


@pytest.mark.parametrize("code", [None, "0", "3"])
def test_threads_that_go_on_are_no_defect(code: str | None) -> None:
    """Who ends says what it printed and its exit code, and nothing of what was still under way."""
    done = subprocess.run(
        [sys.executable, "-c", BUSY, *([code] if code else [])],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (int(code or 0), "done", "")


def test_what_cannot_be_printed_at_the_end_is_told() -> None:
    """As Python tells it, by the exit code too."""
    code = "from airboss.cli.ending import leave; leave(lambda: print('done', end=''))"
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    assert (done.returncode, "No space left" in done.stderr) == (120, True)


@pytest.mark.parametrize("module", ["airboss", "airboss.cli.main"])
def test_the_command_leaves_so(module: str) -> None:
    """However it is started: what is registered for the end of Python is not run."""
    code = "import atexit, runpy, sys; atexit.register(print, 'late'); sys.argv = ['airboss', 'version']\n"
    code += f"runpy.run_module({module!r}, run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("airboss ")
    assert "late" not in done.stdout
