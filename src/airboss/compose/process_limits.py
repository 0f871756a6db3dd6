"""What the system lets a process have: as much as it may be given, and an error in words where that is too
little to serve with."""

from __future__ import annotations

import resource
from typing import Final

from airboss.domain.errors import SetupError

OPEN_FILES: Final = 65_536
OPEN_FILES_MIN: Final = 256
"""A controller has about 70 open, a gateway 40 and two for each stream under way."""
FILE_BYTES_MIN: Final = 1 << 30
"""The record store and the ledger are a file each, which grow; a segment of a journal may take 16 MiB."""


def fit_limits() -> None:
    """Have as many open files, of any size, as this process may: a stream takes two, and the usual 1,024
    would end at 500 of them. Raises SetupError where there is too little; its children have the same."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if files == resource.RLIM_INFINITY else min(files, OPEN_FILES)
    _raise(resource.RLIMIT_NOFILE, wanted, files)
    _, size = resource.getrlimit(resource.RLIMIT_FSIZE)
    _raise(resource.RLIMIT_FSIZE, size, size)
    leave_no_core()
    found = trouble()
    if found is not None:
        raise SetupError(found)


def leave_no_core() -> None:
    """Have no core file left where this process or a child of it crashes: it would have words and keys that
    nothing seals or erases."""
    _, core = resource.getrlimit(resource.RLIMIT_CORE)
    # Of 0 bytes the kernel still gives all to a program, where /proc/sys/kernel/core_pattern names one; of 1
    # it gives nothing to anybody.
    resource.setrlimit(resource.RLIMIT_CORE, (min(1, core) if core >= 0 else 1, core))


def trouble() -> str | None:
    """What is too little of what this process may be given, and what to do; None: nothing."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < OPEN_FILES_MIN:
        return (
            f"a process may have {files:,} open files here, and Airboss needs {OPEN_FILES_MIN:,} at least,"
            f" two for each stream: start it after `ulimit -n {OPEN_FILES}`, or with"
            f" `LimitNOFILE={OPEN_FILES}` in a systemd unit"
        )
    _, size = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size != resource.RLIM_INFINITY and size < FILE_BYTES_MIN:
        return (
            f"a file may have {size:,} bytes here, and Airboss needs {FILE_BYTES_MIN:,} at least, as the "
            "record store is one file that grows: start it after `ulimit -f unlimited`, or with "
            "`LimitFSIZE=infinity` in a systemd unit"
        )
    return None


def _raise(which: int, wanted: int, hard: int) -> None:
    soft, _ = resource.getrlimit(which)
    if soft != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or soft < wanted):
        resource.setrlimit(which, (wanted, hard))
