"""Sessions of the console that were signed out of before they ran out: a copy of the cookie opens nothing.

They stand in a file as well, for the controller that comes after this one.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

import msgspec

from airboss.store.whole_file import replace_file

ENDED_MAX: Final = 10_000
"""So many are remembered. Of more the first to run out are forgotten, and all that do so by then are over."""

log = logging.getLogger(__name__)


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """`until` is when each runs out, in seconds since 1970, by its id; what runs out by `all_until` is over,
    whichever it is."""

    until: dict[str, int]
    all_until: int


class Ended:
    """Ids of sessions that are over, in `path` too. One that cannot be read ends all that run out by
    `unread_until`. Threads may share it."""

    def __init__(self, path: Path | None = None, *, unread_until: int = 0) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._kept = _Kept(until={}, all_until=0)
        if path is not None and path.exists():
            try:
                self._kept = msgspec.json.decode(path.read_bytes(), type=_Kept)
            except (OSError, ValueError) as error:
                log.warning("%s cannot be read, so everybody has to sign in again: %s", path, error)
                self._kept = _Kept(until={}, all_until=unread_until)

    def holds(self, session: str, until: int) -> bool:
        """Whether this session, which runs out at `until`, is over."""
        return until <= self._kept.all_until or session in self._kept.until

    def add(self, session: str, until: int, *, now: int) -> None:
        """It is over. Where that cannot be written down it is over for this process alone."""
        with self._lock:
            found = {**{each: at for each, at in self._kept.until.items() if at > now}, session: until}
            all_until = self._kept.all_until
            while len(found) > ENDED_MAX:
                first = min(found, key=found.__getitem__)
                all_until = max(all_until, found.pop(first))
            self._kept = _Kept(until=found, all_until=all_until)
            if self._path is not None:
                try:
                    replace_file(self._path, [msgspec.json.encode(self._kept)])
                except OSError as error:
                    log.warning("a session that has ended is not in %s: %s", self._path, error)
