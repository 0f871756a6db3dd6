"""What the ledger keeps of alarms: where each stands, what it went through, and who is to be told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol

import msgspec

from airboss.domain.record import ANSWERED_BY_FALLBACK
from airboss.store.usage import LATE

AlarmPhase = Literal["ok", "pending", "firing", "resolved", "no_data"]
"""Where an alarm stands. `pending`: the bound is broken, not for long enough yet. `resolved`: it fired, and
is well again since a short while. `no_data`: there is nothing to measure."""

Told = Literal["ok", "firing", "no_data"]
"""What those to be notified were told last."""

BACK_OFF_S_MAX: Final = 300.0
"""The longest pause between two tries to tell somebody."""

FIRST_S_MAX: Final = 3600.0
"""The longest that the first of them waits."""

SCORED_LATE: Final = timedelta(days=1)
"""So old may be the calls that an alarm on a score shows."""

Metric = str
"""`error_rate`, `latency_p95`, `requests`, … or `score:NAME` (`config.checks_alarms.METRICS`)."""


class Slo(msgspec.Struct, frozen=True, kw_only=True):
    """The share of calls that is to be good over a time: answered, and within `latency_ms` if that is set."""

    target: float
    window_s: int
    latency_ms: float | None = None


class AlarmRule(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm as it is configured. Of kinds `threshold` and `change`, a value above `bound` breaks it, or
    one below with `below`. `probe` is an order in JSON, as is `evaluation`, of which a run makes no more than
    `calls` calls and costs no more than `usd`; `by_baseline`: it has no bound of its own. `less_is_better` of
    a score whose scorer says so. `key`, `team` or `tag` is of kind `budget`, which has no `deployment`.
    `where` narrows the calls of the deployment, in pairs of a filter and its value, by name; `keys` are those
    of the team that is in it. A `remind_s` of 0 is none."""

    name: str
    metric: Metric
    deployment: str
    below: bool
    bound: float
    window_s: int
    hold_s: int
    kind: str = "threshold"
    slo: Slo | None = None
    alpha: float = 0.01
    probe: str = ""
    evaluation: str = ""
    calls: int = 0
    usd: float | None = None
    by_baseline: bool = False
    every_s: int = 86_400
    notify: tuple[str, ...] = ()
    notify_no_data: bool = False
    less_is_better: bool = False
    key: str = ""
    team: str = ""
    tag: str = ""
    where: tuple[tuple[str, str], ...] = ()
    keys: tuple[str, ...] | None = None
    min_requests: int = 1
    remind_s: int = 0


class AlarmRow(msgspec.Struct, frozen=True, kw_only=True):
    """Where one alarm stands.

    `since` is when the phase began; of `firing` and `pending` when the bound was first seen broken. `value`
    is what was measured last, against `bound`; without one `why` says what there was none for, and `detail`
    says in any case what else there is to know. `memory` is what its kind keeps from look to look. `heard`
    are the notifiers that know what was `told`, the last time at `told_at`; None: all.
    `records` are some of the calls that broke it, the newest first. `well_since` and `blind_since`
    are set while the value is within the bound, or missing, and the phase says otherwise yet.
    """

    rule: AlarmRule
    phase: AlarmPhase
    since: datetime
    told: Told = "ok"
    told_at: datetime | None = None
    heard: tuple[str, ...] | None = None
    value: float | None = None
    bound: float | None = None
    why: str | None = None
    detail: str | None = None
    memory: Any = None
    records: tuple[str, ...] = ()
    checked_at: datetime | None = None
    well_since: datetime | None = None
    blind_since: datetime | None = None


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody is told of an alarm before `until`, because of `reason`; `by` says who wants it so."""

    until: datetime
    reason: str
    by: str
    at: datetime


class AlarmEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm came from one phase into another."""

    alarm: str
    at: datetime
    before: AlarmPhase
    after: AlarmPhase
    value: float | None
    bound: float


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a notifier is to be told, with what became of it.

    `body` is the JSON to send. `waiting` ones are tried at `due_at`, again and again until `sent`, or
    `failed` for good; `error` is what the last try said. Those of one alarm reach a notifier in order.
    """

    id: str
    alarm: str
    notifier: str
    kind: Literal["firing", "reminder", "resolved", "no_data", "test", "approval", "summary"]
    created_at: datetime
    due_at: datetime
    body: Any
    state: Literal["waiting", "sent", "failed"] = "waiting"
    attempts: int = 0
    error: str | None = None
    ended_at: datetime | None = None


class AlertStore(Protocol):
    """Keeps alarms. Every write is durable when the call returns; every call is one transaction. Raises
    SetupError if it cannot be used."""

    def alarms(self) -> dict[str, AlarmRow]:
        """Every alarm by its name."""

    def put_alarms(
        self,
        rows: Sequence[AlarmRow],
        *,
        events: Sequence[AlarmEvent] = (),
        notifications: Sequence[Notification] = (),
        forget: Sequence[str] = (),
    ) -> None:
        """Keep where alarms stand, with what they went through and who is to be told, all or nothing; forget
        alarms of these names. What is there already is not kept twice, so that it may be brought again."""

    def events(self, alarm: str, *, limit: int) -> tuple[AlarmEvent, ...]:
        """The newest events of an alarm, newest first."""

    def silences(self) -> dict[str, Silence]:
        """Silences by their alarm, those that have ended included."""

    def silence(self, alarm: str, silence: Silence | None) -> None:
        """Put a silence in place of the alarm's, or take it off with None."""

    def add_notification(self, notification: Notification) -> None:
        """Keep one more to be sent."""

    def notification(self, notification_id: str) -> Notification | None:
        """The notification of this id."""

    def notifications(
        self, alarm: str, *, limit: int, since: datetime | None = None
    ) -> tuple[Notification, ...]:
        """The newest notifications about an alarm, made at `since` or later, newest first."""

    def due(self, now: datetime, *, limit: int, without: Collection[str] = ()) -> tuple[Notification, ...]:
        """Waiting notifications whose time has come and which no older waiting one of the same alarm and
        notifier precedes; the oldest first, those of the alarms `without` left out."""

    def waiting(self) -> tuple[tuple[str, str, str], ...]:
        """What is to be sent, due or not: id, alarm and notifier."""

    def settle_notification(self, notification: Notification) -> None:
        """Keep what became of a try."""


class Burnt(msgspec.Struct, frozen=True, kw_only=True):
    """What a `burn_rate` alarm keeps: the longer time of what it told last, and whether more of the bad calls
    in it failed than were slow."""

    long_s: int
    failed: bool


def looked_back(rule: AlarmRule, memory: object) -> timedelta:
    """How far back the calls lie that an alarm is about; `memory` as in `AlarmRow`. A budget burns in times
    of its own, whatever the window."""
    burnt = _burnt(rule, memory)
    return timedelta(seconds=rule.window_s if burnt is None else burnt.long_s)


def _burnt(rule: AlarmRule, memory: object) -> Burnt | None:
    if rule.kind != "burn_rate" or memory is None:
        return None
    try:
        return msgspec.convert(memory, Burnt)
    except msgspec.ValidationError:  # the alarm was of another kind at its last look
        return None


def begun_before(rule: AlarmRule) -> timedelta:
    """How long before a call counts it may have begun: people say what they think of yesterday's, too."""
    return SCORED_LATE if rule.metric.startswith("score:") else LATE


def calls_of(
    rule: AlarmRule, since: datetime, until: datetime | None, *, memory: object = None
) -> dict[str, str]:
    """The calls that an alarm of a deployment or a key is about, as a question of records (parameters of
    `/records`): what ended, or was scored, since then began up to `begun_before` earlier."""
    burnt = _burnt(rule, memory)
    failed = burnt.failed if burnt is not None else rule.slo is not None and rule.slo.latency_ms is None
    whose = {"key": rule.key} if rule.kind == "budget" else {"deployment": rule.deployment}
    asked = {**whose, **dict(rule.where), "since": _moment(since - begun_before(rule))}
    if until is not None:
        asked["until"] = _moment(until + timedelta(microseconds=999_999))  # all of its second
    if rule.metric == "error_rate" or failed:
        asked["status"] = "error"
    elif rule.metric == "refused_rate":
        asked["status"] = "refused"
    elif rule.metric == "fallback_rate":
        asked["error_type"] = ANSWERED_BY_FALLBACK
    elif rule.metric.startswith("score:"):
        sign = "<" if rule.below or rule.kind == "sequential" else ">"
        name = rule.metric.removeprefix("score:")
        asked["score"] = f"{name}{sign}{rule.bound:g}" if rule.kind == "threshold" else name
    elif rule.metric.startswith(("latency", "ttft")) or rule.slo is not None:
        asked["sort"] = "slowest"
    elif rule.metric == "cost_usd" or rule.kind == "budget":
        asked["sort"] = "costliest"
    return asked


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
