"""How a process of ours ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import Final, NoReturn

from airboss.cli.output import print_error
from airboss.domain.errors import AirbossError, SetupError

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Of a write: there is no room, or the disk has failed us."""
INTERRUPTED: Final = 130
"""What a process exits with that Ctrl-C has ended, as shells say it."""


@contextmanager
def told(*, as_json: bool) -> Iterator[None]:
    """What we raise on purpose in the block is told in words, and ends the process with its exit code."""
    try:
        yield
    except AirbossError as error:
        _tell(error, as_json=as_json)
    except OSError as error:
        if error.errno not in DISK:
            raise  # a defect of ours
        with suppress(OSError):
            sys.stdout.close()  # else it is tried once more to write what is left
        what = error.filename or "the output, or a file of Airboss,"
        lacks = SetupError(
            f"{what} cannot be written: {error.strerror}; make room on the disk that it goes to, or that of"
            " the data directory, or make that writable: a disk that fails is often mounted read-only."
        )
        _tell(lacks, as_json=as_json)


def _tell(error: AirbossError, *, as_json: bool) -> NoReturn:
    with suppress(OSError):  # the exit code says it too
        print_error(error, as_json=as_json)
    sys.exit(error.exit_code)


def leave(main: Callable[[], None]) -> NoReturn:
    """Run it, write out what it printed, and end the process at once with its exit code.

    Python would first take itself apart, while threads that wait for a database go on: what they do then
    looks like a defect, or is one."""
    _open_streams()
    code = _ended(main)
    unwritten = _ended(_write_out)
    os._exit(code or unwritten)


def _open_streams() -> None:
    """Who started us may have closed them. Python has none then, and what is opened next, a database say,
    would get what a library prints."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(2, "w")
    if isinstance(sys.stdout, TextIOWrapper):
        if sys.stdout.isatty():  # which may know few letters; better a mark for one than nothing at all
            sys.stdout.reconfigure(errors="replace")
        else:  # a file or a program: JSON and configurations are UTF-8, whatever the locale is here
            sys.stdout.reconfigure(encoding="utf-8", errors="replace")


def _ended(work: Callable[[], None]) -> int:
    """The exit code that it ends with, as Python would have it; of Ctrl-C nothing is told."""
    try:
        work()
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        with suppress(OSError):
            sys.stderr.write(f"{end.code}\n")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _write_out() -> None:
    """Write what was printed and is not written yet."""
    with told(as_json=False), suppress(ValueError):  # closed, by who could not write to it
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # whoever read it has seen enough
            sys.exit(1)
