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

def of_session():
    try:
        group = open("/proc/self/autogroup").read().split()
    except OSError:
        return "none"
    return group[-1] if group else "none"  # the file is empty in a session that no group was made for

threading.Thread(target=threading.Event().wait, daemon=True).start()  # as a record store has
before = of_session()
give_way(session=True)
print({os.getpriority(os.PRIO_PROCESS, int(thread)) for thread in os.listdir("/proc/self/task")})
print(before, of_session())
"""


def niceness(*, own_session: bool) -> tuple[str, str, str]:
    """Of all threads of a process, and of its session among others before and after."""
    done = subprocess.run(
        [sys.executable, "-c", SCENE],
        capture_output=True,
        text=True,
        check=True,
        start_new_session=own_session,
        timeout=30,
    )
    threads, before, after = done.stdout.split()
    return threads, before, after


@only_linux
def test_every_thread_and_the_session_give_way() -> None:
    """Also threads that had begun, and where the kernel shares processor time by session."""
    threads, _, after = niceness(own_session=True)
    assert threads == "{10}"
    assert after in {"10", "none"}


@only_linux
def test_a_terminal_is_not_slowed_down() -> None:
    """What is started by hand shares its session with the shell."""
    threads, before, after = niceness(own_session=False)
    assert threads == "{10}"
    assert after == before
