"""What every test may count on, however the run was started."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest

# A shell that runs the tests in the background has them ignore Ctrl-C, and the processes that tests start
# would inherit that. A handler of Python's own is not inherited: they start with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Containers often set these, people's machines do not: what is written to a closed pipe then fails at exit.
for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(name, None)


def children() -> set[int]:
    """The processes that this one has started and that run, on Linux; elsewhere none are seen."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found |= set(map(int, path.read_text().split()))
    return found


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """A test that fails or takes too long leaves no process running; fixtures end their own."""
    before = children()
    try:
        return (yield)
    except pytest.skip.Exception:
        raise
    except BaseException:
        for pid in children() - before:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        raise
