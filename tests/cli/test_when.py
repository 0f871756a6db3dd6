"""Times as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from airboss.cli.when import parse_when
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
