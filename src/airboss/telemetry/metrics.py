"""What `/metrics` shows: counted in each worker's memory, shared through one small file a process.

A client library that shares counters between processes writes to a mapped file at every count; here a count
is an addition, and any worker can answer a scrape for all of them, because each writes its counts to
`<process>.json` once a second. What it has counted since stands in a file beside that (`uncounted`), from
which its next life goes on when it is killed. Labels are names from the plan, never from requests, and
bounded in number.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec

from airboss.domain.plan import Target
from airboss.domain.record import ClosedCall, OpenedCall
from airboss.telemetry import semconv
from airboss.telemetry.failures import OTHER, count_failure
from airboss.telemetry.semconv import DURATION_BUCKETS_S, OVERHEAD_BUCKETS_S, TOKEN_BUCKETS, prometheus_name
from airboss.telemetry.uncounted import Uncounted, left_uncounted

GONE_S: Final = 10.0
"""Workers tell of themselves once a second; one that has not for so long is gone, or hangs: `status` says so,
its calls do not count as under way, and what it holds of limits is free (in `counters_valkey.lua` too)."""
SERIES_MAX = 500
"""Sets of labels that calls are counted under, of 90 samples each; later ones are counted as OTHER."""
TOGETHER = 128
"""Calls that are counted together, unless somebody asks before."""

Labels = tuple[str, str, str, str, str]
"""Deployment, provider, model, operation, status."""
Ended = tuple[float, float, float | None, int | None, int | None, Decimal | None]
"""Of a call that ended: its latency, overhead and time to the first token in ms, its tokens in and out, and
its cost in USD."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[Labels, Ended]]).decode
LABEL_NAMES = tuple(
    prometheus_name(n)
    for n in (
        semconv.DEPLOYMENT,
        semconv.PROVIDER_NAME,
        semconv.REQUEST_MODEL,
        semconv.OPERATION_NAME,
        semconv.STATUS,
    )
)


_DURATION_BUCKETS_MS = tuple(round(bound * 1000, 3) for bound in DURATION_BUCKETS_S)
_OVERHEAD_BUCKETS_MS = tuple(round(bound * 1000, 3) for bound in OVERHEAD_BUCKETS_S)


class Histogram(msgspec.Struct):
    """Counts by bucket, the last one without an upper bound, and the sum of what was observed."""

    counts: list[int]
    total: float = 0.0

    def observe(self, values: Collection[float], bounds: tuple[float, ...]) -> None:
        """Count values; `bounds` are the buckets' inclusive upper bounds, ascending."""
        # To put many in order and look for a dozen bounds takes a third of a search for each value.
        ordered, before = sorted(values), 0
        for bucket, bound in enumerate(bounds):
            upto = bisect_right(ordered, bound, before)
            self.counts[bucket] += upto - before
            before = upto
        self.counts[-1] += len(ordered) - before
        self.total += sum(values)

    def observe_ms(self, values: Collection[float], bounds: tuple[float, ...]) -> None:
        """Count milliseconds among seconds; `bounds` are the buckets' in milliseconds."""
        total, self.total = self.total, 0.0
        self.observe(values, bounds)
        self.total = total + self.total / 1000

    def add(self, other: Histogram) -> None:
        """Add another's counts, unless they are of a version with other bounds."""
        if len(self.counts) != len(other.counts):
            return
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


def _durations() -> Histogram:
    return Histogram([0] * (len(DURATION_BUCKETS_S) + 1))


def _overheads() -> Histogram:
    return Histogram([0] * (len(OVERHEAD_BUCKETS_S) + 1))


def _tokens() -> Histogram:
    return Histogram([0] * (len(TOKEN_BUCKETS) + 1))


class Series(msgspec.Struct):
    """The counts of one set of labels; times in seconds."""

    labels: Labels
    duration: Histogram = msgspec.field(default_factory=_durations)
    ttft: Histogram = msgspec.field(default_factory=_durations)
    overhead: Histogram = msgspec.field(default_factory=_overheads)
    tokens_in: Histogram = msgspec.field(default_factory=_tokens)
    tokens_out: Histogram = msgspec.field(default_factory=_tokens)
    cost_usd: float | None = None
    """None while no call had a known price: unknown is not free."""

    def count(self, ended: Sequence[Ended]) -> None:
        """Count calls; at least one."""
        latencies_ms, overheads_ms, ttfts_ms, tokens_in, tokens_out, costs = zip(*ended, strict=True)
        self.duration.observe_ms(latencies_ms, _DURATION_BUCKETS_MS)
        self.overhead.observe_ms(overheads_ms, _OVERHEAD_BUCKETS_MS)
        self.ttft.observe_ms([ms for ms in ttfts_ms if ms is not None], _DURATION_BUCKETS_MS)
        self.tokens_in.observe([n for n in tokens_in if n is not None], TOKEN_BUCKETS)
        self.tokens_out.observe([n for n in tokens_out if n is not None], TOKEN_BUCKETS)
        known = [cost for cost in costs if cost is not None]
        if known:
            self.cost_usd = (self.cost_usd or 0.0) + float(sum(known))

    def add(self, other: Series) -> None:
        """Add another's counts."""
        self.duration.add(other.duration)
        self.ttft.add(other.ttft)
        self.overhead.add(other.overhead)
        self.tokens_in.add(other.tokens_in)
        self.tokens_out.add(other.tokens_out)
        if other.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + other.cost_usd


class LimitUse(msgspec.Struct, array_like=True):
    """How much of a limit is used, as one worker knows it since `age_s`: of requests and tokens by everybody
    in the last minute, of calls under way (`concurrency`) and of calls that wait for a place (`waiting`) by
    its own, of money (`usd`) by the records of the period. `scope` is `key`, `team`,
    `deployment`, `candidate` (a deployment's) or `all`."""

    scope: str
    name: str
    what: str
    limit: float
    used: float
    age_s: float


OUT_S: Final = 60.0
"""What is tried again in vain for so long is out; before that it may come back by itself, and is no news."""
Limited = Literal["out_of_quota", "rate_limited"]
"""What a provider that is there refuses calls for: credit or a quota is used up, which no wait mends; or
there are too many calls for the moment."""
BREAKERS: tuple[Literal["closed", "half_open", "open"], ...] = ("closed", "half_open", "open")
"""A breaker's states, by `TargetUse.state`."""


class TargetUse(msgspec.Struct, array_like=True):
    """How one place of a model does, as one worker has seen it in all its lives since a plan had it.

    `state` is of its breaker: 0 closed, 1 half open, 2 open; `key` the reference to its key. `took_s` is the
    sum of the times to the first output of `answered`, `last_error` what the newest failure was.
    """

    provider: str
    model: str
    url: str
    key: str
    state: int = 0
    outstanding: int = 0
    answered: int = 0
    failed: int = 0
    opened: int = 0
    took_s: float = 0.0
    last_error: str = ""
    failures: dict[str, int] = {}
    """Attempts that failed, by error, whosever fault it was."""
    in_vain_at: datetime | None = None
    """Since when attempts are in vain, several in a row; None: they are not."""
    failed_at: datetime | None = None
    """While they are, or its breaker is not closed: when one failed last."""
    answered_at: datetime | None = None
    limited: Limited | None = None
    """Which limit the last attempt in vain has met."""
    rate_limited: int = 0
    """Attempts that met a limit which a wait mends."""
    refused: int = 0
    """Attempts that were refused for what they said: not by its fault."""
    last_status: int = 0
    """The HTTP status that came with the newest failure; 0: none did."""

    @property
    def attempts(self) -> int:
        """Those that have ended, but for what shows nothing of it: who left, say."""
        return self.answered + self.failed + self.rate_limited + self.refused

    def add(self, other: TargetUse) -> None:
        """Count in what another has seen of the same place; the state and times stay."""
        for name in ("outstanding", "answered", "failed", "rate_limited", "refused", "opened", "took_s"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if not self.last_error:
            self.last_error, self.last_status = other.last_error, other.last_status
        for error, count in other.failures.items():
            count_failure(self.failures, error, count)


ShownPlace = tuple[str, str, str, str]
"""A place as `TargetUse` names it: provider, model, address, reference to its key."""


def shown_places(target: Target) -> list[ShownPlace]:
    """Where a target is asked."""
    refs = target.key_refs or (target.api_key_ref,) * len(target.base_urls)
    return [
        (target.provider, target.upstream_model, shown_url(url), ref or "")
        for url, ref in zip(target.base_urls, refs, strict=True)
    ]


def shown_url(url: str) -> str:
    """The URL without what it may hold of credentials."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class Counts(msgspec.Struct):
    """All that one process shares. `gauges` of several processes are added up, but for ages."""

    written_at: datetime
    series: list[Series] = []
    refused: dict[str, int] = {}
    """Requests answered without a record, by HTTP status: bad keys, bad bodies, unknown models."""
    spans: dict[str, int] = {}
    """Spans that apps sent, by what became of them: `accepted` or `rejected`."""
    evaluations: dict[str, int] = {}
    """Evaluations that apps sent by OpenTelemetry, the same way."""
    gauges: dict[str, float] = {}
    plan: int = 0
    """The plan that a gateway serves from."""
    revision: int = 0
    """The state of the ledger that it serves, keys and all."""
    kept_at: datetime | None = None
    """When the ledger last had the plan that a gateway serves from disk; None: it serves what that says."""
    outstanding: dict[str, int] = {}
    """A gateway's calls that are being answered by upstreams, by base URL; those without any are left out."""
    replicas: dict[str, dict[str, int]] = {}
    """The controller's: how many replicas there are, by model and state."""
    replicas_wanted: dict[str, int] = {}
    """The controller's: how many there should be, by model."""
    alarms: dict[str, str] = {}
    """The controller's: where each alarm stands."""
    targets: list[TargetUse] = []
    """A gateway's, of each place that it has asked."""
    limits: list[LimitUse] = []
    """A gateway's, of each limit in the plan."""
    compared: dict[str, int] = {}
    """Questions that a cache has compared by their meaning, by deployment and outcome, a line end between."""
    unrecordable: str = ""
    """Why a gateway can record no call, and so serves none; empty: it can."""
    limited: dict[str, int] = {}
    """How often a limit said no, by scope, name and what is limited, with line ends between them."""
    part: int = 0
    """A gateway's: calls in `Uncounted` from this part on are not in these counts."""


def limit_uses(counts: Iterable[Counts]) -> list[LimitUse]:
    """How much of each limit is used, by all workers together; in the order of their names."""
    found: dict[tuple[str, str, str], LimitUse] = {}
    for use in (use for each in counts for use in each.limits):
        key = (use.scope, use.name, use.what)
        other = found.get(key)
        if other is None:
            found[key] = use
            continue
        young, old = (use, other) if use.age_s <= other.age_s else (other, use)
        summed = young.used + old.used if use.what in {"concurrency", "waiting"} else young.used
        limit = young.limit + old.limit if use.what == "waiting" else young.limit
        found[key] = LimitUse(*key, limit, summed, young.age_s)
    return [found[key] for key in sorted(found)]


def target_uses(counts: Iterable[Counts]) -> list[TargetUse]:
    """How each place does, by all workers together: summed up, its state the worst that one sees; in the
    order of their names."""
    found: dict[tuple[str, str, str, str], TargetUse] = {}
    for use in (use for each in counts for use in each.targets):
        key = (use.provider, use.model, use.url, use.key)
        into = found.setdefault(key, TargetUse(*key))
        into.state = max(into.state, use.state)
        into.add(use)
    return [found[key] for key in sorted(found)]


class WorkerMetrics:
    """The counts of one gateway worker."""

    def __init__(self) -> None:
        self._series: dict[Labels, Series] = {}
        self._ended: dict[Labels, list[Ended]] = {}
        """Calls that are not counted yet: counting many together takes a quarter of the time."""
        self._ended_n = 0
        self._refused: Counter[str] = Counter()
        self._spans: Counter[str] = Counter()
        self._evaluations: Counter[str] = Counter()
        self._compared: Counter[str] = Counter()
        self._limited: Counter[str] = Counter()
        """By lives of this worker before this one."""
        self._part = 0
        self._uncounted: Uncounted | None = None
        self._fresh: list[tuple[Labels, Ended]] = []
        """Calls that ended in this turn of the event loop."""
        self.in_flight = 0

    def call(self, opened: OpenedCall, closed: ClosedCall) -> None:
        """Count a finished call."""
        labels = (opened.deployment, opened.provider, opened.model, opened.operation, closed.status)
        ended = (
            closed.latency_ms, closed.overhead_ms, closed.ttft_ms,
            closed.input_tokens, closed.output_tokens, closed.cost_usd,
        )  # fmt: skip
        self._add(labels, ended)
        if self._uncounted is not None:
            self._fresh.append((labels, ended))

    def _add(self, labels: Labels, ended: Ended) -> None:
        of_these = self._ended.get(labels)
        if of_these is None:
            of_these = self._ended[labels] = []
        of_these.append(ended)
        self._ended_n += 1
        if self._ended_n >= TOGETHER:
            self._count_ended()

    def _count_ended(self) -> None:
        """Count the calls that ended since the last time."""
        for labels, ended in self._ended.items():
            self._of(labels).count(ended)
        self._ended.clear()
        self._ended_n = 0

    def _of(self, labels: Labels) -> Series:
        """The series of labels that may be new; where there are too many already, that of all others."""
        if labels not in self._series and len(self._series) >= SERIES_MAX:
            labels = (OTHER, OTHER, OTHER, OTHER, labels[-1])
        return self._series.setdefault(labels, Series(labels))

    def refused(self, status: int) -> None:
        """Count a request that was answered without a record."""
        self._refused[str(status)] += 1

    def resume(self, held: Counts, uncounted: Path) -> None:
        """Go on from what this worker's last life had shared, and what it had counted since: a counter must
        not go backwards, and says of calls that ended what their records say."""
        left, last = left_uncounted(uncounted, held.part)
        self._part = last + 1
        for calls in left:
            try:
                for labels, ended in _decode(calls):
                    self._add(labels, ended)
            except msgspec.MsgspecError:
                break  # the machine has lost power: what follows is not to be believed either
        for series in held.series:
            self._of(series.labels).add(series)
        self._refused.update(held.refused)
        self._spans.update(held.spans)
        self._evaluations.update(held.evaluations)
        self._compared.update(held.compared)
        self._limited.update(held.limited)

    def keep(self, uncounted: Uncounted) -> None:
        """What was resumed has been shared: calls that end from now on are kept there until they are, too."""
        uncounted.begin(self._part)
        self._uncounted = uncounted

    def recorded(self) -> None:
        """The ends of calls are in the journal: have them counted, also by the next life."""
        if self._fresh and self._uncounted is not None:
            self._uncounted.add(_encode(self._fresh))
            self._fresh.clear()

    def compared(self, deployment: str, outcome: str) -> None:
        """Count a question that was compared by its meaning."""
        self._compared[f"{deployment}\n{outcome}"] += 1

    def spans(self, accepted: int, rejected: int) -> None:
        """Count spans that an app sent."""
        self._spans.update(accepted=accepted, rejected=rejected)

    def evaluations(self, accepted: int, rejected: int) -> None:
        """Count evaluations that an app sent by OpenTelemetry."""
        for outcome, n in (("accepted", accepted), ("rejected", rejected)):
            if n:
                self._evaluations[outcome] += n

    def limited(self, said_no: Mapping[str, int]) -> dict[str, int]:
        """How often limits said no, in this life (`said_no`) and before."""
        found = self._limited.copy()
        found.update(said_no)
        return found

    def counts(self, now: datetime, *, begins: bool = True) -> Counts:
        """What has been counted so far, to be shared. `begins`: what comes from here on is kept apart from
        it, which is not to be done again before it has been written down."""
        self._count_ended()
        if begins and self._uncounted is not None:
            self.recorded()
            self._part += 1
            self._uncounted.begin(self._part)
        return Counts(
            written_at=now,
            part=self._part,
            series=list(self._series.values()),
            refused=self._refused,
            spans=self._spans,
            evaluations=self._evaluations,
            compared=self._compared,
            gauges={"requests_in_flight": self.in_flight},
        )


def of_the_dead(counts: Counts) -> Counts:
    """What is left of a worker that writes no more: its counters go on, and nothing of it is under way."""
    targets = [
        msgspec.structs.replace(each, state=0, outstanding=0, in_vain_at=None) for each in counts.targets
    ]
    return msgspec.structs.replace(
        counts, gauges={}, limits=[], outstanding={}, targets=targets, unrecordable=""
    )


def write_counts(path: Path, counts: Counts) -> None:
    """Replace a process's file, whole."""
    write_encoded(path, msgspec.json.encode(counts))


def write_encoded(path: Path, counts: bytes) -> None:
    """As `write_counts`."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(counts)
    temporary.replace(path)


def read_counts(directory: Path, *, but: str) -> dict[str, Counts]:
    """Every process's counts by its name, `but` one; a file that cannot be read is left out."""
    found = {}
    for path in directory.glob("*.json"):
        if path.stem == but:
            continue
        try:
            found[path.stem] = msgspec.json.decode(path.read_bytes(), type=Counts)
        except (OSError, msgspec.MsgspecError):
            continue
    return found
