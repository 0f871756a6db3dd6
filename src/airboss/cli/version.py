"""`airboss version`: which Airboss, Python and system this is."""

from __future__ import annotations

import platform
import sys

from airboss import __version__
from airboss.cli.options import JsonOption
from airboss.cli.output import print_json


def version(*, as_json: JsonOption = False) -> None:
    """Print the version."""
    if as_json:
        print_json({"version": __version__, "python": platform.python_version(), "platform": sys.platform})
    else:
        sys.stdout.write(f"airboss {__version__}\n")
