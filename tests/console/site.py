"""A console to test: real application, record log in memory, a ledger and a clock that the test holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from starlette.applications import Starlette
from starlette.testclient import TestClient

from airboss.config.types import ApprovalsConfig, Config, OidcConfig, Role
from airboss.console.app import build
from airboss.console.desk import Desk
from airboss.console.live import Live
from airboss.domain.errors import StoreUnavailable
from airboss.domain.plan import ServingPlan, Standing
from airboss.domain.ports import ApiKey, KeptRelease, RecordLog, Snapshot, Spent
from airboss.domain.record import InferenceRecord
from airboss.domain.release import Release
from airboss.domain.status import BreakerStatus
from airboss.governance.keys import hash_key, new_key
from airboss.rollouts.live import Rollout
from airboss.store.alert_rows import AlarmRow, Silence
from airboss.store.ended import Ended
from airboss.store.eval_rows import DatasetRow
from airboss.store.job_rows import Job
from airboss.store.memory import MemoryRecordLog
from airboss.store.parquet import as_parquet
from airboss.store.proposal_rows import Proposal
from airboss.store.view_rows import SavedView
from tests.support.seed_records import fill, make_records, seed_plan, seed_status

NOW = datetime(2026, 11, 24, 14, 41, 20, tzinfo=UTC)
ADMIN_KEY = "admin-key-of-the-tests"
API_KEY = new_key()
PEOPLE: Mapping[str, tuple[str, Role]] = {
    "vera": (new_key(), "viewer"),
    "rita": (new_key(), "reader"),
    "otto": (new_key(), "operator"),
    "anna": (new_key(), "admin"),
}
"""Who has a console key, with its secret and their role."""
NAMES = {role: name for name, (_, role) in PEOPLE.items()}
BASE_URL = "http://127.0.0.1:8700/v1"
DAY = 3_000


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOW
        self.seconds = 1_000.0

    def now(self) -> datetime:
        """As `ports.Clock`."""
        return self.at

    def monotonic(self) -> float:
        """As `ports.Clock`."""
        return self.seconds

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.at += timedelta(seconds=seconds)
        self.seconds += seconds


def people_keys() -> tuple[ApiKey, ...]:
    """The console keys of `PEOPLE`, as a ledger has them."""
    return tuple(
        ApiKey(name=name, sha256=hash_key(secret), created_at=NOW, deployments=(), given=(), role=role)
        for name, (secret, role) in PEOPLE.items()
    )


class Ledger:
    """Holds one plan, `served`, a data-plane key, the keys of `PEOPLE` and one configuration; no release was
    ever promoted."""

    def __init__(self, plan: ServingPlan | None, config: str | None) -> None:
        self.served = plan
        self.text = config

    def together(self) -> nullcontext[None]:
        """As `ports.Ledger`, but that nothing is taken back."""
        return nullcontext()

    def revision(self) -> int:
        """As `ports.Ledger`."""
        return self.served.number if self.served else 0

    def snapshot(self) -> Snapshot | None:
        """As `ports.Ledger`."""
        if self.served is None:
            return None
        return Snapshot(revision=self.served.number, plan=self.served, keys=self.all_keys())

    def all_keys(self) -> tuple[ApiKey, ...]:
        """As `ports.Ledger`."""
        return (ApiKey(name="web", sha256=hash_key(API_KEY), created_at=NOW), *people_keys())

    def plan(self, number: int) -> ServingPlan | None:
        """As `ports.Ledger`."""
        return self.served if self.served is not None and self.served.number == number else None

    def standings(self) -> dict[str, Standing]:
        """As `ports.Ledger`."""
        return {}

    def release(self, digest: str) -> Release | None:
        """As `ports.Ledger`."""
        return next((each.release for each in self.releases() if each.release.digest == digest), None)

    def releases(self) -> tuple[KeptRelease, ...]:
        """As `ports.Ledger`: what its plan serves."""
        if self.served is None:
            return ()
        number, at = self.served.number, self.served.created_at
        return tuple(KeptRelease(release=each.release, plan=number, at=at) for each in self.served.served())

    def config(self, plan: int | None = None) -> str | None:
        """As `ports.Ledger`."""
        return self.text if plan in (None, self.revision()) else None

    def __getattr__(self, name: str) -> Any:
        """The console asks the ledger for nothing else."""
        raise AssertionError(f"the console must not call Ledger.{name}")


class DownLog:
    """A record log that does not answer."""

    def __getattr__(self, name: str) -> Any:
        """Any method of the port."""

        def fails(*_args: object, **_kwargs: object) -> None:
            raise StoreUnavailable("no answer from the record store's socket")

        return fails


class Noted:
    """An audit log that only remembers: (action, actor, subject, detail)."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str, Any]] = []

    def append(
        self, action: str, *, actor: str, subject: str, detail: Any, at: datetime, user: str | None = None
    ) -> int:
        """As `audit_rows.AuditLog`."""
        del at, user
        self.entries.append((action, actor, subject, detail))
        return len(self.entries)

    def newest(self, **_asked: Any) -> tuple[Any, ...]:
        """As `audit_rows.AuditLog`: nothing is looked for."""
        return ()

    def whole(self) -> nullcontext[Any]:
        """As `audit_rows.AuditLog`: nothing is sealed."""
        return nullcontext(SimpleNamespace(head=None, leaves=lambda: iter(())))


class NoAlarms:
    """A store without alarms; the frame of every page counts those that fire."""

    def alarms(self) -> dict[str, AlarmRow]:
        """As `alert_rows.AlertStore`."""
        return {}

    def silences(self) -> dict[str, Silence]:
        """As `alert_rows.AlertStore`."""
        return {}


class KeptViews:
    """Views, and where drift stands, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, SavedView] = {}
        self.states: dict[str, bytes] = {}

    def views(self) -> list[SavedView]:
        """As `view_rows.ViewStore`."""
        return [self.kept[name] for name in sorted(self.kept)]

    def put_view(self, view: SavedView) -> None:
        """As `view_rows.ViewStore`."""
        self.kept[view.name] = view

    def drop_view(self, name: str) -> bool:
        """As `view_rows.ViewStore`."""
        return self.kept.pop(name, None) is not None

    def drift(self, name: str) -> bytes | None:
        """As `drift_rows.DriftStore`."""
        return self.states.get(name)

    def put_drift(self, name: str, content: bytes | None) -> None:
        """As `drift_rows.DriftStore`."""
        self.states.pop(name, None)
        if content is not None:
            self.states[name] = content

    def move_drift(self, name: str, was: bytes | None, content: bytes) -> bool:
        """As `drift_rows.DriftStore`."""
        stands = self.states.get(name) == was
        if stands:
            self.states[name] = content
        return stands


class NothingWaits:
    """Nobody has asked for anything that another approves."""

    def proposals(self, **_asked: Any) -> tuple[Proposal, ...]:
        """As `proposal_rows.ProposalStore`."""
        return ()

    def waiting(self) -> int:
        """As `proposal_rows.ProposalStore`."""
        return 0

    def proposal(self, number: int) -> Proposal | None:
        """As `proposal_rows.ProposalStore`."""
        del number
        return None


class NoRollouts:
    """No deployment has ever been rolled out."""

    def together(self) -> nullcontext[None]:
        """As `desk.Rollouts`, but that nothing is taken back."""
        return nullcontext()

    def list(
        self, *, deployment: str | None = None, until: datetime | None = None, limit: int = 100
    ) -> tuple[Rollout, ...]:
        """As `desk.Rollouts`."""
        del deployment, until, limit
        return ()


class NoWork:
    """No job was ever asked for, and no dataset is kept."""

    def list(self, kind: str | None = None, limit: int = 100) -> tuple[Job, ...]:
        """As `job_rows.JobStore`."""
        del kind, limit
        return ()

    def datasets(self) -> tuple[DatasetRow, ...]:
        """As `evaluations.ports.EvalStore`."""
        return ()


@dataclass(kw_only=True)
class Site:
    """The application, and what it was built on. `applied` are the (text, source) it applied."""

    log: Any = field(default_factory=MemoryRecordLog)
    ledger: Ledger = field(default_factory=lambda: Ledger(seed_plan(NOW - timedelta(hours=5)), None))
    clock: Clock = field(default_factory=Clock)
    applied: list[tuple[str, str]] = field(default_factory=list)
    store_up: bool = True
    hub: Live | None = None
    jobs: Any = field(default_factory=NoWork)
    evals: Any = field(default_factory=NoWork)
    views: Any = field(default_factory=KeptViews)
    orders: Any = None
    probes: Any = None
    scorings: Any = None
    tuning: Any = None
    finetuning: Any = None
    rollouts: Any = field(default_factory=NoRollouts)
    alerts: Any = field(default_factory=NoAlarms)
    people: Any = None
    prices: Any = None
    audit: Any = field(default_factory=Noted)
    redact: Any = str
    keep_starter: Any = None
    uses: Any = tuple
    spent: Sequence[Spent] = ()
    targets: Any = tuple
    taken: Any = tuple
    plays: Any = None
    oidc: OidcConfig | None = None
    approvals: bool = False
    proposals: Any = field(default_factory=NothingWaits)
    identity: Any = None
    ended: Ended = field(default_factory=Ended)
    admin_key: str = ADMIN_KEY
    audit_trouble: str | None = None
    breakers: tuple[BreakerStatus, ...] = ()

    def app(self) -> Starlette:
        """A fresh application."""

        def apply(text: str, source: str) -> ServingPlan:
            self.applied.append((text, source))
            return msgspec.structs.replace(seed_plan(NOW), number=43)

        desk = Desk(
            ledger=cast("Any", self.ledger),  # it answers what the console asks, and nothing else
            log=self.log,
            admin_key=self.admin_key,
            session_key="session-key-of-the-tests",
            clock=self.clock,
            status=lambda: msgspec.structs.replace(
                seed_status(self.clock.now(), store_up=self.store_up),
                audit_trouble=self.audit_trouble,
                breakers=self.breakers,
            ),
            apply=apply,
            base_url=BASE_URL,
            jobs=self.jobs,
            evals=self.evals,
            views=self.views,
            drifts=self.views,
            parquet=as_parquet,
            orders=self.orders,
            probes=self.probes,
            scorings=self.scorings,
            tuning=self.tuning,
            finetuning=self.finetuning,
            rollouts=self.rollouts,
            audit=self.audit,
            redact=self.redact,
            keep_starter=self.keep_starter,
            people=self.people,
            prices=self.prices,
            alerts=self.alerts,
            uses=self.uses,
            spent=lambda _since: self.spent,
            targets=self.targets,
            taken=self.taken,
            plays=self.plays,
            in_force=lambda: Config(oidc=self.oidc, approvals=ApprovalsConfig(required=self.approvals)),
            proposals=self.proposals,
            identity=self.identity,
            ended=self.ended,
        )
        self.hub = desk.live
        return build(desk)

    def client(self) -> TestClient:
        """A browser without a login; redirects are seen, not followed."""
        return TestClient(self.app(), follow_redirects=False, raise_server_exceptions=False)

    def person(self, role: Role | None = None) -> TestClient:
        """A browser that is logged in, with the admin key or as who has that role."""
        client = self.client()
        answer = client.post("/login", data={"key": key_of(role)}, headers={"origin": "http://testserver"})
        assert answer.status_code == 303, answer.text
        return client

    def program(self, role: Role | None = None) -> TestClient:
        """A program with the admin key, or with that of who has the role."""
        client = self.client()
        client.headers["authorization"] = f"Bearer {key_of(role)}"
        return client


def key_of(role: Role | None) -> str:
    """The secret of who has that role; None: the admin key."""
    return PEOPLE[NAMES[role]][0] if role is not None else ADMIN_KEY


def put(log: RecordLog, *records: InferenceRecord) -> None:
    """Put records into a log."""
    fill(log, records)


def sample(**changes: Any) -> InferenceRecord:
    """One ordinary record, with some fields changed."""
    record = next(make_records(1, seed=3, until=NOW, span_s=600, trouble=False))
    return msgspec.structs.replace(record, **changes)


def busy_log(count: int = DAY, *, seed: int = 5) -> MemoryRecordLog:
    """A day of records."""
    log = MemoryRecordLog()
    fill(log, make_records(count, seed=seed, until=NOW))
    return log
