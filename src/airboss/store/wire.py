"""What the store's client and service say to each other over a unix socket.

Each message is its length in 4 bytes, big-endian, then msgpack. A connection carries one question at a time
and its answer. Every question may be asked twice without harm, so a client may ask again after a break.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, Protocol

import msgspec

from airboss.domain.ports import (
    DeploymentStats,
    Erased,
    JournalMove,
    RecordFilter,
    RecordLog,
    ReleaseBucket,
    ScoreStats,
    Spent,
    StatsBucket,
    UsageQuery,
    WatchedCall,
)
from airboss.domain.score import Score
from airboss.domain.usage import UsageRow
from airboss.store.span_rows import SpanLog, TraceFilter, TraceSpan, TraceSummary

QUESTION_BYTES_MAX: Final = 768 * 1024 * 1024
"""A move of one call holds its two frames, each of 256 MiB at most; more is no question of ours."""
ANSWER_BYTES_MAX: Final = 1024 * 1024 * 1024
RECORDS_MAX: Final = 10_000
TRACES_MAX: Final = 1_000


class Stream(Protocol):
    """The part of a socket that messages need."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read some bytes; 0 when the other side has closed."""

    def sendall(self, data: bytes | bytearray, /) -> None:
        """Write all bytes."""


class Offset(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.offset`."""

    segment: str

    def ask(self, log: RecordLog) -> int:
        """The answer."""
        return log.offset(self.segment)


class Begun(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.begun`."""

    segment: str

    def ask(self, log: RecordLog) -> int:
        """The answer, 0 for None."""
        return log.begun(self.segment) or 0


class Apply(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.apply`."""

    move: JournalMove

    def ask(self, log: RecordLog) -> int:
        """The answer."""
        return log.apply(self.move)


class Orphans(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.orphans`."""

    segment_prefix: str

    def ask(self, log: RecordLog) -> dict[str, bytes]:
        """The answer."""
        return log.orphans(self.segment_prefix)


class Forget(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.forget`."""

    segment: str

    def ask(self, log: RecordLog) -> None:
        """The answer."""
        log.forget(self.segment)


class Records(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.records`: a list of the JSON of each, since bodies may hold numbers that msgpack cannot."""

    where: RecordFilter
    limit: int
    bodies: bool

    def ask(self, log: RecordLog) -> list[bytes]:
        """The answer; raises ValueError for a limit out of bounds."""
        if not 1 <= self.limit <= RECORDS_MAX:
            raise ValueError(f"limit is {self.limit}; ask for 1 to {RECORDS_MAX} records")
        found = log.records(self.where, limit=self.limit, bodies=self.bodies)
        return [msgspec.json.encode(record) for record in found]


class MakeRoom(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.make_room`."""

    bytes_max: int

    def ask(self, log: RecordLog) -> int:
        """The answer."""
        return log.make_room(self.bytes_max)


class SearchFor(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.search`: the JSON of each record, as in `Records`, and where looking stopped."""

    where: RecordFilter
    words: str
    limit: int
    bodies: bool

    def ask(self, log: RecordLog) -> tuple[list[bytes], str | None]:
        """The answer; raises ValueError for a limit out of bounds."""
        if not 1 <= self.limit <= RECORDS_MAX:
            raise ValueError(f"limit is {self.limit}; ask for 1 to {RECORDS_MAX} records")
        found = log.search(self.where, self.words, limit=self.limit, bodies=self.bodies)
        return [msgspec.json.encode(record) for record in found.records], found.looked_to


class Count(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.count`."""

    where: RecordFilter

    def ask(self, log: RecordLog) -> int:
        """The answer."""
        return log.count(self.where)


class Stats(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.stats`."""

    since: datetime
    until: datetime
    without_key: str | None = None

    def ask(self, log: RecordLog) -> list[DeploymentStats]:
        """The answer."""
        return list(log.stats(self.since, self.until, without_key=self.without_key))


class Series(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.series`."""

    since: datetime
    until: datetime
    step_s: int

    def ask(self, log: RecordLog) -> list[StatsBucket]:
        """The answer; raises ValueError for a step that is none."""
        if self.step_s < 1:
            raise ValueError(f"step_s is {self.step_s}; ask for steps of at least one second")
        return list(log.series(self.since, self.until, step_s=self.step_s))


class Traffic(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.traffic`."""

    since: datetime
    until: datetime
    step_s: int

    def ask(self, log: RecordLog) -> list[ReleaseBucket]:
        """The answer; raises ValueError for a step that is none."""
        if self.step_s < 1:
            raise ValueError(f"step_s is {self.step_s}; ask for steps of at least one second")
        return list(log.traffic(self.since, self.until, step_s=self.step_s))


class Usage(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.usage`."""

    asked: UsageQuery

    def ask(self, log: RecordLog) -> list[UsageRow]:
        """The answer; raises ValueError."""
        return list(log.usage(self.asked))


class SpentSince(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.spent`."""

    since: datetime
    each_user: tuple[str, ...] = ()

    def ask(self, log: RecordLog) -> list[Spent]:
        """The answer."""
        return list(log.spent(self.since, each_user=self.each_user))


class Watched(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.watched`."""

    deployment: str
    after: str
    until: str
    without_key: str
    limit: int

    def ask(self, log: RecordLog) -> list[WatchedCall]:
        """The answer; raises ValueError for a limit out of bounds."""
        if not 1 <= self.limit <= RECORDS_MAX:
            raise ValueError(f"limit is {self.limit}; ask for 1 to {RECORDS_MAX} calls")
        return list(
            log.watched(
                self.deployment,
                after=self.after,
                until=self.until,
                without_key=self.without_key,
                limit=self.limit,
            )
        )


class PutScores(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.put_scores`."""

    scores: list[Score]

    def ask(self, log: RecordLog) -> int:
        """The answer."""
        return log.put_scores(self.scores)


class ScoresOf(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.scores_of`."""

    record_ids: list[str]

    def ask(self, log: RecordLog) -> list[Score]:
        """The answer; raises ValueError for too many records."""
        if len(self.record_ids) > RECORDS_MAX:
            raise ValueError(f"scores of {len(self.record_ids)} records; ask for {RECORDS_MAX} at most")
        return list(log.scores_of(self.record_ids))


class StatsOfScores(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.score_stats`."""

    since: datetime
    until: datetime
    by_score_time: bool
    without_key: str | None
    where: RecordFilter | None = None

    def ask(self, log: RecordLog) -> list[ScoreStats]:
        """The answer."""
        return list(
            log.score_stats(
                self.since,
                self.until,
                by_score_time=self.by_score_time,
                without_key=self.without_key,
                where=self.where,
            )
        )


class StrayScores(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.stray_scores`."""

    before: datetime
    limit: int

    def ask(self, log: RecordLog) -> list[Score]:
        """The answer."""
        return list(log.stray_scores(self.before, limit=self.limit))


class DropScores(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.drop_scores`."""

    score_ids: list[str]

    def ask(self, log: RecordLog) -> None:
        """The answer."""
        log.drop_scores(self.score_ids)


class Erase(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.erase`."""

    users: dict[str, datetime]

    def ask(self, log: RecordLog) -> dict[str, Erased]:
        """The answer."""
        return dict(log.erase(self.users))


class Expire(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.expire`."""

    bodies_before: datetime | None
    records_before: datetime | None
    limit: int

    def ask(self, log: RecordLog) -> int:
        """The answer; raises ValueError for a limit out of bounds."""
        if not 1 <= self.limit <= RECORDS_MAX:
            raise ValueError(f"limit is {self.limit}; expire 1 to {RECORDS_MAX} records at once")
        return log.expire(
            bodies_before=self.bodies_before, records_before=self.records_before, limit=self.limit
        )


class Traces(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`SpanLog.traces`."""

    where: TraceFilter
    limit: int

    def ask(self, log: SpanLog) -> list[TraceSummary]:
        """The answer; raises ValueError for a limit out of bounds."""
        if not 1 <= self.limit <= TRACES_MAX:
            raise ValueError(f"limit is {self.limit}; ask for 1 to {TRACES_MAX} traces")
        return list(log.traces(self.where, limit=self.limit))


class Trace(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`SpanLog.trace`."""

    trace_id: str

    def ask(self, log: SpanLog) -> list[TraceSpan]:
        """The answer."""
        return list(log.trace(self.trace_id))


class OneSpan(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`SpanLog.span`, as JSON: attributes may hold numbers that msgpack cannot."""

    trace_id: str
    span_id: str

    def ask(self, log: SpanLog) -> list[bytes]:
        """The answer, alone in a list; an empty one for none."""
        found = log.span(self.trace_id, self.span_id)
        return [] if found is None else [msgspec.json.encode(found)]


class SpansOf(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`SpanLog.spans_of`, as JSON."""

    record_ids: list[str]

    def ask(self, log: SpanLog) -> list[bytes]:
        """The answer; raises ValueError for too many records."""
        if len(self.record_ids) > TRACES_MAX:
            raise ValueError(f"spans of {len(self.record_ids)} records; ask for {TRACES_MAX} at most")
        return [msgspec.json.encode(each) for each in log.spans_of(self.record_ids)]


class SettleCalls(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`SpanLog.settle_calls`."""

    before: datetime
    limit: int

    def ask(self, log: SpanLog) -> int:
        """The answer; raises ValueError for a limit out of bounds."""
        if not 1 <= self.limit <= TRACES_MAX:
            raise ValueError(f"limit is {self.limit}; settle 1 to {TRACES_MAX} calls at once")
        return log.settle_calls(self.before, limit=self.limit)


Question = (
    Offset
    | Begun
    | Apply
    | Orphans
    | Forget
    | Records
    | SearchFor
    | MakeRoom
    | Count
    | Stats
    | Series
    | Traffic
    | Usage
    | SpentSince
    | Watched
    | PutScores
    | ScoresOf
    | StatsOfScores
    | StrayScores
    | DropScores
    | Erase
    | Expire
    | Traces
    | Trace
    | OneSpan
    | SpansOf
    | SettleCalls
)
"""All that can be asked."""


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What `ask` of the question returned."""

    value: msgspec.Raw


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Why there is no answer. `unavailable`: the store cannot now; `invalid`: it never will."""

    reason: Literal["unavailable", "invalid"]
    message: str


class ConnectionLost(Exception):
    """The other side has gone: between two messages or within one."""


_encoder: Final = msgspec.msgpack.Encoder()


def send(stream: Stream, message: msgspec.Struct) -> None:
    """Send one message. Raises OSError."""
    encoded = bytearray(4)  # a move has 16 MB: each copy of them less is a hundredth of what a record costs
    _encoder.encode_into(message, encoded, 4)
    encoded[:4] = (len(encoded) - 4).to_bytes(4, "big")
    stream.sendall(encoded)


def receive(stream: Stream, *, bytes_max: int) -> bytearray:
    """The next message's bytes. Raises ConnectionLost, ValueError for a message over the bound, OSError."""
    length = int.from_bytes(_exactly(stream, 4), "big")
    if length > bytes_max:
        raise ValueError(f"a message of {length} bytes is over the bound of {bytes_max}")
    return _exactly(stream, length)


def _exactly(stream: Stream, length: int) -> bytearray:
    buffer = bytearray(length)
    view = memoryview(buffer)
    while view:
        read = stream.recv_into(view)
        if read == 0:
            raise ConnectionLost(f"{len(view)} bytes of {length} missing")
        view = view[read:]
    return buffer
