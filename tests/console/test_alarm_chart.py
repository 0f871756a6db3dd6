"""An alarm's picture: what it watches over time, in the numbers that it is judged by."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from airboss.console.alarm_chart import alarm_chart, watched
from airboss.console.query import Period
from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import UsageQuery
from airboss.domain.record import ANSWERED_BY_FALLBACK
from airboss.store.alert_metrics import INTERNAL_KEY, metric_of
from airboss.store.alert_rows import AlarmRow, AlarmRule, Slo
from airboss.store.memory import MemoryRecordLog
from tests.console.looped import LoopSite
from tests.console.site import NOW, put, sample
from tests.console.test_pages import shown

SINCE = datetime(2026, 11, 24, tzinfo=UTC)


def rule(metric: str = "error_rate", **changes: Any) -> AlarmRule:
    """An alarm of the support desk's, of five minutes."""
    fields = {"name": "errors", "below": False, "bound": 0.05, "window_s": 300, "hold_s": 60}
    return AlarmRule(**{**fields, "metric": metric, "deployment": "support", **changes})


def drawn(week: LoopSite, path: str) -> dict[str, Any]:
    """What the page gives its picture."""
    found = re.search(r'<pre id="chart-data" hidden>(.*?)</pre>', week.person().get(path).text, re.DOTALL)
    assert found is not None
    chart: dict[str, Any] = msgspec.json.decode(html.unescape(found[1]))
    return chart


def test_an_alarms_page_draws_what_it_watches(week: LoopSite) -> None:
    """The share of calls that failed, in percent, beside its bound, with when it fired."""
    chart = drawn(week, "/alerts/errors?range=7d")
    assert (chart["label"], chart["unit"], chart["bound"], chart["bound_words"]) == (
        "Errors",
        "percent",
        5.0,
        "fires above",
    )
    assert "firing" in [words for _at, words in chart["marks"]]
    (line,) = chart["lines"]
    end = week.loop.clock.now()
    asked = UsageQuery(since=end - timedelta(days=7), until=end, by=("deployment",), without_key=INTERNAL_KEY)
    own = next(row for row in week.log.usage(asked) if row.group == ("support",))
    assert sum(line["n"]) == own.requests > 0
    assert any(value for value in line["value"] if value is not None), "there are failures in that week"
    assert max(value for value in line["value"] if value is not None) <= 100


def test_a_step_is_the_metric_of_its_calls(week: LoopSite) -> None:
    """Of one step alone, the picture's value is what the alarm would have measured of the same calls."""
    end = week.loop.clock.now().replace(minute=0, second=0, microsecond=0)
    period = Period(since=end - timedelta(days=2), until=end, key=None)
    for metric in ("error_rate", "latency_p95", "ttft_p50"):
        chart = drawn_of(week, rule(metric), period)
        at = next(i for i, n in enumerate(chart.lines[0].n) if n > 3)
        since = period.since.fromtimestamp(chart.x[at], period.since.tzinfo)
        asked = UsageQuery(
            since=since,
            until=since + timedelta(seconds=chart.step_s),
            by=("deployment",),
            without_key=INTERNAL_KEY,
        )
        own = next(row for row in week.log.usage(asked) if row.group == ("support",))
        expected = metric_of(own, metric)
        assert expected is not None
        value = chart.lines[0].value[at]
        assert value == pytest.approx(100 * expected if metric == "error_rate" else expected, abs=1e-3)


@pytest.mark.parametrize("kind", ["threshold", "sequential"])
def test_answers_by_fallbacks_are_drawn_as_a_share(week: LoopSite, kind: str) -> None:
    """Of all answers, whatever fires on them; failed calls are none."""
    log = MemoryRecordLog()
    kinds = [
        (None, "ok"),
        (None, "ok"),
        (None, "ok"),
        (ANSWERED_BY_FALLBACK, "ok"),
        ("timeout_total", "error"),
    ]
    for number, (error_type, status) in enumerate(kinds):
        ends = {"error_type": error_type, "status": status, "deployment": "support", "key": "app"}
        put(log, sample(id=f"id-{number}", started_at=NOW, **ends))
    desk = replace(week.desk(), log=log)
    period = Period(since=NOW - timedelta(hours=1), until=NOW + timedelta(hours=1), key=None)
    chart = alarm_chart(desk, rule("fallback_rate", kind=kind), (), period, zone="UTC")
    assert chart is not None
    assert (chart.label, chart.unit) == ("Answers by a fallback", "percent")
    assert [each for each in chart.lines[0].value if each is not None] == [25.0]


def test_a_sum_is_told_for_the_alarms_window(week: LoopSite) -> None:
    """Its bound is of a window, and so must be what stands beside it: of an hour, sixty times a minute's."""
    end = week.loop.clock.now()
    period = Period(since=end - timedelta(hours=6), until=end, key=None)
    short, long = (
        drawn_of(week, rule("requests", window_s=window, bound=3.0), period) for window in (60, 3_600)
    )
    (few,), (many,) = short.lines, long.lines
    assert short.label == "Requests in 1m"
    assert any(few.value)
    assert many.value == [pytest.approx(60 * each, abs=1e-3) for each in few.value]
    assert short.bound == long.bound == 3.0
    step = period.step_s
    begun = datetime.fromtimestamp(end.timestamp() // step * step + 1, UTC)
    early = Period(since=begun - timedelta(hours=6), until=begun, key=None)
    assert drawn_of(week, rule("requests"), early).lines[0].value[-1] is None, "a second says nothing yet"


def test_of_some_calls_these_alone_are_drawn(week: LoopSite) -> None:
    """As the alarm counts them."""
    end = week.loop.clock.now()
    period = Period(since=end - timedelta(days=7), until=end, key=None)
    every, canary, none = (
        sum(drawn_of(week, rule("requests", where=where), period).lines[0].n)
        for where in ((), (("arm", "canary"),), (("key", "nobody"),))
    )
    assert every > canary > none == 0


def test_a_change_is_drawn_beside_the_week_before(week: LoopSite) -> None:
    """Two lines on one axis; the second is what there was seven days earlier."""
    end = week.loop.clock.now()
    period = Period(since=end - timedelta(days=1), until=end, key=None)
    later = Period(since=period.since + timedelta(days=7), until=end + timedelta(days=7), key=None)
    now = drawn_of(week, rule("requests", kind="change"), period)
    ahead = drawn_of(week, rule("requests", kind="change"), later)
    assert [each.deployment for each in ahead.lines] == ["support", "a week before"]
    assert ahead.lines[1].n == now.lines[0].n
    assert sum(ahead.lines[1].n) > 0
    assert ahead.bound is None


def test_a_budget_is_drawn_as_the_calls_that_were_not_good(week: LoopSite) -> None:
    """Slow ones are among them, and the line is what the promise allows."""
    end = week.loop.clock.now()
    period = Period(since=end - timedelta(days=7), until=end, key=None)
    slo = Slo(target=0.99, window_s=30 * 86_400, latency_ms=1.0)
    chart = drawn_of(week, rule("good calls", kind="burn_rate", slo=slo), period)
    assert chart.bound == pytest.approx(1.0)
    assert chart.label == "Calls that failed or took over 1.0\u00a0ms"
    assert max(each for each in chart.lines[0].value if each is not None) == 100, "none answers in 1 ms"


def test_a_sequential_alarm_draws_what_its_test_counts() -> None:
    """Answers beyond what it has learned to be slow, beside what is usual; before that, the metric."""
    own = rule("latency_p95", kind="sequential")
    assert watched(own, None) == watched(own, AlarmRow(rule=own, phase="no_data", since=SINCE))
    early = watched(own, None)
    assert early is not None
    assert (early.label, early.unit, early.bound) == ("Latency p95", "ms", None)
    learned = AlarmRow(rule=own, phase="ok", since=SINCE, bound=0.1, memory={"bound": 6_320.0})
    seen = watched(own, learned)
    assert seen is not None
    assert (seen.label, seen.unit, seen.slow, seen.bound) == (
        "Answers that took over 6.32\u00a0s",
        "percent",
        6_320.0,
        10.0,
    )
    assert seen.words == "up to 10\u00a0% is usual"


@pytest.mark.parametrize("path", ["/alerts/unhappy", "/alerts/airboss.dead-letters"])
def test_what_is_not_counted_by_time_has_no_picture(week: LoopSite, path: str) -> None:
    """A score has its curves on the page of scores."""
    assert "chart-data" not in shown(week.person(), path).text


def test_an_alarm_is_shown_while_records_cannot_be_read(
    week: LoopSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page that says what is wrong must not need what is."""

    def gone(_asked: object) -> object:
        raise StoreUnavailable("no answer from the record store's socket")

    monkeypatch.setattr(week.log, "usage", gone)
    page = shown(week.person(), "/alerts/errors").text
    assert "No picture now: no answer from the record store" in page
    assert "above 5.00" in page


def drawn_of(week: LoopSite, own: AlarmRule, period: Period) -> Any:
    """The picture of a rule."""
    return alarm_chart(week.desk(), own, (), period, zone="UTC")
