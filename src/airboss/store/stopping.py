"""The signals that ask a process to end, an event for those whose main thread waits for one, and one for who
waits for somebody else."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # a record store has no event loop
    import asyncio

HURRY_S: Final = 3.0
"""So long a process that ends waits for a database that is silent: whatever it is at may be killed at any
moment, and a supervisor waits for it."""
ending: Final = threading.Event()
"""Set once this process has been told to end."""


def asked_to_end() -> tuple[signal.Signals, ...]:
    """The signals that ask a process to end: SIGTERM, and SIGHUP of its terminal that is closed, unless it
    was started to outlive that, as by `nohup`."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, signal.SIGHUP)


def tell_of_signals(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    """Set `stopped` at SIGTERM and SIGINT from now on; `ending`, too."""

    def end() -> None:
        ending.set()
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)


def stop_on_signals() -> threading.Event:
    """What these signals set from now on, whichever thread they come to. Only a main thread can call this."""
    stop = threading.Event()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)

    def wait() -> None:
        os.read(woken, 1)
        ending.set()
        stop.set()

    # A main thread that waits for an event would not hear what comes to a thread of a library's, or just
    # before; and a handler that sets it waits for ever where it comes while that thread holds the event.
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stop
