"""Waiting for a condition, the one way tests wait; and for a process to stand still."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TypeVar

T = TypeVar("T")


SHORTEST_S, LONGEST_S, LONG_S = 0.02, 0.1, 2.0
"""Between two looks, at first and in the end; and when that begins to grow: who asks a server fifty times a
second takes half of a core from what is waited for."""


def until(condition: Callable[[], T | None], *, timeout_s: float = 90.0, every_s: float | None = None) -> T:
    """Return the first truthy value of `condition`; raise AssertionError after `timeout_s` seconds.

    `every_s` is for what costs more than a look, or must be seen at once however long it takes to come.
    """
    began = time.monotonic()
    deadline = began + timeout_s
    pause = Event()
    while True:
        value = condition()
        if value:
            return value
        now = time.monotonic()
        if now > deadline:
            message = f"no truth in {timeout_s} s from {condition}; last value {value!r}"
            raise AssertionError(message)
        pause.wait(every_s or min(LONGEST_S, max(SHORTEST_S, (now - began - LONG_S) / 10)))


def hold_still(pid: int) -> None:
    """Stop a process by SIGSTOP, and wait until each of its threads stands still: one that was waiting for a
    child may hear of its end first."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(_stands(each) for each in Path(f"/proc/{pid}/task").iterdir()))


def _stands(thread: Path) -> bool:
    with suppress(OSError):  # it has ended
        return thread.joinpath("stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    return True
