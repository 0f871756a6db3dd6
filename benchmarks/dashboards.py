"""Dashboards: how fast the record store tells of many calls.

    python -m benchmarks.dashboards [--records 1000000] [--days 30] [--sessions spread]
        [--file PATH] [--sums-only] [--clickhouse FOLDER]

Calls of four deployments, two releases each, with three keys, are put straight into a DuckDB file, without
bodies, which these questions do not read; then sums are made of them as in quiet moments, and the overview,
its charts and who answered are asked for: once of every call (exact) and once as they are answered. A file
that is named is kept, and used as it is where it is there: ten million take minutes to put in.

A session is a conversation (`short`): of one user, with one key, release and team, of eight calls on average
(geometric), nine in ten of one deployment, within two hours. A user for each 200 calls; the busiest has 0.4 %
of the sessions of 50,000 users. `--sessions spread` is harder than anything real: each of 50,000 sessions has
calls on every day with every deployment, key and team, and each of 5,000 users as many as the next.

`--clickhouse FOLDER`: the same calls are copied into ClickHouse's engine (chdb behind HTTP, as in the tests)
and asked there; CPU is then that of both processes. The folder is kept, and used as it is where it has them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.records import timed
from benchmarks.stats import keep, machine, table
from tests.support.clickhouse import engine
from tests.support.wait import until

from airboss.console.query import Period
from airboss.console.views_explore import ROWS
from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import RecordFilter, RecordLog, UsageQuery
from airboss.store import duckdb_rollups, duckdb_sums, rollups
from airboss.store.clickhouse import ClickHouseRecordLog
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.rows import COLUMNS

END = datetime(2026, 11, 28, 12, 34, 56, tzinfo=UTC)
AT_ONCE = 100_000
COPIED_AT_ONCE = 250_000
SIX = tuple(f"u{number}" for number in range(6))
HOUR_US = 3_600_000_000
DRAWN = """
create or replace temp table drawn as
with sessions as (
    select
        s,
        1 + floor(ln(1 - (hash('calls' || s) >> 11) / pow(2, 53)) / ln(1 - 1 / 8.0))::integer as calls,
        (hash('start' || s) >> 11) / pow(2, 53) as place,
        least(exp(3.1 + 2 * (hash('gap' || s) >> 11) / pow(2, 53)) * 1e6, 2 * $hour_us / calls) as gap_us
    from range($records // 8 * 2 + 100) as made (s)
    qualify sum(calls) over (order by s) - calls < $records
)
select
    s, gap_us,
    $first::timestamp + to_microseconds((place * ($days * 24 - 2) * $hour_us)::bigint) as first_at,
    least(calls, $records - sum(calls) over (order by s) + calls)::integer as calls
from sessions
order by first_at
"""
SHORT = """
with sessions as (
    select
        *, (hash(s) % 1000000007)::bigint as g,
        floor($users * pow((hash('user' || s) >> 11) / pow(2, 53), 2))::bigint as u
    from drawn
    where first_at > $low::timestamp - to_microseconds(2 * $hour_us) and first_at < $high
), calls as (
    select *, (hash(s * 1000 + k) % 1000000007)::bigint as h
    from (select *, unnest(range(calls)) as k from sessions)
), timed as (
    select *, first_at + to_microseconds((gap_us * (k + h % 1000 / 1000))::bigint) as started_at from calls
)
select
    row_number() over (order by started_at, s, k) + $base as i, started_at, h,
    if(h % 10 = 0, h // 10 % 4, g % 4) as d, g // 4 % 2 as r, g // 8 % 3 as k, u,
    md5(s::varchar) as session, u % 7 as t
from timed
where started_at >= $low and started_at < $high
"""
SPREAD = """
select
    i, $first::timestamp + to_microseconds((i * $step_us + random() * 30e6)::bigint) as started_at, h,
    h % 4 as d, h // 4 % 2 as r, h // 8 % 3 as k, h % 5000 as u, 's' || h % 50000 as session, h % 7 as t
from (select i, (hash(i) % 1000000007)::bigint as h from range($low, $high) as made (i))
"""
MADE = """
insert into records by name
select
    i as seq, lpad(i::varchar, 32, '0') as id, started_at,
    'app' || d as deployment, 'r' || r as release, 'stable' as arm, 1 as plan,
    'm' || d as model, 'openai' as provider, 'k' || k as "key", 'u' || u as "user",
    session, 'chat' as operation, h % 2 = 0 as stream,
    if(h % 50 = 0, 'error', 'ok') as status, if(h % 50 = 0, 'upstream_timeout', null) as error_type,
    400 as input_tokens, h % 280 + 20 as output_tokens, false as usage_estimated,
    ((h % 99999) / 1e7)::decimal(18, 12) as cost_usd,
    exp(6.5 + sqrt(-2 * ln(1 - random())) * cos(6.2832 * random())) as latency_ms,
    if(h % 2 = 0, 100 + random() * 400, null) as ttft_ms, 0.4 as overhead_ms, 800 as output_chars,
    '[]' as attempts, '[]' as policy, '{{"team":"t' || t || '"}}' as tags
from ({calls})
order by i
"""


def fill(log: DuckDBRecordLog, records: int, days: int, sessions: str) -> None:
    """Put the calls in."""
    first = (END - timedelta(days=days)).replace(tzinfo=None)
    if sessions == "spread":
        given = {"first": first, "step_us": days * 86_400e6 / records}
        for low in range(1, records + 1, AT_ONCE):
            with log._transaction() as connection:
                asked = {**given, "low": low, "high": min(low + AT_ONCE, records + 1)}
                connection.execute(MADE.format(calls=SPREAD), asked)
        return
    step = timedelta(days=days) * (AT_ONCE / records)
    with log._transaction() as connection:
        drawn = {"first": first, "days": days, "records": records, "hour_us": HOUR_US}
        connection.execute(DRAWN, drawn)
    base, low = 0, first
    while base < records:
        with log._transaction() as connection:
            asked = {"low": low, "high": low + step, "base": base}
            asked |= {"users": max(1, records // 200), "hour_us": HOUR_US}
            connection.execute(MADE.format(calls=SHORT), asked)
            ((base,),) = connection.execute("select coalesce(max(seq), 0) from records").fetchall()
        low += step


def of_every_call(ask: Callable[[], Any], used: Callable[[], float]) -> float | str:
    """The same question, of the records alone."""
    few, rollups.FEW = rollups.FEW, 10**12  # type: ignore[misc] - for this question
    try:
        return timed(ask, 3, used=used)["ms"]
    except StoreUnavailable as error:
        return "out of memory" if "Out of Memory" in str(error) else "failed"
    finally:
        rollups.FEW = few  # type: ignore[misc] - as above


def usage(log: RecordLog, since: datetime, step_s: int) -> list[tuple[str, Callable[[], Any]]]:
    """What Explore asks, and what the API and `airboss records --by` ask besides: sessions, and more rows."""
    table = {"people": ("users",), "limit": ROWS}
    chart = {"people": (), "step_s": step_s, "limit": 20_000}
    slow = {"order": "latency_p95_ms"}
    asked = [
        ("usage by deployment", {"by": ("deployment",), **table}),
        ("its chart", {"by": ("deployment",), **chart}),
        ("usage by release", {"by": ("release",), **table}),
        ("usage by model and key", {"by": ("model", "key"), **table}),
        ("usage by tag", {"by": ("tag:team",), **table}),
        ("usage by user", {"by": ("user",), **table}),
        ("its chart, of the 6 first", {"by": ("user",), **chart, "among": SIX}),
        ("usage by user, the costliest", {"by": ("user",), **table, "order": "cost_usd"}),
        ("usage by user, the slowest", {"by": ("user",), **table, **slow}),
        ("usage by user of a model", {"by": ("user",), **table, "where": RecordFilter(model="m1")}),
        ("usage of a user by model", {"by": ("model",), **table, "where": RecordFilter(user="u17")}),
        ("usage by session", {"by": ("session",), **table}),
        ("usage by session, the slowest", {"by": ("session",), **table, **slow}),
        ("sessions of a user", {"by": ("session",), **table, "where": RecordFilter(user="u17")}),
        ("API: by deployment, with sessions", {"by": ("deployment",)}),
        ("API: by model and key, with sessions", {"by": ("model", "key")}),
        ("API: by tag, with sessions", {"by": ("tag:team",)}),
        ("API: the 1,000 costliest users", {"by": ("user",), "order": "cost_usd", "limit": 1_000}),
    ]
    return [
        (name, partial(log.usage, UsageQuery(since=since, until=END, **given)))  # type: ignore[arg-type] - mixed
        for name, given in asked
    ]


def asked_of(
    log: RecordLog, days: int, *, exact: bool, used: Callable[[], float] = time.process_time
) -> list[dict[str, Any]]:
    """Every question, of the last day and of all; `exact`: also of every call."""
    rows = []
    for name, since in (("a day", END - timedelta(days=1)), ("all", END - timedelta(days=days))):
        step_s = Period(since=since, until=END, key=None).step_s  # as the console asks
        for what, ask in (
            ("overview", lambda since=since: log.stats(since, END)),
            ("series", lambda since=since, step_s=step_s: log.series(since, END, step_s=step_s)),
            ("who answered", lambda since=since: log.traffic(since, END, step_s=3_600)),
            *usage(log, since, step_s),
        ):
            told = {"question": what, "of": name, **timed(ask, used=used)}
            rows.append({**told, "ms of every call": of_every_call(ask, used)} if exact else told)
    return rows


def measure(path: Path, records: int, days: int, sessions: str, *, exact: bool) -> dict[str, Any]:
    """Everything, in one file; `exact`: also of every call."""
    log = DuckDBRecordLog(path)
    if log.count(RecordFilter()) != records:
        fill(log, records, days, sessions)
    log.close()
    before = path.stat().st_size
    log = DuckDBRecordLog(path)
    cpu, stalls, stalls_cpu = time.process_time(), [0.0], [0.0]
    while True:
        began = time.monotonic()
        with log._transaction() as connection:
            more = duckdb_rollups.begin(connection, next_seq=records + 1)
        if more:
            stalls.append(time.monotonic() - began)
            continue
        with log._reading() as connection:
            made = duckdb_sums.make(connection, next_seq=records + 1)
            if made is None:
                break
            duckdb_sums.take_in(connection, made)
            began, began_cpu = time.monotonic(), time.process_time()
            duckdb_sums.keep(connection, made)
            stalls.append(time.monotonic() - began)
            stalls_cpu.append(time.process_time() - began_cpu)
    cpu = time.process_time() - cpu
    rows = asked_of(log, days, exact=exact)
    log.close()
    return {
        "records": records,
        "us of CPU a record": round(cpu / records * 1e6, 2),
        "a stretch, s at most": round(max(stalls), 2),
        "a long one, s of CPU at most": round(max(stalls_cpu), 2),
        "MB of records": round(before / 1e6),
        "MB of sums": round((path.stat().st_size - before) / 1e6),
        "asked": rows,
    }


def measure_clickhouse(
    path: Path, folder: Path, records: int, days: int, sessions: str, *, exact: bool
) -> dict[str, Any]:
    """The same in ClickHouse's engine, which gets its calls of the file at `path`."""
    with engine(folder) as (url, pid), closing(ClickHouseRecordLog(f"{url}/dashboards")) as log:

        def used() -> float:
            return time.process_time() + time.clock_gettime(~pid << 3 | 2)  # the clock of another process

        cpu = used()
        if log.count(RecordFilter()) != records:
            copy(path, log, records, days, sessions)
        until(lambda: log._house.rows("select count() from system.merges") == [[0]], timeout_s=600)
        filling, cpu = used() - cpu, used()
        stalls = [0.0]
        while True:
            log._tag_sums._look_at = 0.0  # without the rest that others' questions get
            began = time.monotonic()
            if not log.tidy():
                break
            stalls.append(time.monotonic() - began)
        summing = used() - cpu
        kept = (
            "select table, sum(rows), round(sum(bytes_on_disk) / 1e6) from system.parts"
            " where database = 'dashboards' and active group by table order by table"
        )
        return {
            "records": records,
            "us of CPU a record to put it in": round(filling / records * 1e6, 2),
            "to sum it up by tag": round(summing / records * 1e6, 2),
            "a day of these, s at most": round(max(stalls), 2),
            "rows and MB": str(log._house.rows(kept)),
            "asked": asked_of(log, days, exact=exact, used=used),
        }


def copy(path: Path, log: ClickHouseRecordLog, records: int, days: int, sessions: str) -> None:
    """Put the calls of a file into ClickHouse; the file is made where it is not there."""
    source = DuckDBRecordLog(path)
    if source.count(RecordFilter()) != records:
        fill(source, records, days, sessions)
    names = ", ".join(f'"{name}"' for name in ("seq", *COLUMNS))
    with tempfile.TemporaryDirectory(prefix="airboss-dashboards-") as folder, source._reading() as connection:
        part = Path(folder) / "part.parquet"
        for low in range(1, records + 1, COPIED_AT_ONCE):
            calls = f"from records where seq >= {low} and seq < {low + COPIED_AT_ONCE}"
            connection.execute(f"copy (select {names} {calls} order by seq) to '{part}' (format parquet)")
            log._house._send(
                part.read_bytes(), {"query": f"insert into records ({names}) format Parquet"}, timeout_s=600
            )
    source.close()


def main(arguments: list[str]) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--sessions", choices=("short", "spread"), default="short")
    parser.add_argument("--file", type=Path, help="the record store, which is kept")
    parser.add_argument("--sums-only", action="store_true", help="do not ask the same of every call")
    parser.add_argument("--clickhouse", type=Path, metavar="FOLDER", help="ask ClickHouse's engine instead")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="airboss-dashboards-") as folder:
        path = given.file or Path(folder) / "records.duckdb"
        asked = (given.records, given.days, given.sessions)
        if given.clickhouse is None:
            result = measure(path, *asked, exact=not given.sums_only)
        else:
            result = measure_clickhouse(path, given.clickhouse, *asked, exact=not given.sums_only)
    print(f"Dashboards, on {machine()}")
    print("  " + ", ".join(f"{name} {value}" for name, value in result.items() if name != "asked"))
    print(table(result["asked"]))
    spread = "-spread" if given.sessions == "spread" else ""
    engine_ = "-clickhouse" if given.clickhouse else ""
    keep(f"dashboards-{given.records}{spread}{engine_}", result)


if __name__ == "__main__":
    main(sys.argv[1:])
