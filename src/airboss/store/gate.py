"""Many read at once, until somebody needs all of them out for a moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """Counts who is inside. Whoever shuts it waits for those, and keeps out the next until it is open
    again."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._shut = False

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside; waits while it is shut."""
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def shut(self, wait_s: float) -> Iterator[bool]:
        """Have nobody inside: True once all have left; False if some have not within `wait_s` seconds. One at
        a time may do this, from outside."""
        deadline = time.monotonic() + wait_s
        with self._changed:
            self._shut = True
            empty = self._changed.wait_for(
                lambda: self._inside == 0, timeout=max(0.0, deadline - time.monotonic())
            )
        try:
            yield empty
        finally:
            with self._changed:
                self._shut = False
                self._changed.notify_all()
