"""The signals that ask a process to end, and an event for those whose main thread waits for one."""

from __future__ import annotations

import os
import signal
import threading


def asked_to_end() -> tuple[signal.Signals, ...]:
    """The signals that ask a process to end: SIGTERM, and SIGHUP of its terminal that is closed, unless it
    was started to outlive that, as by `nohup`."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return (signal.SIGTERM, signal.SIGHUP)


def stop_on_signals() -> threading.Event:
    """What these signals set from now on, whichever thread they come to. Only a main thread can call this."""
    stop = threading.Event()
    woken, wake = os.pipe()
    os.set_blocking(wake, False)

    def wait() -> None:
        os.read(woken, 1)
        stop.set()

    # A main thread that waits for an event would not hear what comes to a thread of a library's, or just
    # before; and a handler that sets it waits for ever where it comes while that thread holds the event.
    signal.set_wakeup_fd(wake)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stop
