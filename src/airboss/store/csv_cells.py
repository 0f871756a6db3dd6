"""Values as they stand in a CSV that people open with a spreadsheet."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the begin of a formula."""


def cell(value: object) -> object:
    """What `csv` is to write: nothing for None, times in RFC 3339, yes and no as JSON has them. Times without
    a zone are UTC. A text that a spreadsheet would run as a formula gets a quote before it: names in it are
    anybody's."""
    if isinstance(value, datetime):
        text = value.isoformat()
        return f"{text}Z" if value.tzinfo is None else text.replace("+00:00", "Z")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
