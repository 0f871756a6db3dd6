"""Following the record log, page by page, whatever fails on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, NoReturn, Protocol

from airboss.domain.errors import ConfigError, SetupError, StoreUnavailable, WrongCall
from airboss.domain.ports import RecordFilter, RecordLog
from airboss.domain.record import InferenceRecord
from airboss.telemetry.outage import Outage

POLL_S: Final = 1.0
MINUTES_KEPT: Final = 100
"""Calls are looked at side by side, and so a little out of order."""
log = logging.getLogger(__name__)


class Cursors(Protocol):
    """Where followers keep how far they are."""

    def cursor(self, name: str) -> str | None:
        """How far the one of this name has come."""

    def put_cursor(self, name: str, value: str | None) -> None:
        """Keep how far; None forgets."""


def unseen(cursors: Cursors, name: str, since: Callable[[], datetime]) -> RecordFilter:
    """What the follower of this name has not seen. A new one begins with the calls that came since it was
    wanted, and keeps no place before it has seen one: what came before its first look counts too."""
    cursor = cursors.cursor(name)
    return RecordFilter(after=cursor) if cursor is not None else RecordFilter(after="", since=since())


def newest(log: RecordLog, until: datetime | None = None) -> str:
    """The id of the newest call, or of the newest one before that time; "" where there is none."""
    found = log.records(RecordFilter(until=until), limit=1, bodies=False)
    return found[0].id if found else ""


class Minutes:
    """How many calls of each name a minute has had. By the calls' own time, so that catching up after a stop
    comes to as many as going on would have."""

    def __init__(self) -> None:
        self._had: dict[str, dict[datetime, int]] = {}

    def over(self, name: str, record: InferenceRecord, most: int) -> bool:
        """Whether the minute in which the call came has had that many already; it counts from now on."""
        minute = record.started_at.replace(second=0, microsecond=0)
        had = self._had.setdefault(name, {})
        count = had[minute] = had.get(minute, 0) + 1
        if len(had) > MINUTES_KEPT:
            del had[min(had)]
        return count > most


async def follow(tick: Callable[[], Awaitable[bool]], undone: str) -> NoReturn:
    """Do `tick` until cancelled, at once again where it says that there may be more. A store or ledger that
    fails is asked again; `undone` says in the log what was not done."""
    outage = Outage(log, undone)
    while True:
        more = False
        try:
            more = await tick()
            outage.over()
        except StoreUnavailable as error:
            log.debug("%s: %s", undone, error)
        except (SetupError, ConfigError) as error:  # a ledger that is away, and such
            outage.failed(error)
        except (WrongCall, ValueError):
            log.exception("%s; trying again", undone)
        if not more:
            await asyncio.sleep(POLL_S)
