"""How the command ends: where the disk fails it, and whatever its threads are at."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from airboss import __version__
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
    exec(sys.argv[1])

leave(main)
"""


def left(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """What comes of a process with this code."""
    command = [sys.executable, "-c", code, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(command, text=True, check=False, timeout=60, **pipes)


@pytest.mark.parametrize(
    ("how", "code", "told"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no')", 1, "no\n"),
        ("raise KeyboardInterrupt", 130, ""),
        ("sys.stdout.close()", 0, ""),
    ],
)
def test_threads_that_go_on_are_no_defect(how: str, code: int, told: str) -> None:
    """Who ends says what it printed and its exit code, and nothing of what was still under way."""
    done = left(BUSY, how)
    assert (done.returncode, done.stdout, done.stderr) == (code, "done", told)


def test_a_defect_is_told_once() -> None:
    """With its trace, and nothing of what was still under way."""
    done = left(BUSY, "raise RuntimeError('ours')")
    assert (done.returncode, done.stdout, done.stderr.count("Traceback")) == (1, "done", 1), done.stderr
    assert done.stderr.endswith("RuntimeError: ours\n")


@pytest.mark.parametrize(("end", "code"), [("pass", 2), ("sys.exit(3)", 3)])
def test_what_cannot_be_printed_at_the_end_is_told(end: str, code: int) -> None:
    """In words, and by the exit code where there is no other, whatever threads are at."""
    with Path("/dev/full").open("w") as full:
        done = left(BUSY, end, stdout=full)
    assert done.returncode == code
    assert done.stderr.startswith("airboss: the output, or a file of Airboss, cannot be written: No space")
    assert done.stderr.count("\n") == 1


def test_an_error_that_cannot_be_told_has_its_exit_code() -> None:
    """Where stderr goes to a full disk."""
    code = "from airboss.cli.main import process; process()"
    with Path("/dev/full").open("w") as full:
        assert left(code, "records", "--data-dir", "/none-such", stderr=full).returncode == 2


def test_nobody_reads_any_more() -> None:
    """Nothing is told of that, where it is seen only at the end either."""
    read, write = os.pipe()
    os.close(read)
    done = left("from airboss.cli.ending import leave; leave(lambda: print('done', end=''))", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_streams_that_are_closed() -> None:
    """Who started us may have closed all three: it is printed to nowhere, and no file that is opened takes
    the place of one."""
    code = "import os; from airboss.cli.ending import leave\n"
    code += "def main(): print('lost'); os._exit(10 + os.open('/dev/null', os.O_RDONLY))\n"
    shell = 'exec "$0" -c "$1" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", shell, sys.executable, code + "leave(main)"], check=False, timeout=60)
    assert done.returncode >= 13


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_file_is_utf_8_whatever_the_locale_is(encoding: str) -> None:
    """As JSON and configurations are; no letter is lost, and none is a defect."""
    code = "from airboss.cli.ending import leave\nfrom airboss.cli.output import print_json\n"
    code += "leave(lambda: print_json({'of': 'größe 日本'}))"
    command = [sys.executable, "-c", code]
    env = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, env=env, check=False, timeout=60)
    assert (done.returncode, done.stdout.decode()) == (0, '{"of":"größe 日本"}\n'), done.stderr


def test_a_terminal_that_knows_few_letters() -> None:
    """It gets a mark for each of the others."""
    screen, ours = os.openpty()
    command = [sys.executable, "-c", "from airboss.cli.ending import leave; leave(lambda: print('größe'))"]
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, stdout=ours, stderr=subprocess.PIPE, env=env, check=False, timeout=60)
    os.close(ours)
    assert (done.returncode, done.stderr, os.read(screen, 100)) == (0, b"", b"gr??e\r\n")
    os.close(screen)


LOADING = """
import runpy, signal, sys

class Interrupts:  # as Ctrl-C does in the moment in which that is looked for
    def find_spec(self, name, path, target=None):
        if name == loaded:
            signal.raise_signal(signal.SIGINT)

loaded, sys.argv[1] = sys.argv[1], "version"
sys.meta_path.insert(0, Interrupts())
runpy.run_module("airboss", run_name="__main__")
"""


@pytest.mark.parametrize("module", ["typer", "airboss.cli.version"])
def test_ctrl_c_while_a_verb_is_loaded(module: str) -> None:
    """It ends quietly, as it does later on."""
    done = left(LOADING, module)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("module", ["airboss", "airboss.cli.main"])
def test_the_command_leaves_so(module: str) -> None:
    """However it is started: what is registered for the end of Python is not run."""
    code = "import atexit, runpy, sys; atexit.register(print, 'late'); sys.argv = ['airboss', 'version']\n"
    done = left(code + f"runpy.run_module({module!r}, run_name='__main__')")
    assert (done.returncode, done.stdout) == (0, f"airboss {__version__}\n")
