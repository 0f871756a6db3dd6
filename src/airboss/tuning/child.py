"""A process of our own for one piece of work: it ends with that, or with this process, however that ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

from airboss.replicas.llamacpp import LIFELINE_VARIABLE

TAIL_BYTES: Final = 4000
OWN: Final = "airboss: "
"""How what our processes say before they end begins."""


@contextmanager
def child(
    module: str, *arguments: str, stdin: IO[bytes] | int, stdout: IO[bytes] | int, stderr: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a module until the end of the block."""
    read, lifeline = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(read,),
            start_new_session=True,
            env={**os.environ, LIFELINE_VARIABLE: str(read)},
        )
    finally:
        os.close(read)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        os.close(lifeline)
        if process.stdout is not None:
            process.stdout.close()


def last_words(said: IO[bytes]) -> tuple[str | None, str]:
    """What a process said last for people, if it did, and the end of all that it said."""
    size = said.seek(0, os.SEEK_END)
    said.seek(max(0, size - TAIL_BYTES))
    text = said.read().decode("utf-8", "replace").strip()
    own = [line.removeprefix(OWN) for line in text.splitlines() if line.startswith(OWN)]
    return (own[-1] if own else None), text
