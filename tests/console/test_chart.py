"""Time series, findings, cards and rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from airboss.console.chart import LINES_MAX, Chart, busiest, chart, coarse, sparkline
from airboss.console.findings import BURSTS_NAMED, OUT_NAMED, Finding, findings
from airboss.console.overview import cards, rows
from airboss.console.query import Period
from airboss.domain.ports import DeploymentStats, StatsBucket
from airboss.domain.status import BreakerStatus, RetentionStatus
from tests.console.site import NOW
from tests.support.seed_records import seed_plan, seed_status

HOUR = Period(
    since=datetime(2026, 11, 24, 13, 0, 10, tzinfo=UTC),
    until=datetime(2026, 11, 24, 14, 0, 10, tzinfo=UTC),
    key="1h",
)


def bucket(minute: float, requests: int, errors: int = 0, name: str = "support", **more: Any) -> StatsBucket:
    """A step that starts so many minutes into the hour."""
    start = datetime(2026, 11, 24, 13, tzinfo=UTC) + timedelta(minutes=minute)
    fields = {
        "latency_p50_ms": 100.0,
        "latency_p95_ms": 200.0,
        "ttft_p50_ms": None,
        "output_tokens": 0,
        "cost_usd": None,
    }
    return StatsBucket(deployment=name, start=start, requests=requests, errors=errors, **{**fields, **more})


def drawn(*buckets: StatsBucket, deployment: str | None = None, period: Period = HOUR) -> Chart:
    """The chart of these steps."""
    return chart(buckets, period, hues=lambda _: 0, zone="UTC", deployment=deployment)


def stats(name: str, requests: int, **more: Any) -> DeploymentStats:
    """Stats of a deployment; what is not given was not measured."""
    fields = dict.fromkeys(
        ("latency_p50_ms", "latency_p95_ms", "ttft_p50_ms", "ttft_p95_ms", "tokens_per_s", "cost_usd")
    )
    numbers = {"errors": 0, "cancelled": 0, "input_tokens": 0, "output_tokens": 0, "cost_unknown": 0}
    return DeploymentStats(deployment=name, requests=requests, **{**fields, **numbers, **more})


def test_no_call_is_zero_requests_and_no_latency() -> None:
    """A step without a call: the log says zero requests, and nothing of latency or error rate."""
    found = drawn(bucket(0, 6), bucket(1, 3)).lines[0]
    assert found.requests[:6] == [12.0, 0.0, 6.0, 0.0, 0.0, 0.0]
    assert found.p95[:3] == [200.0, None, 200.0]
    assert found.errors[:3] == [0.0, None, 0.0]


def test_the_last_step_counts_only_its_time() -> None:
    """A step cut short by now is a rate over the time it had."""
    found = drawn(bucket(60, 1))
    assert found.x[-1] == datetime(2026, 11, 24, 14, tzinfo=UTC).timestamp()
    assert found.step_s == 30
    assert found.lines[0].requests[-1] == 6.0  # one call in ten seconds


def test_unknown_cost_is_not_free() -> None:
    """A call without a price leaves a gap; no call costs nothing."""
    found = drawn(bucket(0, 1), bucket(1, 1, cost_usd=0.5)).lines[0]
    assert found.cost[:3] == [None, 0.0, 60.0]


def test_only_the_busiest_are_drawn() -> None:
    """At most `LINES_MAX` lines, the busiest; the others are counted. One alone if it is named."""
    buckets = [bucket(0, n + 1, name=f"d{n:02}") for n in range(LINES_MAX + 3)]
    found = busiest(drawn(*buckets))
    assert [line.deployment for line in found.lines] == [f"d{n:02}" for n in range(3, LINES_MAX + 3)]
    assert found.omitted == 3
    assert [line.deployment for line in drawn(*buckets, deployment="d00").lines] == ["d00"]


def test_sparklines_break_where_nothing_was_measured() -> None:
    """A gap ends a path; a lone value is a dash; nothing measured is nothing drawn."""
    assert sparkline([None, None]) == ()
    assert len(sparkline([1.0, 2.0, None, 3.0, None])) == 2
    assert sparkline([None, 5.0, None], width=100, height=20)[0] == "M50.0,1.0h3"
    assert sparkline([0.0, 0.0], height=20) == ("M0.0,19.0L120.0,19.0",)


def test_coarse_pictures_hide_no_peak() -> None:
    """Fewer steps keep the highest value, or the sum."""
    values = [float(n == 77) for n in range(100)]
    assert max(x for x in coarse(values) if x is not None) == 1.0
    assert sum(x for x in coarse(values, add=True) if x is not None) == 1.0
    assert coarse([None] * 100) == [None] * 40


def found(*buckets: StatsBucket, causes: list[str] | None = None) -> tuple[Finding, ...]:
    """The findings of these steps when every process runs."""
    return findings(seed_status(NOW), drawn(*buckets), lambda *_: causes or [], {})


def test_quiet_errors_are_no_finding() -> None:
    """One error in two, or one in a hundred all day, is no burst."""
    assert found(bucket(0, 2, 1)) == ()
    assert found(*(bucket(minute, 100, 1) for minute in range(60))) == ()


def test_a_burst_that_goes_on_is_bad_and_has_its_beginning() -> None:
    """The finding says since when, how many, and the commonest cause."""
    steps = [bucket(minute, 20) for minute in range(40)] + [bucket(minute, 10, 5) for minute in range(40, 60)]
    (one,) = found(*steps, causes=["rate_limited", "rate_limited", "timeout"])
    assert one.level == "bad"
    assert one.title.startswith("support: 50")
    assert one.since == datetime(2026, 11, 24, 13, 40, tzinfo=UTC)
    assert one.until is None
    assert one.detail == "100 of 200 calls failed, most often with rate_limited."


def test_a_burst_that_ended_is_told_with_both_ends() -> None:
    """What is over is a warning with its beginning and its end."""
    steps = [bucket(minute, 20, 20 if 10 <= minute < 20 else 0) for minute in range(60)]
    (one,) = found(*steps, causes=["upstream_error"] * 3)
    assert one.level == "warn"
    assert "had 100" in one.title
    assert one.since == datetime(2026, 11, 24, 13, 10, tzinfo=UTC)
    assert one.until == datetime(2026, 11, 24, 13, 19, 30, tzinfo=UTC)
    assert one.detail == "200 of 200 calls failed, all with upstream_error."


def test_a_burst_then_silence_goes_on() -> None:
    """No call since the errors is no recovery."""
    (one,) = found(bucket(5, 50), bucket(6, 10, 10))
    assert one.until is None


def test_what_we_refused_is_in_no_burst() -> None:
    """Nor is what its caller left: neither makes few errors many, or says that a deployment answers again."""
    assert found(bucket(5, 1_000, 1, refused=990, cancelled=8)) == ()
    (one,) = found(bucket(5, 30, 10, refused=20), bucket(6, 7, refused=7))
    assert one.detail == "10 of 10 calls failed."
    assert one.until is None


def test_the_system_is_asked_too() -> None:
    """A store that does not answer is the first finding; late records and dead processes follow."""
    (one,) = findings(seed_status(NOW, store_up=False), drawn(), lambda *_: [], {})
    assert one.level == "bad"
    assert "does not answer" in one.title
    assert "the journal keeps them" in one.detail


def test_a_slow_store_is_a_warning_and_an_edited_history_is_bad() -> None:
    """With what is known of either."""
    status = seed_status(NOW)
    detail = "the record store has not answered for 5 s"
    slow = msgspec.structs.replace(
        status, journal=msgspec.structs.replace(status.journal, store_detail=detail)
    )
    (one,) = findings(slow, drawn(), lambda *_: [], {})
    assert (one.level, one.title) == ("warn", "Records arrive late.")
    assert f"It is slow: {detail}." in one.detail
    edited = msgspec.structs.replace(status, audit_trouble="it had 9 leaves and has 5")
    (one,) = findings(edited, drawn(), lambda *_: [], {})
    assert (one.level, one.detail) == ("bad", "it had 9 leaves and has 5.")
    unheard = msgspec.structs.replace(status, untold=("the summary of spend did not reach ops: HTTP 404",))
    (one,) = findings(unheard, drawn(), lambda *_: [], {})
    assert (one.level, one.detail) == ("warn", "the summary of spend did not reach ops: HTTP 404.")


def test_alarms_that_fire_are_told() -> None:
    """The latest first, each with its page and since when; of many the rest is a number."""
    since = {f"support.{n}": NOW - timedelta(minutes=n) for n in range(7)}
    found = findings(seed_status(NOW), drawn(), lambda *_: [], since)
    assert [(each.alarm, each.since) for each in found[:5]] == list(since.items())[:5]
    assert (found[0].level, found[0].title) == ("bad", "The alarm support.0 fires")
    assert [(each.title, each.path) for each in found[5:]] == [("2 more alarms fire.", "/alerts")]


def test_an_alarm_that_somebody_knows_of_is_no_news() -> None:
    """It is told after those that nobody has silenced, with why it is, and is not red."""
    since = {"known": NOW, "news": NOW - timedelta(hours=1)}
    found = findings(seed_status(NOW), drawn(), lambda *_: [], since, {"known": "the provider's maintenance"})
    assert [(each.alarm, each.level) for each in found] == [("news", "bad"), ("known", "warn")]
    assert found[1].detail == "It is silenced: the provider's maintenance"


def test_a_disk_that_is_nearly_full_is_bad() -> None:
    """With how many bodies made room; what a configured bound took is no finding."""
    status = seed_status(NOW)
    full = msgspec.structs.replace(status, retention=RetentionStatus(disk_full=True, dropped=4_096))
    (one,) = findings(full, drawn(), lambda *_: [], {})
    assert (one.level, one.title) == ("bad", "The disk is nearly full.")
    assert "4,096 records" in one.detail
    bound = msgspec.structs.replace(status, retention=RetentionStatus(dropped=4_096))
    assert findings(bound, drawn(), lambda *_: [], {}) == ()


def test_cards_say_no_data() -> None:
    """Without a call, no card shows a zero; what would be the errors of nothing is no data."""
    for card in cards([], [], drawn(), earlier="24 h"):
        assert card.value is None


def test_cards_name_the_slowest() -> None:
    """Quantiles of several deployments are not added up: the slowest is shown, by name."""
    both = [stats("a", 10, latency_p95_ms=100.0), stats("b", 10, latency_p95_ms=900.0), stats("c", 1)]
    before = [stats("b", 10, latency_p95_ms=600.0)]
    card = cards(both, before, drawn(), earlier="24 h")[2]
    assert card.value == 900.0
    assert card.note == "slowest: b, +50\u00a0%"


def test_cards_compare_only_what_can_be_compared() -> None:
    """A handful of calls before is named, not turned into a percentage."""
    one = [stats("a", 500, errors=5)]
    assert cards(one, [stats("a", 3)], drawn(), earlier="24 h")[0].note == "3 in the 24 h before"
    assert cards(one, [], drawn(), earlier="24 h")[0].note == "none in the 24 h before"
    assert cards(one, [stats("a", 400)], drawn(), earlier="24 h")[0].note == "+25\u00a0% on the 24 h before"
    assert (
        cards(one, [stats("a", 1000)], drawn(), earlier="24 h")[0].note
        == "\u221250\u00a0% on the 24 h before"
    )
    assert (
        cards(one, [stats("a", 400, errors=4)], drawn(), earlier="24 h")[1].note
        == "5 of 500, 1.00\u00a0% in the 24 h before"
    )


def test_cancelled_calls_are_shown_and_not_counted() -> None:
    """The error rate, of cards and of the chart, is of calls that were neither cancelled nor refused."""
    card = cards([stats("a", 100, errors=10, cancelled=50)], [], drawn(), earlier="24 h")[1]
    assert card.value == 0.2
    assert card.level == "bad"
    (card,) = cards([stats("a", 100, errors=10, refused=30, cancelled=20)], [], drawn(), earlier="24 h")[1:2]
    assert card.value == 0.2
    assert card.note.endswith("; 30 refused")
    (line,) = drawn(bucket(0, 10, errors=1, cancelled=3, refused=5), bucket(1, 4, refused=4)).lines
    assert [rate for rate in line.errors if rate is not None] == [50.0]


def test_an_unknown_price_is_said() -> None:
    """Cost counts the calls it does not know the price of."""
    assert cards([stats("a", 5, cost_unknown=5)], [], drawn(), earlier="24 h")[5].value is None
    some = cards([stats("a", 5, cost_usd=1.0, cost_unknown=2)], [], drawn(), earlier="24 h")[5]
    assert some.value == 1.0
    assert "2 calls of unknown price" in some.note
    one = cards([stats("a", 5, cost_usd=1.0, cost_unknown=1)], [], drawn(), earlier="24 h")[5]
    assert "1 call of unknown price" in one.note


def test_rows_hold_every_deployment() -> None:
    """Those of the plan without a call, and those called that are not served any more."""
    listed = rows([stats("gone", 5), stats("support", 15)], seed_plan(NOW), drawn(), sort="-requests")
    assert [row.name for row in listed][:2] == ["support", "gone"]
    assert {row.name for row in listed} == {
        "gone",
        "support",
        "search-rewrite",
        "summarize",
        "code-review",
        "assistant",
    }
    assert listed[0].share == 0.75
    assert listed[1].plan is None
    assert listed[-1].stats is None
    assert rows([], seed_plan(NOW), drawn(), sort="name")[0].name == "assistant"


def test_rows_sort_by_rate_not_by_count() -> None:
    """Sorting by errors is by rate, and deployments without calls come last."""
    few = [stats("many", 1_000, errors=10), stats("few", 10, errors=5)]
    assert [row.name for row in rows(few, None, drawn(), sort="-errors")] == ["few", "many"]


def test_a_quiet_deployment_that_fails_is_told_among_many() -> None:
    """Also where it is not drawn: it has its traffic in the table, and counts in the cards."""
    quiet = bucket(0, 5, 5, name="quiet")
    whole = drawn(quiet, *(bucket(0, 100, name=f"d{n:02}") for n in range(LINES_MAX)))
    assert "quiet" not in [line.deployment for line in busiest(whole).lines]
    (one,) = findings(seed_status(NOW), whole, lambda *_: [], {})
    assert (one.deployment, one.title.replace("\xa0", " ")) == ("quiet", "quiet: 100 % errors")
    (row,) = [each for each in rows([stats("quiet", 5)], None, whole, sort="") if each.name == "quiet"]
    assert row.spark


def test_of_many_deployments_that_fail_the_worst_are_told() -> None:
    """By name, and how many more there are."""
    failing = [bucket(0, 50, 10 + n, name=f"d{n:02}") for n in range(BURSTS_NAMED + 2)]
    found = findings(seed_status(NOW), drawn(*failing), lambda *_: [], {})
    assert [each.deployment for each in found] == [f"d{n:02}" for n in range(2, BURSTS_NAMED + 2)] + [None]
    assert found[-1].title == "2 more deployments have many errors."
    alarms = {f"d{n:02}.errors": NOW for n in range(BURSTS_NAMED + 2)} | {"d00.cost": NOW}
    on_errors = {name: name.removesuffix(".errors") for name in alarms if name.endswith(".errors")}
    told = findings(seed_status(NOW), drawn(*failing), lambda *_: [], alarms, on_errors=on_errors)
    assert [each.alarm for each in told if each.alarm] == ["d00.cost"]
    assert told[-2].alarms == ("d06.errors",)
    assert len(told) == len(found) + 1


def out(model: str = "up", provider: str = "main", **more: Any) -> BreakerStatus:
    """A place that has been out for ten minutes while a fallback answers."""
    fields: dict[str, Any] = {"state": "half_open", "last_failure": "upstream_auth", "key": "env:MAIN_KEY"}
    fields |= {
        "out_since": NOW - timedelta(minutes=10),
        "deployments": ("support",),
        "instead": "spare/small",
    }
    return BreakerStatus(provider=provider, model=model, url="http://main/v1", **{**fields, **more})


def test_a_provider_that_is_out_is_a_finding_though_a_fallback_answers() -> None:
    """With since when, whose calls, why, who is asked instead and what to do; with no fallback it is bad."""
    status = seed_status(NOW)

    def told(*breakers: BreakerStatus) -> tuple[Finding, ...]:
        return findings(msgspec.structs.replace(status, breakers=breakers), drawn(), lambda *_: [], {})

    (one,) = told(out())
    assert (one.level, one.title, one.since, one.path) == (
        "warn",
        "main/up has not answered",
        NOW - timedelta(minutes=10),
        "/system/providers",
    )
    assert one.detail == (
        "At http://main/v1 with env:MAIN_KEY it fails with upstream_auth. Calls of support go to "
        "spare/small instead, at its price. Check the key of provider main."
    )
    (alone,) = told(out(instead=None, deployments=("a", "b"), key=None, last_failure="timeout_connect"))
    assert alone.level == "bad"
    assert alone.detail.startswith(
        "At http://main/v1 it fails with timeout_connect. Calls of a, b have nobody else to go to. "
    )
    (some,) = told(out(instead=None, deployments=("a", "b"), stranded=("b",)))
    assert "Calls of b have nobody else to go to. Those of a go elsewhere. " in some.detail
    assert told(out(out_since=None)) == (), "a flap"
    (spent,) = told(out(limited="out_of_quota", last_failure="insufficient_quota"))
    assert (spent.level, spent.title) == ("warn", "main/up has been out of quota")
    assert spent.detail == (
        "At http://main/v1 with env:MAIN_KEY it refuses every call with insufficient_quota. Calls of support "
        "go to spare/small instead, at its price. Add credit or raise the quota at provider main: calls then "
        "go to it again."
    )
    (slow,) = told(out(limited="rate_limited", state="closed", instead=None, last_failure="slow_down"))
    assert (slow.level, slow.title) == ("bad", "main/up has been rate limited")
    assert slow.detail.endswith("Ask provider main for a higher limit, or give it `targets` with other keys.")
    *named, more = told(*(out(provider=f"p{n}") for n in range(OUT_NAMED + 2)))
    assert len(named) == OUT_NAMED
    assert (more.title, more.path) == ("2 more places of models have not answered.", "/system/providers")
