"""Which page of records belongs to an export that is noted already: in memory, few, and for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

EXPORTS_MAX: Final = 64
LASTS: Final = timedelta(minutes=15)
"""The longest time from one page to the next."""


class Exports:
    """The next page of each export of this process, by who asks for it and how.

    It goes on from what was noted once only: asked for again, too late, or when it was forgotten, it begins
    another export. Used from several threads.
    """

    def __init__(self) -> None:
        self._next: OrderedDict[tuple[object, ...], datetime] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, actor: str, params: Mapping[str, str], now: datetime) -> bool:
        """Whether this page goes on from one that was noted. It then does so no more."""
        with self._lock:
            led = self._next.pop(_page(actor, params), None)
        return led is not None and now - led <= LASTS

    def lead(self, actor: str, params: Mapping[str, str], now: datetime) -> None:
        """Remember the page after one that was noted."""
        with self._lock:
            self._next[_page(actor, params)] = now
            while len(self._next) > EXPORTS_MAX:
                self._next.popitem(last=False)


def _page(actor: str, params: Mapping[str, str]) -> tuple[object, ...]:
    return (actor, *sorted(params.items()))
