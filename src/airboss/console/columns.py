"""Which columns the table of records has: what people choose, and stands in the address."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from airboss.config.wording import nearest
from airboss.domain.errors import InvalidRequest

COLUMNS: Final[Mapping[str, str]] = {
    "status": "Status",
    "deployment": "Deployment",
    "release": "Release",
    "arm": "Arm",
    "model": "Model",
    "provider": "Provider",
    "operation": "Operation",
    "key": "Key",
    "user": "User",
    "session": "Session",
    "tags": "Tags",
    "scores": "Scores",
    "cache": "Cache",
    "in": "Tokens in",
    "cached": "Tokens cached",
    "out": "Tokens out",
    "ttft": "TTFT",
    "latency": "Latency",
    "overhead": "Overhead",
    "cost": "Cost",
    "end": "End",
}
"""In the order in which they stand, after the time, which leads to the record."""

USUAL: Final = (
    "status", "deployment", "release", "model", "user", "in", "out", "ttft", "latency", "cost", "end",
)  # fmt: skip


def chosen(params: Mapping[str, str]) -> tuple[str, ...]:
    """The columns that an address asks for, `a,b`; the usual ones where it says nothing. Raises
    InvalidRequest for a name that is none."""
    asked = {each.strip() for each in params.get("columns", "").split(",") if each.strip()}
    for name in sorted(asked - COLUMNS.keys()):
        raise InvalidRequest(f"there is no column {name[:60]!r}; {nearest(name, COLUMNS)}", param="columns")
    return tuple(each for each in COLUMNS if each in (asked or USUAL))


def choice(now: tuple[str, ...]) -> tuple[tuple[str, bool, str | None], ...]:
    """Of each column its label, whether it is there, and what the address says once that is changed."""
    return tuple((label, name in now, toggled(now, name)) for name, label in COLUMNS.items())


def toggled(now: tuple[str, ...], name: str) -> str | None:
    """What the address says once a column is taken in, or out; None where these are the usual ones. The last
    one stays."""
    after = tuple(each for each in COLUMNS if (each in now) != (each == name)) or now
    return None if after == USUAL else ",".join(after)
