"""The seams: what deciders need from the outside, each with at least two real implementations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from airboss.domain.plan import ServingPlan
from airboss.domain.record import InferenceRecord

ReplicaState = Literal["fetching", "starting", "ready", "backing_off", "stopped"]
"""Where a replica stands. `backing_off`: it died and waits before the next start."""


class Clock(Protocol):
    """Time, handed in so that a test owns it."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never step backwards; only differences mean something."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A data-plane key as it is kept: `sha256` is the hex digest of the secret, never the secret.

    Keys are 256 random bits, so an unsalted hash cannot be guessed backwards.
    """

    name: str
    sha256: str
    created_at: datetime
    deployments: tuple[str, ...] | None = None


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One running engine of a local model; `url` is its base URL, up to and including `/v1`."""

    id: str
    model: str
    url: str
    state: ReplicaState
    restarts: int
    since: datetime
    pid: int | None = None
    detail: str | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that a gateway needs, read in one transaction; `revision` grows with every change to it."""

    revision: int
    plan: ServingPlan
    keys: tuple[ApiKey, ...]


class Ledger(Protocol):
    """Transactional state: configuration, plans, keys, replicas. Every call is one transaction."""

    def revision(self) -> int:
        """The number of the newest change that gateways must see; 0 before the first plan. Cheap."""

    def snapshot(self) -> Snapshot | None:
        """The newest plan with the keys, or None before the first plan."""

    def config(self) -> str | None:
        """The text of the configuration last applied, or None before the first."""

    def publish(self, config: str, plan: ServingPlan) -> ServingPlan:
        """Store `config` and its releases, and number `plan` one above the last; returns it numbered.
        `plan.number` as given is ignored."""

    def put_key(self, key: ApiKey) -> None:
        """Add a key, or replace the one of that name."""

    def replicas(self) -> tuple[Replica, ...]:
        """Every replica known, ordered by id."""

    def put_replica(self, replica: Replica) -> None:
        """Add or replace a replica by id. Does not touch `revision`: gateways read plans, not states."""

    def forget_replica(self, replica_id: str) -> None:
        """Drop a replica that will not come back; nothing happens if there is none."""

    def close(self) -> None:
        """Give back connections. The ledger is not used after."""


class JournalMove(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of one journal segment on its way into the record log, applied whole or not at all.

    `segment` is the segment's own name, unique for ever. Frames in bytes `[start, end)` gave `records` (JSON
    of `InferenceRecord`, for calls opened and closed in the stretch), `opened` (JSON of `OpenedCall`, by
    record id, whose close is not read yet: the log keeps it until the close comes) and `closed` (JSON of
    `ClosedCall`, by record id, whose open was moved earlier: the log joins the two; one that finds no open is
    ignored, because it has been joined before). A call whose worker died is closed by the mover with
    `record.interrupted`.
    """

    segment: str
    start: int
    end: int
    records: tuple[bytes, ...] = ()
    opened: dict[str, bytes] = {}
    closed: dict[str, bytes] = {}


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records. Every field given must hold; times are `since <= started_at < until`.

    `before` is the id of a record: only older ones (keyset paging, newest first).
    `after` is the id of a record: only those stored later, in that order (following: a long call that began
    earlier and ended later is not missed). An id that is not there has nothing before or after it.
    `text` is looked for in id, user, session and error_type, case-insensitively.
    """

    deployment: str | None = None
    status: str | None = None
    model: str | None = None
    user: str | None = None
    key: str | None = None
    id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None
    after: str | None = None
    text: str | None = None


class DeploymentStats(msgspec.Struct, frozen=True, kw_only=True):
    """What one deployment did in a period. Rates and quantiles are None where nothing was measured.

    Latencies are of answered calls (`status` ok), in milliseconds. `tokens_per_s` is the mean over calls of
    output tokens divided by the time after the first token (the whole latency where there was no stream).
    `cost_usd` None means that no call had a known price; `cost_unknown` counts those without.
    """

    deployment: str
    requests: int
    errors: int
    cancelled: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None
    tokens_per_s: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    cost_unknown: int


class StatsBucket(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a time series over one deployment, `start` included, as in `DeploymentStats`."""

    deployment: str
    start: datetime
    requests: int
    errors: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    ttft_p50_ms: float | None
    output_tokens: int
    cost_usd: float | None


class RecordLog(Protocol):
    """Append and scan records. Newest first unless told otherwise. Raises StoreUnavailable."""

    def offset(self, segment: str) -> int:
        """How many bytes of this segment have been taken; 0 for one never seen."""

    def apply(self, move: JournalMove) -> int:
        """Take a stretch of the journal in one transaction and return the segment's new offset.

        If the offset held is not `move.start` nothing is taken and the offset held is returned: the mover
        reads on from there. So a move repeated after a crash does nothing, and nothing is taken twice.
        Raises ValueError, with nothing taken, for a move that no log could take: JSON that is no record, a
        number out of range.
        """

    def orphans(self, segment_prefix: str) -> dict[str, bytes]:
        """The moved `open` frames (JSON) of segments with this prefix that no close has joined yet: the first
        of them by id, at most 1,000. Ask again once these are closed."""

    def forget(self, segment: str) -> None:
        """Drop the offset of a segment whose file has been deleted; nothing happens if there is none."""

    def records(self, where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        """Records that match, at most `limit` (1 to 10,000). `bodies` False leaves bodies None (cheaper).
        With bodies there may be fewer, so that they fit in memory, but one at least: an empty answer is the
        end."""

    def count(self, where: RecordFilter) -> int:
        """How many records match, paging fields aside."""

    def stats(self, since: datetime, until: datetime) -> Sequence[DeploymentStats]:
        """What each deployment did in `[since, until)`, ordered by name."""

    def series(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[StatsBucket]:
        """The same over time, in steps that start at multiples of `step_s` since the epoch; steps without
        a call are left out."""

    def close(self) -> None:
        """Give back files and connections. The log is not used after."""
