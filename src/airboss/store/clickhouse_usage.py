"""What was used, by ClickHouse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from airboss.domain.ports import UsageQuery
from airboss.domain.usage import UsageRow
from airboss.store import clickhouse_people, clickhouse_rollups
from airboss.store.clickhouse_http import Ask, moment, query
from airboss.store.rollups import Question, of_usage
from airboss.store.usage import TAG, by_team, check

_QUOTED: Final = ("key", "user")
_TEAM: Final = "nullIf(transform(\"key\", $team_keys, $team_names, ''), '')"
_ENDED: Final = (
    "latency_ms * 1000 >= toUnixTimestamp64Micro($ended_from) - toUnixTimestamp64Micro(started_at)"
    " and latency_ms * 1000 < toUnixTimestamp64Micro($ended_by) - toUnixTimestamp64Micro(started_at)"
)
"""That a call ended in the period."""
COST_P95: Final = "quantileExactInclusiveIf(0.95)(toFloat64(records.cost_usd), status = 'ok')"
BOUNDS: Final = (
    ("slow", "latency_ms", "slow_ms"),
    ("late", "ttft_ms", "late_ms"),
    ("costly", "records.cost_usd", "costly_usd"),
)
"""What is counted beyond bounds, of which column; without a bound it is not."""
_TIMES: Final = ("start", "first_at", "last_at")


def usage(rows: Ask, asked: UsageQuery, conditions: str, given: dict[str, Any]) -> list[UsageRow]:
    """As `RecordLog.usage`; `conditions` are what the query's filter is, `given` their parameters."""
    check(asked)
    parameters = dict(given)
    groups = [_column(name, at, asked, parameters) for at, name in enumerate(asked.by)]
    if asked.among is not None and groups:
        among = [each for each in asked.among if each is not None]
        one_of = []
        if among:
            parameters["among"] = among
            one_of.append(f"{groups[0]} in $among")
        if None in asked.among:
            one_of.append(f"{groups[0]} is null")
        conditions += f" and ({' or '.join(one_of) or 'false'})"
    ended = "true"
    if asked.ended:
        ended = _ENDED
        parameters |= {"ended_from": asked.since, "ended_by": asked.until}
    summed = clickhouse_rollups.ask(rows, of_usage(asked, groups, conditions, parameters, ended))
    if isinstance(summed, Question):
        found = rows(*(clickhouse_people.told(summed) or _of_every_call(asked, groups, summed)))
        return [_row(asked, each) for each in found]
    return [_summed_row(each, len(groups)) for each in summed]


def _summed_row(values: dict[str, Any], groups: int) -> UsageRow:
    group = tuple(values[f"g{at}"] for at in range(groups))
    found: dict[str, Any] = {name: values.get(name) for name in UsageRow.__struct_fields__}
    return UsageRow(**found | {"group": group, "approximate": True})


def _of_every_call(asked: UsageQuery, groups: list[str], narrowed: Question) -> tuple[str, dict[str, Any]]:
    parameters: dict[str, Any] = {
        **narrowed.given,
        "since": narrowed.since,
        "until": narrowed.until,
        "without": asked.without_key,
        "slow_ms": asked.slow_ms,
        "late_ms": asked.late_ms,
        "costly_usd": asked.costly_usd,
        "limit": asked.limit,
    }
    start = "null"
    if asked.step_s is not None:
        parameters["step_us"] = asked.step_s * 1_000_000
        start = (
            "fromUnixTimestamp64Micro(intDiv(toUnixTimestamp64Micro(started_at), $step_us) * $step_us, 'UTC')"
        )
    keys = [f"g{at}" for at in range(len(groups))]
    by = [*keys, *(["start"] if asked.step_s is not None else [])]
    # By its place: in the order a name would mean the table's column.
    place = (len(groups) or 1) + UsageRow.__struct_fields__.index(asked.order)
    first = ["start"] if asked.step_s is not None else [f"{place} desc nulls last"]
    text = query("usage").format(
        groups=", ".join(f"{column} as g{at}" for at, column in enumerate(groups)) or "null as g",
        start=start,
        where=narrowed.of_records,
        **clickhouse_people.counted(asked.people),
        cost=COST_P95 if asked.costs else "null",
        **{
            name: "0" if getattr(asked, bound) is None else f"countIf(status = 'ok' and {column} > ${bound})"
            for name, column, bound in BOUNDS
        },
        by=f"group by {', '.join(by)}" if by else "",
        order=", ".join([*first, *keys]),
    )
    return text, parameters


def _row(asked: UsageQuery, values: Sequence[Any]) -> UsageRow:
    skip = len(asked.by) or 1
    found = dict(zip(UsageRow.__struct_fields__[1:-1], values[skip:], strict=True))
    for name in _TIMES:
        if found[name] is not None:
            found[name] = moment(found[name])
    for name, value in found.items():
        if isinstance(value, float) and math.isnan(value):
            found[name] = None
    return UsageRow(group=tuple(values[: len(asked.by)]), **found)


def _column(name: str, at: int, asked: UsageQuery, parameters: dict[str, Any]) -> str:
    if name == "team":
        return _TEAM if by_team(asked.teams, parameters) else "cast(null as Nullable(String))"
    if name.startswith(TAG):
        place = f"tag_{'ab'[at]}"
        parameters[place] = name.removeprefix(TAG)
        return f"if(JSONHas(tags, ${place}), JSONExtractString(tags, ${place}), null)"
    return f'"{name}"' if name in _QUOTED else name
