"""What the store's client and service say to each other over a unix socket.

Each message is its length in 4 bytes, big-endian, then msgpack. A connection carries one question at a time
and its answer. Every question may be asked twice without harm, so a client may ask again after a break.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, Protocol

import msgspec

from airboss.domain.ports import DeploymentStats, JournalMove, RecordFilter, RecordLog, StatsBucket

QUESTION_BYTES_MAX: Final = 768 * 1024 * 1024
"""A move of one call holds its two frames, each of 256 MiB at most; more is no question of ours."""
ANSWER_BYTES_MAX: Final = 1024 * 1024 * 1024
RECORDS_MAX: Final = 10_000


class Stream(Protocol):
    """The part of a socket that messages need."""

    def recv_into(self, buffer: memoryview, /) -> int:
        """Read some bytes; 0 when the other side has closed."""

    def sendall(self, data: bytes, /) -> None:
        """Write all bytes."""


class Offset(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`RecordLog.offset`."""

    segment: str

    def ask(self, log: RecordLog) -> int:
        """The answer."""
        return log.offset(self.segment)


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

    def ask(self, log: RecordLog) -> list[DeploymentStats]:
        """The answer."""
        return list(log.stats(self.since, self.until))


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


Question = Offset | Apply | Orphans | Forget | Records | Count | Stats | Series
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


def send(stream: Stream, message: msgspec.Struct) -> None:
    """Send one message. Raises OSError."""
    encoded = msgspec.msgpack.encode(message)
    stream.sendall(len(encoded).to_bytes(4, "big") + encoded)


def receive(stream: Stream, *, bytes_max: int) -> bytes:
    """The next message's bytes. Raises ConnectionLost, ValueError for a message over the bound, OSError."""
    length = int.from_bytes(_exactly(stream, 4), "big")
    if length > bytes_max:
        raise ValueError(f"a message of {length} bytes is over the bound of {bytes_max}")
    return _exactly(stream, length)


def _exactly(stream: Stream, length: int) -> bytes:
    buffer = bytearray(length)
    view = memoryview(buffer)
    while view:
        read = stream.recv_into(view)
        if read == 0:
            raise ConnectionLost(f"{len(view)} bytes of {length} missing")
        view = view[read:]
    return bytes(buffer)
