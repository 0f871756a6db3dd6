"""Alarms of a seeded week (`seed_loop`): one fires and tells, one is silenced, one measures nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

from airboss.store.alert_rows import AlarmEvent, AlarmRow, AlarmRule, Notification, Silence
from tests.support.seed_loop import Loop


def alarm(loop: Loop) -> None:
    """One fires and tells, one is silenced, one has nothing to measure, one is well."""
    at = loop.clock.at
    since = at - timedelta(minutes=12)
    well = at - timedelta(hours=9)
    of: dict[str, Any] = {"deployment": "support", "since": since}
    rows = [
        row(loop, "errors", "error_rate", bound=0.05, phase="firing", value=0.083, **of),
        row(
            loop,
            "slow",
            "latency_p95",
            deployment="search-rewrite",
            bound=4000,
            phase="ok",
            since=well,
            value=812.0,
        ),
        row(loop, "unhappy", "score:helpfulness", bound=0.7, phase="pending", value=0.68, below=True, **of),
        row(loop, "spend", "cost_usd", bound=20, phase="no_data", why="no call in the window", **of),
    ]
    events = [
        AlarmEvent(
            alarm="errors",
            at=since - timedelta(minutes=1),
            before="ok",
            after="pending",
            value=0.06,
            bound=0.05,
        ),
        AlarmEvent(alarm="errors", at=since, before="pending", after="firing", value=0.08, bound=0.05),
    ]
    notes = [
        Notification(
            id="errors-1",
            alarm="errors",
            notifier="ops",
            kind="firing",
            created_at=since,
            due_at=since,
            body={},
            state="sent",
            attempts=1,
            ended_at=since,
        ),
        Notification(
            id="errors-0",
            alarm="errors",
            notifier="ops",
            kind="test",
            created_at=since - timedelta(days=1),
            due_at=since,
            body={},
            state="failed",
            attempts=8,
            error="http://127.0.0.1:9/hook: connection refused",
            ended_at=since,
        ),
    ]
    loop.alerts.put_alarms(rows, events=events, notifications=notes)
    until = at + timedelta(hours=2)
    loop.alerts.silence(
        "slow", Silence(until=until, reason="the provider's maintenance", by="console", at=at)
    )


def row(
    loop: Loop,
    name: str,
    metric: str,
    *,
    deployment: str = "support",
    bound: float,
    phase: str,
    since: datetime,
    value: float | None = None,
    below: bool = False,
    why: str | None = None,
) -> AlarmRow:
    """Where one alarm stands."""
    rule = AlarmRule(
        name=name,
        metric=metric,
        deployment=deployment,
        below=below,
        bound=bound,
        window_s=300,
        hold_s=60,
        notify=("ops",) if name in ("errors", "slow") else (),
    )
    return AlarmRow(
        rule=rule,
        phase=cast("Any", phase),
        since=since,
        value=value,
        why=why,
        checked_at=loop.clock.at,
        told="firing" if phase == "firing" else "ok",
    )
