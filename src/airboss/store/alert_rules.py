"""What the configuration says of alarms, as the rules that they are watched by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from airboss.config import AlarmConfig, MaintenanceConfig
from airboss.config.checks_alarms import weekly
from airboss.config.checks_watch import seconds
from airboss.config.types import AlarmKind
from airboss.store.alert_rows import AlarmRule, Silence, Slo

METRICS_OF: dict[AlarmKind, str] = {
    "burn_rate": "good calls",
    "probe": "bias",
    "eval": "evaluation",
    "drift": "drift",
    "budget": "budget",
}
"""What alarms watch that have no metric."""


SPENT: Final = 0.8
"""The part of a budget that an alarm is for where it says nothing else."""


NOBODY: Final = "(none)"
"""No key can have this name."""

DAY_S: Final = 86_400
"""The calls of a day are shown with an alarm of a budget."""


def rule_of(name: str, alarm: AlarmConfig) -> AlarmRule:
    """The rule that an alarm's table is."""
    bound = alarm.above if alarm.above is not None else alarm.below
    if bound is None and alarm.compares == "budget":
        bound = SPENT
    slo, asked = alarm.slo, alarm.eval
    by_baseline = asked is not None and bound is None
    return AlarmRule(
        name=name,
        metric=alarm.metric or METRICS_OF[alarm.compares],
        deployment=alarm.deployment,
        key=alarm.key,
        team=alarm.team,
        tag=alarm.tag,
        where=tuple(sorted(alarm.where.items())),
        below=alarm.below is not None or by_baseline,
        bound=float(bound) if bound is not None else 0.0,
        window_s=DAY_S if alarm.compares == "budget" else seconds(alarm.window) or 0,
        hold_s=seconds(alarm.hold) or 0,
        kind=alarm.compares,
        slo=None
        if slo is None
        else Slo(
            target=float(slo.target),
            window_s=seconds(slo.window) or 0,
            latency_ms=None if slo.latency_ms is None else float(slo.latency_ms),
        ),
        alpha=float(alarm.alpha),
        probe="" if alarm.probe is None else _as_json(alarm.probe),
        # Without what bounds a run: with other bounds it is the same evaluation.
        evaluation="" if asked is None else _as_json(msgspec.structs.replace(asked, calls=0, max_usd=None)),
        calls=0 if asked is None else asked.calls,
        usd=None if asked is None or asked.max_usd is None else float(asked.max_usd),
        by_baseline=by_baseline,
        every_s=seconds(alarm.every) or 0,
        min_requests=alarm.min_requests,
        remind_s=seconds(alarm.remind or "") or 0,
        notify=tuple(dict.fromkeys(alarm.notify)),
        notify_no_data=alarm.no_data == "notify",
    )


def _as_json(settings: object) -> str:
    return msgspec.json.Encoder(decimal_format="number").encode(settings).decode()


def of_teams(rule: AlarmRule, teams: Mapping[str, Collection[str]]) -> AlarmRule:
    """A rule, with the keys of the team that it is narrowed to; `teams` are the keys of each."""
    team = dict(rule.where).get("team")
    if team is None:
        return rule
    return msgspec.structs.replace(rule, keys=tuple(sorted(teams.get(team, ()))) or (NOBODY,))


def quieted(
    silence: Silence | None, windows: Mapping[str, MaintenanceConfig], deployment: str, now: datetime
) -> Silence | None:
    """What keeps an alarm quiet now: its silence, unless that is over, or maintenance; what lasts longer."""
    found = [each for each in (silence, in_maintenance(windows, deployment, now)) if each is not None]
    return max((each for each in found if now < each.until), key=lambda each: each.until, default=None)


def in_maintenance(
    windows: Mapping[str, MaintenanceConfig], deployment: str, now: datetime
) -> Silence | None:
    """The silence that maintenance of a deployment is now; of several windows the one that lasts longest."""
    found = [
        Silence(until=ends, reason=f"maintenance {name}", by="the configuration", at=now)
        for name, each in windows.items()
        if (each.deployments is None or deployment in each.deployments)
        and (ends := _ends(each, now)) is not None
    ]
    return max(found, key=lambda each: each.until, default=None)


def _ends(window: MaintenanceConfig, now: datetime) -> datetime | None:
    """When the maintenance that goes on now is over."""
    if window.starts is not None and window.ends is not None:
        return window.ends if window.starts <= now < window.ends else None
    found = weekly(window.weekly or "")
    if found is None:
        return None
    day, starts, lasts = found
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    began = midnight - timedelta(days=(now.weekday() - day) % 7) + starts
    for begin in (began, began - timedelta(days=7)):
        if begin <= now < begin + lasts:
            return begin + lasts
    return None
