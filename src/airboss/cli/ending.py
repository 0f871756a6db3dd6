"""How a process of ours ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from airboss.cli.output import print_error
from airboss.domain.errors import AirbossError, SetupError

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""Of a write: there is no room, or the disk has failed us."""


@contextmanager
def told(*, as_json: bool) -> Iterator[None]:
    """What we raise on purpose in the block is told in words, and ends the process with its exit code."""
    try:
        yield
    except AirbossError as error:
        print_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in DISK:
            raise  # a defect of ours
        with suppress(OSError):
            sys.stdout.close()  # else the interpreter tries what is left once more, and complains
        what = error.filename or "the output, or a file of Airboss,"
        lacks = SetupError(
            f"{what} cannot be written: {error.strerror}; make room on the disk that it goes to, or that of"
            " the data directory, or make that writable: a disk that fails is often mounted read-only."
        )
        print_error(lacks, as_json=as_json)
        sys.exit(lacks.exit_code)


def leave(main: Callable[[], None]) -> NoReturn:
    """Run it, write out what it printed, and end the process at once with its exit code.

    Python would first take itself apart, while threads that wait for a database go on: what they do then
    looks like a defect, or is one."""
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    with suppress(OSError, ValueError):  # what cannot be written, Python tells as it always does
        sys.stdout.flush()
        sys.stderr.flush()
        if isinstance(code, int):
            os._exit(code)
    sys.exit(code)  # type: ignore[arg-type]  # as it was given
