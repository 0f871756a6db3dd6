"""What every record log says of what was used, by whom and when."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from airboss.domain.ports import JournalMove, RecordFilter, RecordLog, UsageQuery
from airboss.domain.record import PolicyFinding
from airboss.domain.usage import UsageRow
from tests.store.samples import SEGMENT, START, call_id, move_of, record_json

UNTIL = START + timedelta(hours=1)


def asked(**fields: Any) -> UsageQuery:
    """A question about the sample's hour."""
    return UsageQuery(**{"since": START, "until": UNTIL, **fields})


@pytest.fixture
def used(record_log: RecordLog) -> RecordLog:
    """Six calls of two models, one of them failed, one without a user, over two minutes."""
    given: list[dict[str, Any]] = [
        {"model": "small", "user": "ada", "latency_ms": 100.0, "tags": {"a/b~c": "x"}},
        {"model": "small", "user": "bob", "latency_ms": 300.0, "session": "s1"},
        {"model": "large", "user": "ada", "latency_ms": 900.0, "cost_usd": Decimal("0.5")},
        {"model": "large", "user": None, "status": "error", "error_type": "timeout", "cost_usd": None},
        {"model": "small", "user": "ada", "status": "refused", "tags": {"a/b~c": "y"}},
        {"model": "small", "user": "ada", "latency_ms": 200.0, "key": "airboss"},
    ]
    records = [record_json(20 * at, **fields) for at, fields in enumerate(given)]
    for start in (0, 3):
        part = tuple(records[start : start + 3])
        record_log.apply(JournalMove(segment=SEGMENT, start=start, end=start + 3, records=part))
    return record_log


def test_usage_is_told_by_a_group(used: RecordLog) -> None:
    """Each group has its own counts, quantiles and sums, the most first."""
    small, large = used.usage(asked(by=("model",)))
    assert (small.group, small.requests, small.answered, small.refused) == (("small",), 4, 3, 1)
    assert (small.latency_p50_ms, small.users, small.sessions) == (200.0, 2, 1)
    assert (large.group, large.requests, large.errors, large.cost_unknown) == (("large",), 2, 1, 1)
    assert large.cost_usd == pytest.approx(0.5)
    assert large.start is None
    assert large.first_at == START + timedelta(seconds=40)


def test_usage_of_all_is_one_row(used: RecordLog) -> None:
    """Without a group there is one row, and none where nothing was called."""
    (row,) = used.usage(asked(without_key="airboss"))
    assert (row.group, row.requests) == ((), 5)
    assert list(used.usage(asked(since=UNTIL, until=UNTIL + timedelta(hours=1)))) == []


def test_usage_over_time_has_a_row_a_step(used: RecordLog) -> None:
    """Steps come oldest first, each with its groups."""
    rows = used.usage(asked(by=("model",), step_s=60))
    assert [(row.start, row.group[0], row.requests) for row in rows] == [
        (START, "large", 1),
        (START, "small", 2),
        (START + timedelta(minutes=1), "large", 1),
        (START + timedelta(minutes=1), "small", 2),
    ]


def test_usage_by_team_is_that_of_its_keys(used: RecordLog) -> None:
    """By the teams that the question names, exactly; keys without one are a group, as all are without any."""
    record = record_json(120, key="team-b", latency_ms=700.0, user="eve", cost_usd=Decimal("0.25"))
    used.apply(JournalMove(segment=SEGMENT, start=6, end=7, records=(record,)))
    teams = {"team-a": "web", "team-b": "web", "team-z": "none of these"}
    web, rest = used.usage(asked(by=("team",), teams=teams, order="cost_usd"))
    both = used.usage(asked(where=RecordFilter(), without_key="airboss"))[0]
    assert (web.group, rest.group, rest.requests) == (("web",), (None,), 1)
    for name in UsageRow.__struct_fields__:
        if name != "group":
            ours, alike = getattr(web, name), getattr(both, name)
            assert ours == (pytest.approx(alike) if isinstance(alike, float) else alike), name
    assert (web.requests, web.latency_p50_ms) == (6, 500.0)
    by_key = used.usage(asked(by=("team", "key"), teams=teams, among=("web",)))
    assert [(row.group, row.requests) for row in by_key] == [(("web", "team-a"), 5), (("web", "team-b"), 1)]
    narrowed = used.usage(asked(by=("key",), where=RecordFilter(keys=("team-b", "team-z"))))
    assert [(row.group, row.requests) for row in narrowed] == [(("team-b",), 1)]
    steps = used.usage(asked(by=("team",), teams=teams, step_s=60, among=(None, "web")))
    assert sum(row.requests for row in steps) == 7
    (nobody,) = used.usage(asked(by=("team",)))
    assert (nobody.group, nobody.requests) == ((None,), 7)


def test_usage_tells_calls_without_the_group(used: RecordLog) -> None:
    """A call without a user, or without a tag, is a group of its own, and can be asked for alone."""
    assert {row.group[0]: row.requests for row in used.usage(asked(by=("user",)))} == {
        "ada": 4, "bob": 1, None: 1,
    }  # fmt: skip
    assert [row.group for row in used.usage(asked(by=("user",), among=(None, "bob")))] == [("bob",), (None,)]
    tagged = {row.group[0]: row.requests for row in used.usage(asked(by=("tag:a/b~c",)))}
    assert tagged == {"x": 1, "y": 1, None: 4}


def test_usage_counts_answers_beyond_bounds(used: RecordLog) -> None:
    """Slow, late and costly answers are counted against those that have the number at all."""
    (row,) = used.usage(asked(slow_ms=250.0, late_ms=19.0, costly_usd=0.1))
    assert (row.slow, row.late, row.costly) == (2, 4, 1)
    assert (row.answered, row.priced, row.started) == (4, 4, 4)
    (row,) = used.usage(asked())
    assert (row.slow, row.late, row.costly) == (0, 0, 0)


def test_an_answer_of_no_time_has_no_speed(record_log: RecordLog) -> None:
    """Tokens a second are told of answers that took a millisecond to write; of one with its first token at
    its end, of a span of no time, or of embeddings, which write none, there is no data."""
    calls: list[dict[str, Any]] = [
        {"latency_ms": 80.0, "ttft_ms": 80.0 - 1e-11},
        {"latency_ms": 0.0, "ttft_ms": 0.0},
        {"latency_ms": 0.999, "ttft_ms": None, "stream": False},
        {"latency_ms": 30.0, "ttft_ms": 50.0},
        {"latency_ms": 30.0, "ttft_ms": None, "stream": False, "output_tokens": 0, "operation": "embeddings"},
    ]
    record_log.apply(move_of(calls))

    def speeds() -> list[float | None]:
        return [
            *(each.tokens_per_s for each in record_log.stats(START, UNTIL)),
            *(each.tokens_per_s for each in record_log.usage(asked())),
        ]

    assert speeds() == [None, None]
    record_log.apply(move_of([{"latency_ms": 81.0, "ttft_ms": 80.0}], len(calls)))
    assert speeds() == [pytest.approx(8_000.0)] * 2


def test_calls_are_found_by_what_a_policy_found(record_log: RecordLog) -> None:
    """By its whole kind, whatever its letters, wherever it stood; listed, counted and summed alike."""

    def found(*kinds: str) -> tuple[PolicyFinding, ...]:
        return tuple(PolicyFinding(kind=each, action="mask", count=1, where="request") for each in kinds)

    given = [(), found("email"), found("email_work", "card"), found("card", "email"), found('q"\\é')]
    record_log.apply(move_of([{"policy": each} for each in given]))
    for kind, numbers in (("email", [3, 1]), ("card", [3, 2]), ('q"\\é', [4]), ("mail", []), ("mask", [])):
        where = RecordFilter(policy=kind)
        listed = [each.id for each in record_log.records(where, limit=9, bodies=False)]
        assert listed == [call_id(each) for each in numbers], kind
        assert record_log.count(where) == len(numbers)
        assert sum(row.requests for row in record_log.usage(asked(where=where))) == len(numbers)


def test_usage_is_narrowed_and_ordered(used: RecordLog) -> None:
    """A filter narrows it down, tags included; another order puts others first."""
    (row,) = used.usage(asked(by=("error_type",), where=RecordFilter(status="error")))
    assert row.group == ("timeout",)
    (row,) = used.usage(asked(where=RecordFilter(tag="a/b~c=y")))
    assert row.requests == 1
    assert [row.group for row in used.usage(asked(by=("model",), order="cost_usd"))] == [
        ("large",),
        ("small",),
    ]
    assert len(used.usage(asked(by=("model",), limit=1))) == 1


WRONG: tuple[dict[str, Any], ...] = (
    {"by": ("colour",)},
    {"by": ("tag:",)},
    {"by": ("user", "key", "model")},
    {"order": "luck"},
    {"step_s": 0},
    {"limit": 0},
    {"ended": True},
    {"ended": True, "people": (), "step_s": 60},
    {"ended": True, "people": (), "by": ("session",)},
    {"ended": True, "people": (), "where": RecordFilter(user="ada")},
    {"ended": True, "people": (), "by": ("tag:a",)},
)


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_usage_that_cannot_be_told_is_refused(used: RecordLog, wrong: dict[str, Any]) -> None:
    """A group, an order or a step that there is not gives a ValueError."""
    with pytest.raises(ValueError, match=r"usage|group|order|step|limit"):
        used.usage(asked(**wrong))


def test_slow_calls_can_be_had_alone(used: RecordLog) -> None:
    """Those that took longer than that, in lists, counts and sums alike."""
    for least in (0.0, 100.0, 250.5, 300.0, 900.0):
        every = used.records(RecordFilter(), limit=9, bodies=False)
        slow = [each.id for each in every if (each.latency_ms or 0.0) > least]
        where = RecordFilter(slower_ms=least)
        assert [each.id for each in used.records(where, limit=9, bodies=False)] == slow
        assert used.count(where) == len(slow)
        assert sum(row.requests for row in used.usage(asked(by=("model",), where=where))) == len(slow)
    assert used.count(RecordFilter(slower_ms=300.0, model="large", user="ada")) == 1


def test_records_come_in_the_order_asked_for(used: RecordLog) -> None:
    """The slowest or costliest call can come first; sessions, tags and causes narrow a list down."""

    def first(**fields: Any) -> str:
        return used.records(RecordFilter(**fields), limit=1, bodies=False)[0].id

    assert first(sort="slowest") == call_id(40)
    assert first(sort="costliest") == call_id(40)
    assert first(session="s1") == call_id(20)
    assert first(error_type="timeout") == call_id(60)
    assert first(tag="a/b~c=x") == call_id(0)
    assert used.count(RecordFilter(arm="canary")) == 0


def test_usage_by_when_calls_ended(record_log: RecordLog) -> None:
    """A call is in the period that it ended in, whenever it began, up to a quarter of an hour before that."""
    minutes = {"a": (-20, 25), "b": (-14, 14.5), "c": (10, 5), "d": (0, 60), "e": (55, 5), "f": (59, 3)}
    records = tuple(
        record_json(at, started_at=START + timedelta(minutes=begun), latency_ms=took * 60_000.0, model=name)
        for at, (name, (begun, took)) in enumerate(minutes.items())
    )
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))

    def ended(first: float, last: float) -> str:
        since, until = START + timedelta(minutes=first), START + timedelta(minutes=last)
        rows = record_log.usage(
            UsageQuery(since=since, until=until, by=("model",), people=(), ended=True, order="last_at")
        )
        return "".join(sorted(row.group[0] or "" for row in rows))

    assert (ended(0, 60), ended(60, 61), ended(60, 63), ended(1, 5)) == ("bc", "e", "ef", "")
    assert ended(0, 61) == "bcde", "whatever it took, where it began within the period"


def test_usage_by_when_calls_ended_is_narrowed(record_log: RecordLog) -> None:
    """By a tag, a key, a model, a release, an arm or a finding, whichever sums there are."""
    finding = (PolicyFinding(kind="email", action="flag", count=1, where="request"),)
    given: list[dict[str, Any]] = [
        {"tags": {"team": "a"}, "status": "error"},
        {"tags": {"team": "a"}, "key": "app", "model": "large"},
        {"tags": {"team": "b"}, "release": "r" * 64, "arm": "canary", "policy": finding},
        {"tags": {}, "error_type": "timeout", "status": "error"},
    ]
    records = tuple(
        record_json(at, started_at=START - timedelta(minutes=5), latency_ms=600_000.0, **fields)
        for at, fields in enumerate(given)
    )
    record_log.apply(JournalMove(segment=SEGMENT, start=0, end=1, records=records))

    def ended(minutes: int = 0, **where: Any) -> list[tuple[int, int]]:
        since = START + timedelta(minutes=minutes)
        query = UsageQuery(
            since=since, until=since + timedelta(hours=1), by=("deployment",), people=(), ended=True,
            where=RecordFilter(deployment="assistant", **where), without_key="airboss",
        )  # fmt: skip
        return [(row.requests, row.errors) for row in record_log.usage(query)]

    assert ended(tag="team=a") == [(2, 1)]
    assert ended(6, tag="team=a") == [], "they ended before"
    assert ended(tag="team=a", key="app") == ended(model="large") == [(1, 0)]
    assert ended(release="r" * 64) == ended(arm="canary") == ended(policy="email") == [(1, 0)]
    assert ended(status="error") == [(2, 2)]
    assert ended(error_type="timeout", keys=("team-a", "(none)")) == [(1, 1)]
    assert ended(keys=("(none)",)) == []
