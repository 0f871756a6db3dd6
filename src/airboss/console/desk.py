"""What every page and API call works with, and the one way it reads: in a thread, bounded in time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, Protocol, TypeVar

import anyio
import anyio.to_thread
import msgspec

from airboss.config import Config, ProviderConfig
from airboss.config.found import Ask
from airboss.config.prices import PriceTable
from airboss.console.callers import Caller, Callers
from airboss.console.exports import Exports
from airboss.console.live import Live
from airboss.console.plays import Plays
from airboss.console.reading import Readings
from airboss.console.session import Attempts, Sessions
from airboss.domain.errors import AirbossError, StoreUnavailable, Unavailable
from airboss.domain.plan import ServingPlan, Standing
from airboss.domain.ports import Clock, Ledger, RecordFilter, RecordLog, Spent
from airboss.domain.release import Release
from airboss.domain.status import DeadLetter, SystemStatus
from airboss.domain.verdict import Verdict
from airboss.evaluations.backfill import ScoringOrders
from airboss.evaluations.bias_orders import ProbeOrders
from airboss.evaluations.orders import EvalOrders
from airboss.evaluations.ports import EvalStore
from airboss.governance.erasure import Forgetting
from airboss.governance.sign_in import IdentityProvider
from airboss.releases.trained import NewModel
from airboss.rollouts.live import Rollout
from airboss.rollouts.stages import Order
from airboss.store.alert_rows import AlertStore
from airboss.store.audit_rows import AuditLog
from airboss.store.brought import Brought
from airboss.store.drift_rows import DriftStore
from airboss.store.ended import Ended
from airboss.store.job_rows import JobStore
from airboss.store.proposal_rows import ProposalStore
from airboss.store.span_rows import TracedLog
from airboss.store.view_rows import ViewStore
from airboss.telemetry.metrics import LimitUse, TargetUse
from airboss.telemetry.remote import Nodes
from airboss.tuning.finetune_orders import FinetuneOrders
from airboss.tuning.orders import TuneOrders

T = TypeVar("T")

READERS_MAX = 8
ASKERS_MAX = 4
READ_S = 20.0
"""The longest one page may read. The thread may go on after that; it is bounded by the log's own client."""
TAKEN_S = 1.0
"""The longest that the answer to a change waits until gateways serve it."""


def nothing_spent(_since: date) -> Sequence[Spent]:
    """Where nobody adds up."""
    return ()


def nothing_lacks(_plan: ServingPlan, _config: Config) -> Sequence[str]:
    """As `Desk.lacking`, where nobody knows with which environment gateways run."""
    return ()


def nothing_lists(wanted: Mapping[str, ProviderConfig]) -> Mapping[str, str]:
    """As `Desk.models_of`, where nobody can be asked."""
    return dict.fromkeys(wanted, "nobody can be asked here")


class OwnFile(msgspec.Struct, frozen=True, kw_only=True):
    """The configuration's file on the machine that leads, and how it stands to what is in force."""

    path: str
    state: Literal["same", "differs", "gone", "unreadable"]


class Asked(Protocol):
    """What the audit log needs of a request (`route.Call` has it)."""

    @property
    def actor(self) -> str:
        """Who asks."""

    @property
    def now(self) -> datetime:
        """When."""


Parquet = Callable[[Mapping[str, type], Sequence[Mapping[str, object]]], bytes]
"""Makes a Parquet file of columns, by name and type, and rows."""

Apply = Callable[[str, str], ServingPlan]
"""Applies a configuration: its text and the name of its source, usually a file; returns the plan published.
Raises ConfigError where it is wrong."""


class Rollouts(Protocol):
    """What `controller.rollouts` does for pages and verbs."""

    def together(self) -> AbstractContextManager[None]:
        """As `Ledger.together`, for what publishes."""

    def start(
        self, deployment: str, release: str | None, *, by: str, starts_at: datetime | None = None
    ) -> Rollout:
        """Begin a rollout, now or then. Raises NotFound, WrongCall."""

    def startable(self, deployment: str, release: str | None) -> Release:
        """What `start` would roll out. Raises as it."""

    def order(self, deployment: str, order: Order) -> Rollout:
        """A person's word on the running rollout. Raises NotFound, WrongCall."""

    def before(self, deployment: str) -> Release:
        """What was stable before what is. Raises NotFound, WrongCall."""

    def undo(self, deployment: str) -> Standing:
        """Serve that to everybody again. Raises NotFound, WrongCall, ConfigError."""

    def propose(self, name: str, release: Release, model: NewModel | None = None) -> ServingPlan:
        """Write a release, and its model if it is new, into the configuration. Raises WrongCall,
        ConfigError."""

    def list(
        self, *, deployment: str | None = None, until: datetime | None = None, limit: int = 100
    ) -> Sequence[Rollout]:
        """Rollouts, the newest first; with `until` those that had begun before then."""

    def get(self, rollout_id: str) -> Rollout | None:
        """The rollout of this id."""

    def verdicts(self, rollout_id: str) -> Sequence[Verdict]:
        """Those that changed something, the oldest first."""


class Prices(Protocol):
    """The table of prices, as `controller.price_list` keeps it."""

    def in_force(self) -> PriceTable:
        """The table that plans take prices from."""

    def keep(self, text: str, source: str) -> PriceTable:
        """Keep a newer one; the next plan has its prices. Raises ConfigError, WrongCall."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """The ports, the keys, and what the process keeps between requests. `base_url` ends with `/v1`.

    `settle` does at once what the controller does while it runs; None: it runs, and does it by itself.
    `keep_starter` keeps another secret of the starter key in the data directory; None: that key is preset.
    """

    ledger: Ledger
    log: TracedLog
    admin_key: str
    session_key: str
    clock: Clock
    status: Callable[[], SystemStatus]
    apply: Apply
    rollouts: Rollouts
    base_url: str
    jobs: JobStore
    evals: EvalStore
    audit: AuditLog
    people: Forgetting
    prices: Prices
    settle: Callable[[], object] | None = None
    alerts: AlertStore
    keep_starter: Callable[[str], object] | None = None
    views: ViewStore
    drifts: DriftStore
    proposals: ProposalStore
    parquet: Parquet
    """A table as a Parquet file."""
    redact: Callable[[str], str] = str
    """Takes secrets out of what people write."""
    orders: EvalOrders
    probes: ProbeOrders
    scorings: ScoringOrders
    tuning: TuneOrders
    finetuning: FinetuneOrders
    letters: Callable[[], Sequence[DeadLetter]] = tuple
    """Frames that could not become records, the newest first."""
    retry_letters: Callable[[], tuple[int, Sequence[DeadLetter]]] = lambda: (0, ())
    """Tries them again: how many went, and those that are left, each with why."""
    nodes: Nodes | None = None
    """Machines that have joined; None where none can."""
    plays: Plays | None = None
    """What the playground asks; None where no gateway can be asked."""
    uses: Callable[[], Sequence[LimitUse]] = tuple
    """How much of each limit is used."""
    targets: Callable[[], Sequence[TargetUse]] = tuple
    """How each provider's addresses and keys fare."""
    taken: Callable[[], object] = tuple
    """Waits until gateways serve what was changed."""
    lacking: Callable[[ServingPlan, Config], Sequence[str]] = nothing_lacks
    """What to say of each secret that a plan and its configuration need and that is not there."""
    models_of: Ask = nothing_lists
    """What providers list."""
    own_file: Callable[[], OwnFile | None] = lambda: None
    """How the operator's file stands; None where it is not known which that is."""
    spent: Callable[[date], Sequence[Spent]] = nothing_spent
    """What each key spent on that day and later."""
    console_url: Callable[[], str] = lambda: ""
    """Where people reach the console."""
    in_force: Callable[[], Config] = Config
    """The configuration in force, read."""
    identity: Callable[[], IdentityProvider] | None = None
    """Who asks where people sign in without a key; None where nobody can."""
    attempts: Attempts = field(default_factory=Attempts)
    brought: Brought = field(default_factory=Brought)
    """What imports have stored, for those who follow the log."""
    ended: Ended = field(default_factory=Ended)
    """Sessions that were signed out of."""
    exports: Exports = field(default_factory=Exports)
    readings: Readings = field(default_factory=Readings)
    readers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(READERS_MAX))
    tellers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(READERS_MAX))
    """Those that tell what is known."""
    writers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(READERS_MAX))
    """Those that change something: they may take long, and keep nobody from reading."""
    waiters: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(READERS_MAX))
    """Those that wait for `taken`: they keep nobody from reading."""
    askers: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(ASKERS_MAX))
    """Those that wait for `identity`."""
    callers: Callers = field(init=False)
    """Who has a console key, or has signed in."""
    sessions: Sessions = field(init=False)
    live: Live = field(init=False)

    def __post_init__(self) -> None:
        """Make what is made of the ports and the keys."""
        made = {
            "callers": Callers(self.ledger, self.clock, lambda: self.in_force().oidc),
            "sessions": Sessions(session_key=self.session_key, admin_key=self.admin_key, ended=self.ended),
            "live": Live(lambda: self.run(lambda: newest_of(self.log, self.clock.now()))),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def note(
        self,
        call: Asked,
        action: str,
        subject: str,
        detail: Mapping[str, Any] | None = None,
        *,
        user: str | None = None,
    ) -> int:
        """Add what a call has done to the audit log; returns the leaf's number.

        Every route that changes something calls this once it is done, with an `action` such as `keys.create`.
        `subject` and `user` may name people and can be erased; `detail` stays for ever, so that no name, no
        text of a call and no secret belongs into it.
        """
        return self.audit.append(
            action, actor=call.actor, subject=subject, detail=detail or {}, at=call.now, user=user
        )

    def status_for(self, caller: Caller) -> SystemStatus:
        """How everything stands. Why dead letters are none is for readers; how they begin is not told, as it
        is asked for all the time, and that would be a reading (`console.reading`)."""
        found = self.status()
        letters = found.journal.dead_letters if caller.may("reader") else ()
        bare = tuple(msgspec.structs.replace(each, excerpt="") for each in letters)
        return msgspec.structs.replace(
            found, journal=msgspec.structs.replace(found.journal, dead_letters=bare)
        )

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread. Raises StoreUnavailable when it takes longer than `READ_S`."""
        return await self._run(work, self.readers)

    async def promptly(self, work: Callable[[], T]) -> T:
        """As `run`, for what does not wait for a store: others that do keep it from nothing."""
        return await self._run(work, self.tellers)

    async def _run(self, work: Callable[[], T], limiter: anyio.CapacityLimiter) -> T:
        try:
            with anyio.fail_after(READ_S):
                return await anyio.to_thread.run_sync(work, limiter=limiter, abandon_on_cancel=True)
        except TimeoutError:
            message = f"no answer within {READ_S:.0f} s; choose a shorter time, or look at `airboss status`"
            raise StoreUnavailable(message) from None

    async def change(self, work: Callable[[], T]) -> T:
        """As `run`, for what may change what gateways serve: if it does, they serve it when this returns, or
        `TAKEN_S` have passed. Only its turn is waited for so long: what has begun is done, and returned in
        any case, for who is told that it failed does it twice.
        """

        def changing() -> tuple[T, bool]:
            before = self.ledger.revision()
            made, changed = work(), False
            with suppress(AirbossError):
                changed = self.ledger.revision() != before
            return made, changed

        try:
            with anyio.fail_after(READ_S):
                await self.writers.acquire()
        except TimeoutError:
            message = f"nothing was changed: no thread came free within {READ_S:.0f} s; try again"
            raise Unavailable(message, code="overloaded", retry_after_s=1) from None
        try:
            made, changed = await anyio.to_thread.run_sync(changing)
        finally:
            self.writers.release()
        if changed:
            with anyio.move_on_after(TAKEN_S), suppress(AirbossError):
                await anyio.to_thread.run_sync(self.taken, limiter=self.waiters, abandon_on_cancel=True)
        return made


def newest_of(log: RecordLog, until: datetime | None = None) -> str | None:
    """The id of the newest record; with `until` of those before it: what a span tells of may be ahead of our
    clock, and would hide what is new."""
    found = log.records(RecordFilter(until=until), limit=1, bodies=False)
    return found[0].id if found else None
