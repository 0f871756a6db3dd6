"""What chooses among records, as verbs take it and the admin API is asked."""

from __future__ import annotations

from datetime import UTC, datetime

from airboss.cli.when import parse_when
from airboss.domain.errors import WrongCall

Query = dict[str, str]
"""Filters by their name in the admin API, which is the flag's name."""


def filters(*, whole_days: bool = False, **given: str | None) -> Query:
    """The filters given, times as ISO in UTC. Those without a zone are this machine's; with `whole_days`,
    which are those of UTC, they are UTC's. Raises WrongCall for a status or a time that is none."""
    status = given["status"]
    if status is not None and status not in ("ok", "error", "cancelled", "refused"):
        raise WrongCall(f"--status {status!r} is none; it is ok, error, cancelled or refused.")
    query = {name: value for name, value in given.items() if value is not None}
    now, zone = datetime.now(UTC), UTC if whole_days else None
    for name in ("since", "until"):
        if name in query:
            query[name] = parse_when(query[name], now=now, option=f"--{name}", zone=zone).isoformat()
    return query
