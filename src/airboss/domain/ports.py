"""The seams: what deciders need from the outside, each with at least two real implementations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

from airboss.domain.plan import Allowance, Budget, Exposure, Limits, Priority, ServingPlan, Standing
from airboss.domain.record import Found, InferenceRecord, Status
from airboss.domain.release import Release
from airboss.domain.score import Score, ScoreValue
from airboss.domain.usage import RecordSort, UsageRow

ReplicaState = Literal["fetching", "starting", "ready", "backing_off", "failed", "draining", "stopped"]
"""Where a replica stands. `backing_off`: it died and waits to be started again. `failed`: it never got ready
and starts again when something is applied. `draining`: it takes no new call and stops after the last."""


class Clock(Protocol):
    """Time, handed in so that a test owns it."""

    def now(self) -> datetime:
        """Wall-clock time, aware, UTC."""

    def monotonic(self) -> float:
        """Seconds that never step backwards; only differences mean something."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is kept: `sha256` is the hex digest of the secret, 256 random bits, which need no salt.
    With a `role` (`config.types.Role`) it opens the console, else it calls models. `internal`: our own, which
    alone may name its release. `deployments` to `priority` hold now; what begins with `given` it was made for
    and holds where the configuration says nothing. `previous_sha256` is good until `previous_until`; from
    `expires_at` or `revoked_at` on nothing is. `owner`: as `Principal`'s. `left`: how often it has left which
    team. `sources`: networks that it is good from; None: all. `hands`: `Caller.hands` of who saw it.
    `policies` bind its calls now, by name: its own and its team's."""

    name: str
    sha256: str
    created_at: datetime
    deployments: tuple[str, ...] | None = None
    internal: bool = False
    given: tuple[str, ...] | None = None
    previous_sha256: str | None = None
    previous_until: datetime | None = None
    revoked_at: datetime | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    each_user: Allowance | None = None
    team: str | None = None
    priority: Priority = "normal"
    given_limits: Limits | None = None
    given_budget: Budget | None = None
    given_each_user: Allowance | None = None
    given_team: str | None = None
    given_priority: Priority = "normal"
    expires_at: datetime | None = None
    role: str | None = None
    owner: str | None = None
    sources: tuple[str, ...] | None = None
    left: dict[str, int] = {}
    hands: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    given_policy: str | None = None


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One running engine of a local model; `url` is its base URL, up to and including `/v1`.
    `detail` is why it is not ready. `slots`, `running` and `queued` are calls at this moment, by the
    gateways' counts: the ledger keeps none of them, and None is unknown, not 0."""

    id: str
    model: str
    url: str
    state: ReplicaState
    restarts: int
    since: datetime
    pid: int | None = None
    detail: str | None = None
    slots: int | None = None
    running: int | None = None
    queued: int | None = None


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """That an engine shall run, decided by the controller; how it stands is its `Replica`, of the same id.
    `settings` is the model's configuration that it was placed with, in JSON, and `engine` names just that:
    two placements of one engine answer alike. An engine is never changed where it stands: another one is
    placed beside it, and it drains from `draining_since` on."""

    id: str
    model: str
    url: str
    engine: str
    settings: str
    since: datetime
    draining_since: datetime | None = None


class Scaling(msgspec.Struct, frozen=True, kw_only=True):
    """How many replicas a model should have, and why; `since` is when that number was decided."""

    model: str
    wanted: int
    reason: str
    since: datetime


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """All that a gateway needs, read in one transaction; `revision` grows with every change to it."""

    revision: int
    plan: ServingPlan
    keys: tuple[ApiKey, ...]


class KeptRelease(msgspec.Struct, frozen=True, kw_only=True):
    """A release as the ledger has it: `plan` is the number of the first plan that could serve it."""

    release: Release
    plan: int
    at: datetime


class Ledger(Protocol):
    """Transactional state: configuration, releases, plans, keys, replicas. Every call is one transaction."""

    def together(self) -> AbstractContextManager[None]:
        """Calls within are one transaction, by the first that writes. Nothing slow may come after that."""

    def revision(self) -> int:
        """The number of the newest change that gateways must see; 0 before the first plan. Cheap."""

    def snapshot(self) -> Snapshot | None:
        """The newest plan with the keys, or None before the first plan."""

    def config(self, plan: int | None = None) -> str | None:
        """The text of the configuration in force, or that of a `plan`; None if there is none."""

    def publish(self, config: str, plan: ServingPlan, *, standings: Iterable[Standing] = ()) -> ServingPlan:
        """Store these and the plan's releases; returns the plan with its number, one above the last."""

    def standings(self) -> Mapping[str, Standing]:
        """Where each deployment stands that was ever published, by name."""

    def exposures(self, *, over: bool = False) -> Mapping[str, Exposure]:
        """What live rollouts expose, by deployment; `over`: what each one's newest did, if it has ended."""

    def release(self, digest: str) -> Release | None:
        """The release of this digest, if it was ever published."""

    def releases(self) -> tuple[KeptRelease, ...]:
        """Every release ever published, the oldest first."""

    def plan(self, number: int) -> ServingPlan | None:
        """The plan of this number, if it was ever published."""

    def change_key(self, name: str, change: Callable[[ApiKey | None], ApiKey]) -> ApiKey:
        """Put what `change` makes of the key of this name (None: there is none), in one transaction; what it
        raises comes through, and nothing has changed. Returns the key as it is then."""

    def all_keys(self) -> tuple[ApiKey, ...]:
        """Every key, revoked ones included, by name."""

    def replicas(self) -> tuple[Replica, ...]:
        """Every replica known, ordered by id."""

    def put_replica(self, replica: Replica) -> None:
        """Add or replace a replica by id. Does not touch `revision`: gateways read plans, not states."""

    def forget_replica(self, replica_id: str) -> None:
        """Drop a replica that will not come back; nothing happens if there is none."""

    def placements(self) -> tuple[Placement, ...]:
        """Every engine that shall run, ordered by id."""

    def place(self, put: Iterable[Placement], *, drop: Iterable[str] = ()) -> None:
        """Add or replace placements by id, and drop those named. Does not touch `revision`."""

    def scalings(self) -> Mapping[str, Scaling]:
        """How many replicas each model should have, by model, where that was ever decided."""

    def put_scaling(self, scaling: Scaling) -> None:
        """Add or replace a model's. Does not touch `revision`."""

    def close(self) -> None:
        """Give back connections. The ledger is not used after."""


class JournalMove(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of one journal segment on its way into the record log, applied whole or not at all.

    `segment` is the segment's own name, unique for ever. Frames in bytes `[start, end)` gave `opened`
    (JSON of `OpenedCall`, by record id, kept until its close comes) and `closed` (JSON of `ClosedCall`, by
    record id: the log joins it to its open, of this move or an earlier one; one that finds none is
    ignored). A call whose worker died is closed by the mover with `joining.interrupted`. `records` is JSON
    of `InferenceRecord`, for what no journal tells of. `scores` is JSON of `Score`: feedback, which the log
    attaches to its record, now or when that comes, if both are of one key; `moved_at` is when the mover
    read it. `spans` is JSON of `store.span_rows.Span`, each kept once."""

    segment: str
    start: int
    end: int
    records: tuple[bytes, ...] = ()
    opened: dict[str, bytes] = {}
    closed: dict[str, bytes] = {}
    scores: tuple[bytes, ...] = ()
    spans: tuple[bytes, ...] = ()
    moved_at: datetime | None = None


class RecordFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which records. Every field given must hold; times are `since <= started_at < until`.

    `before` is a record's id: only older ones (keyset paging, newest first). `after`: only those stored
    later than that one, in that order (a long call that began earlier and ended later is not missed). An id
    that is not there has nothing before or after it; after "" come all. `score`: `score.read_condition`.
    `release` is a digest. `ids`, `keys`: one of these (at most 10,000). `text` is looked for in id, user,
    session and error_type, in any case. `tag` is `NAME=VALUE`, `policy` a kind that one found. With `sort`
    slow, costly or long ones come first, or as chance orders them for a `seed`; it is not paged. Those of
    `slower_ms` took longer than that."""

    deployment: str | None = None
    status: str | None = None
    model: str | None = None
    user: str | None = None
    key: str | None = None
    keys: tuple[str, ...] | None = None
    id: str | None = None
    ids: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: str | None = None
    after: str | None = None
    text: str | None = None
    score: str | None = None
    release: str | None = None
    session: str | None = None
    arm: str | None = None
    error_type: str | None = None
    tag: str | None = None
    policy: str | None = None
    slower_ms: float | None = None
    sort: RecordSort | None = None
    seed: int | None = None


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What was used in `[since, until)`: by whom, or over time, or both.

    `by` are at most 2 of DIMENSIONS or `tag:NAME`; `among` keeps rows whose first group is one of these, None
    being one. Paging, times and score of `where` do not count. With `step_s` there is a row a step, the
    oldest first; else those with most `order` come first. Answers beyond `slow_ms`, `late_ms`, `costly_usd`
    are counted, and of people `people`; `costs`: tells `cost_p95_usd`. `ended`: calls are in by their end.
    `teams`: the team of each key that is in one, as no record says it."""

    since: datetime
    until: datetime
    by: tuple[str, ...] = ()
    among: tuple[str | None, ...] | None = None
    where: RecordFilter = RecordFilter()
    step_s: int | None = None
    without_key: str | None = None
    order: str = "requests"
    limit: int = 1_000
    slow_ms: float | None = None
    late_ms: float | None = None
    costly_usd: float | None = None
    people: tuple[Literal["users", "sessions"], ...] = ("users", "sessions")
    costs: bool = False
    ended: bool = False
    teams: dict[str, str] = {}


class DeploymentStats(msgspec.Struct, frozen=True, kw_only=True):
    """What one deployment did in a period. Rates and quantiles are None where nothing was measured.

    `requests` is all of them; `cancelled` (by the client) and `refused` (a policy or limit of ours
    said no) are in it, and are nobody's errors: an error rate is of the others.
    Latencies are of answered calls, in milliseconds, at most 2 % off if `approximate`. `tokens_per_s` is the
    mean of output tokens by the time after the first token (the whole latency where there was no stream).
    `cost_usd` None means that no call had a known price; `cost_unknown` counts those without."""

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
    refused: int = 0
    approximate: bool = False


class ScoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the scores under one name say of the calls that one release of a deployment answered.

    Each record counts once, with the value it shows (`score.latest`): `n` records have a number (yes is 1, no
    is 0) and `mean` is theirs, None where there is none; `labelled` have a label; `unscored` have scores of
    this name but no value. To `judged` a scorer gave a number, whatever others say: `judge_mean` and
    `judge_variance` (of a population) are of those. `reviewed` were judged by people of the house."""

    deployment: str
    release: str
    name: str
    n: int
    mean: float | None
    labelled: int
    unscored: int
    judged: int = 0
    judge_mean: float | None = None
    judge_variance: float | None = None
    reviewed: int = 0


class Erased(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a person was in the record log: calls, open ones included, and scores."""

    records: int
    scores: int


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
    cancelled: int = 0
    refused: int = 0
    approximate: bool = False


class ReleaseBucket(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a time series over what one release answered of a deployment, on one arm; of `requests`
    those `counted` were neither cancelled nor refused, so that `errors` of them make a rate."""

    deployment: str
    release: str
    arm: str
    start: datetime
    requests: int
    errors: int
    counted: int


class WatchedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call as a rollout sees it. `open`: its end has not reached the log; then only what is known at a
    call's start is set. `scores` as in a record."""

    id: str
    started_at: datetime
    release: str
    arm: str
    plan: int
    user: str | None
    session: str | None
    open: bool = False
    status: Status | None = None
    error_type: str | None = None
    latency_ms: float | None = None
    ttft_ms: float | None = None
    cost_usd: Decimal | None = None
    scores: dict[str, ScoreValue | None] = {}


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What calls of a key, or of a `user` of it, cost that began on one day (UTC), as far as is known."""

    key: str
    day: date
    usd: Decimal
    user: str | None = None


class RecordLog(Protocol):
    """Append and scan records. Newest first unless told otherwise. Raises StoreUnavailable."""

    def offset(self, segment: str) -> int:
        """How many bytes of this segment have been taken; 0 for one never seen."""

    def begun(self, segment: str) -> int | None:
        """Where the move from the offset held ends, if one was begun that may be half made: the next move of
        this segment must have just those bytes. None in a log that takes moves in one transaction."""

    def apply(self, move: JournalMove) -> int:
        """Take a stretch of the journal whole or not at all and return the segment's new offset.

        If the offset held is not `move.start` nothing is taken and the offset held is returned: the mover
        reads on from there. So a move repeated after a crash does nothing, and nothing is taken twice.
        Raises ValueError, with nothing taken, for what no log can take: no record, a number out of range."""

    def orphans(self, segment_prefix: str) -> dict[str, bytes]:
        """The moved `open` frames (JSON) of segments with this prefix that no close has joined yet: the first
        of them by id, at most 1,000. Ask again once these are closed."""

    def forget(self, segment: str) -> None:
        """Drop the offset of a segment whose file has been deleted; nothing happens if there is none."""

    def records(self, where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        """Records that match, at most `limit` (1 to 10,000). `bodies` False leaves bodies None (cheaper).
        With bodies there may be fewer, so that they fit in memory, but one at least: none is the end."""

    def search(self, where: RecordFilter, words: str, *, limit: int, bodies: bool) -> Found:
        """Records that match and whose bodies hold these words (`store.searching`), the last stored first: at
        most `limit` (1 to 10,000), or what a second of looking has found. `where.before` goes on where the
        last one stopped; `where.after` is not looked at. Raises ValueError where there is no word."""

    def count(self, where: RecordFilter) -> int:
        """How many records match, paging fields aside."""

    def stats(
        self, since: datetime, until: datetime, *, without_key: str | None = None
    ) -> Sequence[DeploymentStats]:
        """What each deployment did in `[since, until)`, by name, but for calls by the key `without_key`."""

    def series(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[StatsBucket]:
        """The same over time, in steps that start at multiples of `step_s` since the epoch; none is empty."""

    def traffic(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[ReleaseBucket]:
        """Who answered: calls by deployment, release and arm, in steps as those of `series`."""

    def usage(self, asked: UsageQuery) -> Sequence[UsageRow]:
        """What was used, by whom and when. Raises ValueError for a group, order or bound there is not."""

    def spent(self, since: datetime, *, each_user: Collection[str] = ()) -> Sequence[Spent]:
        """What each key spent on each day, by calls that began then or later; days without a known cost are
        left out. Of the keys `each_user` by user, None for calls that name none."""

    def watched(
        self, deployment: str, *, after: str, until: str, without_key: str, limit: int
    ) -> Sequence[WatchedCall]:
        """The calls of a deployment with `after < id < until`, in order of admission (of ids), open ones
        among them, but for those by the key `without_key`; at most `limit` (1 to 10,000)."""

    def put_scores(self, scores: Sequence[Score]) -> int:
        """Keep scores of records and return how many are new. One whose id is there already is left as it is,
        so repeating is harmless; one whose record is not there is left out. A review stands in place of an
        older one by the same person under that name (`opinions.settle`). Raises ValueError for an item's."""

    def scores_of(self, record_ids: Collection[str]) -> Sequence[Score]:
        """Every score of these records (at most 10,000), the oldest first."""

    def score_stats(
        self, since: datetime, until: datetime, *, by_score_time: bool = False,
        without_key: str | None = None, where: RecordFilter | None = None,
    ) -> Sequence[ScoreStats]:  # fmt: skip
        """What scores say of the calls begun in `[since, until)`, or, with `by_score_time`, of those scored
        then, by the scores of then alone; ordered by deployment, release and name. `where` as in usage."""

    def stray_scores(self, before: datetime, *, limit: int) -> Sequence[Score]:
        """Feedback moved before that moment which still waits for a record of its key, and whose call is not
        still open; the first by id. It waits until it is attached or dropped."""

    def drop_scores(self, score_ids: Collection[str]) -> None:
        """Stop waiting for the records of this feedback. Scores that are attached stay."""

    def erase(self, users: Mapping[str, datetime]) -> Mapping[str, Erased]:
        """Take people out: of each call of these users that began at or before the time given, the bodies,
        the user, the session and the tags; of scores, the comments and the person. A call that is still open
        loses its answer when that comes. Costs and all other numbers stay, so that sums hold.

        When it returns, what was taken out stands nowhere in the log's files. Raises StoreUnavailable if that
        is not reached: asking again finishes it, once more does nothing. Returns what was found now."""

    def expire(self, *, bodies_before: datetime | None, records_before: datetime | None, limit: int) -> int:
        """Delete the bodies of calls begun before one time, and all of the records begun before another, with
        their scores; at most `limit` records at once, the oldest first. None: keep them. Returns how many
        records lost something; 0 is the end."""

    def make_room(self, bytes_max: int) -> int:
        """Delete the oldest bodies, a few thousand at once, where the log takes more than about so many
        bytes. Returns how many records lost theirs; 0: it takes no more, or there are none left."""

    def tidy(self) -> bool:
        """Do some of the work that makes questions quick and can wait; returns whether there is more."""

    def close(self) -> None:
        """Give back files and connections. The log is not used after."""
