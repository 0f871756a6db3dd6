"""Tiny Python children, and questions about processes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from airboss.supervisor.process import Command
from airboss.supervisor.supervisor import Health


def python(name: str, code: str, **env: str) -> Command:
    """A child that runs `code`."""
    return Command(name=name, argv=(sys.executable, "-S", "-c", code), env=env)


def alive(pid: int) -> bool:
    """Whether a process with this id exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def known(pid: int) -> bool:
    """Whether the kernel still knows this id, as a zombie or alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def ok(_pid: int) -> Health:
    """A probe that is always content."""
    return "ok"


async def failed(_pid: int) -> Health:
    """A probe that never is."""
    return "failed"
