"""The rules of where records are kept."""

from __future__ import annotations

import re

from airboss.config.clickhouse import read_url
from airboss.config.wording import Path, Wrong, dotted

_OFFERED = '"embedded", "clickhouse://HOST:8123/DATABASE", "env:NAME" or "file:/PATH"'


def check_records(path: Path, records: str, wrong: Wrong) -> None:
    """`records` of `[store]`. The value is not repeated: a URL may hold a password."""
    named = re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.*", records)
    if records == "embedded" or named is not None:
        return
    try:
        server = read_url(records)
    except ValueError as error:
        message = f"{dotted(path)} is not a place where records can be kept: {error}; expected {_OFFERED}"
        raise wrong(path, message) from None
    if server.password:
        raise wrong(
            path, f'{dotted(path)} holds a password; put the URL into a variable and write "env:NAME"'
        )
