"""Rollouts: started and ordered by people, driven by evidence. A reconcile loop over what the ledger holds.

Each tick reads the calls that have come, folds them into the analysis, lets `rollouts.stages` decide, keeps
the result in one transaction, and then makes the plan say what the ledger says. Killed anywhere, the next
tick goes on from what was kept.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import msgspec

from airboss.config import Config, parse_config
from airboss.config.edit import with_model, with_release
from airboss.config.wording import nearest
from airboss.controller.placement import PUBLISHING
from airboss.controller.rollout_begin import candidate, drafted, found
from airboss.controller.rollout_ports import Gate, Publish
from airboss.controller.rollout_rows import began_at, first_id, read, row_of, still, superseded, unit_key
from airboss.controller.saying import saying
from airboss.domain.errors import AirbossError, ConfigError, NotFound, SetupError, StoreUnavailable, WrongCall
from airboss.domain.plan import PromotionWhy, ServingPlan, Standing
from airboss.domain.ports import Clock, Ledger, RecordLog, WatchedCall
from airboss.domain.release import Release
from airboss.domain.status import JournalStatus
from airboss.domain.verdict import Verdict
from airboss.releases.build import build_releases
from airboss.releases.said import as_config
from airboss.releases.standing import stable_before
from airboss.releases.trained import NewModel, model_config
from airboss.rollouts import analysis, live, stages
from airboss.rollouts.live import Rollout, SeenUnit
from airboss.rollouts.stages import Decision, Event, GateAnswer, Look, Order
from airboss.store.alert_metrics import INTERNAL_KEY
from airboss.store.rollouts import SqlRolloutStore
from airboss.telemetry.outage import Outage

log = logging.getLogger(__name__)

BATCH = 2_000
"""Calls read at once."""
BATCHES_MAX = 10
"""Batches of a lane in one tick; a backlog goes on in the next."""
MARGIN_S = 1.5
"""Calls younger than this are not read: one admitted before them may not be in the journal yet."""
TICK_S = 1.0
IN_FORCE = "the configuration in force"


class Rollouts:
    """All rollouts of one Airboss. One controller runs it; any thread may call."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        store: SqlRolloutStore,
        records: RecordLog,
        publish: Publish,
        journal: Callable[[], JournalStatus],
        clock: Clock,
        gate: Gate,
        engine_version: Callable[[], str],
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._records = records
        self._publish = publish
        self._journal = journal
        self._clock = clock
        self._gate = gate
        self._engine_version = engine_version
        self._lock = threading.RLock()
        self._weights: dict[str, dict[int, float | None]] = {}

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is published within, and whatever is written beside it, is one transaction. Nobody else
        publishes before its end: they would go by what was in force before it."""
        with self._lock, PUBLISHING, self._ledger.together():
            yield

    # -- what people do

    def apply(self, text: str, source: str) -> ServingPlan:
        """Put a configuration into force. Raises ConfigError, SetupError."""
        with self._lock:
            return self._published(text, source, retry_failed=True)

    def refresh(self) -> ServingPlan:
        """Publish what the ledger says now: other replicas are ready, for example. Raises SetupError."""
        with self._lock:
            return self._published(self._config()[0], IN_FORCE)

    def propose(self, name: str, release: Release, model: NewModel | None = None) -> ServingPlan:
        """Write a release into the configuration in force, as `[releases.NAME]`, where a rollout may take it;
        before that its model, if it is a new one, as `[models.NAME]`.

        Raises WrongCall if there is one of that name that is not the same, ConfigError if the model that the
        new one came of is gone.
        """
        with self._lock:
            text, config = self._config()
            if model is not None:
                made = model_config(config, model, engine_version=self._engine_version())
                if config.models.get(name, made) != made:
                    raise WrongCall(
                        f"the configuration has another model {name!r} already; choose another name"
                    )
                text = with_model(text, name, made)
                config = parse_config(text, source=f"model {name}")
            said = as_config(build_releases(config, engine_version=self._engine_version()), release)
            if name in config.releases:
                if config.releases[name] == said:
                    return self._published(text, IN_FORCE)
                raise WrongCall(
                    f"the configuration has another release {name!r} already; choose another name"
                )
            return self.apply(with_release(text, name, said), f"release {name}")

    def startable(self, deployment: str, release: str | None) -> Release:
        """What `start` would roll out. Raises as it."""
        with self._lock:
            standing = self._standing(self._config()[1], deployment)
            self._none_live(deployment)
            return self._candidate(standing, release)

    def start(
        self, deployment: str, release: str | None, *, by: str, starts_at: datetime | None = None
    ) -> Rollout:
        """Begin a rollout: of the release named (by name or digest), else of the deployment's candidate; with
        `starts_at` once that time has come, by the rules that the configuration then has.

        Raises NotFound for what is not there, WrongCall where there is nothing to roll out or a rollout runs.
        """
        with self._lock:
            chosen = self.startable(deployment, release)
            _, config = self._config()
            new = drafted(config, self._standing(config, deployment), chosen, by=by, now=self._clock.now())
            if starts_at is None:
                return self._begin(new, config)
            new = msgspec.structs.replace(new, salt="", starts_at=starts_at)
            self._store.save(row_of(new), still=still(new))
            return new

    def _begin(
        self, new: Rollout, config: Config, *, reason: str = "", kept: Rollout | None = None
    ) -> Rollout:
        """Its gate first, where it has one. `kept`: as it stands while it is scheduled."""
        said = config.deployments[new.deployment].rollout
        if said is not None and said.gate is not None:
            new = msgspec.structs.replace(new, job=self._gate.begin(new, said.gate))
        return self._happened(new, stages.Start(at=new.started_at, reason=reason), kept=kept)

    def _due(self, rollout: Rollout, now: datetime) -> None:
        """The time of a rollout may have come. What cannot be rolled out any more ends it."""
        if rollout.starts_at is None or now < rollout.starts_at:
            return
        set_for = f"set for {rollout.starts_at:%F %R} UTC by {rollout.by}"
        try:
            _, config = self._config()
            standing = self._standing(config, rollout.deployment)
            chosen = self._candidate(standing, rollout.release)
            new = drafted(config, standing, chosen, by=rollout.by, now=now)
            new = msgspec.structs.replace(new, id=rollout.id, starts_at=rollout.starts_at)
            with self.together():
                self._begin(new, config, reason=f"begun at its time, {set_for}", kept=rollout)
        except (WrongCall, NotFound, ConfigError) as error:
            order = Order(
                at=now, action="abort", by="airboss", reason=f"{set_for}, and it cannot be: {error}"
            )
            self._happened(rollout, order)

    def before(self, deployment: str) -> Release:
        """What was stable before what is, which `undo` brings back. Raises NotFound, WrongCall."""
        with self._lock:
            standing = self._standing(self._config()[1], deployment)
            self._none_live(deployment)
            digest = stable_before(standing)
            if digest is None:
                raise WrongCall(
                    f"{deployment!r} has had no stable release before {standing.stable[:12]}: there is "
                    "nothing to undo; `airboss rollout start` or `airboss apply` serves another one"
                )
            return self._release(digest)

    def undo(self, deployment: str) -> Standing:
        """Serve what was stable before (`before`) to everybody, at once, and have the configuration say so.
        Raises NotFound, WrongCall, ConfigError where its model or policy is not in the configuration."""
        with self._lock:
            text, config = self._config()
            digest = self.before(deployment).digest
            text = self._saying(text, config, deployment, digest, in_place=True)
            said = parse_config(text, source=f"undo of {deployment}")
            # Today's engine and detectors may make another release of it.
            catalog = build_releases(said, engine_version=self._engine_version())
            again = catalog.wanted(said, deployment).digest
            self._published(text, f"undo of {deployment}", promote={deployment: (again, "undo")})
            return self._ledger.standings()[deployment]

    def order(self, deployment: str, order: Order) -> Rollout:
        """Carry out a person's word on the rollout of a deployment. Raises NotFound, WrongCall."""
        with self._lock:
            _, config = self._config()
            standing = self._standing(config, deployment)
            for row in self._store.live():
                if row.deployment == deployment:
                    # What the last tick knew: a person's word waits for no record store.
                    rollout = read(row)
                    evidence = analysis.evidence(rollout.analysis)
                    return self._happened(rollout, msgspec.structs.replace(order, evidence=evidence))
            newest = next(iter(self.list(deployment=deployment, limit=1)), None)
            if newest and newest.stage.state == "promoted" and newest.release != standing.stable:
                newest = None  # it was taken back already
            raise WrongCall(stages.none_runs(deployment, newest.stage if newest else None))

    def list(
        self, *, deployment: str | None = None, until: datetime | None = None, limit: int = 100
    ) -> tuple[Rollout, ...]:
        """Rollouts, the newest first; with `until` those that had begun before then."""
        rows = self._store.newest(deployment=deployment, until=until, limit=limit)
        return tuple(map(read, rows))

    def get(self, rollout_id: str) -> Rollout | None:
        """The rollout of this id."""
        row = self._store.get(rollout_id)
        return read(row) if row is not None else None

    def verdicts(self, rollout_id: str) -> tuple[Verdict, ...]:
        """The verdicts that changed something, the oldest first."""
        return tuple(msgspec.json.decode(each, type=Verdict) for each in self._store.verdicts(rollout_id))

    # -- what evidence does

    def run(self, stop: threading.Event) -> None:
        """Tick until `stop` is set. What fails is told and tried again: no rollout may stand unwatched."""
        outage = Outage(log, "rollouts wait")
        while not stop.wait(TICK_S):
            try:
                self.tick()
                outage.over()
            except StoreUnavailable:
                continue  # the mover tells of it
            except AirbossError as error:
                outage.failed(error)
            except Exception:
                log.exception("a tick of the rollouts failed; it is tried again")

    def tick(self) -> None:
        """Bring the plan to what the ledger says, and look at every live rollout once. One thread calls it.

        The record store is asked without the lock, for it may take its time: people's orders do not wait
        for it. Who was ordered about meanwhile is not looked at."""
        try:
            for row in self._store.live():
                self._look(row.id)
        finally:
            with self._lock:
                self._settle()

    def _look(self, rollout_id: str) -> None:
        rollout = self._live(rollout_id)
        if rollout is not None and rollout.stage.state not in ("gate", "scheduled"):
            self._read_lanes(rollout)
        with self._lock:
            rollout, now = self._live(rollout_id), self._clock.now()
            if rollout is None:
                return
            if rollout.stage.state == "scheduled":
                self._due(rollout, now)
                return
            if rollout.stage.state == "gate":
                answered = self._gate.answer(rollout.job or "")
                if answered is not None:
                    passed, reason = answered
                    self._happened(rollout, GateAnswer(at=now, passed=passed, reason=reason))
                return
            ahead_s = max(began_at(lane.after) for lane in rollout.lanes) - now.timestamp()
            self._happened(rollout, live.look(rollout, at=now, ahead_s=ahead_s))

    def _live(self, rollout_id: str) -> Rollout | None:
        """A rollout as it is kept; None once it is over."""
        kept = self._store.get(rollout_id)
        return read(kept) if kept is not None and kept.live else None

    def _read_lanes(self, rollout: Rollout) -> None:
        """Take the calls that have come; kept as they are taken."""
        known = self._known()
        until = first_id(known)
        for name in [lane.name for lane in rollout.lanes]:
            for _ in range(BATCHES_MAX):
                lane = next(each for each in rollout.lanes if each.name == name)
                calls = self._records.watched(
                    rollout.deployment, after=lane.after, until=until, without_key=INTERNAL_KEY, limit=BATCH
                )
                if not calls:
                    break
                with self._lock:
                    kept = self._live(rollout.id)
                    if kept is None:
                        return
                    rollout, full = self._take(kept, lane, calls, known)
                if not full or len(calls) < BATCH:
                    break

    def _take(
        self, rollout: Rollout, lane: live.Lane, calls: Sequence[WatchedCall], known: datetime
    ) -> tuple[Rollout, bool]:
        given = tuple(calls)
        keys = {unit: unit_key(rollout, unit) for unit in map(live.unit_of, given) if live.sticky(unit)}
        kept = self._store.units(rollout.id, lane.name, list(keys.values()))
        seen = {
            unit: msgspec.json.decode(kept[key], type=SeenUnit) for unit, key in keys.items() if key in kept
        }
        folded = live.fold(
            rollout,
            lane,
            given,
            weights=self._plan_weights(rollout, {call.plan for call in given}),
            seen=seen,
            now=known,
        )
        if folded.rollout != rollout:
            units = {
                (lane.name, keys[unit]): msgspec.json.encode(each) for unit, each in folded.units.items()
            }
            self._store.save(row_of(folded.rollout), still=still(rollout), units=units)
        return folded.rollout, folded.full

    def _plan_weights(self, rollout: Rollout, plans: set[int]) -> dict[int, float]:
        """The canary's weight under each of these plans that is one of this rollout."""
        known = self._weights.setdefault(rollout.id, {})
        for number in plans - known.keys():
            plan = self._ledger.plan(number)
            known[number] = None
            for deployment in plan.deployments if plan is not None else ():
                canary = deployment.canary
                if canary is not None and canary.rollout == rollout.id:
                    known[number] = canary.weight
        return {number: weight for number in plans if (weight := known[number]) is not None}

    def _known(self) -> datetime:
        """All that happened before then is in the record store: calls that were admitted, and their ends. So
        one that is open there was open at that time, and is late by that time, not by the present one."""
        sure = self._clock.now() - timedelta(seconds=MARGIN_S)
        waiting = self._journal().oldest_unmoved_at
        # What waits was seen a moment after it was written.
        return min(sure, waiting - timedelta(seconds=MARGIN_S)) if waiting is not None else sure

    # -- what both do

    def _happened(self, rollout: Rollout, event: Event, *, kept: Rollout | None = None) -> Rollout:
        """Decide, keep the decision, and make the plan follow. `kept`: what stands, where that is another."""
        decided = stages.decide(rollout.rules, rollout.stage, event)
        after = msgspec.structs.replace(
            rollout, stage=decided.stage, verdict=decided.verdict or rollout.verdict
        )
        changed = decided.stage != rollout.stage
        if not changed and isinstance(event, Look):
            if decided.verdict != rollout.verdict and _tells_more(decided, rollout):
                self._store.save(row_of(after), still=still(rollout))
            return after
        telling = decided.verdict if changed else None
        self._store.save(
            row_of(after),
            still=still(kept or rollout),
            verdict=msgspec.json.encode(telling) if telling is not None else None,
            at=self._clock.now(),
        )
        if telling is not None:
            log.info(
                "rollout of %s: %s",
                rollout.deployment,
                telling.reason,
                extra={"rollout": rollout.id, "conclusion": telling.conclusion, "state": after.stage.state},
            )
        self._settle()
        return after

    def _settle(self) -> None:
        """Bring the configuration and the plan to what the rollouts say."""
        for row in self._store.unsettled():
            self._end(read(row))
        snapshot = self._ledger.snapshot()
        if snapshot is None:
            return
        shown = {
            each.name: (each.canary.rollout, each.canary.weight)
            for each in snapshot.plan.deployments
            if each.canary is not None
        }
        exposed = self._ledger.exposures().items()
        wanted = {name: (each.rollout, each.weight) for name, each in exposed if each.salt}
        if shown != wanted:
            text, _ = self._config()
            self._published(text, IN_FORCE)

    def _end(self, rollout: Rollout) -> None:
        """A rollout that is over comes into force."""
        if rollout.stage.state == "promoted":
            text, config = self._config()
            if rollout.deployment in config.deployments:
                person = rollout.verdict is not None and rollout.verdict.authority == "person"
                why: PromotionWhy = "person" if person else "rollout"
                self._published(
                    self._saying(text, config, rollout.deployment, rollout.release),
                    f"rollout {rollout.id}",
                    promote={rollout.deployment: (rollout.release, why)},
                )
        self._store.save(msgspec.structs.replace(row_of(rollout), settled=True), still=still(rollout))
        self._weights.pop(rollout.id, None)

    def _saying(
        self, text: str, config: Config, deployment: str, digest: str, *, in_place: bool = False
    ) -> str:
        """The configuration whose deployment says this release."""
        release, version = self._release(digest), self._engine_version()
        return saying(text, config, deployment, release, engine_version=version, in_place=in_place)

    def _published(
        self,
        text: str,
        source: str,
        *,
        promote: Mapping[str, tuple[str, PromotionWhy]] | None = None,
        retry_failed: bool = False,
    ) -> ServingPlan:
        return self._publish(
            text, source, supersede=self._supersede, promote=promote or {}, retry_failed=retry_failed
        )

    def _supersede(self, deployment: str, reason: str) -> None:
        superseded(self._store, deployment, reason, now=self._clock.now())

    def _config(self) -> tuple[str, Config]:
        text = self._ledger.config()
        if text is None:
            raise SetupError("no configuration has been applied yet; run `airboss apply airboss.toml` first")
        return text, parse_config(text, source=IN_FORCE)

    def _standing(self, config: Config, deployment: str) -> Standing:
        if deployment not in config.deployments:
            hint = nearest(deployment, config.deployments)
            raise NotFound(f"there is no deployment {deployment!r}; {hint}", code="deployment_not_found")
        return self._ledger.standings()[deployment]

    def _none_live(self, deployment: str) -> None:
        """Raise WrongCall where there is a rollout that is not over."""
        for row in self._store.live():
            if row.deployment == deployment:
                ends = f"`airboss rollout abort {deployment}` ends it"
                stands = stages.STANDS[read(row).stage.state]
                raise WrongCall(f"rollout {row.id} of {deployment!r} {stands}; {ends}")

    def _candidate(self, standing: Standing, wanted: str | None) -> Release:
        """The release to roll out."""
        return candidate(self._ledger, self._config()[1], standing, wanted, self._engine_version())

    def _release(self, digest: str) -> Release:
        return found(self._ledger, digest)


def _tells_more(decided: Decision, rollout: Rollout) -> bool:
    """Whether a look without consequences is worth keeping: its numbers or its sentence are others."""
    old, new = rollout.verdict, decided.verdict
    return old is None or new is None or (old.reason, old.metrics) != (new.reason, new.metrics)
