"""What a URL asks for."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airboss.console.api_traces import read_traces
from airboss.console.query import POINTS, RANGES, STEPS_S, Period, read_filter, read_period, read_time, zone
from airboss.domain.errors import InvalidRequest
from tests.console.site import NOW

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-23T14:00:00Z", datetime(2026, 11, 23, 14, tzinfo=UTC)),
        ("2026-11-23T14:00:00 01:00", datetime(2026, 11, 23, 13, tzinfo=UTC)),
        ("2026-11-23T14:00:00+01:00", datetime(2026, 11, 23, 13, tzinfo=UTC)),
        ("2026-11-23T14:00", datetime(2026, 11, 23, 13, tzinfo=UTC)),
        ("2026-11-23", datetime(2026, 11, 22, 23, tzinfo=UTC)),
        ("15m", NOW - timedelta(minutes=15)),
        ("7d", NOW - timedelta(days=7)),
    ],
)
def test_times(written: str, meant: datetime) -> None:
    """RFC 3339, also where a `+` became a space; without a zone it is the visitor's; or so long ago."""
    assert read_time(written, "since", now=NOW, local=BERLIN) == meant


@given(st.text(max_size=40))
def test_no_time_breaks_the_reader(written: str) -> None:
    """Any text is a time or an InvalidRequest."""
    with suppress(InvalidRequest):
        assert read_time(written, "since", now=NOW, local=UTC).tzinfo is not None


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("written", ["999999d", "740000d", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_time_at_the_ends_of_the_calendar_is_none(name: str, written: str) -> None:
    """Nothing can be reckoned from it, be it the day or the week before."""
    with pytest.raises(InvalidRequest, match="is not a time"):
        read_period({name: written}, now=NOW, local=UTC, default="24h")


@pytest.mark.parametrize("key", RANGES)
def test_steps_suit_the_range(key: str) -> None:
    """Every range has enough steps for a shape, and not more than are drawn."""
    period = read_period({"range": key}, now=NOW, local=UTC, default="24h")
    assert POINTS / 3 <= period.seconds / period.step_s <= POINTS
    assert all(86_400 % step == 0 for step in STEPS_S)


@given(st.integers(1, 366 * 86_400))
def test_any_period_has_a_bounded_chart(seconds: int) -> None:
    """However long, a chart has a bounded number of steps."""
    period = Period(since=NOW - timedelta(seconds=seconds), until=NOW, key=None)
    assert period.step_s >= 1
    assert period.seconds / period.step_s <= 400


def test_the_period_before_touches_it() -> None:
    """The period before has the same length and ends where this one begins."""
    period = read_period({"range": "6h"}, now=NOW, local=UTC, default="24h")
    assert period.before.until == period.since
    assert period.before.seconds == period.seconds


def test_periods_exclude_nonsense() -> None:
    """Backwards, endless or unknown periods are refused."""
    for params in (
        {"since": "1h", "until": "2h"},
        {"since": "2020-01-01"},
        {"since": "999999d"},
        {"range": "1y"},
    ):
        with pytest.raises(InvalidRequest):
            read_period(params, now=NOW, local=UTC, default="24h")


def test_a_period_gives_its_own_link_again() -> None:
    """What a page puts into a link is read back as the same period."""
    for params in ({"range": "7d"}, {"since": "2026-11-23T14:00:00.250Z", "until": "2026-11-24T00:00:00Z"}):
        period = read_period(params, now=NOW, local=UTC, default="24h")
        assert read_period(period.params, now=NOW, local=UTC, default="24h") == period


def test_an_empty_field_is_no_filter() -> None:
    """A form sends empty fields; they filter nothing. Blanks around a value do not count."""
    where = read_filter({"user": "", "model": "  gpt ", "text": "  "}, now=NOW, local=UTC)
    assert where.user is None
    assert where.model == "gpt"
    assert where.text is None


def test_what_callers_have_written_is_looked_for_as_they_wrote_it() -> None:
    """Blanks around a user, a session or a tag are part of it: without them nobody would be found, or all."""
    where = read_filter({"user": " ann", "session": " ", "tag": "team= red\n"}, now=NOW, local=UTC)
    assert (where.user, where.session, where.tag) == (" ann", " ", "team= red\n")
    assert read_traces({"user": " ann "}, since=NOW, until=NOW).user == " ann "


def test_zones() -> None:
    """A zone that is not known is UTC; a path is not a zone."""
    assert zone("Europe/Berlin") == BERLIN
    for name in (None, "", "Nowhere/City", "../../etc/passwd", "/etc/passwd", "x" * 100, "a\x00b"):
        assert zone(name) is UTC


def test_slow_calls_are_asked_for_in_milliseconds() -> None:
    """A number, of a half if need be; what is none is told, for nothing must look like no slow call."""
    assert read_filter({"slower_ms": "0.5"}, now=NOW, local=UTC).slower_ms == 0.5
    assert read_filter({"slower_ms": " "}, now=NOW, local=UTC).slower_ms is None
    for wrong in ("5s", "-1", "nan", "inf"):
        with pytest.raises(InvalidRequest, match="no number of milliseconds"):
            read_filter({"slower_ms": wrong}, now=NOW, local=UTC)
