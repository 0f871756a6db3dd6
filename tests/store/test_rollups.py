"""Sums tell what the records do that they were made of, in every store that keeps sums."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airboss.domain.ports import JournalMove, RecordFilter, RecordLog, UsageQuery
from airboss.domain.usage import UsageRow
from airboss.store import clickhouse_tags, duckdb_rollups, duckdb_sums, rollups
from airboss.store.clickhouse import ClickHouseRecordLog
from airboss.store.duckdb import DuckDBRecordLog
from airboss.store.rollups import QUANTILES
from tests.store.samples import SEGMENT, START, record_json
from tests.store.test_erase import LATER
from tests.support.clickhouse import House

COUNT = 9_000
STRETCH = 2_048
TEAMS = {"team-a": "web", "nobody": "other"}
QUESTIONS: list[dict[str, Any]] = [
    {"costs": True},
    {"by": ("deployment",), "step_s": 1_800, "people": ()},
    {"by": ("model", "key"), "costs": True, "without_key": "airboss"},
    {"by": ("error_type",), "where": RecordFilter(deployment="assistant", key="team-a")},
    {"by": ("provider", "finish_reason"), "among": ("local", None)},
    {"by": ("arm",), "where": RecordFilter(release="a", arm="stable", status="ok"), "step_s": 3_600},
    {"by": ("team",), "teams": TEAMS},
    {"by": ("team", "key"), "teams": TEAMS, "step_s": 1_800, "where": RecordFilter(key="team-a")},
    {"by": ("model", "key"), "where": RecordFilter(keys=("airboss", "nobody")), "people": ("users",)},
    {"by": ("team", "model"), "teams": TEAMS, "among": ("web", None), "costs": True},
    {"by": ("team", "user"), "teams": TEAMS, "limit": 3, "order": "output_tokens"},
    {"by": ("session", "team"), "teams": TEAMS, "limit": 5, "order": "cost_usd"},
    {"by": ("team", "deployment"), "slow_ms": 900.0},
    {"by": ("user",)},
    {"by": ("user",), "limit": 2, "order": "cost_usd", "where": RecordFilter(model="small", key="team-a")},
    {"by": ("session", "user"), "limit": 5, "order": "last_at", "people": ()},
    {"by": ("session",), "limit": 2, "order": "errors"},
    {"by": ("user", "status"), "limit": 4, "order": "output_tokens"},
    {"by": ("model", "session"), "limit": 3, "without_key": "airboss"},
    {"by": ("user",), "order": "latency_p95_ms"},
    {"by": ("session",), "where": RecordFilter(user="u2")},
    {"by": ("user",), "among": ("u1", None), "step_s": 1_800},  # the rest is read from every call
    {"by": ("tag:team", "session"), "step_s": 300},
    {"by": ("release",), "people": ("users",), "where": RecordFilter(user="u2", tag="team=a")},
    {"by": ("deployment",), "costs": True, "slow_ms": 900.0, "late_ms": 50.0, "costly_usd": 0.005},
    {"step_s": 45},
    {"by": ("deployment",), "people": (), "ended": True},
    {"by": ("model",), "people": (), "ended": True, "slow_ms": 900.0, "without_key": "airboss"},
]
ENDS = [
    (START, START + timedelta(hours=3)),
    (START + timedelta(seconds=17), START + timedelta(hours=2, minutes=7, seconds=3, microseconds=1)),
    (START + timedelta(minutes=50), START + timedelta(minutes=70)),
    (START - timedelta(days=1), START + timedelta(days=1)),
]


@pytest.fixture(scope="module")
def duckdb_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls of all sorts in a file, the most of them summed up."""
    path = tmp_path_factory.mktemp("summed") / "records.duckdb"
    with pytest.MonkeyPatch.context() as patch, closing(DuckDBRecordLog(path)) as log:
        patch.setattr(duckdb_rollups, "STRETCH", STRETCH)
        patch.setattr(duckdb_sums, "STRETCH", STRETCH)
        filled(log, calls(COUNT))
    return path


@pytest.fixture(scope="module")
def clickhouse_url(clickhouse: House) -> Iterator[str]:
    """The same calls in a database of ClickHouse, all of them summed up."""
    with clickhouse.database() as url:
        with pytest.MonkeyPatch.context() as patch, closing(ClickHouseRecordLog(url)) as log:
            patch.setattr(clickhouse_tags, "CALLS_A_SUM", 1)
            filled(log, calls(COUNT))
        yield url


@pytest.fixture(params=["duckdb", "clickhouse"])
def summed(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RecordLog]:
    """A copy of them, to do with as one likes."""
    monkeypatch.setattr(duckdb_rollups, "STRETCH", STRETCH)
    monkeypatch.setattr(duckdb_sums, "STRETCH", STRETCH)
    if request.param == "duckdb":
        path = shutil.copy(request.getfixturevalue("duckdb_file"), tmp_path)
        with closing(DuckDBRecordLog(Path(path))) as log:
            yield log
        return
    full = request.getfixturevalue("clickhouse_url")
    with request.getfixturevalue("clickhouse").copied(full) as url, closing(ClickHouseRecordLog(url)) as log:
        yield log


def filled(log: RecordLog, records: Sequence[bytes]) -> RecordLog:
    """With these calls, moved in three parts."""
    for at in range(3):
        part = tuple(records[at::3])
        log.apply(JournalMove(segment=SEGMENT, start=at, end=at + 1, records=part))
    while log.tidy():
        pass
    return log


def calls(count: int) -> list[bytes]:
    """Calls of all sorts, not quite in order."""
    rng = random.Random(20261128)
    return [_call(rng, at) for at in range(count)]


def _call(rng: random.Random, number: int) -> bytes:
    status = rng.choice(["ok"] * 7 + ["error", "cancelled", "refused"])
    latency_ms = rng.lognormvariate(6, 1.2)
    fields: dict[str, Any] = {
        "started_at": START + timedelta(seconds=number + rng.uniform(-90, 90)),
        "deployment": rng.choice(["assistant", "assistant", "rare"]),
        "release": rng.choice("ab"),
        "arm": rng.choice(["stable", "candidate"]),
        "key": rng.choice(["team-a", "airboss"]),
        "model": rng.choice(["small", "large"]),
        "provider": rng.choice(["local", "openai"]),
        "user": rng.choice(["u1", "u2", None]),
        "session": rng.choice(["s1", "s2", "s3"]),
        "tags": rng.choice(
            [{}, {"team": "a"}, {"team": "b"}, {"team": "b", "x": "1"}, {"team": "b", "x": "2"}]
        ),
        "finish_reason": rng.choice(["stop", "length", None]),
        "status": status,
        "error_type": "upstream_timeout" if status == "error" else None,
        "latency_ms": latency_ms,
        "stream": rng.random() < 0.5,
        "ttft_ms": rng.choice([None, latency_ms * rng.random(), latency_ms - 1e-9]),
        "output_tokens": rng.choice([None, rng.randint(0, 300)]),
        "cost_usd": rng.choice([None, Decimal(rng.randint(1, 99_999)).scaleb(-7)]),
    }
    return record_json(number, **fields)


def answers(
    log: RecordLog, since: datetime, until: datetime, questions: Sequence[dict[str, Any]], *, tagged: bool
) -> list[list[dict[str, Any]]]:
    """What these questions of usage say, and the others that may be answered from sums without tags."""
    asked: list[Sequence[Any]] = []
    if not tagged:
        asked = [
            log.stats(since, until),
            log.stats(since, until, without_key="airboss"),
            log.series(since, until, step_s=60),
            log.series(since, until, step_s=900),
            log.series(since, until, step_s=3_600),
            log.traffic(since, until, step_s=300),
            log.traffic(since, until, step_s=7_200),
        ]
    asked += [log.usage(UsageQuery(since=since, until=until, **question)) for question in questions]
    return [[msgspec.structs.asdict(row) for row in each] for each in asked]


def same(
    log: RecordLog,
    monkeypatch: pytest.MonkeyPatch,
    period: tuple[datetime, datetime],
    questions: Sequence[dict[str, Any]] = QUESTIONS,
    *,
    few_tags: int | None = None,
) -> None:
    """Answers from sums are those of the records; of questions about tags, where so many are few."""
    tagged = few_tags is not None
    monkeypatch.setattr(rollups, "FEW", 10**9)
    read = answers(log, *period, questions, tagged=tagged)
    monkeypatch.setattr(rollups, "FEW", -1)
    monkeypatch.setattr(rollups, "FEW_TAGS", few_tags if few_tags is not None else rollups.FEW_TAGS)
    found = answers(log, *period, questions, tagged=tagged)
    for told, exact in zip(found, read, strict=True):
        assert exact
        assert len(told) == len(exact)
        for row, right in zip(told, exact, strict=True):
            alike(row, right)


def alike(row: dict[str, Any], right: dict[str, Any]) -> None:
    """A row from sums is that of the records."""
    assert row.get("approximate", True)
    assert not right.get("approximate", False)
    for name in set(row) - {"approximate", "tokens_per_s", "cost_usd", *QUANTILES}:
        assert row[name] == right[name], (name, row, right)
    for name in {"tokens_per_s", "cost_usd", *QUANTILES} & set(row):
        if right[name] is None:
            assert row[name] is None
            continue
        off = 0.02 if name in QUANTILES else 1e-9
        assert row[name] == pytest.approx(right[name], rel=off), (name, row, right)


def test_sums_tell_what_the_records_do(summed: RecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """At any bounds and steps, with records that no sum is made of yet; quantiles within 2 %; and after an
    erasure, which sums do not see. Each question is asked of the period that ends amid minutes, and of one of
    the others: with each of all it would take twice as long."""
    whole_hours, ragged, short, whole_days = ENDS
    same(summed, monkeypatch, ragged)
    if isinstance(summed, DuckDBRecordLog):  # which takes half as long
        for at, period in enumerate((whole_hours, short, whole_days)):
            same(summed, monkeypatch, period, QUESTIONS[at::3])
    summed.erase({"u1": LATER})
    same(summed, monkeypatch, whole_days, [*QUESTIONS[:3], *QUESTIONS[5:16]])


def test_usage_by_tag_is_that_of_the_records(summed: RecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether calls have the same few tags or many, alone and beside other groups, with people counted once
    whatever else they wrote, and after an erasure."""
    questions: list[dict[str, Any]] = [
        {"by": ("tag:team",), "costs": True},
        {"by": ("status", "tag:team"), "without_key": "airboss", "slow_ms": 400.0, "costly_usd": 0.005},
        {"by": ("tag:x", "tag:team"), "order": "cost_usd", "limit": 3},
        {"by": ("tag:x", "team"), "teams": TEAMS},
        {"by": ("tag:team",), "step_s": 3_600, "where": RecordFilter(tag="team=b"), "among": ("b",)},
        {
            "by": ("tag:team", "model"),
            "where": RecordFilter(deployment="assistant"),
            "without_key": "airboss",
        },
        {
            "by": ("tag:x",),
            "step_s": 86_400,
            "where": RecordFilter(tag="team=b", key="team-a"),
            "costs": True,
        },
        {"by": ("error_type",), "where": RecordFilter(tag="x=2"), "people": ("sessions",)},
        {"by": ("tag:team", "user"), "where": RecordFilter(tag="team=a")},
    ]
    days = (START - timedelta(days=1, hours=3), START + timedelta(days=1, hours=5))
    same(summed, monkeypatch, ENDS[1], questions, few_tags=0)
    same(summed, monkeypatch, days, questions, few_tags=1_000)
    summed.erase({"u1": LATER})
    same(summed, monkeypatch, ENDS[1], questions, few_tags=1_000)
    same(summed, monkeypatch, days, questions, few_tags=0)


def test_calls_of_nobody_are_one_row(summed: RecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are no others, and where there is none at all; a name may hold anything."""
    monkeypatch.setattr(rollups, "FEW", -1)
    odd = "it's $since\\ {x}\x1f"
    records = [record_json(30_000 + at, deployment="alone", user=None, session=odd) for at in range(4)]
    summed.apply(JournalMove(segment=SEGMENT, start=3, end=4, records=tuple(records)))
    period: dict[str, Any] = {"since": START, "until": START + timedelta(days=2)}
    alone = RecordFilter(deployment="alone")
    for by, group in ((("user",), (None,)), (("user", "session"), (None, odd)), (("session",), (odd,))):
        found = summed.usage(UsageQuery(**period, by=by, where=alone))
        assert [(row.group, row.requests) for row in found] == [(group, 4)]
        assert summed.usage(UsageQuery(**period, by=by, where=RecordFilter(deployment="none"))) == []


def test_the_first_people_are_found_and_told_exactly(
    summed: RecordLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are asked for, with people who were never answered and calls of nobody, by one column or
    two, of whole days and parts of them, before and after an erasure: the same rows as of every call."""
    rng = random.Random(20261129)
    many = [_one_of_many(rng, at) for at in range(3_000)]
    summed.apply(JournalMove(segment=SEGMENT, start=3, end=4, records=tuple(many)))
    while summed.tidy():
        pass
    for order, erased, since in (
        ("latency_p95_ms", {}, START),
        ("output_tokens", {"v7": LATER}, START.replace(hour=0)),
        ("latency_p95_ms", {}, START.replace(hour=0)),
    ):
        summed.erase(erased)
        by_what = (("session",), ("user",), ("session", "status"), ("model", "user"), ("session", "key"))
        for by in by_what:
            asked = UsageQuery(
                since=since, until=since + timedelta(days=1), by=by, order=order, limit=9_999,
                where=RecordFilter(deployment="many"), costs=by == ("user",), without_key="airboss",
            )  # fmt: skip
            monkeypatch.setattr(rollups, "FEW", 10**9)
            everybody = told(summed.usage(asked))
            monkeypatch.setattr(rollups, "FEW", 1_000)
            for limit in (1, 9, 140, 1_000):
                chosen = summed.usage(msgspec.structs.replace(asked, limit=limit))
                assert told(chosen) == everybody[:limit]
                assert not any(row.approximate for row in chosen)


def _one_of_many(rng: random.Random, number: int) -> bytes:
    latency_ms = rng.lognormvariate(6, 1.2) if number % 5 else 900.0
    return record_json(
        40_000 + number,
        deployment="many",
        key=rng.choice(["team-a", "team-b", "airboss"]),
        model=rng.choice(["small", "large"]),
        operation=rng.choice(["chat", "embeddings"]),
        user=rng.choice([f"v{rng.randrange(60)}", None]),
        session=rng.choice([f"of-{rng.randrange(200)}", None]),
        status=rng.choice(["ok", "ok", "ok", "error", "cancelled", "refused"]),
        latency_ms=latency_ms,
        stream=rng.random() < 0.5,
        ttft_ms=rng.choice([None, latency_ms * rng.random(), latency_ms]),
        input_tokens=rng.choice([None, rng.randint(1, 300)]),
        output_tokens=rng.choice([None, rng.randint(0, 300)]),
        cost_usd=rng.choice([None, Decimal(rng.randint(1, 99_999)).scaleb(-7)]),
    )


def told(rows: Sequence[UsageRow]) -> list[dict[str, Any]]:
    """Rows whose means do not depend on what was added up first."""
    return [
        {**msgspec.structs.asdict(row), "tokens_per_s": round(row.tokens_per_s or 0.0, 6)} for row in rows
    ]


def test_a_late_call_is_in_the_sums(summed: RecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a move that comes again is not."""
    before = _requests(summed, monkeypatch)
    late = tuple(record_json(20_000 + at, started_at=START + timedelta(minutes=30)) for at in range(3_000))
    for _ in range(2):
        summed.apply(JournalMove(segment=SEGMENT, start=3, end=4, records=late))
        while summed.tidy():
            pass
        assert _requests(summed, monkeypatch) == before + 3_000


def test_sums_go_with_their_records(summed: RecordLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """When records are too old."""
    cut = START + timedelta(hours=1)
    while summed.expire(bodies_before=None, records_before=cut, limit=9_999):
        pass
    monkeypatch.setattr(rollups, "FEW", -1)
    assert not summed.stats(START - timedelta(days=1), cut)
    assert sum(row.requests for row in summed.stats(cut, cut + timedelta(days=1))) > 5_000


def test_few_calls_are_read_and_exact(summed: RecordLog) -> None:
    """Sums are for many."""
    assert not any(row.approximate for row in summed.stats(*ENDS[0]))


def _requests(log: RecordLog, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(rollups, "FEW", -1)
    return sum(row.requests for row in log.stats(START - timedelta(days=1), START + timedelta(days=1)))
