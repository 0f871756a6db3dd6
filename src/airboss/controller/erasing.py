"""People forgotten: whatever of theirs still arrives is blanked, and what is there is taken out, everywhere.

The mover's own thread does both, one after the other. So no move can bring back what an erasure has just
taken out: a move either came before it, and is found by it, or knows of it and blanks. Killed anywhere, it
begins again from the ledger, where an erasure is pending until all of it is done.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from airboss.controller.dead_letters import DeadLetters
from airboss.controller.erased_traces import ErasedTraces
from airboss.controller.scrub import FRAMES_MAX, overwrite, read_prefix
from airboss.domain.errors import AirbossError, SetupError
from airboss.domain.ports import Clock, RecordFilter
from airboss.domain.record import OpenedCall
from airboss.governance.audit import FORGOT
from airboss.governance.erasure import Forgetting, Tombstones
from airboss.store.audit_rows import AuditLog
from airboss.store.erasure_rows import Erasure
from airboss.store.evaluated import evaluated_in
from airboss.store.joining import (
    blank_closed,
    blank_opened,
    blank_score,
    blank_span,
    is_erased,
    read_closed,
    read_opened,
    read_score,
    read_span,
)
from airboss.store.span_rows import Span, TracedLog
from airboss.telemetry.frames import Frame, read_frames

AT_ONCE: Final = 100
"""Erasures done together, since each writes the store's file anew."""

AHEAD_S: Final = 7200.0
"""By how much the time in an id may be ahead of when its call began: ids grow also when the clock has stepped
back, and those of a worker begin after all that one before it may have made."""

TOLD_EVERYWHERE: Final = timedelta(seconds=2)
"""Within this time from being asked for, an erasure stands in the ledger, where other machines find it."""

COUNTED_MAX: Final = 100_000
"""Of what is blanked as it arrives so much at most is told of."""

PAUSE_S: Final = 1.0
PAUSE_S_MAX: Final = 60.0

log = logging.getLogger(__name__)


class Sealing(Protocol):
    """What is asked about bodies that are sealed (`compose.sealing`)."""

    def wanted(self) -> bool:
        """Whether they are, under the configuration in force. Raises SetupError."""

    def destroy_forgotten(self) -> int:
        """Destroy the keys of people who were forgotten. Raises SetupError."""

    def letter(self, segment: str, payload: bytes) -> bytes:
        """A dead letter's payload, sealed. Raises StoreUnavailable."""

    def read_letter(self, segment: str, payload: bytes) -> bytes:
        """It again, or as it is where it does not open. Raises StoreUnavailable."""


class Erasing:
    """What the mover asks. `forget_items` takes a person's items out of datasets, with what was cached for
    them, and returns how many. Where bodies are sealed, keys of people go first, and what the log has taken
    of a segment is blanked at once, whoever it is of."""

    def __init__(
        self,
        people: Forgetting,
        *,
        key: str,
        records: TracedLog,
        forget_items: Callable[[str], int],
        audit: AuditLog,
        clock: Clock,
        traces: ErasedTraces,
        sealing: Sealing | None = None,
    ) -> None:
        self._people = people
        self._sealing = sealing
        self._store = people.store
        self._key = key
        self._records = records
        self._forget_items = forget_items
        self._audit = audit
        self._clock = clock
        self._traces = traces
        self._arrived: dict[str, set[tuple[str, str]]] = {}
        """What has been blanked as it arrived of who is being forgotten: by user, kinds and ids."""
        self._mark: object = None
        self._tombstones = Tombstones(key, {})
        self._swept = False
        self._scrubbed = False
        self._not_before = 0.0
        self._pause_s = PAUSE_S

    def begin(self) -> bool:
        """Before frames are read: know everybody who was forgotten by now; whether there are others than
        before. Raises SetupError."""
        found = self._store.tombstones(self._mark)
        if found is not None:
            mark, until = found
            if self._sealing is not None:  # whatever else must wait: what is sealed of them is unreadable now
                self._sealing.destroy_forgotten()
            self._mark = mark
            self._tombstones = Tombstones(self._key, until)
        return found is not None

    def arriving(self, frame: Frame) -> Frame:
        """A frame as it may be taken: without what is of somebody forgotten. Of a close only the open tells
        whose it is: it is blanked when the two are joined."""
        if self._later(frame):
            return frame
        try:
            if frame.kind == "open":
                call = read_opened(frame.payload)
                if self._goes(call):
                    return Frame(kind="open", payload=blank_opened(call), start=frame.start, end=frame.end)
            elif frame.kind == "score":
                score = read_score(frame.payload)
                named = evaluated_in(score.subject_id)
                theirs = named is not None and self._traces.holds(named.trace_id)
                mine = self._tombstones.covers(score.user, score.at)
                if theirs or mine:
                    self._count(score.user if mine else None, "score", score.id)
                    return Frame(kind="score", payload=blank_score(score), start=frame.start, end=frame.end)
            elif frame.kind == "span":
                span = read_span(frame.payload)
                if self._goes(span):
                    return Frame(kind="span", payload=blank_span(span), start=frame.start, end=frame.end)
        except ValueError:
            pass  # it becomes a dead letter, which `kept` looks at
        return frame

    def taken(self, path: Path, base: int, frames: Sequence[Frame]) -> None:
        """The log has these frames of a segment, which begin at `base`: blank what must not stay there.
        Raises OSError, SetupError; what could not be blanked is looked for before anything is settled."""
        clean, self._scrubbed, self._swept = (self._scrubbed, self._swept), False, False
        if self._seals():
            overwrite(path, base, [(frame, b"{}") for frame in frames])
        else:
            overwrite(path, base, self._to_blank(frames))
        self._scrubbed, self._swept = clean

    def kept(self, segment: str, payload: bytes) -> bytes:
        """What of a dead letter's payload may be kept: nothing, unless it is surely of nobody forgotten."""
        kept = self._kept(segment, payload)
        return kept if self._sealing is None or not self._seals() else self._sealing.letter(segment, kept)

    def letter(self, segment: str, payload: bytes) -> bytes:
        """It again in the clear, or as it is where it does not open. Raises StoreUnavailable."""
        return payload if self._sealing is None else self._sealing.read_letter(segment, payload)

    def _seals(self) -> bool:
        return self._sealing is not None and self._sealing.wanted()

    def _kept(self, segment: str, payload: bytes) -> bytes:
        newest = self._tombstones.newest
        if newest is None or _born(segment) > newest.timestamp():
            return payload
        try:
            call = read_opened(payload)
        except ValueError:
            return b""
        return b"" if self._tombstones.covers(call.user, call.started_at) else payload

    def settle(
        self, segments: Mapping[Path, int], letters: DeadLetters, sure: datetime | None = None
    ) -> None:
        """All is moved that was written before now, on other machines by `sure` (None: there are none): do
        what is pending. `segments` are those that are there, with how many bytes of each were taken. What
        cannot be done now is tried again, ever less often."""
        if not self._scrubbed and self._seals():  # what a kill between taking and blanking may have left
            for path, taken in segments.items():
                self._scrub(path, taken)
            self._scrubbed = True
        if self._tombstones.newest is None or self._clock.monotonic() < self._not_before:
            return
        try:
            self._people.busy = True
            self._settle(segments, letters, sure)
        except (AirbossError, OSError) as error:
            log.warning("somebody is not forgotten yet, trying again in %.0f s: %s", self._pause_s, error)
            self._not_before = self._clock.monotonic() + self._pause_s
            self._pause_s = min(2 * self._pause_s, PAUSE_S_MAX)
        else:
            self._pause_s = PAUSE_S
        finally:
            self._people.busy = False

    def _settle(self, segments: Mapping[Path, int], letters: DeadLetters, sure: datetime | None) -> None:
        if not self._swept:  # what a kill between taking and blanking may have left
            self._sweep(segments)
            self._swept = True
        asked_for = self._store.pending()
        if not asked_for:
            self._arrived.clear()
        pending = [each for each in asked_for[:AT_ONCE] if self._known(each, sure)]
        if not pending:
            return
        self._erase([each for each in pending if each.user is not None], segments, letters)
        if self._sealing is not None:  # and what a gateway made meanwhile that did not know yet
            self._sealing.destroy_forgotten()
        if not self._store.clean():
            raise SetupError("others are using the ledger")
        self._store.finish([each.id for each in pending], self._clock.now())

    def _known(self, erasure: Erasure, sure: datetime | None) -> bool:
        """Whether it was asked for before this tick began to read, and well before other machines had brought
        all: what somebody has said since may not be moved yet, and must not be called forgotten."""
        if sure is not None and erasure.at > sure - TOLD_EVERYWHERE:
            return False
        if erasure.user is None:  # who is only to be cleaned up after
            return True
        until = self._tombstones.until(erasure.user)
        return until is not None and erasure.at <= until

    def _erase(self, pending: Sequence[Erasure], segments: Mapping[Path, int], letters: DeadLetters) -> None:
        if not pending:
            return
        users = {each.user: each.at for each in pending if each.user is not None}
        for user, until in users.items():
            self._traces.add_those_of(user, until, self._records)
        about = self._feedback_on(users, letters)  # as long as their calls can be told
        letters.blank(lambda segment, payload: segment in about or self._may_be_of(users, segment, payload))
        found = self._records.erase(users)
        self._sweep(segments)
        for each in pending:
            assert each.user is not None  # as chosen
            items = self._forget_items(each.user)
            taken, arrived = found[each.user], Counter(kind for kind, _ in self._arrived.get(each.user, ()))
            records, scores = taken.records + arrived["call"], taken.scores + arrived["score"]
            detail = {"erasure": each.id, "records": records, "scores": scores, "items": items}
            names = self._audit.forget(
                each.user,
                action=FORGOT,
                actor="airboss",
                subject=f"erasure {each.id}",
                detail=detail,
                at=self._clock.now(),
            )
            self._store.found(each.id, records=records, scores=scores, items=items, names=names)
            self._arrived.pop(each.user, None)
            log.info("erasure %d: %d records, %d items", each.id, records, items)

    def _feedback_on(self, users: Mapping[str, datetime], letters: DeadLetters) -> set[str]:
        """Where letters lie with what another key said of these people's calls."""
        places: dict[str, list[str]] = {}
        for letter in letters.all():
            with suppress(ValueError):
                of = read_score(letter.payload.encode()).subject_id
                if evaluated_in(of) is None:
                    places.setdefault(of, []).append(letter.segment)
        found: set[str] = set()
        ids = list(places)
        for start in range(0, len(ids), AT_ONCE):
            where = RecordFilter(ids=tuple(ids[start:][:AT_ONCE]))
            for record in self._records.records(where, limit=AT_ONCE, bodies=False):
                until = users.get(record.user or "")
                if until is not None and record.started_at <= until:
                    found.update(places[record.id])
        return found

    def _may_be_of(self, users: Iterable[str], segment: str, payload: bytes) -> bool:
        payload = self.letter(segment, payload)
        return any(_may_be_of(user, payload) for user in users)

    def _scrub(self, path: Path, taken: int) -> None:
        """Blank all that was taken of a segment."""
        with suppress(FileNotFoundError):
            stretch = read_frames(read_prefix(path, taken), final=True, frames_max=FRAMES_MAX)
            overwrite(path, 0, [(frame, b"{}") for frame in stretch.frames], stretch.damaged)

    def _sweep(self, segments: Mapping[Path, int]) -> None:
        """Blank what was taken before it was known that it must go."""
        for path, taken in segments.items():
            try:
                stretch = read_frames(read_prefix(path, taken), final=True, frames_max=FRAMES_MAX)
                overwrite(path, 0, self._to_blank(stretch.frames), stretch.damaged)
            except FileNotFoundError:
                continue

    def _to_blank(self, frames: Sequence[Frame]) -> list[tuple[Frame, bytes]]:
        """Frames that hold, or may hold, something of somebody forgotten, with what is to stand there
        instead. A close whose open is not among the frames may be anybody's: the log has it, so it may go."""
        found: list[tuple[Frame, bytes]] = []
        mine: dict[str, bool] = {}
        for frame in frames:
            if self._later(frame):
                continue
            try:
                if frame.kind == "open":
                    call = read_opened(frame.payload)
                    theirs = self._theirs(call)
                    mine[call.id] = theirs or is_erased(call)
                    if theirs:
                        found.append((frame, blank_opened(call)))
                elif frame.kind == "close":
                    close = read_closed(frame.payload)
                    if mine.get(close.id, True):
                        found.append((frame, blank_closed(close)))
                elif frame.kind == "span":
                    found.append((frame, blank_span(read_span(frame.payload))))
                else:
                    found.append((frame, blank_score(read_score(frame.payload))))
            except ValueError:
                found.append((frame, b"{}"))  # a dead letter by now, and looked at there
        return found

    def _goes(self, what: OpenedCall | Span) -> bool:
        """Whether what arrives is of somebody forgotten; more of its trace may come."""
        if self._tombstones.covers(what.user, what.started_at):
            if isinstance(what, OpenedCall) or bytes(what.call) != b"null":
                self._count(what.user, "call", what.id)
            if what.trace_id is not None:
                self._traces.add([what.trace_id], self._tombstones.until(what.user or "") or what.started_at)
        return self._theirs(what)

    def _count(self, user: str | None, kind: str, what_id: str) -> None:
        """What of a person is blanked as it arrives is not found in the log any more. It may arrive again."""
        if user is not None and sum(map(len, self._arrived.values())) < COUNTED_MAX:
            self._arrived.setdefault(user, set()).add((kind, what_id))

    def _theirs(self, call: OpenedCall | Span) -> bool:
        return self._tombstones.covers(call.user, call.started_at) or self._traces.covers(call)

    def _later(self, frame: Frame) -> bool:
        """Whether a frame is surely of a time after the newest tombstone, by the id that it begins with."""
        newest = self._tombstones.newest
        if newest is None:
            return True
        if self._traces:  # of a trace that goes on it may be of any time
            return False
        stamp = _stamp(frame.payload)
        return stamp is not None and stamp > newest.timestamp() + AHEAD_S


def _stamp(payload: bytes) -> float | None:
    """When a frame's call began, in Unix time, off the UUID version 7 that its JSON begins with; None: it
    begins otherwise."""
    if payload[:7] != b'{"id":"':
        return None
    try:
        return int(payload[7:15] + payload[16:20], 16) / 1000
    except ValueError:
        return None


def _born(segment: str) -> float:
    """When the worker of a segment was started, in Unix time, off its directory's name; 0.0 if that does not
    tell."""
    try:
        return int(segment.split("/", 1)[0].rsplit("-", 1)[-1][:12], 16) / 1000
    except ValueError:
        return 0.0


def _may_be_of(user: str, payload: bytes) -> bool:
    """Whether a dead letter's payload may be of this person: only what says that it is of another, or of
    nobody, is not."""
    for read in (read_opened, read_score, read_span):
        try:
            return read(payload).user == user or user.encode("utf-8", "replace") in payload
        except ValueError:
            continue
    return bool(payload)
