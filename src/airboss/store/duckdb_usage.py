"""What was used, by the record log's DuckDB file."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from airboss.domain.ports import UsageQuery
from airboss.domain.usage import UsageRow
from airboss.store import duckdb_people, duckdb_rollups
from airboss.store import duckdb_read as read
from airboss.store.duckdb_run import Connection, execute, query
from airboss.store.rollups import Question, of_usage
from airboss.store.rows import aware, naive
from airboss.store.usage import TAG, by_team, check, pointer

_QUOTED: Final = ("key", "user")
_TEAM: Final = 'list_extract($team_names::varchar[], list_position($team_keys::varchar[], "key"))'
_UNTOLD: Final = dict.fromkeys(UsageRow.__struct_fields__)
_ENDED: Final = (
    "latency_ms * 1000 >= epoch_us($ended_from::timestamp) - epoch_us(started_at)"
    " and latency_ms * 1000 < epoch_us($ended_by::timestamp) - epoch_us(started_at)"
)
"""That a call ended in the period; a time that a call took may be longer than what an interval holds."""


def usage(
    connection: Connection, asked: UsageQuery, conditions: str, given: dict[str, Any]
) -> list[UsageRow]:
    """As `RecordLog.usage`; `conditions` are what the query's filter is, `given` their parameters."""
    check(asked)
    parameters = dict(given)
    groups = [_column(name, at, asked, parameters) for at, name in enumerate(asked.by)]
    if asked.among is not None and groups:
        parameters["among"] = [each for each in asked.among if each is not None]
        without = f" or {groups[0]} is null" if None in asked.among else ""
        conditions += f" and ({groups[0]} in (select unnest($among::varchar[])){without})"
    ended = "true"
    if asked.ended:
        ended = _ENDED
        parameters |= {"ended_from": naive(asked.since), "ended_by": naive(asked.until)}
    found = duckdb_rollups.ask(connection, of_usage(asked, groups, conditions, parameters, ended))
    approximate = not isinstance(found, Question)
    if isinstance(found, Question):
        chosen = duckdb_people.told(connection, found)
        found = _of_every_call(connection, asked, groups, found) if chosen is None else chosen
    return [_row(each, len(groups), approximate=approximate) for each in found]


def _of_every_call(
    connection: Connection, asked: UsageQuery, groups: list[str], narrowed: Question
) -> list[dict[str, Any]]:
    parameters = {
        "since": naive(narrowed.since),
        "until": naive(narrowed.until),
        **narrowed.asked(),
    }
    start = "null::timestamp"
    if asked.step_s is not None:
        parameters["step_us"] = asked.step_s * 1_000_000
        start = "make_timestamp(epoch_us(started_at) // $step_us * $step_us)"
    named = [f"{column} as g{at}" for at, column in enumerate(groups)]
    keys = [f"g{at}" for at in range(len(groups))]
    first = ["start"] if asked.step_s is not None else [f"{asked.order} desc nulls last"]
    text = query("usage").format(
        groups=", ".join(named) or "null as g0",
        start=start,
        where=narrowed.of_records,
        users='count(distinct "user")' if "users" in asked.people else "0",
        sessions="count(distinct session)" if "sessions" in asked.people else "0",
        cost="quantile_cont(cost_usd::double, 0.95) filter (status = 'ok')" if asked.costs else "null",
        **read.beyond(asked),
        order=", ".join([*first, *keys]),
    )
    return read.dicts(execute(connection, text, duckdb_people.used(text, parameters)))


def _column(name: str, at: int, asked: UsageQuery, parameters: dict[str, Any]) -> str:
    if name == "team":
        return _TEAM if by_team(asked.teams, parameters) else "null::varchar"
    if name.startswith(TAG):
        parameters[f"tag{at}"] = pointer(name.removeprefix(TAG))
        return f"json_extract_string(tags, $tag{at})"
    return f'"{name}"' if name in _QUOTED else name


def _row(values: dict[str, Any], groups: int, *, approximate: bool) -> UsageRow:
    for name in ("start", "first_at", "last_at"):
        if values[name] is not None:
            values[name] = aware(values[name])  # what sums tell has it already
    group = tuple(values[f"g{at}"] for at in range(groups))
    told = _UNTOLD | values | {"group": group, "approximate": approximate}
    return msgspec.convert(told, UsageRow)
