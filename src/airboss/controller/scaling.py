"""Keeps engines as many as the load asks for, and the plan pointed to those that are ready.

All that is decided stands in the ledger: killed and started again, the controller goes on from there, and
needs one window of samples before it takes a replica away.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from airboss.config import Config, ModelConfig, ReplicaRange, parse_config
from airboss.controller.placement import PUBLISHING, rows_by_id, shown
from airboss.domain.errors import AirbossError
from airboss.domain.ports import Clock, Ledger, Placement, Replica, Scaling
from airboss.releases.build import local_models
from airboss.replicas.autoscale import Decision, Facts, Load, Rules, Sample, decide
from airboss.replicas.llamacpp import DEFAULT_SLOTS
from airboss.replicas.placing import finish, read_settings
from airboss.telemetry.metrics import GONE_S, Counts, write_counts
from airboss.telemetry.outage import Outage

log = logging.getLogger(__name__)

TICK_S = 0.5
TELL_S = 5.0
FRESH_S = 3.0
"""A gateway writes its counts once a second; older ones do not say how things are now."""

ReadCounts = Callable[[], Mapping[str, Counts]]
"""The newest counts of every process, by its name."""


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """What gateways count together: `outstanding` by URL, and the oldest `plan` that one of them serves."""

    outstanding: Mapping[str, int]
    plan: int | None


class Stand(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of the configuration and of the engines, read once for several who ask."""

    config: str | None
    placements: tuple[Placement, ...]
    rows: Mapping[str, Replica]
    scalings: Mapping[str, Scaling]


class Scaler:
    """Decides, publishes and drains, once every TICK_S seconds, in a thread of its own.

    `republish` puts the configuration in force into force again, as engines stand now
    (`publish.apply_config`, without trying again what has failed).
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        counts: ReadCounts,
        republish: Callable[[], object],
        metrics: Path,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._counts = counts
        self._republish = republish
        self._metrics = metrics
        self._clock = clock
        self._text: str | None = None
        self._config = Config()
        self._windows: dict[str, deque[Sample]] = {}
        self._panics: dict[str, float | None] = {}
        self._published: object = None
        self._told: object = None
        self._tell_at = 0.0
        self._outage = Outage(log, "replicas are not seen to")
        self._unwritten = Outage(log, f"how many replicas there are is not written into {metrics}")

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set."""
        while not stop.wait(TICK_S):
            try:
                self.tick()
            except AirbossError as error:
                # A ledger that is busy or a configuration of another version: calls go on under the plan.
                self._outage.failed(error)
            except Exception:
                log.exception("cannot see to the replicas; trying again")
            else:
                self._outage.over()

    def tick(self) -> None:
        """Look once, and do what follows."""
        text = self._ledger.config()
        if text is None:
            return
        if text != self._text:
            self._config, self._text = parse_config(text, source="the configuration in force"), text
        now = self._clock.now()
        calls = calls_of(self._counts(), now)
        models = local_models(self._config)
        if models:
            stand = self._stand()
            for name in models:
                self._scale(name, calls, stand, now)
        with PUBLISHING:
            stand = self._keep_published()
            self._finish(stand, calls, now)
        self._report(stand, now)

    def _stand(self) -> Stand:
        return Stand(
            config=self._ledger.config(),
            placements=self._ledger.placements(),
            rows=rows_by_id(self._ledger),
            scalings=self._ledger.scalings(),
        )

    def _scale(self, name: str, calls: Calls | None, stand: Stand, now: datetime) -> None:
        said = self._config.models[name]
        rules = rules_of(said)
        own = [each for each in stand.placements if each.model == name]
        at = self._clock.monotonic()
        window = self._windows.setdefault(name, deque(maxlen=int(3600 / TICK_S)))
        window.append(Sample(at, loads_of(own, calls)))
        while window[0].at < at - rules.window_s:
            window.popleft()
        before = stand.scalings.get(name)
        if before is None:
            decision = Decision(wanted=rules.min, reason=f"min is {rules.min}")
        else:
            facts = Facts(
                now=at,
                wanted=before.wanted,
                ready=sum(1 for each in own if (row := stand.rows.get(each.id)) and row.state == "ready"),
                held_s=(now - before.since).total_seconds(),
                panic_until=self._panics.get(name),
            )
            decision = decide(rules, window, facts)
        self._panics[name] = decision.panic_until
        if before is None or decision.wanted != before.wanted:
            wanted = Scaling(model=name, wanted=decision.wanted, reason=decision.reason, since=now)
            self._ledger.put_scaling(wanted)
            extra = {"was": before.wanted if before is not None else None}
            log.info("replicas of %s: %d are wanted, %s", name, wanted.wanted, wanted.reason, extra=extra)

    def _keep_published(self) -> Stand:
        """Publish again when anything has changed that a plan is made of; how things stand then."""
        stand = self._stand()
        if self._published == (seen := _made_of(stand)):
            return stand
        self._republish()
        self._published = seen
        return self._stand()

    def _finish(self, stand: Stand, calls: Calls | None, now: datetime) -> None:
        if all(each.draining_since is None for each in stand.placements):
            return
        snapshot = self._ledger.snapshot()
        outstanding = None
        if calls is not None and snapshot is not None:
            # A gateway that still serves from an older plan may send a call to what drains.
            swapped = calls.plan is None or calls.plan >= snapshot.plan.number
            outstanding = calls.outstanding if swapped else None
        step = finish(
            stand.placements,
            stand.rows,
            outstanding=outstanding,
            now=now,
            drain_s=self._config.replicas.drain_s,
        )
        for name in step.drop:
            log.info("replica %s has drained and stops", name)
        self._ledger.place(step.put, drop=step.drop)

    def _report(self, stand: Stand, now: datetime) -> None:
        """Tell what has changed, and now and then what has not."""
        states: dict[str, Counter[str]] = {name: Counter() for name in local_models(self._config)}
        for each in shown(stand.placements, stand.rows):
            states.setdefault(each.model, Counter())[each.state] += 1
        wanted = {n: each.wanted for n, each in stand.scalings.items() if n in states}
        replicas = {name: dict(counted) for name, counted in states.items()}
        told = (replicas, wanted)
        if told == self._told and self._clock.monotonic() < self._tell_at:
            return
        try:
            write_counts(self._metrics, Counts(written_at=now, replicas=replicas, replicas_wanted=wanted))
            self._told, self._tell_at = told, self._clock.monotonic() + TELL_S
        except OSError as error:
            self._unwritten.failed(error.strerror)
        else:
            self._unwritten.over()


def _made_of(stand: Stand) -> object:
    """All of it that makes for another plan."""
    return (
        stand.config,
        stand.placements,
        [(row.id, row.url, row.state, row.detail) for row in stand.rows.values()],
        {name: each.wanted for name, each in stand.scalings.items()},
    )


def rules_of(said: ModelConfig) -> Rules:
    """What the configuration says of a model's number."""
    given = said.replicas if said.replicas is not None else ReplicaRange()
    return Rules(
        min=given.min,
        max=given.max,
        slots=said.slots or DEFAULT_SLOTS,
        target=given.target,
        window_s=given.window_s,
    )


def calls_of(counts: Mapping[str, Counts], now: datetime) -> Calls | None:
    """What all gateways count together; None while one of them has not said for a while and may be alive."""
    outstanding: Counter[str] = Counter()
    plan: int | None = None
    for name, each in counts.items():
        age_s = (now - each.written_at).total_seconds()
        if not name.startswith("gateway-") or age_s > GONE_S:
            continue
        if age_s > FRESH_S:
            return None
        outstanding.update(each.outstanding)
        plan = each.plan if plan is None else min(plan, each.plan)
    return Calls(outstanding=outstanding, plan=plan)


def gauge_of(counts: Mapping[str, Counts], name: str, now: datetime) -> int:
    """The sum of a gauge over all gateways that live."""
    return int(sum(each.gauges.get(name, 0.0) for each in living(counts, now).values()))


def living(counts: Mapping[str, Counts], now: datetime) -> dict[str, Counts]:
    """What those have told that are not dead."""
    return {k: v for k, v in counts.items() if (now - v.written_at).total_seconds() <= GONE_S}


def loads_of(placements: list[Placement], calls: Calls | None) -> tuple[Load, ...] | None:
    """What runs and waits at each of a model's replicas; None if it is not known."""
    if calls is None:
        return None
    return tuple(split(calls.outstanding.get(each.url, 0), slots_of(each)) for each in placements)


def split(outstanding: int, slots: int) -> Load:
    """Calls beyond the slots wait for one."""
    return Load(running=min(outstanding, slots), queued=max(0, outstanding - slots))


def slots_of(placement: Placement) -> int:
    """How many calls an engine answers at once."""
    try:
        return read_settings(placement.settings).slots or DEFAULT_SLOTS
    except msgspec.ValidationError:
        return DEFAULT_SLOTS


def with_calls(
    replicas: tuple[Replica, ...], placements: tuple[Placement, ...], calls: Calls | None
) -> tuple[Replica, ...]:
    """Replicas with what runs and waits at each, where that is known."""
    slots = {each.id: slots_of(each) for each in placements}
    found = []
    for row in replicas:
        load = split(calls.outstanding.get(row.url, 0), slots.get(row.id, DEFAULT_SLOTS)) if calls else None
        found.append(
            msgspec.structs.replace(
                row,
                slots=slots.get(row.id),
                running=load.running if load is not None else None,
                queued=load.queued if load is not None else None,
            )
        )
    return tuple(found)
