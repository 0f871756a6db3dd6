"""Which calls came into the record log by an import: who follows it does not take them for new ones.

They stand in a file as well, a JSON list a page: an import into the data of a stopped Airboss is known to
the next that starts on it, and one whose controller is killed before followers have passed, to the next.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from airboss.domain.errors import StoreUnavailable
from airboss.store.whole_file import replace_file

BROUGHT_MAX: Final = 200_000
"""So many are remembered, in 40 MB at most; who follows the log is seldom a thousand behind."""
KEPT_S: Final = 7 * 86_400.0
"""After a week without an import the file goes: by then whoever follows the log has passed it."""


class Brought:
    """Ids of the calls brought last: by this process, and in `path` by others. Threads may share it."""

    def __init__(self, path: Path | None = None) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._path = path
        self._written = 0
        """Ids in the file."""
        if path is not None and path.exists():
            self._read(path)

    def note(self, ids: Iterable[str]) -> None:
        """These are about to be stored. Raises StoreUnavailable where that cannot be written down."""
        with self._lock:
            noted = list(ids)
            self._remember(noted)
            if self._path is not None and noted:
                try:
                    with self._path.open("ab") as file:
                        file.write(msgspec.json.encode(noted) + b"\n")
                        file.flush()
                        os.fsync(file.fileno())
                    self._written += len(noted)
                    if self._written > 2 * BROUGHT_MAX:
                        self._write_anew(self._path)
                except OSError as error:
                    why = error.strerror or str(error)
                    raise StoreUnavailable(f"{self._path} cannot be written: {why}") from error

    def _remember(self, ids: Iterable[str]) -> None:
        self._ids.update((each, None) for each in ids)
        while len(self._ids) > BROUGHT_MAX:
            self._ids.popitem(last=False)

    def _read(self, path: Path) -> None:
        """Those of before. A line that was cut by a kill was of a page that was not stored; what is noted
        next must not stand behind it."""
        if time.time() - path.stat().st_mtime > KEPT_S:
            path.unlink()
            return
        line = b"\n"
        with path.open("rb") as file:
            for line in file:
                try:
                    ids = msgspec.json.decode(line, type=list[str])
                except msgspec.MsgspecError:
                    continue
                self._written += len(ids)
                self._remember(ids)
        if self._written > 2 * BROUGHT_MAX or not line.endswith(b"\n"):
            with suppress(OSError):  # a full disk keeps nobody from starting
                self._write_anew(path)

    def _write_anew(self, path: Path) -> None:
        replace_file(path, [msgspec.json.encode(list(self._ids)) + b"\n"])
        self._written = len(self._ids)

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._ids
