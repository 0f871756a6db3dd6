"""What every test may count on, however the run was started."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

# A shell that runs the tests in the background has them ignore Ctrl-C, and the processes that tests start
# would inherit that. A handler of Python's own is not inherited: they start with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Containers often set these, people's machines do not: what is written to a closed pipe then fails at exit.
for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(name, None)


JOURNEYS = sorted(path.name for path in Path(__file__).parent.glob("journeys/test_*.py"))
AT_ONCE = 2
"""Whole systems on two cores: with more of them, each is too slow for what it promises."""


def scope_of(test: str) -> str:
    """What runs at one worker: a file, as ever, or half of the journeys, which wait much of their time. They
    leave room for one worker more than there are cores."""
    file = test.partition("::")[0]
    folder, _, name = file.rpartition("/")
    return f"journeys {JOURNEYS.index(name) % AT_ONCE}" if folder == "tests/journeys" else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadfile` by that."""
    if config.getoption("dist") != "loadfile":
        return None
    scheduling: Any = import_module("xdist.scheduler").LoadScopeScheduling(config, log)
    scheduling._split_scope = scope_of
    return scheduling


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Journeys first: what is long must not come last, when there is nothing beside it."""
    items.sort(key=lambda item: item.path.parent.name != "journeys")


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
