"""How the command ends when something is wrong."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from airboss.cli.output import print_error
from airboss.domain.errors import AirbossError, SetupError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Of a write: there is no room."""


@contextmanager
def told(*, as_json: bool) -> Iterator[None]:
    """What we raise on purpose in the block is told in words, and ends the process with its exit code."""
    try:
        yield
    except AirbossError as error:
        print_error(error, as_json=as_json)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            raise  # a defect of ours: who writes a file tells of it
        with suppress(OSError):
            sys.stdout.close()  # else the interpreter tries what is left once more, and complains
        full = SetupError(
            f"the output, or a file of Airboss, cannot be written: {error.strerror}; make room on the disk "
            "that it goes to, or that of the data directory."
        )
        print_error(full, as_json=as_json)
        sys.exit(full.exit_code)
