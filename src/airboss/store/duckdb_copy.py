"""A copy of the record log's DuckDB file that has only what is there: `python -m … duckdb_copy FILE`.

In a process of its own, for its memory: DuckDB writes the unused end of the last page of what it compresses
as it lies there, and in the owner's lie things that somebody said whom an erasure has just taken out. Here
memory comes zeroed (`ZEROED`), which for the owner would double what a question costs. It reads a copy of
the file's bytes, as the owner has the file open and goes on answering.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

import duckdb

from airboss.store.duckdb_checkpoints import ROWS
from airboss.store.duckdb_run import run

COPY_SUFFIX: Final = ".rewriting"
BYTES_SUFFIX: Final = ".copied"
ZEROED: Final = {"DUCKDB_JE_MALLOC_CONF": "zero:true"}
"""In the environment: DuckDB's allocator reads this once, when it is loaded."""
CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "memory_limit": "256MB",
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def beside(path: Path, suffix: str) -> Path:
    """The file of that suffix beside it."""
    return path.with_name(path.name + suffix)


def copy_anew(path: Path) -> None:
    """Make the copy; nobody writes meanwhile. Raises OSError, duckdb.Error."""
    there = beside(path, BYTES_SUFFIX)
    for suffix in ("", ".wal"):
        if (source := beside(path, suffix)).exists():
            shutil.copyfile(source, beside(there, suffix))
    with duckdb.connect(config={**CONFIG, "temp_directory": f"{there}.tmp"}) as connection:
        for name, file in (("log", there), ("fresh", beside(path, COPY_SUFFIX))):
            quoted = str(file).replace("'", "''")
            run(connection, f"attach '{quoted}' as {name} (row_group_size {ROWS})")
        run(connection, "copy from database log to fresh")
        run(connection, "delete from fresh.rewrites_due")
        run(connection, "checkpoint fresh")
        run(connection, "detach fresh")


def main() -> None:
    """The copy of the file that is named; otherwise why there is none, on one line, and 1."""
    try:
        copy_anew(Path(sys.argv[1]))
    except (OSError, duckdb.Error) as error:
        sys.exit(" ".join(str(error).split())[:600])


if __name__ == "__main__":
    main()
