"""The record log as every other process sees it: over the store's unix socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from airboss.domain.errors import StoreUnavailable
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
from airboss.store.span_rows import SpanDetail, TraceFilter, TraceSpan, TraceSummary
from airboss.store.wire import (
    ANSWER_BYTES_MAX,
    Answer,
    Apply,
    Begun,
    ConnectionLost,
    Count,
    DropScores,
    Erase,
    Expire,
    Forget,
    MakeRoom,
    Offset,
    OneSpan,
    Orphans,
    PutScores,
    Question,
    Records,
    Refusal,
    ScoresOf,
    SearchFor,
    Series,
    SettleCalls,
    SpansOf,
    SpentSince,
    Stats,
    StatsOfScores,
    StrayScores,
    Trace,
    Traces,
    Traffic,
    Usage,
    Watched,
    receive,
    send,
)

T = TypeVar("T")

ERASE_S: Final = 1800.0
"""The longest that an erasure may take: it writes the store's file anew."""
IDLE_MAX: Final = 8
"""Connections kept for the next call."""

_replies: Final[msgspec.msgpack.Decoder[Answer | Refusal]] = msgspec.msgpack.Decoder(Answer | Refusal)
_records: Final = msgspec.json.Decoder(InferenceRecord)
_details: Final = msgspec.json.Decoder(SpanDetail)


class StoreClient:
    """Implements `TracedLog`. Safe to call from several threads; each call has a connection of its own while
    it lasts. A store that was restarted is found again by itself.

    `timeout_s` bounds each call; one that takes longer raises StoreUnavailable, though the store may still
    finish it. Raises ValueError where the store says that the call itself is wrong. Where it is known why
    there can be no store, `away` says so, and nobody is asked. A store that has let a call's time pass
    without a word to anybody is asked by one thread at a time until it answers; the others raise at once,
    or all of a process's threads would wait for it.
    """

    def __init__(self, socket_path: Path, *, timeout_s: float = 30.0, away: str = "") -> None:
        self._away = away
        self._path = socket_path
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._closed = False
        self._answers = 0
        self._silent = self._probing = False

    def offset(self, segment: str) -> int:
        """As `RecordLog.offset`."""
        return self._ask(Offset(segment=segment), int)

    def begun(self, segment: str) -> int | None:
        """As `RecordLog.begun`."""
        return self._ask(Begun(segment=segment), int) or None

    def apply(self, move: JournalMove) -> int:
        """As `RecordLog.apply`."""
        return self._ask(Apply(move=move), int)

    def orphans(self, segment_prefix: str) -> dict[str, bytes]:
        """As `RecordLog.orphans`."""
        return self._ask(Orphans(segment_prefix=segment_prefix), dict[str, bytes])

    def forget(self, segment: str) -> None:
        """As `RecordLog.forget`."""
        self._ask(Forget(segment=segment), type(None))

    def records(self, where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        """As `RecordLog.records`."""
        found = self._ask(Records(where=where, limit=limit, bodies=bodies), list[bytes])
        return [_records.decode(record) for record in found]

    def search(self, where: RecordFilter, words: str, *, limit: int, bodies: bool) -> Found:
        """As `RecordLog.search`."""
        asked = SearchFor(where=where, words=words, limit=limit, bodies=bodies)
        found, looked_to = self._ask(asked, tuple[list[bytes], str | None])
        return Found(records=tuple(map(_records.decode, found)), looked_to=looked_to)

    def count(self, where: RecordFilter) -> int:
        """As `RecordLog.count`."""
        return self._ask(Count(where=where), int)

    def stats(
        self, since: datetime, until: datetime, *, without_key: str | None = None
    ) -> Sequence[DeploymentStats]:
        """As `RecordLog.stats`."""
        asked = Stats(since=since, until=until, without_key=without_key)
        return self._ask(asked, list[DeploymentStats])

    def series(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[StatsBucket]:
        """As `RecordLog.series`."""
        return self._ask(Series(since=since, until=until, step_s=step_s), list[StatsBucket])

    def traffic(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[ReleaseBucket]:
        """As `RecordLog.traffic`."""
        return self._ask(Traffic(since=since, until=until, step_s=step_s), list[ReleaseBucket])

    def usage(self, asked: UsageQuery) -> Sequence[UsageRow]:
        """As `RecordLog.usage`."""
        return self._ask(Usage(asked=asked), list[UsageRow])

    def spent(self, since: datetime, *, each_user: Collection[str] = ()) -> Sequence[Spent]:
        """As `RecordLog.spent`."""
        return self._ask(SpentSince(since=since, each_user=tuple(each_user)), list[Spent])

    def watched(
        self, deployment: str, *, after: str, until: str, without_key: str, limit: int
    ) -> Sequence[WatchedCall]:
        """As `RecordLog.watched`."""
        asked = Watched(deployment=deployment, after=after, until=until, without_key=without_key, limit=limit)
        return self._ask(asked, list[WatchedCall])

    def put_scores(self, scores: Sequence[Score]) -> int:
        """As `RecordLog.put_scores`."""
        return self._ask(PutScores(scores=list(scores)), int)

    def scores_of(self, record_ids: Collection[str]) -> Sequence[Score]:
        """As `RecordLog.scores_of`."""
        return self._ask(ScoresOf(record_ids=list(record_ids)), list[Score])

    def score_stats(
        self, since: datetime, until: datetime, *, by_score_time: bool = False,
        without_key: str | None = None, where: RecordFilter | None = None,
    ) -> Sequence[ScoreStats]:  # fmt: skip
        """As `RecordLog.score_stats`."""
        asked = StatsOfScores(
            since=since, until=until, by_score_time=by_score_time, without_key=without_key, where=where
        )
        return self._ask(asked, list[ScoreStats])

    def stray_scores(self, before: datetime, *, limit: int) -> Sequence[Score]:
        """As `RecordLog.stray_scores`."""
        return self._ask(StrayScores(before=before, limit=limit), list[Score])

    def drop_scores(self, score_ids: Collection[str]) -> None:
        """As `RecordLog.drop_scores`."""
        self._ask(DropScores(score_ids=list(score_ids)), type(None))

    def erase(self, users: Mapping[str, datetime]) -> Mapping[str, Erased]:
        """As `RecordLog.erase`; waits for up to half an hour."""
        return self._ask(Erase(users=dict(users)), dict[str, Erased])

    def expire(self, *, bodies_before: datetime | None, records_before: datetime | None, limit: int) -> int:
        """As `RecordLog.expire`."""
        asked = Expire(bodies_before=bodies_before, records_before=records_before, limit=limit)
        return self._ask(asked, int)

    def traces(self, where: TraceFilter, *, limit: int) -> Sequence[TraceSummary]:
        """As `SpanLog.traces`."""
        return self._ask(Traces(where=where, limit=limit), list[TraceSummary])

    def trace(self, trace_id: str) -> Sequence[TraceSpan]:
        """As `SpanLog.trace`."""
        return self._ask(Trace(trace_id=trace_id), list[TraceSpan])

    def span(self, trace_id: str, span_id: str) -> SpanDetail | None:
        """As `SpanLog.span`."""
        found = self._ask(OneSpan(trace_id=trace_id, span_id=span_id), list[bytes])
        return _details.decode(found[0]) if found else None

    def spans_of(self, record_ids: Sequence[str]) -> Sequence[SpanDetail]:
        """As `SpanLog.spans_of`."""
        found = self._ask(SpansOf(record_ids=list(record_ids)), list[bytes])
        return [_details.decode(each) for each in found]

    def settle_calls(self, before: datetime, *, limit: int) -> int:
        """As `SpanLog.settle_calls`."""
        return self._ask(SettleCalls(before=before, limit=limit), int)

    def make_room(self, bytes_max: int) -> int:
        """As `RecordLog.make_room`."""
        return self._ask(MakeRoom(bytes_max=bytes_max), int)

    def tidy(self) -> bool:
        """As `RecordLog.tidy`: the store does that."""
        return False

    def close(self) -> None:
        """Hang up; the store goes on."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _ask(self, question: Question, answer: type[T]) -> T:
        reply = _replies.decode(self._exchange(question))
        if isinstance(reply, Refusal):
            if reply.reason == "invalid":
                raise ValueError(reply.message)
            raise StoreUnavailable(reply.message)
        return msgspec.msgpack.decode(reply.value, type=answer)

    def _exchange(self, question: Question) -> bytearray:
        """Ask on a kept connection, and once more on a new one if that one turns out to be dead: the store
        may have been restarted. Asking twice is harmless: `apply` checks the offset."""
        if self._away:
            raise StoreUnavailable(self._away)
        with self._turn(question):
            kept = self._kept()
            if kept is not None:
                try:
                    return self._converse(kept, question)
                except (OSError, ConnectionLost) as error:
                    if isinstance(error, TimeoutError):
                        raise
            return self._converse(self._connect(), question)

    @contextmanager
    def _turn(self, question: Question) -> Iterator[None]:
        """Ask now, or raise StoreUnavailable. An erasure, which takes long, is no sign of anything."""
        with self._lock:
            probe = self._silent and not isinstance(question, Erase)
            if probe and self._probing:
                raise self._unavailable(TimeoutError())
            self._probing = self._probing or probe
            answers = self._answers
        try:
            yield
        except (OSError, ConnectionLost) as error:
            with self._lock:
                if isinstance(error, TimeoutError) and self._answers == answers:
                    self._silent = True
            raise self._unavailable(error) from error
        else:
            with self._lock:
                self._answers += 1
                self._silent = False
        finally:
            if probe:
                with self._lock:
                    self._probing = False

    def _converse(self, connection: socket.socket, question: Question) -> bytearray:
        try:
            connection.settimeout(ERASE_S if isinstance(question, Erase) else self._timeout_s)
            with suppress(BrokenPipeError):  # a store that turned us away has said why before it hung up
                send(connection, question)
            reply = receive(connection, bytes_max=ANSWER_BYTES_MAX)
        except BaseException:
            connection.close()
            raise
        with self._lock:
            keep = len(self._idle) < IDLE_MAX and not self._closed
            if keep:
                self._idle.append(connection)
        if not keep:
            connection.close()
        return reply

    def _kept(self) -> socket.socket | None:
        with self._lock:
            if self._closed:
                raise StoreUnavailable("this client of the record store is closed")
            return self._idle.pop() if self._idle else None

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._timeout_s)
            connection.connect(str(self._path))
        except BaseException:
            connection.close()
            raise
        return connection

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        if isinstance(error, TimeoutError):
            return StoreUnavailable(
                f"the record store at {self._path} has not answered within {self._timeout_s:g} s; "
                "it may be busy: try again, or ask for a shorter period"
            )
        return StoreUnavailable(
            f"the record store does not answer at {self._path} ({error}): it starts with `airboss up`; "
            "`airboss status` tells how it is, and no record is lost meanwhile"
        )
