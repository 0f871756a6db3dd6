"""A pipe that tells children that their parent is gone, however it went; and one that tells of a child.

The parent holds the only write end; each child holds the read end and never writes. When the parent ends,
even by `kill -9`, the kernel closes the write end and every child reads end-of-file. A child that is to tell
that it serves has the write end of another, which is its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from threading import Thread

LIFELINE_ENV = "AIRBOSS_LIFELINE_FD"
SERVES_ENV = "AIRBOSS_SERVES_FD"


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


class Word:
    """The parent's side of one child's pipe. `write_fd` is what the child gets."""

    def __init__(self) -> None:
        self._read_fd, self.write_fd = os.pipe()

    def handed_down(self) -> None:
        """The child has its end, if there is one: when it ends, the pipe does."""
        os.close(self.write_fd)

    async def given(self) -> bool:
        """Wait for it, once; False of a child that has ended without."""
        loop, came = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._read_fd, came.set)
        try:
            await came.wait()
            return os.read(self._read_fd, 1) != b""
        finally:
            loop.remove_reader(self._read_fd)
            self.close()

    def close(self) -> None:
        """Nobody waits for it."""
        os.close(self._read_fd)


def tell_it_serves() -> None:
    """Give the parent our word. Does nothing in a process that is not to (no `AIRBOSS_SERVES_FD`)."""
    number = os.environ.pop(SERVES_ENV, None)
    if number is None:
        return
    with suppress(OSError):  # the parent is gone, which ends us
        os.write(int(number), b"\n")
    os.close(int(number))
