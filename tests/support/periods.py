"""Tests of what is spent in a day or a month, which begin anew at midnight (UTC)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from tests.support.wait import until

WITHIN = timedelta(seconds=100)
"""Longer than what is spent by a test takes to be spent and told of."""


def within(per: Literal["day", "month"]) -> None:
    """Where such a time ends before long, wait until the next has begun."""

    def same() -> bool:
        now = datetime.now(UTC)
        later = now + WITHIN
        return now.date() == later.date() if per == "day" else now.month == later.month

    until(same, timeout_s=WITHIN.total_seconds() + 60, every_s=0.5)
