"""Alarms and online scoring in `/metrics`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import get_args

from airboss.store.alert_rows import AlarmPhase
from airboss.telemetry.exposition import ALARM_STATES, Exposition
from airboss.telemetry.metrics import Counts

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def test_each_alarm_is_in_one_state() -> None:
    """1 for the state it is in and 0 for all others, so that a rule can ask for any of them."""
    counts = Counts(written_at=NOW, alarms={"errors": "firing", "slow": "no_data"})
    text = Exposition([counts], {}).written()[0].decode()
    ones = re.findall(r'^airboss_alarm_state\{alarm="(\w+)",state="(\w+)"\} 1\.0$', text, re.MULTILINE)
    assert ones == [("errors", "firing"), ("slow", "no_data")]
    assert len(re.findall(r"^airboss_alarm_state\{", text, re.MULTILINE)) == 2 * len(ALARM_STATES)


def test_every_state_of_an_alarm_has_a_series() -> None:
    """The names are those that alarms have."""
    assert set(ALARM_STATES) == set(get_args(AlarmPhase))
