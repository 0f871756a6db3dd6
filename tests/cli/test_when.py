"""Times as people write them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airboss.cli.when import parse_until, parse_when
from airboss.domain.errors import WrongCall

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("1.5 h", timedelta(minutes=90)),
        ("7d", timedelta(days=7)),
        ("2W", timedelta(weeks=2)),
    ],
)
def test_durations_count_back(text: str, ago: timedelta) -> None:
    """A duration means so long ago."""
    assert parse_when(text, now=NOW, option="--since") == NOW - ago


def test_iso_times() -> None:
    """ISO times mean what they say; without a zone they are this machine's local time."""
    assert parse_when("2026-11-23T14:30:00+02:00", now=NOW, option="--since") == NOW.replace(minute=30)
    assert parse_when("2026-11-23T12:00:00Z", now=NOW, option="--since") == NOW
    local = datetime(2026, 11, 23, 9).astimezone()
    assert parse_when("2026-11-23T09:00", now=NOW, option="--since") == local


@pytest.mark.parametrize("text", ["", "yesterday", "15", "m15", "99999999999999d", "2026-13-01", "-5m"])
def test_anything_else_is_a_wrong_call(text: str) -> None:
    """What is no time is refused with the option, what was seen and how to write it."""
    with pytest.raises(WrongCall, match=r"--until .*15m"):
        parse_when(text, now=NOW, option="--until")


@pytest.mark.parametrize(
    ("text", "next_one", "last_one"),
    [
        ("09:00", "2026-11-24T09:00", "2026-11-23T09:00"),
        (" 9:00 ", "2026-11-24T09:00", "2026-11-23T09:00"),
        ("18:30:15", "2026-11-23T18:30:15", "2026-11-22T18:30:15"),
        ("12:30Z", "2026-11-23T12:30Z", "2026-11-22T12:30Z"),
        ("23:00+14:00", "2026-11-24T23:00+14:00", "2026-11-23T23:00+14:00"),
    ],
)
def test_the_time_of_a_day_lacks_its_day(
    monkeypatch: pytest.MonkeyPatch, text: str, next_one: str, last_one: str
) -> None:
    """Which would be guessed: the error has the one that is near, ready to be written."""
    with pytest.raises(WrongCall) as since:
        parse_when(text, now=NOW, option="--since", zone=UTC)
    assert str(since.value) == f"--since {text!r} needs its day, as in {last_one}."
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        with pytest.raises(WrongCall) as begins:
            parse_until(text, now=NOW, option="--at")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert str(begins.value) == f"--at {text!r} needs its day, as in {next_one}."
    assert parse_until(next_one, now=NOW, option="--at") > NOW - timedelta(days=1)


def test_the_last_time_of_a_day_is_in_the_zone_that_is_meant() -> None:
    """What is three in the afternoon there was yesterday's, where it is not yet three."""
    there = timezone(timedelta(hours=-5))
    with pytest.raises(WrongCall, match="as in 2026-11-22T15:00"):
        parse_when("15:00", now=NOW, option="--since", zone=there)
