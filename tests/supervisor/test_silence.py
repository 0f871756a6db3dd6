"""When a process that says nothing hangs, and when it is kept from saying anything."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airboss.supervisor.lifeline import SAY_S
from airboss.supervisor.procfs import cpu_s, held_up
from airboss.supervisor.silence import LOOK_S, LOOKS_MAX, SPUN_S, Silence, looked
from tests.support.wait import hold_still, until

WAITS = "import signal; print(1, flush=True); signal.pause()"
PTRACE_SEIZE = 0x4206


def after(*looks: bool, held_up: bool = False, cpu_s: float = 0.0) -> Silence:
    """What is known after these looks, each with a word or without."""
    silence = Silence(cpu_s=0.0)
    for said in looks:
        silence = looked(silence, said=said, held_up=held_up, cpu_s=cpu_s)
    return silence


def test_a_minute_without_a_word_is_a_hang() -> None:
    """Not a moment less, and one word is enough to begin anew."""
    assert LOOKS_MAX * LOOK_S == 60
    assert LOOK_S > 2 * SAY_S, "who is well says something between any two looks"
    nothing = [False] * LOOKS_MAX
    assert after(*nothing).hangs
    assert not after(*nothing[1:]).hangs
    assert not after(*nothing[1:], True, *nothing[1:]).hangs


def test_who_is_kept_from_it_does_not_hang() -> None:
    """However long that lasts; but who has a processor, and uses it for nothing else, does."""
    for_hours = [False] * 10_000
    assert not after(*for_hours, held_up=True, cpu_s=SPUN_S - 1).hangs
    assert after(*for_hours, held_up=True, cpu_s=SPUN_S).hangs
    spun = after(*for_hours, held_up=True, cpu_s=SPUN_S)
    assert looked(spun, said=True, held_up=True, cpu_s=90) == Silence(cpu_s=90)


@contextmanager
def running(code: str) -> Iterator[int]:
    """The id of a process that runs it, and stands where it has printed something."""
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def test_who_waits_and_who_is_stopped_is_not_held_up() -> None:
    """Nothing keeps it from a word but itself, or whoever has stopped it."""
    with running(WAITS) as pid:
        until(lambda: not held_up(pid))
        hold_still(pid)
        assert not held_up(pid)


@pytest.mark.parametrize("where", ["spin()", "Thread(target=spin).start(); signal.pause()"])
def test_who_computes_is_held_up(where: str) -> None:
    """In whatever thread, with a processor or without."""
    imports, says = "import signal\nfrom threading import Thread\n", "print(1, flush=True)\n"
    with running(f"{imports}def spin():\n    while True: pass\n{says}{where}") as pid:
        until(lambda: cpu_s(pid) > 0.05)
        assert any(held_up(pid) for _ in range(100))


def test_who_is_debugged_is_held_up() -> None:
    """It stands for as long as somebody looks at it."""
    libc = ctypes.CDLL(None, use_errno=True)
    with running(WAITS) as pid:
        until(lambda: not held_up(pid))
        if libc.ptrace(PTRACE_SEIZE, pid, None, None) != 0:
            pytest.skip(f"nobody may trace here: {os.strerror(ctypes.get_errno())}")
        assert held_up(pid)


def test_where_the_system_does_not_tell_nobody_hangs() -> None:
    """A process of which nothing is known may be held up."""
    assert not Path("/proc/4194305").exists()
    assert held_up(4_194_305)
