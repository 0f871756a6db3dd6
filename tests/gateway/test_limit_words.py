"""How limits and budgets are told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from airboss.gateway.heads import error_response
from airboss.gateway.stock import LimitReached, duration
from airboss.governance.budgets import money


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0, "1ms"),
        (0.02, "20ms"),
        (0.9999, "1s"),
        (1.5, "1.5s"),
        (59.25, "59.25s"),
        (60, "1m0s"),
        (361, "6m1s"),
    ],
)
def test_durations_are_openai_s(seconds: float, said: str) -> None:
    """As its headers write them."""
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("usd", "said"), [("12", "12.00"), ("12.4", "12.40"), ("0.00005", "0.00005"), ("1E+2", "100.00")]
)
def test_money_is_written_as_people_do(usd: str, said: str) -> None:
    """Two decimals, and more where there are more."""
    assert money(Decimal(usd)) == said


def test_when_to_come_back_is_rounded_up() -> None:
    """Who came a moment too early would be refused again."""
    for seconds, said in ((0.01, b"1"), (1.0, b"1"), (1.01, b"2"), (59.13, b"60")):
        lines, _ = error_response(LimitReached("too much", retry_after_s=seconds), b"")
        assert b"retry-after: %s\r\n" % said in lines
