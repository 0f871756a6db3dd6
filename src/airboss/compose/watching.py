"""What the controller does behind live calls: scores a sample of them, watches alarms, tells who is to be
told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from airboss.compose import drifts, evals
from airboss.compose.parts import SystemClock
from airboss.compose.probes import Probes
from airboss.compose.scheduled import Evaluations
from airboss.compose.threads import at_work, in_a_loop
from airboss.config import Config, NotifierConfig, ShadowConfig, all_alarms, parse_config
from airboss.domain.errors import ConfigError, SetupError
from airboss.domain.status import AlarmStatus, SystemStatus
from airboss.governance.budgets import members, period_start, periods_start, spent_of, with_budget
from airboss.governance.users import spender
from airboss.store.alert_rules import quieted
from airboss.store.datadir import DataDir, read_secret
from airboss.supervisor import runfiles

if TYPE_CHECKING:
    from airboss.compose.stores import Stores
    from airboss.controller.alarm_measures import BudgetUse
    from airboss.controller.alarm_watch import AlarmWatch
    from airboss.controller.notify import Deliveries
    from airboss.controller.online_scoring import OnlineRule
    from airboss.domain.plan import ServingPlan
    from airboss.domain.ports import Ledger, RecordLog
    from airboss.domain.status import JournalStatus, RetentionStatus
    from airboss.evaluations.caller_http import HttpCaller
    from airboss.governance.erasure import Forgetting
    from airboss.store.alert_rows import AlertStore

CONSOLE_URL = "http://127.0.0.1:8701"
REPORT_S = 1.0


class InForce:
    """The configuration in force, read again when it has changed. Any thread may ask."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._held: tuple[str | None, Config] = (None, Config())

    def config(self) -> Config:
        """As it is now; an empty one before the first. Raises SetupError, also for one that somebody edited:
        who asks waits for the ledger, and does not end by it."""
        text = self._ledger.config()
        held, config = self._held
        if text != held:
            try:
                config = Config() if text is None else parse_config(text, source="the configuration in force")
            except ConfigError as error:
                raise SetupError(f"{error}: the ledger was edited; put a copy of it back") from error
            self._held = (text, config)
        return config


class SwitchedOn:
    """When the first of those plans was published that have all, up to the one in force, had a configuration
    that `asks` for something. Any thread may ask."""

    def __init__(self, ledger: Ledger, asks: Callable[[Config], bool]) -> None:
        self._ledger = ledger
        self._asks = asks
        self._held: tuple[int, datetime | None] = (0, None)

    def __call__(self) -> datetime:
        """When that was, of a configuration in force that asks for it. Raises SetupError where none is."""
        snapshot = self._ledger.snapshot()
        if snapshot is None:
            raise SetupError("no configuration has been applied yet; run `airboss apply airboss.toml` first")
        held, at = self._held
        if held != snapshot.plan.number or at is None:
            at = self._since(snapshot.plan)
            self._held = (snapshot.plan.number, at)
        return at

    def _since(self, plan: ServingPlan) -> datetime:
        held, at = self._held
        number, text = plan.number, self._ledger.config(plan.number)
        while number > 1:
            before = self._ledger.config(number - 1)
            if before is None or not (before == text or self._asked(before)):
                break
            number, text = number - 1, before
            if number == held and at is not None:
                return at
        first = self._ledger.plan(number)
        return plan.created_at if first is None else first.created_at

    def _asked(self, text: str) -> bool:
        try:
            return self._asks(parse_config(text, source="an earlier configuration"))
        except ConfigError:  # of an older Airboss
            return False


def scores(config: Config) -> bool:
    """Whether live calls are scored."""
    return any(each.scoring is not None for each in config.deployments.values())


class ScoringRules:
    """How live calls are scored now: the scorers of every deployment that has any, opened again when the
    configuration, what judges serve, or the gateway's address has changed. One event loop asks it."""

    def __init__(self, ledger: Ledger, data: DataDir, force: InForce, people: Forgetting) -> None:
        self._ledger = ledger
        self._data = data
        self._force = force
        self._people = people
        self._key: object = None
        self._rules: dict[str, OnlineRule] = {}
        self._caller: HttpCaller | None = None
        self._old: list[HttpCaller] = []

    def __call__(self) -> Mapping[str, OnlineRule]:
        """The rules by deployment. Raises SetupError."""
        config = self._force.config()
        scoring = {
            name: each.scoring for name, each in config.deployments.items() if each.scoring is not None
        }
        snapshot = self._ledger.snapshot() if scoring else None
        up = runfiles.read_up(self._data.run_dir) if scoring else None
        key = (scoring, snapshot.plan.number if snapshot else None, up.base_url if up else None)
        if key != self._key:
            self._rules = self._opened(config) if snapshot is not None else {}
            self._key = key
        return self._rules

    def _opened(self, config: Config) -> dict[str, OnlineRule]:
        from airboss.controller.online_scoring import OnlineRule  # noqa: PLC0415 - numbers and schemas
        from airboss.evaluations.online import open_scorers, specs_of  # noqa: PLC0415 - as above
        from airboss.evaluations.targets import Served  # noqa: PLC0415 - as above

        snapshot = self._ledger.snapshot()
        assert snapshot is not None  # the caller has seen one, and plans do not go
        served = Served(snapshot.plan, self._ledger.standings())
        if self._caller is not None:
            self._old.append(self._caller)
        self._caller = evals.caller(self._ledger, self._data, self._people)
        return {
            name: OnlineRule(
                sample=each.scoring.sample,
                judge_per_minute=each.scoring.judge_per_minute,
                scorers=open_scorers(
                    specs_of(each.scoring),
                    caller=self._caller,
                    resolve=served.stable,
                    folder=evals.scorers_dir(self._data),
                ),
            )
            for name, each in config.deployments.items()
            if each.scoring is not None
        }

    async def aclose(self) -> None:
        """Close connections."""
        for caller in [*self._old, *([self._caller] if self._caller is not None else [])]:
            await caller.aclose()


class Asking:
    """Shadows asked again, as the configuration and the plan in force say, with connections of their own."""

    def __init__(self, ledger: Ledger, data: DataDir, records: RecordLog, people: Forgetting) -> None:
        self._ledger = ledger
        self._data = data
        self._records = records
        self._people = people
        self._force = InForce(ledger)

    def __call__(self) -> Mapping[str, ShadowConfig]:
        """By deployment, those that the plan has a release for. Raises SetupError."""
        deployments = self._force.config().deployments
        said = {name: each.shadow for name, each in deployments.items() if each.shadow is not None}
        snapshot = self._ledger.snapshot() if said else None
        planned = {each.name for each in snapshot.plan.deployments if each.shadow} if snapshot else set()
        return {name: each for name, each in said.items() if name in planned}

    async def run(self) -> None:
        """Until cancelled."""
        from airboss.controller.shadowing import Shadowing  # noqa: PLC0415 - the controller's own

        caller: HttpCaller | None = None

        async def again(path: str, body: bytes, of: str, key: str) -> str | None:
            nonlocal caller
            if caller is None:  # by now the gateway's address is known
                caller = await asyncio.to_thread(evals.caller, self._ledger, self._data)
            return await caller.again(path, body, of=of, key=key)

        try:
            await Shadowing(
                shadows=self,
                record_log=self._records,
                again=again,
                clock=SystemClock(),
                forgotten=self._people.covers,
            ).run()
        finally:
            if caller is not None:
                await caller.aclose()


def lost(journal: JournalStatus, retention: RetentionStatus) -> dict[str, int]:
    """What recording alarms watch: losses since the controller's start, and whether the disk is nearly full.
    Feedback on a record that is not there is its sender's slip and no loss of ours: with it any key could
    wake somebody."""
    return {
        "dead_letters": journal.corrupt_frames,
        "bodies_dropped": retention.dropped,
        "disk_full": int(retention.disk_full),
    }


def budgets(ledger: Ledger, stores: Stores, config: Config, now: datetime) -> dict[str, BudgetUse]:
    """The budgets of keys, of teams by `team/NAME` and of tags by `tag/NAME`, with what is spent of them.
    Raises SetupError."""
    from airboss.controller.alarm_measures import BudgetUse  # noqa: PLC0415 - the controller's own

    spent = stores.spends.since(periods_start(now).date())
    keys = ledger.all_keys()
    of_team = members(keys)
    found = [(name, frozenset((name,)), budget) for name, budget in with_budget(keys).items()]
    found += [
        (f"team/{name}", of_team.get(name, frozenset()), team.budget)
        for name, team in config.teams.items()
        if team.budget is not None
    ]
    of_tags = {
        f"tag/{name}": BudgetUse(
            budget=tag.budget,
            spent_usd=stores.spends.most(spender(name), period_start(tag.budget, now).date()),
        )
        for name, tag in config.tags.items()
    }
    return of_tags | {
        name: BudgetUse(budget=budget, spent_usd=spent_of(paying, budget, now, spent))
        for name, paying, budget in found
    }


@contextmanager
def watching(
    ledger: Ledger,
    data: DataDir,
    stores: Stores,
    records: RecordLog,
    *,
    journal: Callable[[], JournalStatus],
    lost: Callable[[], dict[str, int]],
    redact: Callable[[str], str],
    brought: Container[str],
    broke: Callable[[], None],
) -> Iterator[None]:
    """Calls are scored, alarms watched and notifications sent until the end of the block. `lost` is as of
    `AlarmWatch`; `redact` takes secrets out of what scorers say; `broke` is called when a part breaks."""
    from airboss.controller.alarm_watch import AlarmWatch  # noqa: PLC0415 - the controller's own
    from airboss.controller.online_scoring import OnlineScoring  # noqa: PLC0415 - as above
    from airboss.evaluations.online import less_is_better  # noqa: PLC0415 - as above

    store, clock, force = stores.alerts, SystemClock(), InForce(ledger)
    rules = ScoringRules(ledger, data, force, stores.people)
    watch = AlarmWatch(
        alarms=lambda: all_alarms(force.config(), with_budget(ledger.all_keys())),
        maintenance=lambda: force.config().maintenance,
        probing=Probes(ledger, stores),
        evaluating=Evaluations(ledger, data, stores),
        drifted=lambda deployment: drifts.drifted(stores.views, deployment, force.config()),
        store=store,
        record_log=records,
        journal=journal,
        lost=lost,
        budgets=lambda: budgets(ledger, stores, force.config(), clock.now()),
        less_is_better=lambda: {
            name: less_is_better(each.scoring) for name, each in force.config().deployments.items()
        },
        teams=lambda: members(ledger.all_keys()),
        clock=clock,
        console_url=lambda: console_url(data),
    )
    scoring = OnlineScoring(
        rules=rules,
        since=SwitchedOn(ledger, scores),
        record_log=records,
        cursors=store,
        clock=clock,
        redact=redact,
        brought=brought,
        forgotten=stores.people.covers,
    )
    deliveries = _deliveries(store, force, clock, watch)

    async def score() -> None:
        try:
            await scoring.run()
        finally:
            await rules.aclose()

    async def notify() -> None:
        reporting = report(data, "watching", lambda: {"gauges": scoring.counts, "alarms": dict(watch.phases)})
        await asyncio.gather(deliveries.run(), reporting)

    works = {
        "scoring": in_a_loop(score),
        "shadows": in_a_loop(Asking(ledger, data, records, stores.people).run),
        "notifications": in_a_loop(notify),
        "checked prompts": in_a_loop(lambda: drifts.check_prompts(ledger, data, stores.views, force)),
        "drift": drifts.watch(force, ledger, stores.views, records).run,
        "alarms": watch.run,
    }
    with at_work(works, broke=broke):
        yield


async def report(data: DataDir, name: str, counted: Callable[[], Mapping[str, Any]]) -> None:
    """Share what is counted here, fields of `Counts`, under a name among the metrics, until cancelled."""
    from airboss.telemetry.metrics import Counts, write_counts  # noqa: PLC0415 - the controller's own

    while True:
        with suppress(OSError):  # a full disk: the mover says so
            counts = Counts(written_at=SystemClock().now(), **counted())
            await asyncio.to_thread(write_counts, data.metrics_dir / f"{name}.json", counts)
        await asyncio.sleep(REPORT_S)


def _deliveries(
    store: AlertStore,
    force: InForce,
    clock: SystemClock,
    watch: AlarmWatch,
) -> Deliveries:
    from airboss.controller.notify import Deliveries  # noqa: PLC0415 - the controller's own
    from airboss.controller.senders import Senders  # noqa: PLC0415 - as above
    from airboss.controller.smtp import EmailSender  # noqa: PLC0415 - as above
    from airboss.controller.webhook import WebhookSender  # noqa: PLC0415 - as above

    def notifiers() -> Mapping[str, NotifierConfig]:
        return force.config().notifiers

    webhook, email = WebhookSender(notifiers, secret), EmailSender(notifiers, secret)
    return Deliveries(
        store,
        Senders(notifiers, webhook=webhook, email=email),
        clock,
        untaken=lambda: watch.untaken.notifications,
        silenced=watch.silenced,
    )


def with_alarms(
    status: Callable[[], SystemStatus], ledger: Ledger, store: AlertStore
) -> Callable[[], SystemStatus]:
    """The status with the configured alarms in it, and whom summaries did not reach."""
    from airboss.controller.summing import untold  # noqa: PLC0415 - the controller's own

    force, clock = InForce(ledger), SystemClock()

    def whole() -> SystemStatus:
        rows, silences, config, now = store.alarms(), store.silences(), force.config(), clock.now()
        known = all_alarms(config, with_budget(ledger.all_keys()))
        quiet = {
            name: quieted(silences.get(name), config.maintenance, row.rule.deployment, now)
            for name, row in rows.items()
        }
        alarms = tuple(
            AlarmStatus(
                name=name,
                kind=row.rule.kind,
                state=row.phase,
                since=row.since,
                deployment=row.rule.deployment,
                where=dict(row.rule.where),
                metric=row.rule.metric,
                value=row.value,
                silenced_until=held.until if (held := quiet[name]) is not None else None,
            )
            for name, row in rows.items()
            if name in known
        )
        return msgspec.structs.replace(status(), alarms=alarms, untold=untold(config, store))

    return whole


def console_url(data: DataDir) -> str:
    """Where the console of this data directory is reached."""
    up = runfiles.read_up(data.run_dir) or runfiles.read_alone(data.run_dir)
    return up.console_url if up is not None else CONSOLE_URL


def secret(reference: str) -> str:
    """The secret behind `env:NAME` or `file:PATH`. Raises SetupError with what to do."""
    scheme, _, name = reference.partition(":")
    if scheme == "file":
        return read_secret(Path(name))
    found = os.environ.get(name, "").strip()
    if not found:
        raise SetupError(f"the environment variable {name} is not set where Airboss was started")
    return found
