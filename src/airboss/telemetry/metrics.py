"""What `/metrics` shows: counted in each worker's memory, shared through one small file a process.

A client library that shares counters between processes writes to a mapped file at every count; here a count
is an addition, and any worker can answer a scrape for all of them, because each writes its counts to
`<process>.json` once a second. Labels are names from the plan, never from requests, so they are bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from airboss.domain.record import ClosedCall, OpenedCall
from airboss.telemetry import semconv
from airboss.telemetry.semconv import DURATION_BUCKETS_S, OVERHEAD_BUCKETS_S, prometheus_name

Labels = tuple[str, str, str, str, str]
"""Deployment, provider, model, operation, status."""
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


class Histogram(msgspec.Struct):
    """Counts by bucket, the last one without an upper bound, and the sum of what was observed."""

    counts: list[int]
    total: float = 0.0

    def observe(self, value: float, bounds: tuple[float, ...]) -> None:
        """Count one value; `bounds` are the buckets' inclusive upper bounds, ascending."""
        self.counts[bisect_left(bounds, value)] += 1
        self.total += value

    def add(self, other: Histogram) -> None:
        """Add another's counts, made with the same bounds."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


def _durations() -> Histogram:
    return Histogram([0] * (len(DURATION_BUCKETS_S) + 1))


def _overheads() -> Histogram:
    return Histogram([0] * (len(OVERHEAD_BUCKETS_S) + 1))


class Series(msgspec.Struct):
    """The counts of one set of labels; times in seconds."""

    labels: Labels
    duration: Histogram = msgspec.field(default_factory=_durations)
    ttft: Histogram = msgspec.field(default_factory=_durations)
    overhead: Histogram = msgspec.field(default_factory=_overheads)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    """None while no call had a known price: unknown is not free."""

    def add(self, other: Series) -> None:
        """Add another's counts."""
        self.duration.add(other.duration)
        self.ttft.add(other.ttft)
        self.overhead.add(other.overhead)
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        if other.cost_usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + other.cost_usd


class LimitUse(msgspec.Struct, array_like=True):
    """How much of a limit is used, as one worker knows it since `age_s`: of requests and tokens by everybody
    in the last minute, of calls under way (`concurrency`) and of calls that wait for a place (`waiting`) by
    its own, of money (`usd`) by the records of the period. `scope` is `key`, `deployment` or `all`."""

    scope: str
    name: str
    what: str
    limit: float
    used: float
    age_s: float


BREAKERS: tuple[Literal["closed", "half_open", "open"], ...] = ("closed", "half_open", "open")
"""A breaker's states, by `TargetUse.state`."""


class TargetUse(msgspec.Struct, array_like=True):
    """How one place of a model does, as one worker has seen it since it started. `state` is of its breaker: 0
    closed, 1 half open, 2 open; `key` the reference to its key. `took_s` is the sum of the times to the first
    output of `answered`, `last_error` what the newest failure was."""

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


class Counts(msgspec.Struct):
    """All that one process shares. `gauges` of several processes are added up."""

    written_at: datetime
    series: list[Series] = []
    refused: dict[str, int] = {}
    """Requests answered without a record, by HTTP status: bad keys, bad bodies, unknown models."""
    spans: dict[str, int] = {}
    """Spans that apps sent, by what became of them: `accepted` or `rejected`."""
    gauges: dict[str, float] = {}
    plan: int = 0
    """The plan that a gateway serves from."""
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
    limited: dict[str, int] = {}
    """How often a limit said no, by scope, name and what is limited, with line ends between them."""


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
        into.outstanding += use.outstanding
        into.answered += use.answered
        into.failed += use.failed
        into.opened += use.opened
        into.took_s += use.took_s
        into.last_error = use.last_error or into.last_error
        for error, count in use.failures.items():
            into.failures[error] = into.failures.get(error, 0) + count
    return [found[key] for key in sorted(found)]


class WorkerMetrics:
    """The counts of one gateway worker."""

    def __init__(self) -> None:
        self._series: dict[Labels, Series] = {}
        self._refused: dict[str, int] = {}
        self._spans: dict[str, int] = {}
        self._compared: dict[str, int] = {}
        self.in_flight = 0

    def call(self, opened: OpenedCall, closed: ClosedCall) -> None:
        """Count a finished call."""
        labels = (opened.deployment, opened.provider, opened.model, opened.operation, closed.status)
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = Series(labels)
        series.duration.observe(closed.latency_ms / 1000, DURATION_BUCKETS_S)
        series.overhead.observe(closed.overhead_ms / 1000, OVERHEAD_BUCKETS_S)
        if closed.ttft_ms is not None:
            series.ttft.observe(closed.ttft_ms / 1000, DURATION_BUCKETS_S)
        series.input_tokens += closed.input_tokens or 0
        series.output_tokens += closed.output_tokens or 0
        if closed.cost_usd is not None:
            series.cost_usd = (series.cost_usd or 0.0) + float(closed.cost_usd)

    def refused(self, status: int) -> None:
        """Count a request that was answered without a record."""
        key = str(status)
        self._refused[key] = self._refused.get(key, 0) + 1

    def resume(self, held: Counts) -> None:
        """Go on from what this worker's last life had shared: a counter must not go backwards."""
        for series in held.series:
            if len(series.duration.counts) != len(DURATION_BUCKETS_S) + 1:
                continue  # of a version with other buckets
            self._series.setdefault(series.labels, Series(series.labels)).add(series)
        for counts, more in (
            (self._refused, held.refused),
            (self._spans, held.spans),
            (self._compared, held.compared),
        ):
            for name, n in more.items():
                counts[name] = counts.get(name, 0) + n

    def compared(self, deployment: str, outcome: str) -> None:
        """Count a question that was compared by its meaning."""
        key = f"{deployment}\n{outcome}"
        self._compared[key] = self._compared.get(key, 0) + 1

    def spans(self, accepted: int, rejected: int) -> None:
        """Count spans that an app sent."""
        for outcome, n in (("accepted", accepted), ("rejected", rejected)):
            self._spans[outcome] = self._spans.get(outcome, 0) + n

    def counts(self, now: datetime) -> Counts:
        """What has been counted so far."""
        return Counts(
            written_at=now,
            series=list(self._series.values()),
            refused=self._refused,
            spans=self._spans,
            compared=self._compared,
            gauges={"requests_in_flight": self.in_flight},
        )


def write_counts(path: Path, counts: Counts) -> None:
    """Replace a process's file, whole."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.encode(counts))
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


class _Exposition(Collector):
    def __init__(self, counts: Iterable[Counts], gauges: Mapping[str, float]) -> None:
        self._series: dict[Labels, Series] = {}
        self._refused: dict[str, int] = {}
        self._spans: dict[str, int] = {}
        self._gauges = dict(gauges)
        self._replicas: dict[str, dict[str, int]] = {}
        self._wanted: dict[str, int] = {}
        self._alarms: dict[str, str] = {}
        self._limited: dict[str, int] = {}
        self._compared: dict[str, int] = {}
        counts = tuple(counts)
        self._uses = limit_uses(counts)
        self._targets = target_uses(counts)
        for each in counts:
            for which, n in each.limited.items():
                self._limited[which] = self._limited.get(which, 0) + n
            for which, n in each.compared.items():
                self._compared[which] = self._compared.get(which, 0) + n
            self._replicas |= each.replicas
            self._wanted |= each.replicas_wanted
            self._alarms |= each.alarms
            for series in each.series:
                into = self._series.setdefault(series.labels, Series(series.labels))
                into.add(series)
            for status, n in each.refused.items():
                self._refused[status] = self._refused.get(status, 0) + n
            for outcome, n in each.spans.items():
                self._spans[outcome] = self._spans.get(outcome, 0) + n
            for name, value in each.gauges.items():
                self._gauges[name] = self._gauges.get(name, 0.0) + value

    def collect(self) -> Iterator[Metric]:
        """Every family, in Prometheus' terms."""
        yield self._histogram(semconv.OPERATION_DURATION, "Whole calls.", "duration", DURATION_BUCKETS_S)
        yield self._histogram(
            semconv.TIME_TO_FIRST_CHUNK, "To the first real output.", "ttft", DURATION_BUCKETS_S
        )
        yield self._histogram(
            semconv.OVERHEAD, "The part of a call that is Airboss' own.", "overhead", OVERHEAD_BUCKETS_S
        )
        tokens = CounterMetricFamily(
            prometheus_name(semconv.TOKEN_USAGE),
            "Tokens, as billed.",
            labels=[*LABEL_NAMES, prometheus_name(semconv.TOKEN_TYPE)],
        )
        cost = CounterMetricFamily(
            prometheus_name(semconv.COST, "usd"), "USD, where the price is known.", labels=LABEL_NAMES
        )
        for labels, series in self._series.items():
            tokens.add_metric([*labels, "input"], series.input_tokens)
            tokens.add_metric([*labels, "output"], series.output_tokens)
            if series.cost_usd is not None:
                cost.add_metric(labels, series.cost_usd)
        yield tokens
        yield cost
        refused = CounterMetricFamily(
            "airboss_requests_refused", "Requests answered without a record.", labels=["status"]
        )
        for status, n in self._refused.items():
            refused.add_metric([status], n)
        yield refused
        spans = CounterMetricFamily("airboss_spans", "Spans that apps sent.", labels=["outcome"])
        for outcome, n in sorted(self._spans.items()):
            spans.add_metric([outcome], n)
        yield spans
        compared = CounterMetricFamily(
            "airboss_cache_comparisons",
            "Questions that a cache compared by their meaning.",
            labels=["deployment", "outcome"],
        )
        for which, n in sorted(self._compared.items()):
            compared.add_metric(which.split("\n"), n)
        yield compared
        yield from self._limits()
        yield from self._places()
        yield from self._replica_gauges()
        yield self._alarm_states()
        for name, value in sorted(self._gauges.items()):
            yield GaugeMetricFamily(f"airboss_{name}", GAUGES.get(name, name), value=value)

    def _alarm_states(self) -> Metric:
        family = GaugeMetricFamily(
            "airboss_alarm_state",
            "1 for the state that an alarm is in, 0 for others.",
            labels=["alarm", "state"],
        )
        for alarm, held in sorted(self._alarms.items()):
            for state in ALARM_STATES:
                family.add_metric([alarm, state], float(state == held))
        return family

    def _limits(self) -> Iterator[Metric]:
        labels = ["scope", "name", "limit"]
        most = GaugeMetricFamily("airboss_limit", "How much may be used.", labels=labels)
        used = GaugeMetricFamily("airboss_limit_used", "How much of it is used.", labels=labels)
        said_no = CounterMetricFamily(
            "airboss_limit_refusals", "Calls that a limit or budget refused.", labels=labels
        )
        for use in self._uses:
            most.add_metric([use.scope, use.name, use.what], use.limit)
            used.add_metric([use.scope, use.name, use.what], use.used)
        for which, n in sorted(self._limited.items()):
            said_no.add_metric(which.split("\n"), n)
        yield from (most, used, said_no)

    def _places(self) -> Iterator[Metric]:
        labels = ["provider", "model", "url", "key"]
        state = GaugeMetricFamily(
            "airboss_target_state", "Its breaker: 0 closed, 1 half open, 2 open.", labels=labels
        )
        under_way = GaugeMetricFamily("airboss_target_attempts_under_way", "Attempts.", labels=labels)
        ended = CounterMetricFamily(
            "airboss_target_attempts", "Attempts that ended.", labels=[*labels, "outcome"]
        )
        opened = CounterMetricFamily("airboss_target_opened", "How often it opened.", labels=labels)
        for use in self._targets:
            named = [use.provider, use.model, use.url, use.key]
            state.add_metric(named, use.state)
            under_way.add_metric(named, use.outstanding)
            ended.add_metric([*named, "answered"], use.answered)
            ended.add_metric([*named, "failed"], use.failed)
            opened.add_metric(named, use.opened)
        yield from (state, under_way, ended, opened)

    def _replica_gauges(self) -> Iterator[Metric]:
        there = GaugeMetricFamily(
            "airboss_replicas", "Engines of local models, by state.", labels=["model", "state"]
        )
        wanted = GaugeMetricFamily("airboss_replicas_wanted", "How many should be.", labels=["model"])
        for model, states in sorted(self._replicas.items()):
            for state, n in states.items():
                there.add_metric([model, state], n)
        for model, n in sorted(self._wanted.items()):
            wanted.add_metric([model], n)
        yield there
        yield wanted

    def _histogram(self, name: str, text: str, field: str, bounds: tuple[float, ...]) -> Metric:
        family = HistogramMetricFamily(prometheus_name(name, "seconds"), text, labels=LABEL_NAMES)
        for labels, series in self._series.items():
            histogram: Histogram = getattr(series, field)
            if not any(histogram.counts):
                continue
            running = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*map(str, bounds), "+Inf"), histogram.counts, strict=True):
                running += count
                buckets.append((bound, running))
            family.add_metric(labels, buckets, histogram.total)
        return family


ALARM_STATES = ("ok", "pending", "firing", "resolved", "no_data")

GAUGES = {
    "requests_in_flight": "Calls being answered.",
    "plan_number": "The plan being served.",
    "plan_age_seconds": "Since the plan being served was published.",
    "journal_unmoved_bytes": "Journal bytes that the record store has not taken yet.",
    "journal_lag_seconds": "Age of the oldest record that the record store has not taken yet.",
    "journal_moved_records": "Records moved since the controller started.",
    "journal_corrupt_frames": "Journal frames that could not be read.",
    "feedback_dead_letters": "Feedback put away since the controller started: no record of its key came.",
    "bodies_dropped": "Records that lost their bodies, for want of room, since the controller started.",
    "disk_nearly_full": "1 while under 256 MiB are left on the disk: the oldest bodies make room.",
    "scoring_lag_seconds": "Age of the oldest call that online scoring has not looked at yet.",
    "scoring_scored": "Scores that online scoring has made since the controller started.",
    "scoring_unscored": "Scores without a value that it has made since the controller started.",
    "otlp_lag_seconds": "Age of the oldest call that was not sent to the OTLP backend yet.",
    "otlp_sent_spans": "Spans of calls that the OTLP backend has taken since the controller started.",
    "otlp_dropped_spans": "Those that it has said it will never take.",
    "otlp_failures": "Tries that it did not take and that were made again.",
    "store_up": "Whether the record store answered the controller.",
    "controller_age_seconds": "Since the controller last reported: it should stay under a few seconds.",
}
"""What each gauge says."""


def exposition(counts: Iterable[Counts], gauges: Mapping[str, float]) -> bytes:
    """Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Exposition(counts, gauges))
    return generate_latest(registry)
