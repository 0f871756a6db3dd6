"""Watches alarms: measures, lets `alarms.decide`, and keeps what comes of it in the ledger."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal
from urllib.parse import urlencode

import msgspec

from airboss.config import AlarmConfig, MaintenanceConfig
from airboss.controller import alarm_tests
from airboss.controller.alarm_measures import (
    BudgetUse,
    Drifted,
    Measures,
    fresh,
    recording,
    spending,
)
from airboss.controller.alarm_runs import Making
from airboss.controller.alarms import Decision, Reading, begun, decide, hearers, notice
from airboss.domain.errors import AirbossError, StoreUnavailable
from airboss.domain.ports import Clock, RecordLog
from airboss.domain.status import JournalStatus
from airboss.store.alert_causes import calls_about
from airboss.store.alert_metrics import length
from airboss.store.alert_pages import alarm_url, page_of
from airboss.store.alert_rows import (
    AlarmEvent,
    AlarmRow,
    AlarmRule,
    AlertStore,
    Notification,
    calls_of,
    looked_back,
)
from airboss.store.alert_rules import of_teams, quieted, rule_of
from airboss.store.alert_runs import EvalOutcome, ProbeOutcome
from airboss.telemetry.outage import Outage

EVERY_S: Final = 5.0
LOOK_S: Final = 5.0
"""So long a look measures, one alarm at least; those that it has not come to come first in the next. Hundreds
after a start keep nobody from hearing of the first."""

BEHIND_S: Final = 1.0
"""The pause before the first look, and after one that was not enough for all that is due."""

RECORDS_SHOWN: Final = 5
"""Of the calls that an alarm is about."""

LAG_S_MAX: Final = 30.0
"""With records further behind than this, what the log holds is not what happens."""

RUN_KINDS: Final = frozenset({"probe", "eval"})
"""Of which the record store knows nothing: they are jobs, and what came of them is in the ledger."""

WHY_CHARS_MAX: Final = 200

KEPT_S: Final = 60.0
"""So old the time of the last look may be in the ledger, where a look has found nothing new."""

UNTAKEN_MAX: Final = 1_000
"""So many events and notifications wait for a ledger that takes none; the oldest go first."""

Kind = Literal["firing", "reminder", "resolved", "no_data"]
"""Of a notification about an alarm."""

log = logging.getLogger(__name__)


class Untaken(msgspec.Struct, frozen=True, kw_only=True):
    """What came of looks and the ledger has not taken yet: where alarms stand, what they went through, who is
    to be told, and which alarms are gone."""

    rows: Mapping[str, AlarmRow] = {}
    events: tuple[AlarmEvent, ...] = ()
    notifications: tuple[Notification, ...] = ()
    forget: frozenset[str] = frozenset()

    def over(self, rows: Mapping[str, AlarmRow]) -> dict[str, AlarmRow]:
        """Where alarms stand, by what the ledger says and what it does not know."""
        return {name: row for name, row in {**rows, **self.rows}.items() if name not in self.forget}

    def __bool__(self) -> bool:
        return bool(self.rows or self.notifications or self.forget)


class AlarmWatch:
    """Looks at every alarm every few seconds. One thread calls it; any may ask what is `untaken`, which those
    who send go by while the ledger takes no writes: on a full disk, say, of which an alarm has to tell.

    `alarms` are those of the configuration in force, defaults included; `console_url` is where links lead.
    `lost` is what recording alarms watch: counts of what was lost since the start, and 1 for a full disk.
    `budgets` are those of keys, of teams by `team/NAME` and of tags by `tag/NAME`, with what is spent of
    them. `less_is_better` gives, by deployment, the scores of which less is better; `teams` the keys of each.
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
        maintenance: Callable[[], Mapping[str, MaintenanceConfig]] = dict,
        probing: Making[ProbeOutcome] | None = None,
        evaluating: Making[EvalOutcome] | None = None,
        drifted: Drifted = lambda _deployment: None,
        lost: Callable[[], Mapping[str, int]] = dict,
        budgets: Callable[[], Mapping[str, BudgetUse]] = dict,
        less_is_better: Callable[[], Mapping[str, Collection[str]]] = dict,
        teams: Callable[[], Mapping[str, Collection[str]]] = dict,
    ) -> None:
        self._budgets = budgets
        self._lost = lost
        self._less_is_better = less_is_better
        self._teams = teams
        self._alarms = alarms
        self._maintenance = maintenance
        self._measures = Measures(record_log, probing, drifted, evaluating)
        self._store = store
        self._log = record_log
        self._journal = journal
        self._clock = clock
        self._console_url = console_url
        self._measured: dict[tuple[str, int], tuple[datetime, Reading]] = {}
        self._tried: dict[tuple[str, int], float] = {}
        self._behind = False
        self.phases: dict[str, str] = {}
        """Where each alarm stands, for metrics."""
        self.untaken = Untaken()

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set. A ledger that fails is logged and asked again."""
        outage = Outage(log, "alarms cannot be looked at or kept")
        stop.wait(BEHIND_S)  # the record store is asked meanwhile: before, there is nothing to see
        while not stop.is_set():
            try:
                self.tick()
                outage.over()
            except AirbossError as error:  # of a scorer that is refused, too
                outage.failed(error)
            stop.wait(BEHIND_S if self._behind else EVERY_S)

    def silenced(self, now: datetime) -> frozenset[str]:
        """The alarms nobody is told of now. Raises SetupError, ConfigError."""
        silences, quiet = self._store.silences(), self._maintenance()
        deployments = {name: rule_of(name, each).deployment for name, each in self._alarms().items()}
        return frozenset(
            name
            for name in silences.keys() | deployments.keys()
            if quieted(silences.get(name), quiet, deployments.get(name, ""), now) is not None
        )

    def tick(self) -> None:
        """Look at every alarm once, and keep what comes of it in one transaction: where the ledger does not
        take it, with what comes of the next look. Raises SetupError, ConfigError."""
        now = self._clock.now()
        rules = self._rules()
        rows, silences = self.untaken.over(self._store.alarms()), self._store.silences()
        for name, row in rows.items():
            if name not in rules or not _same(row.rule, rules[name]):
                self._measures.let_go(row.rule, row.memory)
        readings = self._readings(list(rules.values()), rows, now)
        quiet = self._maintenance()
        decisions = [
            self._with_records(
                decide(
                    rows.get(name) or begun(rule, now),
                    rule,
                    readings[name],
                    now=now,
                    silence=quieted(silences.get(name), quiet, rule.deployment, now),
                ),
                now,
                readings[name].records,
            )
            for name, rule in rules.items()
            if name in readings
        ]
        gone = [row for name, row in rows.items() if name not in rules]
        told = [
            note
            for each in decisions
            if each.tell is not None
            for note in self._notes(each, self._ready(each), now)
        ]
        told += [note for row in gone if row.told != "ok" for note in self._farewell(row, now)]
        changed = [each.row for each in decisions if _worth_keeping(rows.get(each.row.rule.name), each)]
        stand = {**rows, **{each.row.rule.name: each.row for each in decisions}}
        self.phases = {name: stand[name].phase for name in rules if name in stand}
        self._keep(changed, [each.event for each in decisions if each.event is not None], told, gone)

    def _keep(
        self,
        changed: Sequence[AlarmRow],
        events: Sequence[AlarmEvent],
        told: Sequence[Notification],
        gone: Sequence[AlarmRow],
    ) -> None:
        names = {row.rule.name for row in gone}
        rows = {**self.untaken.rows, **{row.rule.name: row for row in changed}}
        now = Untaken(
            rows={name: row for name, row in rows.items() if name not in names},
            events=(*self.untaken.events, *events)[-UNTAKEN_MAX:],
            notifications=(*self.untaken.notifications, *told)[-UNTAKEN_MAX:],
            forget=(self.untaken.forget - rows.keys()) | names,
        )
        if now:
            try:
                self._store.put_alarms(
                    list(now.rows.values()),
                    events=now.events,
                    notifications=now.notifications,
                    forget=sorted(now.forget),
                )
            except AirbossError:  # only then, or what is being taken would be sent from here too
                self.untaken = now
                raise
        self.untaken = Untaken()

    def _rules(self) -> dict[str, AlarmRule]:
        less, teams = self._less_is_better(), self._teams()
        found = {}
        for name, alarm in self._alarms().items():
            rule = rule_of(name, alarm)
            falls = rule.metric.removeprefix("score:") in less.get(rule.deployment, ())
            found[name] = of_teams(msgspec.structs.replace(rule, less_is_better=falls), teams)
        return found

    def _readings(
        self, rules: Sequence[AlarmRule], rows: Mapping[str, AlarmRow], now: datetime
    ) -> dict[str, Reading]:
        """What each rule measures now, as far as there is time."""
        lost = self._lost()
        readings = {
            rule.name: recording(rule, self._memory(rule, rows), lost, now)
            for rule in rules
            if rule.kind == "recording"
        }
        spent = [rule for rule in rules if rule.kind == "budget"]
        uses = self._budgets() if spent else {}
        readings |= {rule.name: spending(rule, uses, now) for rule in spent}
        rules = [rule for rule in rules if rule.name not in readings]
        journal = self._journal()
        if rules and (not journal.store_up or journal.lag_s > LAG_S_MAX):
            why = (
                f"records are {journal.lag_s:.0f} s behind"
                if journal.store_up
                else (journal.store_detail or f"the {journal.waits_for} does not answer")[:WHY_CHARS_MAX]
            )
            asking = [rule for rule in rules if rule.kind not in RUN_KINDS]
            readings |= {rule.name: Reading(why=why, memory=self._memory(rule, rows)) for rule in asking}
            rules = [rule for rule in rules if rule.kind in RUN_KINDS]
        return readings | self._in_turn(rules, rows, now)

    def _in_turn(
        self, rules: Sequence[AlarmRule], rows: Mapping[str, AlarmRow], now: datetime
    ) -> dict[str, Reading]:
        """What was measured lately, and of the others what LOOK_S is enough for, those first that have waited
        longest; one question to the log for each length of window and kind."""
        self._measures.forget_old(now)
        known = {(rule.name, hash(rule)): rule for rule in rules}
        self._measured = {
            key: each
            for key, each in self._measured.items()
            if key in known and fresh(known[key].window_s, each[0], now)
        }
        readings = {name: reading for (name, _), (_, reading) in self._measured.items()}
        self._tried = {key: self._tried.get(key, float("-inf")) for key in known}
        begin, self._behind = self._clock.monotonic(), False
        waiting = [key for key in known if key not in self._measured]
        for key in sorted(waiting, key=self._tried.__getitem__):
            if self._clock.monotonic() - begin >= LOOK_S:
                self._behind = True
                break
            rule, self._tried[key] = known[key], self._clock.monotonic()
            readings[rule.name] = self._measure(rule, self._memory(rule, rows), now)
        return readings

    def _measure(self, rule: AlarmRule, memory: object, now: datetime) -> Reading:
        """What a rule measures, which is kept for as long as it holds. A log that is away is asked again in
        the next look."""
        try:
            if rule.kind == "sequential":
                reading = alarm_tests.look(rule, memory, self._log, now)
            else:
                reading = self._measures.read(rule, memory, now)
        except StoreUnavailable as error:
            return Reading(why=str(error)[:WHY_CHARS_MAX], memory=memory)
        self._measured[rule.name, hash(rule)] = (now, reading)
        return reading

    @staticmethod
    def _memory(rule: AlarmRule, rows: Mapping[str, AlarmRow]) -> object:
        """What the alarm kept at its last look, if it watched the same then."""
        row = rows.get(rule.name)
        return row.memory if row is not None and _same(row.rule, rule) else None

    def _with_records(self, decision: Decision, now: datetime, seen: Sequence[str]) -> Decision:
        """A decision that an alarm fires, or may soon, with some of the calls that it is about, `seen` where
        no list is, and what these failed by."""
        row = decision.row
        if (decision.event is None and decision.tell != "firing") or row.phase not in ("pending", "firing"):
            return decision
        try:
            callers, met = calls_about(row, self._log, now)
        except (AirbossError, ValueError):
            return decision  # it fires all the same
        ids = [each.id for each in callers] or seen
        row = msgspec.structs.replace(row, records=tuple(ids[:RECORDS_SHOWN]))
        return msgspec.structs.replace(decision, row=row, causes=met)

    def _ready(self, decision: Decision) -> Sequence[str]:
        """Who is told: of a reminder nobody for whom something of that alarm still waits."""
        if not decision.again:
            return decision.to
        waiting = {
            notifier for _, alarm, notifier in self._store.waiting() if alarm == decision.row.rule.name
        }
        return [each for each in decision.to if each not in waiting]

    def _notes(self, decision: Decision, to: Sequence[str], now: datetime) -> list[Notification]:
        row, tell, console = decision.row, decision.tell, self._console_url()
        assert tell is not None  # whoever calls it knows that there is something to tell
        body = notice(
            row,
            tell,
            now=now,
            window=length(int(looked_back(row.rule, row.memory).total_seconds())),
            link=link_to_records(console, row, now),
            page=alarm_url(console, row.rule.name),
            again=decision.again,
            causes=decision.causes,
        )
        kind: Kind = "reminder" if decision.again else "resolved" if tell == "ok" else tell
        return [note(row.rule.name, notifier, kind, body, now) for notifier in to]

    def _farewell(self, row: AlarmRow, now: datetime) -> list[Notification]:
        """Who was told of a fire hears that nobody looks any more."""
        to = [each for each in row.rule.notify if each in hearers(row)]
        notes = self._notes(Decision(row=row, tell="ok"), to, now)
        words = f"{row.rule.name} resolved: the alarm is not in the configuration any more"
        gone = {"text": words, "page": f"{self._console_url().rstrip('/')}/alerts"}
        return [msgspec.structs.replace(each, body={**each.body, **gone}) for each in notes]


def note(alarm: str, notifier: str, kind: Kind, body: Mapping[str, object], now: datetime) -> Notification:
    """A notification that waits to be sent."""
    return Notification(
        id=f"{alarm}-{secrets.token_hex(8)}",
        alarm=alarm,
        notifier=notifier,
        kind=kind,
        created_at=now,
        due_at=now,
        body=dict(body),
    )


def link_to_records(console_url: str, row: AlarmRow, now: datetime) -> str:
    """The page of the records in question: those of the window before now, or since the bound was broken; of
    what no list of calls tells, the page that does."""
    page = page_of(row.rule, row.memory)
    if page is not None:
        return f"{console_url.rstrip('/')}/{page}"
    since = min(row.since, now) - looked_back(row.rule, row.memory)
    asked = calls_of(row.rule, since, now, memory=row.memory)
    return f"{console_url.rstrip('/')}/records?{urlencode(asked)}"


def _same(rule: AlarmRule, other: AlarmRule) -> bool:
    """Whether what one keeps holds for the other: both watch the same."""
    return all(
        getattr(rule, each) == getattr(other, each)
        for each in ("kind", "deployment", "where", "probe", "evaluation")
    )


def _worth_keeping(before: AlarmRow | None, decision: Decision) -> bool:
    """Whether there is more to keep than the time of the look, or that is long ago."""
    if before is None or decision.event is not None or decision.tell is not None:
        return True
    seen, last = decision.row.checked_at, before.checked_at
    if seen is None or last is None or abs((seen - last).total_seconds()) >= KEPT_S:
        return True
    return before != msgspec.structs.replace(decision.row, checked_at=last)
