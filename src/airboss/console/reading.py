"""The audit log's word on who reads what people said: one leaf a reading, not one a page or a record."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from airboss.domain.errors import SetupError
from airboss.domain.ports import RecordFilter
from airboss.domain.status import DeadLetter

if TYPE_CHECKING:
    from airboss.console.desk import Asked, Desk

ACTION: Final = "records.read"
COPIES: Final = "dataset.read"
LASTS: Final = timedelta(minutes=15)
"""For so long from its leaf on it is the same reading: whoever follows or asks again and again leaves one
leaf in that time."""
READINGS_MAX: Final = 256
WITH_VALUE: Final = ("deployment", "status", "arm", "sort", "since", "until")
"""Of a filter, what stands in the leaf as it is: the rest may name a person, or be what one said, and a leaf
is for ever. The user stands beside it, where an erasure reaches."""

log = logging.getLogger("airboss.console")


class _Reading(msgspec.Struct, frozen=True):
    """What a leaf tells of: when it was written, and of which time."""

    at: datetime
    since: datetime | None
    until: datetime | None

    def covers(self, where: RecordFilter) -> bool:
        """Whether what is read now lies within the time that the leaf tells of."""
        return (self.since is None or (where.since is not None and where.since >= self.since)) and (
            self.until is None or (where.until is not None and where.until <= self.until)
        )


class Readings:
    """The readings of this process that are noted already. Used from several threads."""

    def __init__(self) -> None:
        self._noted: OrderedDict[tuple[object, ...], _Reading] = OrderedDict()
        self._lock = threading.Lock()

    def goes_on(self, actor: str, what: object, where: RecordFilter, now: datetime) -> bool:
        """Whether a leaf that tells of this reading is there."""
        with self._lock:
            noted = self._noted.get((actor, what))
        return noted is not None and now - noted.at < LASTS and noted.covers(where)

    def begin(self, actor: str, what: object, where: RecordFilter, now: datetime) -> None:
        """Remember a reading whose leaf has been written."""
        with self._lock:
            self._noted[actor, what] = _Reading(now, where.since, where.until)
            self._noted.move_to_end((actor, what))
            while len(self._noted) > READINGS_MAX:
                self._noted.popitem(last=False)


def note_list(desk: Desk, call: Asked, where: RecordFilter, words: str | None = None) -> None:
    """Say that records with their bodies are read: before they are given, by which filter, and how many there
    are of it. `words` are those looked for, whose records nobody counts."""
    everything = msgspec.structs.replace(where, before=None, after=None)
    what = (msgspec.structs.replace(everything, since=None, until=None), words)
    if desk.readings.goes_on(call.actor, what, where, call.now):
        return
    asked = msgspec.to_builtins(everything)
    given = sorted(name for name, value in asked.items() if value is not None)
    detail: dict[str, Any] = {name: asked[name] for name in given if name in WITH_VALUE}
    if others := [*(name for name in given if name not in WITH_VALUE), *(["search"] if words else [])]:
        detail["by"] = others
    if words is None:
        detail["records"] = desk.log.count(everything)
    if _write_leaf(desk, call, detail, user=where.user):
        desk.readings.begin(call.actor, what, where, call.now)


def note_one(desk: Desk, call: Asked) -> None:
    """Say that somebody looks at records one by one: once in a while, not for each."""
    where = RecordFilter()
    if desk.readings.goes_on(call.actor, "one", where, call.now):
        return
    if _write_leaf(desk, call, {"one_by_one": True}):
        desk.readings.begin(call.actor, "one", where, call.now)


def note_letters(desk: Desk, call: Asked, letters: Sequence[DeadLetter]) -> None:
    """Say that somebody reads what these dead letters hold: once in a while."""
    where = RecordFilter()
    if not letters or desk.readings.goes_on(call.actor, "letters", where, call.now):
        return
    if _write_leaf(desk, call, {"dead_letters": True}):
        desk.readings.begin(call.actor, "letters", where, call.now)


def note_copy(desk: Desk, call: Asked, subject: str, part: str) -> None:
    """Say that somebody reads items that a dataset keeps, or answers to them: once in a while for each. They
    may be copies of calls, and outlive these."""
    where, what = RecordFilter(), (subject, part)
    if desk.readings.goes_on(call.actor, what, where, call.now):
        return
    if _write_leaf(desk, call, {"part": part}, action=COPIES, subject=subject):
        desk.readings.begin(call.actor, what, where, call.now)


def _write_leaf(
    desk: Desk,
    call: Asked,
    detail: Mapping[str, Any],
    *,
    action: str = ACTION,
    subject: str = "records",
    user: str | None = None,
) -> bool:
    """Whether the leaf is written. A full disk must not keep out who comes to see what happened: then this is
    a line in the log, and the next reading tries again."""
    try:
        desk.note(call, action, subject, detail, user=user)
    except SetupError as error:
        log.warning("that %s reads %s is not in the audit log: %s", call.actor, subject, error)
        return False
    return True
