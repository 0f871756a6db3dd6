"""What every test may count on, however the run was started."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A shell that runs the tests in the background has them ignore Ctrl-C, and the processes that tests start
# would inherit that. A handler of Python's own is not inherited: they start with the default.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Containers often set these, people's machines do not: what is written to a closed pipe then fails at exit.
for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(name, None)
# To rewrite the assertions of every test takes a worker twelve seconds, to read them rewritten none.
sys.dont_write_bytecode = False
# Whoever says nothing else has httpx2 wait for an answer for five seconds, which pass on a busy machine.
with suppress(ImportError):
    import httpcore2
    import httpx2

    # Each client would read the machine's certificates anew, which takes longer than most calls.
    httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)
    patience = (httpx2.Client.__init__.__kwdefaults__ or {})["timeout"]  # one object for all of its functions
    patience.connect = patience.read = patience.write = patience.pool = 60.0
# What is loaded and collected is a million objects that stay: to look through them meanwhile is a third of
# the time that it takes. `pytest_collection` sets them apart and looks for garbage again.
gc.disable()


@atexit.register
def look_once() -> None:
    """At the end all is looked through once more, not thrice: DuckDB complains of what is not taken apart."""
    gc.disable()
    gc.unfreeze()


# How long an example takes is the machine's: one that is held up is no fault, to be made smaller for minutes.
settings.register_profile("tests", settings(), deadline=None)
settings.load_profile("tests")


MEMORY, ROOM_BYTES = Path("/dev/shm"), 12 << 30
"""Files in memory, and how much of it has to be free: tests of nine rooms, three at a time, wrote 1.8 GB."""


def free_memory() -> int:
    """Bytes that files in memory may take; 0 where there is no such place."""
    try:
        room = os.statvfs(MEMORY)
        [line] = [each for each in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in each]
    except (OSError, ValueError):  # no Linux
        return 0
    return min(room.f_bavail * room.f_frsize, int(line.split()[1]) * 1024)


# Where there is much memory, what tests write stays in it until the run ends. A disk is waited for at each
# `fsync`, and ext4 without a journal looks for an inode among all that were freed in the last minutes: six
# tenths of the processor time of an insert into ClickHouse, nine tenths of the time of some files here.
if "TMPDIR" not in os.environ and free_memory() >= ROOM_BYTES:
    for left in MEMORY.glob("ab-[0-9]*-*"):  # by a run that was killed
        if not Path("/proc", left.name.split("-")[1]).exists():
            shutil.rmtree(left, ignore_errors=True)
    tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix=f"ab-{os.getpid()}-", dir=MEMORY)
    Path(tempfile.tempdir).chmod(0o1777)  # as /tmp is: some tests are another user's
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)


LONG = (
    "store/test_rollups.py",
    "gateway/test_engine.py",
    "store/test_clickhouse_tags.py",
    "console/test_loop_browser.py",
    "cli/test_up.py",
    "store/test_clickhouse_people.py",
    "console/test_browser.py",
    "store/test_contract.py",
    "store/test_contract_spans.py",
    "store/test_contract_scores.py",
    "store/test_erase.py",
    "store/test_contract_messages.py",
    "test_tidy.py",
    "test_examples.py",
    "test_setup.py",
)
"""Files that take half a minute and more."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`--dist loadfile`, with journeys apart."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.support.lanes import Lanes  # noqa: PLC0415 - there may be no xdist

    return Lanes(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Tests look for their own garbage only, not through all that was collected."""
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Journeys first, then what is long: it must not come last, with nothing beside it."""

    def turn(item: pytest.Item) -> int:
        file = item.nodeid.partition("::")[0].removeprefix("tests/")
        return 0 if file.startswith("journeys/") else 1 if file in LONG else 2

    items.sort(key=turn)


def children() -> set[int]:
    """The processes that this one has started, or had started as copies, and that run, on Linux; elsewhere
    none are seen."""
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found |= set(map(int, path.read_text().split()))
    if forked := sys.modules.get("tests.support.forked"):
        return found - forked.originals() | forked.workers()
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
