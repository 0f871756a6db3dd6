"""The record log as every other process sees it: over the store's unix socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import DeploymentStats, JournalMove, RecordFilter, StatsBucket
from airboss.domain.record import InferenceRecord
from airboss.store.wire import (
    ANSWER_BYTES_MAX,
    Answer,
    Apply,
    ConnectionLost,
    Count,
    Forget,
    Offset,
    Orphans,
    Question,
    Records,
    Refusal,
    Series,
    Stats,
    receive,
    send,
)

T = TypeVar("T")

IDLE_MAX: Final = 8
"""Connections kept for the next call."""

_replies: Final[msgspec.msgpack.Decoder[Answer | Refusal]] = msgspec.msgpack.Decoder(Answer | Refusal)
_records: Final = msgspec.json.Decoder(InferenceRecord)


class StoreClient:
    """Implements `RecordLog`. Safe to call from several threads; each call has a connection of its own while
    it lasts. A store that was restarted is found again by itself.

    `timeout_s` bounds each call; one that takes longer raises StoreUnavailable, though the store may still
    finish it. Raises ValueError where the store says that the call itself is wrong.
    """

    def __init__(self, socket_path: Path, *, timeout_s: float = 30.0) -> None:
        self._path = socket_path
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._closed = False

    def offset(self, segment: str) -> int:
        """As `RecordLog.offset`."""
        return self._ask(Offset(segment=segment), int)

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

    def count(self, where: RecordFilter) -> int:
        """As `RecordLog.count`."""
        return self._ask(Count(where=where), int)

    def stats(self, since: datetime, until: datetime) -> Sequence[DeploymentStats]:
        """As `RecordLog.stats`."""
        return self._ask(Stats(since=since, until=until), list[DeploymentStats])

    def series(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[StatsBucket]:
        """As `RecordLog.series`."""
        return self._ask(Series(since=since, until=until, step_s=step_s), list[StatsBucket])

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

    def _exchange(self, question: Question) -> bytes:
        """Ask on a kept connection, and once more on a new one if that one turns out to be dead: the store
        may have been restarted. Asking twice is harmless: `apply` checks the offset."""
        kept = self._kept()
        if kept is not None:
            try:
                return self._converse(kept, question)
            except (OSError, ConnectionLost) as error:
                if isinstance(error, TimeoutError):
                    raise self._unavailable(error) from error
        try:
            return self._converse(self._connect(), question)
        except (OSError, ConnectionLost) as error:
            raise self._unavailable(error) from error

    def _converse(self, connection: socket.socket, question: Question) -> bytes:
        try:
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
