"""A record log that hands everything on to another; what wraps one overrides what it changes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from airboss.domain.ports import (
    DeploymentStats,
    Erased,
    JournalMove,
    RecordFilter,
    ReleaseBucket,
    ScoreStats,
    Spent,
    StatsBucket,
    UsageQuery,
    WatchedCall,
)
from airboss.domain.record import Found, InferenceRecord
from airboss.domain.score import Score
from airboss.domain.usage import UsageRow
from airboss.store.span_rows import SpanDetail, TracedLog, TraceFilter, TraceSpan, TraceSummary


class Passing:
    """Implements `TracedLog` over `inner`."""

    def __init__(self, inner: TracedLog) -> None:
        self.inner = inner

    def offset(self, segment: str) -> int:
        """As `RecordLog.offset`."""
        return self.inner.offset(segment)

    def begun(self, segment: str) -> int | None:
        """As `RecordLog.begun`."""
        return self.inner.begun(segment)

    def apply(self, move: JournalMove) -> int:
        """As `RecordLog.apply`."""
        return self.inner.apply(move)

    def orphans(self, segment_prefix: str) -> dict[str, bytes]:
        """As `RecordLog.orphans`."""
        return self.inner.orphans(segment_prefix)

    def forget(self, segment: str) -> None:
        """As `RecordLog.forget`."""
        self.inner.forget(segment)

    def records(self, where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        """As `RecordLog.records`."""
        return self.inner.records(where, limit=limit, bodies=bodies)

    def search(self, where: RecordFilter, words: str, *, limit: int, bodies: bool) -> Found:
        """As `RecordLog.search`."""
        return self.inner.search(where, words, limit=limit, bodies=bodies)

    def count(self, where: RecordFilter) -> int:
        """As `RecordLog.count`."""
        return self.inner.count(where)

    def stats(
        self, since: datetime, until: datetime, *, without_key: str | None = None
    ) -> Sequence[DeploymentStats]:
        """As `RecordLog.stats`."""
        return self.inner.stats(since, until, without_key=without_key)

    def series(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[StatsBucket]:
        """As `RecordLog.series`."""
        return self.inner.series(since, until, step_s=step_s)

    def traffic(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[ReleaseBucket]:
        """As `RecordLog.traffic`."""
        return self.inner.traffic(since, until, step_s=step_s)

    def usage(self, asked: UsageQuery) -> Sequence[UsageRow]:
        """As `RecordLog.usage`."""
        return self.inner.usage(asked)

    def spent(self, since: datetime, *, each_user: Collection[str] = ()) -> Sequence[Spent]:
        """As `RecordLog.spent`."""
        return self.inner.spent(since, each_user=each_user)

    def watched(
        self, deployment: str, *, after: str, until: str, without_key: str, limit: int
    ) -> Sequence[WatchedCall]:
        """As `RecordLog.watched`."""
        return self.inner.watched(deployment, after=after, until=until, without_key=without_key, limit=limit)

    def put_scores(self, scores: Sequence[Score]) -> int:
        """As `RecordLog.put_scores`."""
        return self.inner.put_scores(scores)

    def scores_of(self, record_ids: Collection[str]) -> Sequence[Score]:
        """As `RecordLog.scores_of`."""
        return self.inner.scores_of(record_ids)

    def score_stats(
        self, since: datetime, until: datetime, *, by_score_time: bool = False,
        without_key: str | None = None, where: RecordFilter | None = None,
    ) -> Sequence[ScoreStats]:  # fmt: skip
        """As `RecordLog.score_stats`."""
        return self.inner.score_stats(
            since, until, by_score_time=by_score_time, without_key=without_key, where=where
        )

    def stray_scores(self, before: datetime, *, limit: int) -> Sequence[Score]:
        """As `RecordLog.stray_scores`."""
        return self.inner.stray_scores(before, limit=limit)

    def drop_scores(self, score_ids: Collection[str]) -> None:
        """As `RecordLog.drop_scores`."""
        self.inner.drop_scores(score_ids)

    def erase(self, users: Mapping[str, datetime]) -> Mapping[str, Erased]:
        """As `RecordLog.erase`."""
        return self.inner.erase(users)

    def expire(self, *, bodies_before: datetime | None, records_before: datetime | None, limit: int) -> int:
        """As `RecordLog.expire`."""
        return self.inner.expire(bodies_before=bodies_before, records_before=records_before, limit=limit)

    def make_room(self, bytes_max: int) -> int:
        """As `RecordLog.make_room`."""
        return self.inner.make_room(bytes_max)

    def tidy(self) -> bool:
        """As `RecordLog.tidy`."""
        return self.inner.tidy()

    def traces(self, where: TraceFilter, *, limit: int) -> Sequence[TraceSummary]:
        """As `SpanLog.traces`."""
        return self.inner.traces(where, limit=limit)

    def trace(self, trace_id: str) -> Sequence[TraceSpan]:
        """As `SpanLog.trace`."""
        return self.inner.trace(trace_id)

    def span(self, trace_id: str, span_id: str) -> SpanDetail | None:
        """As `SpanLog.span`."""
        return self.inner.span(trace_id, span_id)

    def spans_of(self, record_ids: Sequence[str]) -> Sequence[SpanDetail]:
        """As `SpanLog.spans_of`."""
        return self.inner.spans_of(record_ids)

    def settle_calls(self, before: datetime, *, limit: int) -> int:
        """As `SpanLog.settle_calls`."""
        return self.inner.settle_calls(before, limit=limit)

    def close(self) -> None:
        """As `RecordLog.close`."""
        self.inner.close()
