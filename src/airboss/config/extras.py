"""How what is missing of Airboss is installed beside it."""

from __future__ import annotations

import shlex
import sys


def install(extra: str | None = None) -> str:
    """The command that brings this Python what Airboss needs, or one of its extras, in backquotes. pip takes
    the Airboss that is there, of a clone or of a wheel, and fetches what that lacks."""
    what = "airboss" if extra is None else f"'airboss[{extra}]'"
    return f"`{shlex.quote(sys.executable)} -m pip install {what}`"
