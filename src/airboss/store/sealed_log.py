"""A record log whose bodies are sealed before it gets them and opened as they are read.

The log itself never sees a key: neither do its files, what is dumped of a cluster, nor old copies of either.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec

from airboss.domain.errors import SetupError, StoreUnavailable
from airboss.domain.ports import Erased, JournalMove, RecordFilter
from airboss.domain.record import Found, InferenceRecord
from airboss.domain.score import Score
from airboss.store.joining import read_closed, read_opened, read_record, read_score, read_span
from airboss.store.keyring import Keyring, Whose
from airboss.store.sealed_marks import NAME, PREFIX, Unopened
from airboss.store.sealer import (
    SCORE_TEXTS,
    Sealer,
    is_sealed_score,
    said_in,
    seal_closed,
    seal_opened,
    seal_record,
    seal_score,
    seal_span,
    whose,
)
from airboss.store.sealing import in_value
from airboss.store.span_rows import SpanDetail, TracedLog

SEARCHED: Final = (
    "bodies are sealed here ([store] bodies), so that nothing can look for words in them; filter by user, "
    "session, tag, model, time or score instead"
)
"""Why a search is refused."""
USERS_MAX: Final = 65_536
"""Calls whose users are remembered, for what is said of them soon after."""


class SealedLog:
    """Implements `TracedLog` over another. `wanted` says whether what comes now is sealed; what was sealed
    before is opened anyway. Safe to call from several threads, one of which makes moves.

    Raises StoreUnavailable, with nothing taken, where keys cannot be had: what is in journals waits there.
    """

    def __init__(self, inner: TracedLog, ring: Keyring, *, wanted: Callable[[], bool]) -> None:
        self.inner = inner
        self._ring = ring
        self._sealer = Sealer(lambda: ring)
        self._wanted = wanted
        self._users: OrderedDict[str, str | None] = OrderedDict()
        # What nothing sealed is in is the inner log's own.
        self.offset = inner.offset
        self.begun = inner.begun
        self.orphans = inner.orphans
        self.forget = inner.forget
        self.count = inner.count
        self.stats = inner.stats
        self.series = inner.series
        self.traffic = inner.traffic
        self.usage = inner.usage
        self.spent = inner.spent
        self.watched = inner.watched
        self.score_stats = inner.score_stats
        self.stray_scores = inner.stray_scores
        self.drop_scores = inner.drop_scores
        self.make_room = inner.make_room
        self.tidy = inner.tidy
        self.traces = inner.traces
        self.trace = inner.trace
        self.settle_calls = inner.settle_calls
        self.close = inner.close

    def apply(self, move: JournalMove) -> int:
        """As `RecordLog.apply`, sealed."""
        return self.inner.apply(self._sealed(move) if self._wanted() else move)

    def records(self, where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        """As `RecordLog.records`, opened."""
        found = self.inner.records(where, limit=limit, bodies=bodies)
        return self._opened(found) if bodies else found

    def search(self, where: RecordFilter, words: str, *, limit: int, bodies: bool) -> Found:
        """As `RecordLog.search`, of what is not sealed. Raises ValueError where bodies are."""
        if self._wanted():
            raise ValueError(SEARCHED)
        if not self._ever():
            return self.inner.search(where, words, limit=limit, bodies=bodies)
        # Words may be met by chance in what is sealed.
        found = self.inner.search(where, words, limit=limit, bodies=True)
        plain = [
            each
            for each in found.records
            if in_value(each.request) is None and in_value(each.response) is None
        ]
        if not bodies:
            plain = [msgspec.structs.replace(each, request=None, response=None) for each in plain]
        return Found(records=tuple(plain), looked_to=found.looked_to)

    def put_scores(self, scores: Sequence[Score]) -> int:
        """As `RecordLog.put_scores`, sealed. What waited for its record was, for nobody in particular."""
        if not self._wanted():
            return self.inner.put_scores(scores)
        clear = [self._read([each])[0] if is_sealed_score(each) else each for each in scores]
        return self.inner.put_scores(self._scores(clear))

    def scores_of(self, record_ids: Collection[str]) -> Sequence[Score]:
        """As `RecordLog.scores_of`, opened."""
        return self._read(self.inner.scores_of(record_ids))

    def erase(self, users: Mapping[str, datetime]) -> Mapping[str, Erased]:
        """As `RecordLog.erase`."""
        self._users.clear()
        return self.inner.erase(users)

    def expire(self, *, bodies_before: datetime | None, records_before: datetime | None, limit: int) -> int:
        """As `RecordLog.expire`; when all of it is deleted, keys of nobody's of those days go too."""
        gone = self.inner.expire(bodies_before=bodies_before, records_before=records_before, limit=limit)
        if gone < limit:
            try:
                for moment in filter(None, (bodies_before, records_before)):
                    self._ring.destroy_before("bodies", moment)
                if records_before is not None:
                    self._ring.destroy_before("comments", records_before)
            except SetupError as error:
                raise StoreUnavailable(str(error)) from error
        return gone

    def span(self, trace_id: str, span_id: str) -> SpanDetail | None:
        """As `SpanLog.span`, opened."""
        found = self.inner.span(trace_id, span_id)
        return None if found is None else self._details([found])[0]

    def spans_of(self, record_ids: Sequence[str]) -> Sequence[SpanDetail]:
        """As `SpanLog.spans_of`, opened."""
        return self._details(self.inner.spans_of(record_ids))

    def wanted(self) -> bool:
        """Whether what comes now is sealed. Raises SetupError."""
        return self._wanted()

    def destroy_forgotten(self) -> int:
        """Destroy the keys of people who were forgotten; how many. Raises SetupError."""
        return self._ring.destroy_forgotten()

    def letter(self, segment: str, payload: bytes) -> bytes:
        """A frame that became no record, sealed."""
        if not payload:
            return payload
        whose = _whose(payload, datetime.now(UTC))
        return self._sealer.text(payload.decode(errors="replace"), whose, _letter(segment)).encode()

    def read_letter(self, segment: str, payload: bytes) -> bytes:
        """It again; as it is where it is not sealed, or does not open."""
        text = payload.decode(errors="replace")
        if not text.startswith(PREFIX):
            return payload
        self._sealer.refresh()
        try:
            return self._sealer.opened(text.removeprefix(PREFIX), _letter(segment))
        except Unopened:
            return payload

    def _sealed(self, move: JournalMove) -> JournalMove:
        """The move with all that it says sealed. Raises ValueError where a log would."""
        records = [read_record(each) for each in move.records]
        opened = {each: read_opened(payload) for each, payload in move.opened.items()}
        closed = {each: read_closed(payload) for each, payload in move.closed.items()}
        spans = [read_span(each) for each in move.spans]
        for record in records:
            self._remember(record.id, record.user)
        for call in opened.values():
            self._remember(call.id, call.user)
        ends: dict[str, Whose] = {
            each: whose(opened[each])
            if each in opened
            else (
                self._users.get(each) if end.user is None else end.user,
                began(each, datetime.now(UTC)),
                "bodies",
            )
            for each, end in closed.items()
        }
        said = [*map(whose, records), *map(whose, opened.values()), *map(whose, spans)]
        keys = self._sealer.keys([*said, *ends.values()]) if said or ends else {}
        encode = msgspec.json.encode
        return msgspec.structs.replace(
            move,
            records=tuple(encode(seal_record(each, keys)) for each in records),
            opened={each: encode(seal_opened(call, keys)) for each, call in opened.items()},
            closed={each: encode(seal_closed(end, keys[ends[each]])) for each, end in closed.items()},
            spans=tuple(encode(seal_span(each, keys)) for each in spans),
            scores=tuple(map(encode, self._scores([read_score(each) for each in move.scores]))),
        )

    def _scores(self, scores: Sequence[Score]) -> list[Score]:
        """These with what they say sealed: for whose call it is about, and for who wrote it."""
        people: dict[str, tuple[Whose, ...]] = {}
        for each in scores:
            if not said_in(each):
                continue
            users = {self._user_of(each.subject_id), each.user} - {None}
            people[each.id] = tuple((user, each.at, "comments") for user in sorted(users, key=str) or (None,))
        keys = self._sealer.keys({one for those in people.values() for one in those}) if people else {}
        return [seal_score(each, people[each.id], keys) if each.id in people else each for each in scores]

    def _user_of(self, record_id: str) -> str | None:
        with suppress(KeyError):
            return self._users[record_id]
        found = self.inner.records(RecordFilter(id=record_id), limit=1, bodies=False)
        if not found:
            return None  # it is not there yet
        self._remember(record_id, found[0].user)
        return found[0].user

    def _remember(self, record_id: str, user: str | None) -> None:
        self._users[record_id] = user
        while len(self._users) > USERS_MAX:
            with suppress(KeyError):  # another thread has forgotten them all
                self._users.popitem(last=False)

    def _opened(self, found: Sequence[InferenceRecord]) -> Sequence[InferenceRecord]:
        if not any(in_value(each.request) or in_value(each.response) for each in found):
            return found
        self._sealer.refresh()
        return [self._sealer.record(each) for each in found]

    def _read(self, found: Sequence[Score]) -> Sequence[Score]:
        texts = (getattr(each, name) for each in found for name in SCORE_TEXTS)
        if not any(text is not None and text.startswith(PREFIX) for text in texts):
            return found
        self._sealer.refresh()
        return [self._sealer.score(each) for each in found]

    def _details(self, found: Sequence[SpanDetail]) -> Sequence[SpanDetail]:
        if not any(_is_sealed(each) for each in found):
            return found
        self._sealer.refresh()
        return [self._sealer.span(each) for each in found]

    def _ever(self) -> bool:
        try:
            return self._ring.ever()
        except SetupError as error:
            raise StoreUnavailable(str(error)) from error


def _letter(segment: str) -> str:
    return f"letter\0{segment}"


def _whose(payload: bytes, now: datetime) -> Whose:
    """Whose letter it is, as far as it says."""
    try:
        return read_opened(payload).user, now, "letters"
    except ValueError:
        return None, now, "letters"


def _is_sealed(span: SpanDetail) -> bool:
    mark = NAME.encode()
    return (
        mark in bytes(span.attributes)[:32]
        or mark in bytes(span.events)[:32]
        or (span.message is not None and span.message.startswith(PREFIX))
    )


def began(record_id: str, now: datetime) -> datetime:
    """When a call began, off its id, a UUID version 7; now, if that does not tell."""
    try:
        return datetime.fromtimestamp(int(record_id[:8] + record_id[9:13], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return now
