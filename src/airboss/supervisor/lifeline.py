"""A pipe that tells children that their parent is gone, however it went; and one that tells of a child.

The parent holds the only write end; each child holds the read end and never writes. When the parent ends,
even by `kill -9`, the kernel closes the write end and every child reads end-of-file. A child that is to tell
that it serves, and then that it goes on, has the write end of another, which is its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

LIFELINE_ENV = "AIRBOSS_LIFELINE_FD"
SERVES_ENV = "AIRBOSS_SERVES_FD"
SAY_S: Final = 2.0
"""So often who serves says that he does. Whoever is silent for many times as long hangs."""
WORDS_MAX: Final = 65_536
"""As many as a pipe holds."""


class Lifeline:
    """The parent's side. `read_fd` is what children get; closing it, or dying, tells them."""

    def __init__(self) -> None:
        self.read_fd, self._write_fd = os.pipe()

    def close(self) -> None:
        """Tell every child that its parent is gone."""
        os.close(self._write_fd)
        os.close(self.read_fd)


def on_parent_gone(act: Callable[[], None]) -> None:
    """Call `act` in a thread of its own once the parent is gone.

    Does nothing in a process that was not started by a supervisor (no `AIRBOSS_LIFELINE_FD`).
    """
    number = os.environ.pop(LIFELINE_ENV, None)
    if number is None:
        return
    fd = int(number)
    os.set_inheritable(fd, False)

    def wait() -> None:
        while os.read(fd, 1):
            pass
        act()

    Thread(target=wait, name="lifeline", daemon=True).start()


def terminate_self() -> None:
    """Stop as for SIGTERM."""
    os.kill(os.getpid(), signal.SIGTERM)


class Word:
    """The parent's side of one child's pipe. `write_fd` is what the child gets."""

    def __init__(self) -> None:
        self._read_fd, self.write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)

    def handed_down(self) -> None:
        """The child has its end, if there is one: when it ends, the pipe does."""
        os.close(self.write_fd)

    async def given(self) -> bool:
        """Wait for it; False of a child that has ended without."""
        import asyncio  # noqa: PLC0415 - the parent's, and 30 ms of a child that does without

        loop, came = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._read_fd, came.set)
        try:
            await came.wait()
            return self.again()
        finally:
            loop.remove_reader(self._read_fd)

    def again(self) -> bool:
        """Whether it has been given since somebody last looked."""
        try:
            return os.read(self._read_fd, WORDS_MAX) != b""
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Nobody listens any more."""
        os.close(self._read_fd)


def tell_it_serves(loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Give the parent our word, and again every SAY_S: for as long as this event loop turns, or in a process
    without one as threads of it run. Does nothing in a process that is not to (no `AIRBOSS_SERVES_FD`)."""
    number = os.environ.pop(SERVES_ENV, None)
    if number is None:
        return
    fd = int(number)
    os.set_inheritable(fd, False)
    os.set_blocking(fd, False)

    def say() -> None:
        with suppress(OSError):  # the parent is gone, or has stood still for many hours
            os.write(fd, b"\n")

    say()
    if loop is None:
        Thread(target=_every, args=(SAY_S, say), name="word", daemon=True).start()
    else:
        _turning(loop, say)


def _every(pause_s: float, say: Callable[[], None]) -> None:
    never = Event()
    while not never.wait(pause_s):
        say()


def _turning(loop: asyncio.AbstractEventLoop, say: Callable[[], None]) -> None:
    def turned() -> None:
        say()
        loop.call_later(SAY_S, turned)

    loop.call_later(SAY_S, turned)
