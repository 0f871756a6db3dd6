"""What the system lets a process have, and what `airboss up` and the doctor say of it."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_records_files import empty

LIMITS = {
    "open files": (resource.RLIMIT_NOFILE, 64, "a process may have 64 open files here", "`ulimit -n 65536`"),
    "size": (resource.RLIMIT_FSIZE, 1024, "a file may have 1,024 bytes here", "`ulimit -f unlimited`"),
}


def limited(which: int, most: int, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A verb, in a process that may have no more; what it says goes through a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "airboss.cli.main", *command],
        preexec_fn=lambda: resource.setrlimit(which, (most, most)),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", LIMITS)
def test_too_little_is_told_at_the_start(tmp_path: Path, name: str) -> None:
    """With what there is and what to do, before anything is made; by the doctor too."""
    which, most, seen, advice = LIMITS[name]
    done = limited(which, most, "up", "--port", "0", "--console-port", "0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert seen in done.stderr
    assert advice in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
    done = limited(which, most, "doctor", "--json", "--port", "0", "--console-port", "0", cwd=tmp_path)
    (found,) = [each for each in map(json.loads, done.stdout.splitlines()) if each["name"] == "limits"]
    assert (done.returncode, found["verdict"]) == (1, "fail")
    assert (seen in found["seen"], advice in found["advice"]) == (True, True), found


@pytest.mark.parametrize(
    "role",
    ["gateway", "controller", "store", "counters", "replica serve --model m --port 9", "replica ray"],
)
def test_a_role_that_starts_alone_fits_its_limits(tmp_path: Path, role: str) -> None:
    """As `airboss up` does for those that it starts: it takes what it may have, and leaves no core file."""
    which, most, seen, _ = LIMITS["open files"]
    done = limited(which, most, *role.split(), "--data-dir", str(tmp_path / "data"), cwd=tmp_path)
    assert (done.returncode, seen in done.stderr) == (2, True), done


def test_reading_what_a_stopped_one_has_leaves_no_core_file(tmp_path: Path) -> None:
    """Whoever it is that reads."""
    empty(tmp_path / "data")
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from airboss.compose.stopped import stopped_desk\n"
        "with stopped_desk(Path('data')):\n"
        "    print(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
    )
    _, core = resource.getrlimit(resource.RLIMIT_CORE)
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (core, core)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == ("0\n" if core == 0 else "1\n"), done


def test_what_may_be_had_is_taken(tmp_path: Path) -> None:
    """A low limit that this process may raise is no hindrance, for those that it starts neither."""
    code = (
        "import resource, subprocess, sys\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "from airboss.compose.process_limits import fit_limits\n"
        "fit_limits()\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert int(done.stdout) >= 256


def test_a_crash_leaves_no_memory_in_a_file(tmp_path: Path) -> None:
    """Nor does one of those that it starts, also where who starts it has asked for such files."""
    _, core = resource.getrlimit(resource.RLIMIT_CORE)
    code = (
        "import resource, subprocess, sys\n"
        "from airboss.compose.process_limits import fit_limits\n"
        "fit_limits()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
        "dies = 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV)'\n"
        "sys.exit(-subprocess.run([sys.executable, '-c', dies]).returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (core, core)),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (signal.SIGSEGV, "0\n" if core == 0 else "1\n")
    assert list(tmp_path.iterdir()) == []
