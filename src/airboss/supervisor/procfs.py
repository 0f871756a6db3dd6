"""What the system tells of a process of ours, where it has `/proc`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def held_up(pid: int) -> bool:
    """Whether a process may be kept from saying anything: a thread is at work, or waits for a processor or
    for a disk, where no signal reaches it either, or a debugger holds it. Also where the system does not
    tell."""
    try:
        if "\nTracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text():
            return True
    except OSError:
        return True
    return any(state in "RD" for state in thread_states(pid))


def thread_states(pid: int) -> Iterator[str]:
    """How the threads of a process stand, as proc(5) has it."""
    for thread in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError, IndexError):  # it has ended
            yield thread.read_text().rpartition(")")[2].split()[0]


def stands_still(pid: int) -> bool:
    """Whether a process was stopped, as by SIGSTOP; False where the system does not tell."""
    states = set(thread_states(pid))
    return bool(states) and states <= {"T", "t"}


def has_ended(pid: int) -> bool:
    """Whether there is no such process any more, or one that nobody has waited for yet; True, too, where the
    system does not tell."""
    return set(thread_states(pid)) <= {"Z", "X"}


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, in seconds; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0


def rss_bytes(pid: int) -> int | None:
    """Memory that a process holds; None where the system does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
