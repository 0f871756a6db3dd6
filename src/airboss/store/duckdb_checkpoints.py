"""When the record log's DuckDB file is checkpointed: what came is compressed then, and put into its blocks.

What comes after one begins a row group of its own. Two that are not full, with less than three full ones
between, are merged by the next if both have room in one: all that is in them and between is read and
compressed again, which took as long as what was new. So the last row group is more than half full at each.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import duckdb

from airboss.store.duckdb_run import Connection, run

ROWS: Final = 8_192
"""Of a row group."""
BYTES: Final = 64 << 20
"""Of write-ahead log, before which none is made."""
LATEST: Final = "96MB"
"""At which DuckDB makes one by itself, however full the last row group is."""


class Checkpoints:
    """What came since the last one. The one writer calls it, after each of its commits."""

    def __init__(self, path: Path) -> None:
        self._log = path.with_name(path.name + ".wal")
        self.came = 0
        """Rows of `bodies` that came in this transaction."""
        self._bytes = self._rows = 0

    def committed(self, connection: Connection) -> None:
        """Make one, if it is due."""
        size = 0
        with suppress(OSError):  # there may be none
            size = self._log.stat().st_size
        self._rows = self._rows + self.came if size >= self._bytes else 0  # else DuckDB has made one just now
        filled = self._rows % ROWS
        if size >= BYTES and filled > ROWS // 2 and filled + self.came > ROWS:  # the next would begin another
            with suppress(duckdb.Error):  # the log holds everything; it is tried again
                run(connection, "checkpoint")
                size = self._rows = 0
        self._bytes = size
