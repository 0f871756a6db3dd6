"""Stands in for the process that finds names, where its model is not installed: speaks as that does, and
knows a few names by heart. `python -m … FILE`: while the FILE is there, it dies of a piece and does not
start.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from airboss.governance.candidates import Kind
from airboss.governance.names import Spans, tidied
from airboss.governance.names_model import apart, serve
from airboss.governance.names_wire import Ready, framed

KNOWN: dict[str, Kind] = {
    "Jane Doe": "person",
    "Ann Lee": "person",
    "Jane": "person",
    "Łukasz Żak": "person",
    "Berlin": "location",
    "New York": "location",
    "Initech": "organization",
}
_NAMES = re.compile("|".join(rf"\b{name}\b" for name in KNOWN))


def known(piece: str) -> Spans:
    """The names in a piece."""
    return tidied(piece, [(*found.span(), KNOWN[found[0]]) for found in _NAMES.finditer(piece)])


def main() -> None:
    """Answer."""
    gone = Path(sys.argv[1])
    heard, said = apart()

    def judge(piece: str) -> Spans:
        if gone.exists():
            os._exit(1)
        return known(piece)

    said.write(framed(Ready("the file is there" if gone.exists() else "")))
    said.flush()
    if not gone.exists():
        serve(judge, heard, said)


if __name__ == "__main__":
    main()
