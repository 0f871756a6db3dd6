"""One child process, for real."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from airboss.supervisor.lifeline import Lifeline
from airboss.supervisor.process import LINE_BYTES_MAX, Child, Command
from tests.supervisor.children import alive, known, python
from tests.support.wait import until


async def finish(command: Command) -> tuple[int, list[tuple[str, str]]]:
    """Run a child to its end; returns its exit code and what it printed."""
    lines: list[tuple[str, str]] = []
    lifeline = Lifeline()
    child = await Child.start(
        command, lifeline=lifeline, on_line=lambda name, line: lines.append((name, line))
    )
    code = await child.wait()
    assert not known(child.pid), "a child that has ended is not left as a zombie"
    lifeline.close()
    return code, lines


def test_lines_come_with_the_name() -> None:
    """Lines of stdout and stderr reach us one by one with the child's name, the unended last one too."""
    code = (
        "import sys; print('one', flush=True); print('two', file=sys.stderr, flush=True); print(end='three')"
    )
    assert asyncio.run(finish(python("kid", code))) == (0, [("kid", "one"), ("kid", "two"), ("kid", "three")])


def test_an_endless_line_is_cut() -> None:
    """A line without end is passed on in bounded pieces, not gathered in memory."""
    code, lines = asyncio.run(finish(python("kid", f"print('x' * {LINE_BYTES_MAX * 5}, end='')")))
    assert code == 0
    assert sum(len(line) for _, line in lines) == LINE_BYTES_MAX * 5
    assert max(len(line) for _, line in lines) <= LINE_BYTES_MAX * 2


def test_bytes_that_are_not_text_do_no_harm() -> None:
    """Output that is not UTF-8 is shown with replacement characters."""
    code = "import sys; sys.stdout.buffer.write(b'a\\xffb\\n')"
    assert asyncio.run(finish(python("kid", code))) == (0, [("kid", "a\ufffdb")])


def test_environment_and_descriptors_are_passed() -> None:
    """The child gets its additions to the environment and the descriptors named, and no others of ours."""
    ours, passed = os.pipe()
    code = (
        "import os\nos.write(int(os.environ['FD']), b'hello')\n"
        "try: os.fstat(int(os.environ['OURS']))\nexcept OSError: print('closed')"
    )
    command = Command(
        name="kid",
        argv=python("kid", code).argv,
        env={"FD": str(passed), "OURS": str(ours)},
        pass_fds=(passed,),
    )
    assert asyncio.run(finish(command)) == (0, [("kid", "closed")])
    assert os.read(ours, 10) == b"hello"
    os.close(ours)
    os.close(passed)


@pytest.mark.parametrize(("end", "code"), [(Child.kill, -9), (Child.terminate, 3)], ids=["killed", "asked"])
def test_whoever_ends_leaves_nobody(end: Callable[[Child], None], code: int) -> None:
    """The exit code is told, or minus the signal, and what a child had started is ended with it."""

    async def scenario() -> tuple[int, int]:
        lines: asyncio.Queue[str] = asyncio.Queue()
        script = (
            "import signal, subprocess, sys\n"
            "kid = subprocess.Popen([sys.executable, '-S', '-c', 'import signal; signal.pause()'])\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
            "print(kid.pid, flush=True)\nkid.wait()"
        )
        lifeline = Lifeline()
        child = await Child.start(
            python("kid", script), lifeline=lifeline, on_line=lambda _name, line: lines.put_nowait(line)
        )
        grandchild = int(await lines.get())
        end(child)
        ended = await asyncio.wait_for(child.wait(), 60)
        lifeline.close()
        return ended, grandchild

    ended, grandchild = asyncio.run(scenario())
    assert ended == code
    try:
        assert until(lambda: not alive(grandchild), timeout_s=30)
    finally:
        with suppress(ProcessLookupError):
            os.kill(grandchild, signal.SIGKILL)


def test_an_output_that_somebody_else_keeps_open_delays_no_end() -> None:
    """One that a child started, and that has made itself a session."""
    code = (
        "import subprocess, sys\n"
        "argv = [sys.executable, '-S', '-c', 'import signal; signal.pause()']\n"
        "print(subprocess.Popen(argv, start_new_session=True).pid, flush=True)"
    )
    ended, lines = asyncio.run(asyncio.wait_for(finish(python("kid", code)), 60))
    os.kill(int(lines[0][1]), signal.SIGKILL)
    assert ended == 0


@pytest.mark.parametrize("steps", range(6))
def test_a_start_that_is_given_up_leaves_nothing_open(steps: int) -> None:
    """However far it was: no descriptor, and no process."""

    async def scenario() -> None:
        lifeline = Lifeline()
        argv = python("kid", "import signal; signal.pause()").argv
        command = Command(name="kid", argv=argv, tells=True)
        start = asyncio.create_task(Child.start(command, lifeline=lifeline, on_line=lambda *_: None))
        for _ in range(steps):
            await asyncio.sleep(0)
        start.cancel()
        try:
            child = await start
        except asyncio.CancelledError:
            pass
        else:
            child.kill()
            assert not await child.serves()
            await child.wait()
            child.hang_up()
        lifeline.close()

    asyncio.run(scenario())  # what the loop itself opens once is open
    before = {each.name for each in Path("/proc/self/fd").iterdir()}
    asyncio.run(scenario())
    assert {each.name for each in Path("/proc/self/fd").iterdir()} == before
