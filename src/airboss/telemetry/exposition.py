"""How counts are shown: Prometheus' text format, and OpenMetrics for those who ask for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from airboss.telemetry import semconv
from airboss.telemetry.failures import OTHER
from airboss.telemetry.metrics import (
    LABEL_NAMES,
    Counts,
    Histogram,
    Labels,
    LimitUse,
    Series,
    limit_uses,
    target_uses,
)
from airboss.telemetry.semconv import DURATION_BUCKETS_S, OVERHEAD_BUCKETS_S, TOKEN_BUCKETS, prometheus_name

KEPT_AGE: Final = "plan_from_disk_age_seconds"
"""A gauge of which the oldest is shown, not the sum."""
LIMITS_MAX: Final = 1_000
"""Limits of MANY that are shown: the fullest."""
MANY: Final = ("key", "team", "user")
"""Scopes of which there may be one for each customer."""
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Exposition(Collector):
    """All metrics of these processes, as they are now: what is counted later does not change it."""

    def __init__(self, counts: Iterable[Counts], gauges: Mapping[str, float]) -> None:
        self._series: dict[Labels, Series] = {}
        self._refused: Counter[str] = Counter()
        self._spans: Counter[str] = Counter()
        self._evaluations: Counter[str] = Counter()
        self._gauges = dict(gauges)
        self._replicas: dict[str, dict[str, int]] = {}
        self._wanted: dict[str, int] = {}
        self._alarms: dict[str, str] = {}
        self._limited: Counter[str] = Counter()
        self._compared: Counter[str] = Counter()
        counts = tuple(counts)
        self._uses = limit_uses(counts)
        self._targets = target_uses(counts)
        for each in counts:
            self._limited.update(each.limited)
            self._compared.update(each.compared)
            self._replicas |= each.replicas
            self._wanted |= each.replicas_wanted
            self._alarms |= each.alarms
            for series in each.series:
                into = self._series.setdefault(series.labels, Series(series.labels))
                into.add(series)
            self._refused.update(each.refused)
            self._spans.update(each.spans)
            self._evaluations.update(each.evaluations)
            for name, value in each.gauges.items():
                other = self._gauges.get(name, 0.0)
                self._gauges[name] = max(other, value) if name == KEPT_AGE else other + value

    def written(self, accept: str = "") -> tuple[bytes, str]:
        """Its text, and in which format that is, as a content type: OpenMetrics where `accept`, the header of
        the one who asks, would rather have it than plain text. Takes 10 microseconds a sample."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        if _weight(accept, "application/openmetrics-text") > _weight(accept, "text/plain"):
            text: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # theirs
            return text, OPENMETRICS
        return generate_latest(registry), TEXT

    def collect(self) -> Iterator[Metric]:
        """Every family, in Prometheus' terms."""
        yield self._histogram(semconv.OPERATION_DURATION, "Whole calls.", "duration", DURATION_BUCKETS_S)
        yield self._histogram(
            semconv.TIME_TO_FIRST_CHUNK, "To the first real output.", "ttft", DURATION_BUCKETS_S
        )
        yield self._histogram(
            semconv.OVERHEAD, "The part of a call that is Airboss' own.", "overhead", OVERHEAD_BUCKETS_S
        )
        yield self._tokens()
        cost = CounterMetricFamily(
            prometheus_name(semconv.COST, "usd"), "USD, where the price is known.", labels=LABEL_NAMES
        )
        for labels, series in self._series.items():
            if series.cost_usd is not None:
                cost.add_metric(labels, series.cost_usd)
        yield cost
        refused = CounterMetricFamily(
            "airboss_requests_refused", "Requests answered without a record.", labels=["status"]
        )
        for status, n in self._refused.items():
            refused.add_metric([status], n)
        yield refused
        for name, outcomes, what in (
            ("airboss_spans", self._spans, "Spans that apps sent."),
            ("airboss_evaluations", self._evaluations, "Evaluations that apps sent by OpenTelemetry."),
        ):
            sent = CounterMetricFamily(name, what, labels=["outcome"])
            for outcome, n in sorted(outcomes.items()):
                sent.add_metric([outcome], n)
            yield sent
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
        for use in _fullest(self._uses):
            most.add_metric([use.scope, use.name, use.what], use.limit)
            used.add_metric([use.scope, use.name, use.what], use.used)
        for which, n in sorted(_named(self._limited).items()):
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
            for outcome in ("answered", "failed", "rate_limited", "refused"):
                ended.add_metric([*named, outcome], getattr(use, outcome))
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
            _add(family, labels, getattr(series, field), bounds)
        return family

    def _tokens(self) -> Metric:
        family = HistogramMetricFamily(
            prometheus_name(semconv.TOKEN_USAGE),
            "Tokens of a call, as billed.",
            labels=[*LABEL_NAMES, prometheus_name(semconv.TOKEN_TYPE)],
        )
        for labels, series in self._series.items():
            _add(family, (*labels, "input"), series.tokens_in, TOKEN_BUCKETS)
            _add(family, (*labels, "output"), series.tokens_out, TOKEN_BUCKETS)
        return family


def _add(
    family: HistogramMetricFamily, labels: tuple[str, ...], histogram: Histogram, bounds: tuple[float, ...]
) -> None:
    if not any(histogram.counts):
        return
    running = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, map(float, bounds)), "+Inf"), histogram.counts, strict=True):
        running += count
        buckets.append((bound, running))
    family.add_metric(labels, buckets, histogram.total)


def _fullest(uses: Iterable[LimitUse]) -> list[LimitUse]:
    """The limits that are shown, in the order that they had."""
    listed = list(uses)
    many = [use for use in listed if use.scope in MANY]
    if len(many) <= LIMITS_MAX:
        return listed
    many.sort(key=lambda use: use.used / use.limit if use.limit else 0.0, reverse=True)
    left_out = {id(use) for use in many[LIMITS_MAX:]}
    return [use for use in listed if id(use) not in left_out]


def _named(counts: Mapping[str, int]) -> Mapping[str, int]:
    """Refusals by scope, name and limit; with too many names those of MANY are added up."""
    if len(counts) <= LIMITS_MAX:
        return counts
    found: Counter[str] = Counter()
    for which, n in counts.items():
        scope, _, what = which.split("\n")
        found[f"{scope}\n{OTHER}\n{what}" if scope in MANY else which] += n
    return found


ALARM_STATES = ("ok", "pending", "firing", "resolved", "no_data")

GAUGES = {
    "requests_in_flight": "Calls being answered.",
    "counters_away": "Gateway workers that do not reach who counts limits, and refuse limited calls.",
    "journal_unwritable": "Gateway workers that can record no call, and so serve none.",
    "plan_number": "The plan being served.",
    "plan_from_disk": "Gateway workers that started without the ledger and serve the plan kept on disk.",
    "plan_from_disk_age_seconds": "Since the ledger was last seen to have that plan; the oldest.",
    "plan_age_seconds": "Since the plan being served was published.",
    "journal_unmoved_bytes": "Journal bytes that the record store has not taken yet.",
    "journal_lag_seconds": "Age of the oldest record that the record store has not taken yet.",
    "journal_moved_records": "Records moved since the controller started.",
    "journal_corrupt_frames": "Journal frames that could not be read, and segments that somebody deleted.",
    "feedback_dead_letters": "Feedback put away since the controller started: no record of its key came.",
    "bodies_dropped": "Records that lost their bodies, for want of room, since the controller started.",
    "disk_nearly_full": "1 while under 256 MiB are left on the disk: the oldest bodies make room.",
    "scoring_lag_seconds": "Age of the oldest call that online scoring has not looked at yet.",
    "scoring_scored": "Scores that online scoring has made since the controller started.",
    "scoring_unscored": "Scores without a value that it has made since the controller started.",
    "otlp_lag_seconds": "Age of the oldest call that was not sent to the OTLP backend yet.",
    "otlp_sent_spans": "Spans of calls that the OTLP backend has taken since the controller started.",
    "otlp_dropped_spans": "Those that it has said it will never take.",
    "otlp_dropped_scores": "Scores of calls likewise.",
    "otlp_dropped_metrics": "Requests of metrics likewise; those that follow have all that was counted.",
    "otlp_failures": "Tries that it did not take and that were made again.",
    "store_up": "Whether the record store answered the controller.",
    "controller_age_seconds": "Since the controller last reported: it should stay under a few seconds.",
}
"""What each gauge says."""


def _weight(accept: str, kind: str) -> float:
    """How much a type is wanted, 0 to 1; 0 where it is not named. The best of several versions counts."""
    best = 0.0
    for each in accept.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        if name != kind:
            continue
        said = next((part.removeprefix("q=") for part in parameters if part.startswith("q=")), "1")
        try:
            weight = float(said)
        except ValueError:
            continue
        best = max(best, weight if 0 <= weight <= 1 else 0.0)
    return best
