"""Which calls came into the record log by an import: who follows it does not take them for new ones."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

BROUGHT_MAX: Final = 200_000
"""So many are remembered, in 40 MB at most; who follows the log is seldom a thousand behind."""


class Brought:
    """Ids of the calls brought last, of this process. Used from several threads."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, ids: Iterable[str]) -> None:
        """These are about to be stored."""
        with self._lock:
            self._ids.update((each, None) for each in ids)
            while len(self._ids) > BROUGHT_MAX:
                self._ids.popitem(last=False)

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._ids
