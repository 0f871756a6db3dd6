"""Traces of people who were forgotten, by their ids, for as long as spans of them may still be sent.

An agent at work sends its spans as they end, and only some of those name the user. What comes after an
erasure would bring the person's words back, in spans that name nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from airboss.domain.ports import Clock
from airboss.domain.record import OpenedCall
from airboss.store.span_rows import Span, SpanLog, TraceFilter
from airboss.store.whole_file import replace_file

FILE: Final = "erased-traces.jsonl"
KEPT: Final = timedelta(days=7)
"""So long a trace is remembered after its erasure. One of which no span began in so long a time before it is
taken to have been sent whole."""
TRACES_MAX: Final = 100_000
"""The newest of them; one takes 70 bytes in the file."""
PAGE: Final = 1000


class _Line(msgspec.Struct, array_like=True):
    trace_id: str
    until: datetime


_lines = msgspec.json.Decoder(_Line)
log = logging.getLogger(__name__)


class ErasedTraces:
    """A file of trace ids, which name nobody, each with when its person was forgotten. One thread calls it.
    `add` and `add_those_of` raise OSError; one that cannot be written down is not erased yet."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._until: dict[str, datetime] = dict(_read(path))
        self._newest = max(self._until.values(), default=None)

    def covers(self, what: Span | OpenedCall) -> bool:
        """Whether a span or call is of what was forgotten: of such a trace, and it began before or names
        nobody. One that began later and names a user is of who has come again, or of another."""
        trace_id = what.trace_id or ""
        return self.holds(trace_id) and (what.started_at <= self._until[trace_id] or what.user is None)

    def holds(self, trace_id: str) -> bool:
        """Whether what names nobody is of what was forgotten, by its trace."""
        until = self._until.get(trace_id)
        return until is not None and self._clock.now() - until <= KEPT

    def __bool__(self) -> bool:
        """Whether there may be any that something is still of."""
        return self._newest is not None and self._clock.now() - self._newest <= KEPT

    def add_those_of(self, user: str, until: datetime, log: SpanLog) -> None:
        """Remember the traces that name a person, before the log forgets whose they are. Raises
        StoreUnavailable too."""
        where = TraceFilter(since=until - KEPT, until=until, user=user)
        found: list[str] = []
        while len(found) < TRACES_MAX and (page := log.traces(where, limit=PAGE)):
            found += [each.trace_id for each in page]
            where = msgspec.structs.replace(where, before=(page[-1].started_at, page[-1].trace_id))
            if len(page) < PAGE:
                break
        self.add(found, until)

    def add(self, traces: Iterable[str], until: datetime) -> None:
        """Remember them; on disk when it returns. Those that are old enough are let go of."""
        before = self._until
        now = self._clock.now()
        known = {trace: at for trace, at in before.items() if now - at <= KEPT}
        known |= {trace: max(until, known.get(trace, until)) for trace in traces}
        if known == before:
            return
        kept = dict(list(known.items())[-TRACES_MAX:])
        lines = (msgspec.json.encode(_Line(trace, at)) + b"\n" for trace, at in kept.items())
        replace_file(self._path, lines)
        # Only now: what is known here and stands in no file would be taken for written the next time.
        self._until = kept
        self._newest = max(kept.values(), default=None)


def _read(path: Path) -> Iterator[tuple[str, datetime]]:
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                kept = _lines.decode(line)
            except ValueError:
                log.error("a line of %s was edited: spans of a forgotten trace may come in again", path)  # noqa: TRY400 - no trace needed
                continue
            yield kept.trace_id, kept.until
