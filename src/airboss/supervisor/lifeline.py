"""A pipe that tells children that their parent is gone, however it went.

The parent holds the only write end; each child holds the read end and never writes. When the parent ends,
even by `kill -9`, the kernel closes the write end and every child reads end-of-file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Thread

LIFELINE_ENV = "AIRBOSS_LIFELINE_FD"


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
