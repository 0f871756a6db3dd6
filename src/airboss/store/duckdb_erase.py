"""People taken out of the record log's DuckDB file, and what is too old to be kept.

Deleting and updating rows leaves their old bytes in the file: DuckDB marks rows, and blocks that it has
written anew stay until they are used again. So a file that people were taken out of is copied whole, which
takes over only what is still there, and put in the place of the old one. (Overwriting free blocks was tried:
parts of blocks that are still in use kept the old text.)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import Erased
from airboss.store import duckdb_rollups, duckdb_scores, duckdb_search, duckdb_spans, duckdb_sums
from airboss.store.duckdb_copy import BYTES_SUFFIX, COPY_SUFFIX, ZEROED, beside
from airboss.store.duckdb_run import Connection, append, query, run
from airboss.store.joining import blank_opened, read_opened
from airboss.store.rows import naive, open_rows
from airboss.store.whole_file import sync_folder

IDS_AT_ONCE: Final = 5_000
COPY_MAX_S: Final = 3600.0


def blank(connection: Connection, users: Mapping[str, datetime]) -> dict[str, Erased]:
    """As `RecordLog.erase`, within a transaction; notes that the file is to be written anew."""
    erased = {}
    found = False
    for user, before in users.items():
        asked = {"user": user, "before": naive(before)}
        ids = [record_id for (record_id,) in run(connection, query("records_of_user"), asked)]
        traced = run(connection, query("seqs_traced"), asked)
        scores = 0
        for some in batched_ids(list(dict.fromkeys([*ids, *(record_id for _, record_id in traced)]))):
            scores += duckdb_scores.erase(connection, user=user, record_ids=some)
        theirs = run(connection, query("seqs_of_user"), asked)
        seqs = [each[0] for each in (*theirs, *traced)]
        duckdb_search.clear(connection, duckdb_search.blocks_of(seqs))
        duckdb_sums.blank(connection, [seq for (seq,) in theirs])
        run(connection, query("erase_bodies"), asked)
        run(connection, query("erase_user"), asked)
        opened = _blank_opened(connection, user, before)
        spans = duckdb_spans.erase(connection, user, before)
        found = found or bool(ids or opened or scores or spans)
        erased[user] = Erased(records=len(ids) + opened, scores=scores)
    if found:
        run(connection, "insert into rewrites_due values (?)", [naive(datetime.now(UTC))])
    return erased


def batched_ids(ids: list[str]) -> Iterator[list[str]]:
    """Groups of ids; one empty group if there are none, since scores may name a person without a record."""
    if not ids:
        yield []
    for start in range(0, len(ids), IDS_AT_ONCE):
        yield ids[start : start + IDS_AT_ONCE]


def _blank_opened(connection: Connection, user: str, before: datetime) -> int:
    """Blank the calls of this user, and of traces that name them, that are still open; returns how many."""
    found = 0
    named = 'select distinct trace_id from spans where "user" = $user and started_at <= $before'
    traces = {trace.hex for (trace,) in run(connection, named, {"user": user, "before": naive(before)})}
    waiting = run(connection, "select distinct id, segment from pending order by id")
    for record_id, segment in waiting:
        asked = "select opened from pending where id = ? order by part"
        payload = "".join(text for (text,) in run(connection, asked, [record_id])).encode()
        opened = read_opened(payload)
        if (opened.user == user or opened.trace_id in traces) and opened.started_at <= before:
            run(connection, "delete from pending where id = ?", [record_id])
            append(connection, "pending", list(open_rows(segment, blank_opened(opened))))
            found += 1
    return found


def rewrite_due(connection: Connection) -> bool:
    """Whether the file still holds what was blanked."""
    return bool(run(connection, "select 1 from rewrites_due limit 1"))


def copy_whole(path: Path) -> Path:
    """A copy of the file, beside it, that has only what is there (`duckdb_copy`); nobody writes meanwhile.
    Raises StoreUnavailable."""
    clear_copy(path)
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-P", "-m", "airboss.store.duckdb_copy", str(path)],
            env=os.environ | ZEROED,
            capture_output=True,
            text=True,
            timeout=COPY_MAX_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        clear_copy(path)
        raise StoreUnavailable(f"{path} cannot be copied: {error}") from error
    if done.returncode:
        clear_copy(path)
        raise StoreUnavailable(f"{path} cannot be copied: {done.stderr.strip()[-600:] or done.returncode}")
    clear_bytes(path)
    return beside(path, COPY_SUFFIX)


def put_in_place(copy: Path, path: Path) -> None:
    """Put the copy where the file was, which was closed whole: a write-ahead log that is left beside it would
    be taken for the copy's. Nobody has either open. Raises StoreUnavailable, with the file as it was."""
    wal = path.with_name(path.name + ".wal")
    if wal.exists() and wal.stat().st_size:
        raise StoreUnavailable(f"{wal} is not empty, so that {path} cannot be replaced; it is tried again")
    try:
        wal.unlink(missing_ok=True)
        copy.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be replaced by its copy: {error}") from error


def bytes_taken(connection: Connection, path: Path) -> int:
    """How many bytes are in use, of the file and of its write-ahead log."""
    text = "select used_blocks * block_size from pragma_database_size() where database_name = 'log'"
    ((taken,),) = run(connection, text)
    wal = path.with_name(path.name + ".wal")
    return int(taken) + (wal.stat().st_size if wal.exists() else 0)


def spill_folder(path: Path) -> Path:
    """Where DuckDB puts what does not fit into memory."""
    return beside(path, ".tmp")


def spilled(path: Path) -> list[Path]:
    """What is there: who is killed leaves it, with what was said, and the next one does not look at it."""
    return [each for each in spill_folder(path).glob("duckdb_temp_*") if each.is_file()]


def clear_copy(path: Path) -> None:
    """Delete what an interrupted copy left."""
    clear_bytes(path)
    for suffix in (COPY_SUFFIX, f"{COPY_SUFFIX}.wal"):
        beside(path, suffix).unlink(missing_ok=True)


def clear_bytes(path: Path) -> None:
    """Delete what a copy was made of."""
    for suffix in (BYTES_SUFFIX, f"{BYTES_SUFFIX}.wal"):
        beside(path, suffix).unlink(missing_ok=True)
    shutil.rmtree(beside(path, f"{BYTES_SUFFIX}.tmp"), ignore_errors=True)


def expire(
    connection: Connection, *, bodies_before: datetime | None, records_before: datetime | None, limit: int
) -> int:
    """As `RecordLog.expire`, within a transaction."""
    done = 0
    if records_before is not None:
        asked = {"before": naive(records_before), "limit": limit}
        old = run(connection, query("old_records"), asked)
        for start in range(0, len(old), IDS_AT_ONCE):
            some = old[start : start + IDS_AT_ONCE]
            seqs, ids = [seq for seq, _ in some], [record_id for _, record_id in some]
            run(connection, "delete from scores where record_id in (select unnest(?::varchar[]))", [ids])
            duckdb_search.clear(connection, duckdb_search.blocks_of(seqs))
            for table in ("bodies", "records"):
                text = f"delete from {table} where seq in (select unnest(?::bigint[]))"  # noqa: S608 - two names
                run(connection, text, [seqs])
        done += len(old)
        duckdb_rollups.expire(connection, records_before)
        duckdb_sums.expire(connection, records_before)
        done += duckdb_spans.expire(connection, records_before, limit, whole="spans")
    if bodies_before is not None and done < limit:
        asked = {"before": naive(bodies_before), "limit": limit - done}
        seqs = [seq for (seq,) in run(connection, query("old_bodies"), asked)]
        if seqs:
            duckdb_search.clear(connection, duckdb_search.blocks_of(seqs))
            run(connection, "delete from bodies where seq in (select unnest(?::bigint[]))", [seqs])
        done += len(seqs)
        done += duckdb_spans.expire(connection, bodies_before, limit, whole="texts")
    return done
