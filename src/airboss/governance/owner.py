"""The one who counts: a book, what of it outlives a kill, and which workers there are. No I/O of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from airboss.domain.errors import SetupError
from airboss.governance.counting import Answer, Book, BookState, Change, Denied, Want, given_back

GRACE_S: Final = 3.0
"""After a restart a worker has so long to come back; what it held is free then."""
ABSENT_MAX: Final = 256
"""Of so many workers that are not there it is known what they told last: they may come back."""
REWRITE_BYTES: Final = 1024 * 1024
"""After so much, and as much as the snapshot before, a new one is shorter to read than what happened."""
REWRITE_S: Final = 3600.0
"""So old what is written gets at most: it has hashes of users, who may have been forgotten since."""


class Kept(Protocol):
    """What an owner needs of `store.state_log.StateLog`."""

    size: int

    def read(self) -> list[bytes]:
        """The entries, the snapshot first."""

    def rewrite(self, snapshot: bytes) -> None:
        """Begin anew with a snapshot."""

    def append(self, entry: bytes) -> None:
        """Add what happened."""


class _Snapshot(msgspec.Struct):
    """The first entry."""

    book: BookState
    seqs: dict[str, int]


class _Event(msgspec.Struct, array_like=True):
    """Any other entry: what was given to a worker, what it told, that it came or went."""

    now: float
    worker: str
    seq: int = 0
    workers: int = 0
    wants: tuple[Want, ...] = ()
    changes: tuple[Change, ...] = ()
    held: dict[str, int] | None = None
    gone: bool = False


_encode = msgspec.msgpack.Encoder().encode
_snapshots: Final = msgspec.msgpack.Decoder(_Snapshot)
_events: Final = msgspec.msgpack.Decoder(_Event)


class Owner:
    """Counts for every worker. `kept` None: nothing outlives the process (tests).

    Everything that changes the book is an event, written before it is answered; the book after a restart is
    the snapshot with the events applied again. Who owns one calls `tick` about once a second.
    """

    def __init__(self, kept: Kept | None, *, now: float) -> None:
        self._kept = kept
        self._book = Book()
        self._seqs: dict[str, int] = {}
        self.workers: set[str] = set()
        """Those that are there now."""
        for number, entry in enumerate(kept.read() if kept is not None else ()):
            if number == 0:
                snapshot = _snapshots.decode(entry)
                self._book, self._seqs = Book(snapshot.book), snapshot.seqs
            else:
                self._apply(_events.decode(entry))
        self._book.no_later_than(now)
        self._behind = True
        """What is written lacks something that happened; nothing is given until it does not."""
        self._waits_until: float | None = now + GRACE_S
        self._rewrite_at = REWRITE_BYTES
        self._rewrite_by = now + REWRITE_S
        with suppress(SetupError):  # as above
            self._snapshot()

    def hello(self, worker: str, held: Mapping[str, int], *, now: float) -> int:
        """A worker is there and holds just this; returns the number of its last telling that counted."""
        self.workers.add(worker)
        self._happened(_Event(now, worker, held=dict(held)))
        return self._seqs.get(worker, 0)

    def alone(self, worker: str, *, now: float) -> None:
        """There is no worker but this one, and none will come back."""
        for other in self._book.holders() - {worker}:
            self._happened(_Event(now, other, gone=True))

    def ask(self, worker: str, wants: Sequence[Want], *, now: float) -> Answer:
        """As `Book.ask`. Raises SetupError, with nothing given, where that cannot be written down."""
        if self._behind:
            self._snapshot()
        workers = max(1, len(self.workers))
        answer = self._book.ask(worker, wants, now=now, workers=workers)
        if not isinstance(answer, Denied):
            try:
                self._write(_Event(now, worker, workers=workers, wants=tuple(wants)))
            except SetupError:
                self._book.change(worker, given_back(wants, answer), now=now)
                self._behind = True
                raise
        return answer

    def tell(self, worker: str, seq: int, changes: Sequence[Change], *, now: float) -> None:
        """Take in what a worker tells, unless it has been taken in before: its `seq` always grows."""
        if seq > self._seqs.get(worker, 0):
            self._happened(_Event(now, worker, seq=seq, changes=tuple(changes)))

    def gone(self, worker: str, *, now: float) -> None:
        """A worker has hung up or died."""
        self.workers.discard(worker)
        self._happened(_Event(now, worker, gone=True))

    def tick(self, now: float) -> None:
        """What is due by the clock."""
        if self._waits_until is not None and now >= self._waits_until:
            self._waits_until = None
            for worker in self._book.holders() - self.workers:
                self._happened(_Event(now, worker, gone=True))
        self._book.sweep(now)
        absent = [worker for worker in self._seqs if worker not in self.workers]
        for worker in absent[:-ABSENT_MAX]:
            del self._seqs[worker]
        if self._kept is not None and (self._kept.size > self._rewrite_at or now >= self._rewrite_by):
            self._rewrite_by = now + REWRITE_S
            with suppress(SetupError):  # what is written says the same
                self._snapshot()

    def _happened(self, event: _Event) -> None:
        """What happened has happened, whether or not it can be written down; nothing is given until it is."""
        self._apply(event)
        try:
            self._write(event)
        except SetupError:
            self._behind = True

    def _write(self, event: _Event) -> None:
        if self._kept is not None:
            self._kept.append(_encode(event))

    def _apply(self, event: _Event) -> None:
        if event.wants:
            self._book.ask(event.worker, event.wants, now=event.now, workers=event.workers)
        elif event.gone:
            self._book.forget(event.worker)
        elif event.held is not None:
            self._book.hello(event.worker, event.held, now=event.now)
        else:
            self._seqs[event.worker] = event.seq
            self._book.change(event.worker, event.changes, now=event.now)

    def _snapshot(self) -> None:
        if self._kept is not None:
            snapshot = _encode(_Snapshot(self._book.state(), self._seqs))
            self._kept.rewrite(snapshot)
            self._rewrite_at = 2 * len(snapshot) + REWRITE_BYTES
        self._behind = False
