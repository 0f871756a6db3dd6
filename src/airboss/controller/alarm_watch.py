"""Watches alarms: measures, lets `alarms.decide`, and keeps what comes of it in the ledger."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import msgspec

from airboss.config import AlarmConfig
from airboss.config.checks_watch import seconds
from airboss.controller.alarms import Decision, Reading, begun, decide, measured, notice
from airboss.domain.errors import ConfigError, SetupError, StoreUnavailable
from airboss.domain.ports import Clock, DeploymentStats, RecordLog, ScoreStats
from airboss.domain.status import JournalStatus
from airboss.store.alert_rows import AlarmRow, AlarmRule, AlertStore, Notification, Told

EVERY_S: Final = 5.0
LONG_WINDOW_PARTS: Final = 60
"""A window of hours is measured only so many times in its length: it cannot change faster."""

LAG_S_MAX: Final = 30.0
"""With records further behind than this, what the log holds is not what happens."""

INTERNAL_KEY: Final = "airboss"
"""Calls of our own, by the key of this name, never count."""

log = logging.getLogger(__name__)


class AlarmWatch:
    """Looks at every alarm every few seconds. One thread calls it.

    `alarms` are those of the configuration in force; `console_url` is where links lead.
    """

    def __init__(
        self,
        *,
        alarms: Callable[[], Mapping[str, AlarmConfig]],
        store: AlertStore,
        record_log: RecordLog,
        journal: Callable[[], JournalStatus],
        clock: Clock,
        console_url: Callable[[], str],
    ) -> None:
        self._alarms = alarms
        self._store = store
        self._log = record_log
        self._journal = journal
        self._clock = clock
        self._console_url = console_url
        self._measured: dict[tuple[str, int], tuple[datetime, Reading]] = {}
        self.phases: dict[str, str] = {}
        """Where each alarm stands, for metrics."""

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set. A ledger that fails is logged and asked again."""
        while not stop.is_set():
            try:
                self.tick()
            except (SetupError, ConfigError) as error:
                log.warning("alarms not looked at; trying again: %s", error)
            stop.wait(EVERY_S)

    def tick(self) -> None:
        """Look at every alarm once, and keep what comes of it in one transaction."""
        now = self._clock.now()
        rules = {name: rule_of(name, alarm) for name, alarm in self._alarms().items()}
        rows, silences = self._store.alarms(), self._store.silences()
        readings = self._readings(list(rules.values()), now)
        decisions = [
            decide(
                rows.get(name) or begun(rule, now), rule, readings[name], now=now, silence=silences.get(name)
            )
            for name, rule in rules.items()
        ]
        gone = [row for name, row in rows.items() if name not in rules]
        told = [
            note
            for each in decisions
            if each.tell is not None
            for note in self._notes(each.row, each.tell, now)
        ]
        told += [note for row in gone if row.told != "ok" for note in self._farewell(row, now)]
        changed = [each.row for each in decisions if _worth_keeping(rows.get(each.row.rule.name), each)]
        if changed or told or gone:
            self._store.put_alarms(
                changed,
                events=[each.event for each in decisions if each.event is not None],
                notifications=told,
                forget=[row.rule.name for row in gone],
            )
        self.phases = {each.row.rule.name: each.row.phase for each in decisions}

    def _readings(self, rules: Sequence[AlarmRule], now: datetime) -> dict[str, Reading]:
        """What each rule measures now; one question to the log for each length of window and kind."""
        journal = self._journal()
        if rules and (not journal.store_up or journal.lag_s > LAG_S_MAX):
            why = (
                f"records are {journal.lag_s:.0f} s behind"
                if journal.store_up
                else "the record store does not answer"
            )
            return {rule.name: Reading(why=why) for rule in rules}
        calls: dict[int, Sequence[DeploymentStats]] = {}
        scores: dict[int, Sequence[ScoreStats]] = {}
        readings = {}
        for rule in rules:
            kept = self._measured.get((rule.name, hash(rule)))
            if kept is not None and now - kept[0] < timedelta(seconds=rule.window_s / LONG_WINDOW_PARTS):
                readings[rule.name] = kept[1]
                continue
            try:
                reading = self._measure(rule, now, calls, scores)
            except StoreUnavailable as error:
                reading = Reading(why=str(error)[:200])
            else:
                self._measured[rule.name, hash(rule)] = (now, reading)
            readings[rule.name] = reading
        known = {(rule.name, hash(rule)) for rule in rules}
        self._measured = {key: each for key, each in self._measured.items() if key in known}
        return readings

    def _measure(
        self,
        rule: AlarmRule,
        now: datetime,
        calls: dict[int, Sequence[DeploymentStats]],
        scores: dict[int, Sequence[ScoreStats]],
    ) -> Reading:
        since = now - timedelta(seconds=rule.window_s)
        if rule.metric.startswith("score:"):
            if rule.window_s not in scores:
                # By when scores were given: those of a call may come long after it.
                scores[rule.window_s] = self._log.score_stats(
                    since, now, by_score_time=True, without_key=INTERNAL_KEY
                )
        elif rule.window_s not in calls:
            calls[rule.window_s] = self._log.stats(since, now, without_key=INTERNAL_KEY)
        return measured(
            rule,
            calls.get(rule.window_s, ()),
            scores.get(rule.window_s, ()),
            window=length(rule.window_s),
        )

    def _notes(self, row: AlarmRow, tell: Told, now: datetime) -> list[Notification]:
        link = link_to_records(self._console_url(), row, now)
        body = notice(row, tell, now=now, window=length(row.rule.window_s), link=link)
        return [note(row.rule.name, notifier, tell, body, now) for notifier in row.rule.notify]

    def _farewell(self, row: AlarmRow, now: datetime) -> list[Notification]:
        """Who was told of a fire hears that nobody looks any more."""
        notes = self._notes(row, "ok", now)
        words = f"{row.rule.name} resolved: the alarm is not in the configuration any more"
        return [msgspec.structs.replace(each, body={**each.body, "text": words}) for each in notes]


def rule_of(name: str, alarm: AlarmConfig) -> AlarmRule:
    """The rule that an alarm's table is."""
    bound = alarm.above if alarm.above is not None else alarm.below
    assert bound is not None  # parse_config lets exactly one be set
    return AlarmRule(
        name=name,
        metric=alarm.metric,
        deployment=alarm.deployment,
        below=alarm.below is not None,
        bound=float(bound),
        window_s=seconds(alarm.window) or 0,
        hold_s=seconds(alarm.hold) or 0,
        notify=tuple(dict.fromkeys(alarm.notify)),
        notify_no_data=alarm.no_data == "notify",
    )


def note(alarm: str, notifier: str, tell: Told, body: Mapping[str, object], now: datetime) -> Notification:
    """A notification that waits to be sent."""
    return Notification(
        id=f"{alarm}-{secrets.token_hex(8)}",
        alarm=alarm,
        notifier=notifier,
        kind="firing" if tell == "firing" else "no_data" if tell == "no_data" else "resolved",
        created_at=now,
        due_at=now,
        body=dict(body),
    )


def link_to_records(console_url: str, row: AlarmRow, now: datetime) -> str:
    """The page of the records in question: those of the window before now, or since the bound was broken."""
    rule = row.rule
    window = timedelta(seconds=rule.window_s)
    since = min(row.since, now) - window
    query = {"deployment": rule.deployment, "since": _moment(since), "until": _moment(now)}
    if rule.metric == "error_rate":
        query["status"] = "error"
    if rule.metric.startswith("score:"):
        query["score"] = f"{rule.metric.removeprefix('score:')}{'<' if rule.below else '>'}{rule.bound:g}"
    return f"{console_url.rstrip('/')}/records?{urlencode(query)}"


def length(window_s: int) -> str:
    """A window as people write it."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if window_s % size == 0:
            return f"{window_s // size}{unit}"
    return f"{window_s}s"


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _worth_keeping(before: AlarmRow | None, decision: Decision) -> bool:
    """Whether there is more to keep than the time of the look."""
    if before is None or decision.event is not None or decision.tell is not None:
        return True
    return before != msgspec.structs.replace(decision.row, checked_at=before.checked_at)
