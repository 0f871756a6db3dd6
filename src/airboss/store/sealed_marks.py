"""How what is sealed is known, without what opens it (6 MB of a process that meets none)."""

from __future__ import annotations

from typing import Final

NAME: Final = "airboss_sealed"
"""The first name in a sealed body, which is a JSON object, and what a sealed text begins with."""
BODY: Final = b'{"airboss_sealed":'
PREFIX: Final = f"{NAME}:"
UNOPENED: Final = "[sealed, and it cannot be opened: "
"""What stands for a text that does not open begins so."""


class Unopened(Exception):
    """A text does not open; says why."""
