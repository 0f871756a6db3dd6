"""Alarms in the admin API: where they stand, what they went through, who was told, and silences."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from airboss.config import AlarmConfig, Config, all_alarms, parse_config
from airboss.config.checks_watch import seconds
from airboss.config.types import AlarmKind
from airboss.config.wording import dotted, nearest, quoted
from airboss.console.desk import Desk
from airboss.console.route import Call, Route
from airboss.domain.errors import InvalidRequest, NotFound
from airboss.governance.budgets import with_budget
from airboss.store.alert_metrics import length, side
from airboss.store.alert_pages import alarm_url
from airboss.store.alert_rows import AlarmEvent, AlarmPhase, AlarmRow, Notification, Silence, looked_back
from airboss.store.alert_rules import quieted, rule_of
from airboss.store.alert_runs import evaluation_of

EVENTS: Final = 50
SILENCE_MAX: Final = timedelta(days=30)
REASON_CHARS_MAX: Final = 500
TEST_S: Final = 15.0
"""How long a test notification is waited for; one that takes longer is still sent."""


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm as it is configured, and where it stands. `state` None: it has not been looked at yet.

    `threshold` is what the value is compared with: of a burn rate and a sequential test it is known once they
    have been looked at. `detail` is what else there is to know of the value, `records` are some of the calls
    that broke it. `default`: nobody wrote it, every deployment, or key, team or tag with a budget, has it.
    `key`, `team` or `tag` is of kind `budget`, which has no `deployment`. `where` narrows the calls of the
    deployment, by filters of records. `evaluation` is that which the value is of. `window` is, of a burn
    rate, the time over which that is seen.
    """

    name: str
    state: AlarmPhase | None
    since: datetime | None
    kind: AlarmKind
    deployment: str
    key: str = ""
    team: str = ""
    tag: str = ""
    where: dict[str, str] = {}
    metric: str
    value: float | None
    why: str | None
    detail: str | None
    comparison: str
    threshold: float | None
    window: str
    hold: str = msgspec.field(name="for")
    min_requests: int = 1
    default: bool
    notify: tuple[str, ...]
    remind: str | None = None
    checked_at: datetime | None
    silence: Silence | None
    records: tuple[str, ...] = ()
    evaluation: str | None = None


class Alarms(msgspec.Struct, frozen=True, kw_only=True):
    """Every alarm, ordered by name."""

    alarms: tuple[Alarm, ...]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A notification and what became of it. `error` is what the last try said."""

    id: str
    notifier: str
    kind: str
    state: str
    created_at: datetime
    attempts: int
    due_at: datetime
    ended_at: datetime | None
    error: str | None


class AlarmPage(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm with its newest events and notifications, newest first."""

    alarm: Alarm
    events: tuple[AlarmEvent, ...]
    notifications: tuple[Told, ...]


class SilenceIntent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how long nobody is told, such as `2h`, and why. `for` empty: the silence ends now."""

    hold: str = msgspec.field(name="for", default="")
    reason: str = ""


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the test notifications; one that is still `waiting` is sent as soon as can be."""

    notifications: tuple[Told, ...]


def alarms(desk: Desk, call: Call) -> Alarms:
    """GET /api/v1/alarms."""
    config = in_force(desk)
    known = alarms_of(desk, config)
    rows, silences = desk.alerts.alarms(), desk.alerts.silences()
    return Alarms(
        alarms=tuple(
            shown(name, known[name], config, rows.get(name), silence=silences.get(name), now=call.now)
            for name in sorted(known)
        )
    )


def alarm(desk: Desk, call: Call) -> AlarmPage:
    """GET /api/v1/alarms/{name}."""
    name, alarm, config = named(desk, call)
    row, silence = desk.alerts.alarms().get(name), desk.alerts.silences().get(name)
    return AlarmPage(
        alarm=shown(name, alarm, config, row, silence=silence, now=call.now),
        events=desk.alerts.events(name, limit=EVENTS),
        notifications=tuple(map(told, desk.alerts.notifications(name, limit=EVENTS))),
    )


def silence_alarm(desk: Desk, call: Call) -> Alarm:
    """POST /api/v1/alarms/{name}/silence."""
    name, alarm, config = named(desk, call)
    intent = call.intent(SilenceIntent)
    silence = None
    if intent.hold:
        length = seconds(intent.hold)
        if length is None or not 0 < length <= SILENCE_MAX.total_seconds():
            raise InvalidRequest(f"for={intent.hold[:40]!r} is no time of up to 30d; write 2h", param="for")
        reason = intent.reason.strip()
        if not 0 < len(reason) <= REASON_CHARS_MAX:
            raise InvalidRequest(
                f"the reason has {len(reason)} characters; say in 1 to {REASON_CHARS_MAX} why", param="reason"
            )
        until = call.now + timedelta(seconds=length)
        silence = Silence(until=until, reason=reason, by=call.actor, at=call.now)
    detail = {"until": silence.until.isoformat(), "reason": silence.reason} if silence is not None else {}
    with desk.ledger.together():
        desk.alerts.silence(name, silence)
        desk.note(call, "alert.silence" if silence is not None else "alert.unsilence", name, detail)
    return shown(name, alarm, config, desk.alerts.alarms().get(name), silence=silence, now=call.now)


def _who_could_be(name: str, config: Config) -> str:
    if not config.notifiers:
        own = "" if name in config.alarms else ", which this alarm tells without more"
        return f"there is no notifier yet: add one under [notifiers]{own}"
    return f"give it `notify` under [alarms.{name}]"


def test_alarm(desk: Desk, call: Call) -> Tested:
    """POST /api/v1/alarms/{name}/test."""
    name, alarm, config = named(desk, call)
    if not alarm.notify:
        raise InvalidRequest(f"alarm {name!r} notifies nobody; {_who_could_be(name, config)}", param="name")
    body = {
        "alarm": name,
        "state": "test",
        "deployment": alarm.deployment,
        "key": alarm.key,
        "team": alarm.team,
        "tag": alarm.tag,
        "where": alarm.where,
        "metric": rule_of(name, alarm).metric,
        "at": call.now.isoformat(),
        "page": alarm_url(desk.console_url(), name),
        "text": f"{name}: a test, nothing has happened",
    }
    notes = []
    for notifier in dict.fromkeys(alarm.notify):
        note = Notification(
            id=f"{name}-{secrets.token_hex(8)}",
            # Of its own, so that it does not wait behind what could not be delivered yet.
            alarm=f"{name}#test",
            notifier=notifier,
            kind="test",
            created_at=call.now,
            due_at=call.now,
            body=body,
        )
        notes.append(note)
    with desk.ledger.together():
        for note in notes:
            desk.alerts.add_notification(note)
        desk.note(call, "alert.test", name)
    return Tested(notifications=tuple(map(told, settled(desk, [each.id for each in notes]))))


def settled(desk: Desk, ids: list[str]) -> list[Notification]:
    """These notifications, once all have been tried, or after a while."""
    deadline = time.monotonic() + TEST_S
    while True:
        found = [each for each in map(desk.alerts.notification, ids) if each is not None]
        if all(each.state != "waiting" for each in found) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def in_force(desk: Desk) -> Config:
    """The configuration in force; an empty one before the first."""
    text = desk.ledger.config()
    return parse_config(text, source="the configuration in force") if text is not None else Config()


def alarms_of(desk: Desk, config: Config) -> dict[str, AlarmConfig]:
    """Every alarm there is under a configuration."""
    return all_alarms(config, with_budget(desk.ledger.all_keys()))


def unmatched(desk: Desk, config: Config) -> Iterator[str]:
    """What to say of alarms that watch the calls of a key that there is not."""
    known = {key.name for key in desk.ledger.all_keys() if key.role is None}  # others call nothing
    for name, alarm in config.alarms.items():
        key = alarm.where.get("key")
        if key is not None and key not in known:
            at = dotted(("alarms", name, "where", "key"))
            yield f"{at}: there is no key {quoted(key)} yet; {nearest(key, known)}"


def unasked(desk: Desk, config: Config) -> Iterator[str]:
    """What to say of alarms that evaluate on a dataset that there is not."""
    asked = {name: alarm.eval.dataset for name, alarm in config.alarms.items() if alarm.eval is not None}
    rows = desk.evals.datasets() if asked else ()
    names = {each.name for each in rows}
    for name, wanted in asked.items():
        if wanted not in names and not any(each.digest.startswith(wanted) for each in rows):
            at = dotted(("alarms", name, "eval", "dataset"))
            yield f"{at}: there is no dataset {quoted(wanted)} yet; {nearest(wanted, names)}"


def named(desk: Desk, call: Call) -> tuple[str, AlarmConfig, Config]:
    """The alarm in the path, and the configuration. Raises NotFound."""
    config = in_force(desk)
    name, known = call.path["name"], alarms_of(desk, config)
    if name not in known:
        raise NotFound(f"there is no alarm {name[:80]!r}; {nearest(name, known)}", param="name")
    return name, known[name], config


def shown(
    name: str,
    alarm: AlarmConfig,
    config: Config,
    row: AlarmRow | None,
    *,
    silence: Silence | None,
    now: datetime,
) -> Alarm:
    """An alarm for a person or program. Maintenance is a silence too."""
    rule = rule_of(name, alarm)
    own = rule.kind in ("threshold", "change", "budget") or (rule.kind == "eval" and not rule.by_baseline)
    bound = rule.bound if own else None
    window = alarm.window
    if rule.kind == "burn_rate" and row is not None and row.memory is not None:
        window = length(int(looked_back(rule, row.memory).total_seconds()))
    return Alarm(
        name=name,
        state=row.phase if row is not None else None,
        since=row.since if row is not None else None,
        kind=alarm.compares,
        deployment=alarm.deployment,
        key=alarm.key,
        team=alarm.team,
        tag=alarm.tag,
        where=dict(rule.where),
        metric=rule.metric,
        value=row.value if row is not None else None,
        why=row.why if row is not None else None,
        detail=row.detail if row is not None else None,
        # which way a score gets worse its scorer says, whom the controller has asked
        comparison=side(row.rule if row is not None and rule.kind == "sequential" else rule),
        threshold=row.bound if row is not None and row.bound is not None else bound,
        window=window,
        hold=alarm.hold,
        min_requests=alarm.min_requests,
        default=name not in config.alarms,
        notify=alarm.notify,
        remind=alarm.remind,
        checked_at=row.checked_at if row is not None else None,
        silence=quieted(silence, config.maintenance, alarm.deployment, now),
        records=row.records if row is not None and row.phase in ("pending", "firing") else (),
        evaluation=None if row is None else evaluation_of(rule, row.memory),
    )


def told(notification: Notification) -> Told:
    """A notification without its body."""
    return msgspec.convert(notification, Told, from_attributes=True)


ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path="/api/v1/alarms",
        summary="Alarms and where they stand",
        handle=alarms,
        role="viewer",
    ),
    Route(
        method="GET",
        path="/api/v1/alarms/{name}",
        summary="One alarm: its events, and who was told",
        handle=alarm,
        role="viewer",
    ),
    Route(
        method="POST",
        path="/api/v1/alarms/{name}/silence",
        summary="Tell nobody of an alarm for a while, or end that",
        handle=silence_alarm,
        role="operator",
        body=SilenceIntent,
    ),
    Route(
        method="POST",
        path="/api/v1/alarms/{name}/test",
        summary="Send a test to all whom an alarm notifies",
        handle=test_alarm,
        role="operator",
    ),
)
"""Every route about alarms."""
