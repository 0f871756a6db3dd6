"""What was used, by the record log's DuckDB file."""

from __future__ import annotations

from datetime import UTC
from typing import Any, Final

from airboss.domain.ports import UsageQuery
from airboss.domain.usage import UsageRow
from airboss.store.duckdb_run import Connection, query
from airboss.store.rows import naive
from airboss.store.usage import TAG, check, pointer

_QUOTED: Final = ("key", "user")


def usage(
    connection: Connection, asked: UsageQuery, conditions: str, given: dict[str, Any]
) -> list[UsageRow]:
    """As `RecordLog.usage`; `conditions` are what the query's filter is, `given` their parameters."""
    check(asked)
    parameters: dict[str, Any] = {
        **given,
        "since": naive(asked.since),
        "until": naive(asked.until),
        "without": asked.without_key,
        "slow_ms": asked.slow_ms,
        "late_ms": asked.late_ms,
        "costly_usd": asked.costly_usd,
        "limit": asked.limit,
    }
    groups = [_column(name, at, parameters) for at, name in enumerate(asked.by)]
    if asked.among is not None and groups:
        parameters["among"] = [each for each in asked.among if each is not None]
        without = f" or {groups[0]} is null" if None in asked.among else ""
        conditions += f" and ({groups[0]} in (select unnest($among::varchar[])){without})"
    start = "null::timestamp"
    if asked.step_s is not None:
        parameters["step_us"] = asked.step_s * 1_000_000
        start = "make_timestamp(epoch_us(started_at) // $step_us * $step_us)"
    named = [f"{column} as g{at}" for at, column in enumerate(groups)]
    keys = [f"g{at}" for at in range(len(groups))]
    first = ["start"] if asked.step_s is not None else [f"{asked.order} desc nulls last"]
    text = query("usage").format(
        groups=", ".join(named) or "null as g",
        start=start,
        where=conditions,
        order=", ".join([*first, *keys]),
    )
    found = connection.execute(text, parameters)
    names = [column[0] for column in found.description or ()]
    skip = len(groups) or 1
    return [
        _row(row[: len(groups)], dict(zip(names[skip:], row[skip:], strict=True))) for row in found.fetchall()
    ]


def _column(name: str, at: int, parameters: dict[str, Any]) -> str:
    if name.startswith(TAG):
        parameters[f"tag{at}"] = pointer(name.removeprefix(TAG))
        return f"json_extract_string(tags, $tag{at})"
    return f'"{name}"' if name in _QUOTED else name


def _row(group: tuple[str | None, ...], values: dict[str, Any]) -> UsageRow:
    for name in ("start", "first_at", "last_at"):
        if values[name] is not None:
            values[name] = values[name].replace(tzinfo=UTC)
    return UsageRow(group=group, **values)
