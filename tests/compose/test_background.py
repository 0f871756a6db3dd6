"""Controller and store give way to gateways and engines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

only_linux = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="niceness of threads is read in /proc, which only Linux has"
)

SCENE = """
import os, threading
from airboss.compose.background import give_way

stop = threading.Event()
threading.Thread(target=stop.wait).start()  # as the record store's own, which begin before
give_way(session=True)
print({os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir("/proc/self/task")})
try:
    print(open("/proc/self/autogroup").read().split()[-1])
except OSError:
    print("none")
stop.set()
"""


def niceness(*, own_session: bool) -> tuple[str, str]:
    """Of all threads of a process, and of its session among others."""
    done = subprocess.run(
        [sys.executable, "-c", SCENE],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=own_session,
    )
    threads, session = done.stdout.split("\n")[:2]
    return threads, session


@only_linux
def test_every_thread_and_the_session_give_way() -> None:
    """Also threads that had begun, and where the kernel shares processor time by session."""
    threads, session = niceness(own_session=True)
    assert threads == "{10}"
    assert session in {"10", "none"}


@only_linux
def test_a_terminal_is_not_slowed_down() -> None:
    """What is started by hand shares its session with the shell."""
    before = niceness(own_session=True)[1]
    threads, session = niceness(own_session=False)
    assert threads == "{10}"
    assert session != "10" or before == "none"
