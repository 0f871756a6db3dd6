"""The record log in one DuckDB file, which one process owns."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import duckdb

from airboss.domain.errors import StoreUnavailable
from airboss.domain.ports import (
    DeploymentStats,
    Erased,
    JournalMove,
    RecordFilter,
    ReleaseBucket,
    ScoreStats,
    Spent,
    StatsBucket,
    UsageQuery,
    WatchedCall,
)
from airboss.domain.record import Found, InferenceRecord
from airboss.domain.score import Score
from airboss.domain.usage import UsageRow
from airboss.store import (
    duckdb_erase,
    duckdb_rollups,
    duckdb_scores,
    duckdb_search,
    duckdb_spans,
    duckdb_sums,
    duckdb_tags,
    duckdb_usage,
    duckdb_watch,
)
from airboss.store import duckdb_read as read
from airboss.store.duckdb_checkpoints import LATEST, ROWS, Checkpoints
from airboss.store.duckdb_open import migrate, unopened
from airboss.store.duckdb_run import Connection
from airboss.store.duckdb_run import append as _append
from airboss.store.duckdb_run import execute as _execute
from airboss.store.duckdb_run import let_go as _let_go
from airboss.store.duckdb_run import query as _query
from airboss.store.duckdb_run import run as _run
from airboss.store.gate import Gate
from airboss.store.joining import (
    ORPHANS_MAX,
    StoredRecord,
    calls_within,
    gateway_span,
    join,
    read_closed,
    read_opened,
    read_record,
    read_span,
)
from airboss.store.opened_file import OpenedFile
from airboss.store.rollups import Question, of_deployments, of_releases, over_time, told
from airboss.store.rows import COLUMNS, aware, body_rows, from_row, naive, open_rows, record_row
from airboss.store.searching import read_search
from airboss.store.usage import narrowed

FAR: Final = datetime(9999, 1, 1, tzinfo=UTC)
ROOM_AT_ONCE: Final = 4_096
REPLACE_WAIT_S: Final = 10.0
"""So long a reader may take before putting a new file in place is put off."""
SUMS_WAIT_S: Final = REPLACE_WAIT_S / 2
log = logging.getLogger(__name__)


class DuckDBRecordLog(duckdb_spans.DuckDBSpans):
    """Implements `TracedLog`. Safe to call from several threads: one writes at a time, and readers see the
    last whole transaction without waiting for it.

    `apply` raises ValueError for a move that no table can take (a number out of range, say): the mover then
    finds the frame at fault. Raises SetupError when the file is of a newer Airboss.

    The settings were measured with 200,000 records of 3 KB: row groups of 8,192 rows and a checkpoint every
    64 MB keep the process near 200 MB; one waits for up to 96 MB now (`duckdb_checkpoints`). DuckDB's own row
    groups of 122,880 rows are rewritten whole at a checkpoint: stalls of 1.2 s, even with one every 512 MB.
    """

    _next_seq: int
    _file: OpenedFile

    def __init__(self, path: Path, *, memory_limit: str = "256MB") -> None:
        self._path = path
        self._config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "threads": 2,
            "checkpoint_threshold": LATEST,
            "allocator_background_threads": True,  # it gives back what questions took
            "temp_directory": str(duckdb_erase.spill_folder(path)),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._writing = threading.Lock()
        self._gate = Gate()
        self._root: Connection | None = None
        self._words = duckdb_search.Words()
        self._kept = duckdb_search.Kept(0)
        self._checkpoints = Checkpoints(path)
        self._changes = 0  # how often records were blanked or deleted
        self._closed = False
        with self._writing:
            self._connected()

    def offset(self, segment: str) -> int:
        """As `RecordLog.offset`."""
        with self._reading() as connection:
            return read.offset(connection, segment)

    def begun(self, segment: str) -> int | None:  # noqa: ARG002 - the port's
        """As `RecordLog.begun`: moves are taken whole."""
        return None

    def apply(self, move: JournalMove) -> int:
        """As `RecordLog.apply`."""
        with self._transaction() as connection:
            held = read.offset(connection, move.segment)
            if held != move.start:
                return held
            calls = calls_within(move)
            records = [*map(read_record, move.records), *(join(*call) for call in calls)]
            for ids in read.waiting(connection, move.closed.keys() - move.opened.keys()):
                pending = read.opened(connection, ids)
                late = [(read_opened(pending[each]), read_closed(move.closed[each])) for each in ids]
                # In one insert as a rule: another costs as much as hundreds of records do.
                self._insert(connection, [*records, *(join(*call) for call in late)])
                records = []
                calls += late
                _run(connection, "delete from pending where id in (select unnest(?::varchar[]))", [ids])
            self._insert(connection, records)
            spans = [read_span(payload) for payload in move.spans]
            spans += [span for call in calls if (span := gateway_span(*call)) is not None]
            waits = [payload for each, payload in move.opened.items() if each not in move.closed]
            rows = [row for payload in waits for row in open_rows(move.segment, payload)]
            if rows:
                _append(connection, "pending", rows)
            moved_at = move.moved_at or datetime.now(UTC)
            duckdb_spans.take(connection, spans, moved_at)
            if move.scores:
                duckdb_scores.take(connection, move.scores, moved_at)
            if move.end != move.start:
                _run(connection, "insert or replace into offsets values (?, ?)", [move.segment, move.end])
        return move.end

    def orphans(self, segment_prefix: str) -> dict[str, bytes]:
        """As `RecordLog.orphans`: the first 1,000 by id."""
        with self._reading() as connection:
            asked = {"prefix": segment_prefix, "limit": ORPHANS_MAX}
            first = next(read.grouped(_run(connection, _query("orphans"), asked)), [])
            return read.opened(connection, first)

    def forget(self, segment: str) -> None:
        """As `RecordLog.forget`."""
        with self._transaction() as connection:
            _run(connection, "delete from offsets where segment = ?", [segment])

    def records(self, where: RecordFilter, *, limit: int, bodies: bool) -> Sequence[InferenceRecord]:
        """As `RecordLog.records`; a list with bodies may end early, once it holds 64 MB of them."""
        with self._reading() as connection:
            conditions, asked = read.conditions(where)
            order = read.order(where)
            if where.before is not None or where.after is not None:
                anchors = read.anchors(connection, where)
                if anchors is None:
                    return []
                asked.update(anchors)
            if where.before is not None:
                conditions += " and started_at <= $before_at and (started_at < $before_at or id < $before_id)"
            if where.after is not None:
                conditions += " and seq > $after_seq"
                order = "seq"
            columns = ", ".join(f'"{name}"' for name in ("seq", *COLUMNS))
            text = _query("list").format(columns=columns, where=conditions, order=order)
            rows = _run(connection, text, {**asked, "limit": limit})
            found = (
                read.with_bodies(connection, rows) if bodies else [from_row(row, None, None) for row in rows]
            )
            return read.with_scores(connection, found)

    def search(self, where: RecordFilter, words: str, *, limit: int, bodies: bool) -> Found:
        """As `RecordLog.search`."""
        search_for = read_search(words)
        with self._reading() as connection:
            seqs, oldest = duckdb_search.search(connection, where, search_for, limit=limit)
            found = read.of_seqs(connection, seqs, bodies=bodies)
            if len(found) < len(seqs):  # with bodies they may not all fit in memory
                oldest = seqs[len(found) - 1]
            return Found(records=tuple(found), looked_to=read.id_from(connection, oldest))

    def make_room(self, bytes_max: int) -> int:
        """As `RecordLog.make_room`. The file keeps its length; what is freed in it is used again."""
        with self._reading() as connection:
            taken = duckdb_erase.bytes_taken(connection, self._path)
        if taken <= bytes_max:
            return 0
        gone = self.expire(bodies_before=FAR, records_before=None, limit=ROOM_AT_ONCE)
        with self._writing, suppress(duckdb.Error):  # a reader is at work: it is freed by a later one
            _run(self._connected(), "checkpoint")
        return gone

    def tidy(self) -> bool:
        """As `RecordLog.tidy`; keeps the writer out for a third of a second at most, on idle cores."""
        with self._transaction() as connection:
            if duckdb_rollups.begin(connection, next_seq=self._next_seq):
                return True
        if self._sum_up():
            return True
        with self._transaction() as connection:
            ends = {"first": self._first_seq, "next_seq": self._next_seq}
            return self._words.step(connection, self._kept, **ends)

    def _sum_up(self) -> bool:
        """Make sums of the next long stretch, if it is whole, beside the writer; whether there was one."""
        with self._writing:
            next_seq, changes = self._next_seq, self._changes
        with self._reading() as connection:
            made = duckdb_sums.make(connection, next_seq=next_seq)
            if made is None:
                return False
            duckdb_sums.take_in(connection, made)
            # Not for long: an erasure that holds it waits for readers, of whom this is one.
            if self._writing.acquire(timeout=SUMS_WAIT_S):
                try:
                    if changes == self._changes:
                        duckdb_sums.keep(connection, made)
                finally:
                    self._writing.release()
            return True  # what was not kept goes with its connection

    def count(self, where: RecordFilter) -> int:
        """As `RecordLog.count`."""
        with self._reading() as connection:
            conditions, asked = read.conditions(where)
            ((found,),) = _run(connection, _query("count").format(where=conditions), asked)
        return int(found)

    def stats(
        self, since: datetime, until: datetime, *, without_key: str | None = None
    ) -> Sequence[DeploymentStats]:
        """As `RecordLog.stats`; quantiles of many calls are within 2 %."""
        with self._reading() as connection:
            rolled = duckdb_rollups.ask(connection, of_deployments(since, until, without_key))
            if not isinstance(rolled, Question):
                return [told(DeploymentStats, row) for row in rolled]
            asked = {"since": naive(since), "until": naive(until), "without": without_key}
            found = _execute(connection, _query("stats"), asked)
            return [DeploymentStats(**row) for row in read.dicts(found)]

    def series(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[StatsBucket]:
        """As `RecordLog.series`; quantiles of many calls are within 2 %."""
        with self._reading() as connection:
            rolled = duckdb_rollups.ask(connection, over_time(since, until, step_s))
            if not isinstance(rolled, Question):
                return [told(StatsBucket, row) for row in rolled]
            asked = {"since": naive(since), "until": naive(until), "step_us": step_s * 1_000_000}
            rows = read.dicts(_execute(connection, _query("series"), asked))
            return [StatsBucket(**{**row, "start": aware(row["start"])}) for row in rows]

    def traffic(self, since: datetime, until: datetime, *, step_s: int) -> Sequence[ReleaseBucket]:
        """As `RecordLog.traffic`."""
        with self._reading() as connection:
            rolled = duckdb_rollups.ask(connection, of_releases(since, until, step_s))
            if not isinstance(rolled, Question):
                return [told(ReleaseBucket, row) for row in rolled]
            asked = {"since": naive(since), "until": naive(until), "step_us": step_s * 1_000_000}
            rows = read.dicts(_execute(connection, _query("traffic"), asked))
            return [ReleaseBucket(**{**row, "start": aware(row["start"])}) for row in rows]

    def usage(self, asked: UsageQuery) -> Sequence[UsageRow]:
        """As `RecordLog.usage`; quantiles of many calls are within 2 %."""
        conditions, given = read.conditions(narrowed(asked.where))
        with self._reading() as connection:
            return duckdb_usage.usage(connection, asked, conditions, given)

    def spent(self, since: datetime, *, each_user: Collection[str] = ()) -> Sequence[Spent]:
        """As `RecordLog.spent`."""
        with self._reading() as connection:
            return duckdb_watch.spent(connection, since, each_user)

    def watched(
        self, deployment: str, *, after: str, until: str, without_key: str, limit: int
    ) -> Sequence[WatchedCall]:
        """As `RecordLog.watched`."""
        with self._reading() as connection:
            return duckdb_watch.watched(
                connection, deployment, after=after, until=until, without_key=without_key, limit=limit
            )

    def put_scores(self, scores: Sequence[Score]) -> int:
        """As `RecordLog.put_scores`."""
        with self._transaction() as connection:
            return duckdb_scores.put(connection, scores)

    def scores_of(self, record_ids: Collection[str]) -> Sequence[Score]:
        """As `RecordLog.scores_of`."""
        with self._reading() as connection:
            return duckdb_scores.of_records(connection, record_ids)

    def score_stats(
        self, since: datetime, until: datetime, *, by_score_time: bool = False,
        without_key: str | None = None, where: RecordFilter | None = None,
    ) -> Sequence[ScoreStats]:  # fmt: skip
        """As `RecordLog.score_stats`."""
        with self._reading() as connection:
            of = read.conditions(narrowed(where)) if where is not None else None
            return duckdb_scores.stats(
                connection, since, until, by_score_time=by_score_time, without_key=without_key, of=of
            )

    def stray_scores(self, before: datetime, *, limit: int) -> Sequence[Score]:
        """As `RecordLog.stray_scores`."""
        with self._reading() as connection:
            return duckdb_scores.stray(connection, before, limit)

    def drop_scores(self, score_ids: Collection[str]) -> None:
        """As `RecordLog.drop_scores`."""
        with self._transaction() as connection:
            duckdb_scores.drop(connection, score_ids)

    def erase(self, users: Mapping[str, datetime]) -> Mapping[str, Erased]:
        """As `RecordLog.erase`. The file is copied whole and replaced (`duckdb_erase`), which takes twice as
        much room again and keeps writers out; readers wait only while the copy is put in place."""
        with self._transaction() as connection:
            self._blanking()
            erased = duckdb_erase.blank(connection, users)
        with self._writing:
            root = self._connected()
            try:
                if duckdb_erase.rewrite_due(root):
                    self._replace(duckdb_erase.copy_whole(self._path))
            except duckdb.Error as error:
                raise self._failed(error) from error
        return erased

    def _blanking(self) -> None:
        """Records are blanked or deleted in this transaction: nothing that was made of them holds."""
        self._words.forget()
        self._kept.forget(self._next_seq)
        self._changes += 1

    def _replace(self, copy: Path) -> None:
        """Go on with a copy of the file. The caller holds `_writing`."""
        with self._gate.shut(REPLACE_WAIT_S) as alone:
            if not alone:
                duckdb_erase.clear_copy(self._path)
                raise StoreUnavailable(f"{self._path} is being read and not replaced now; it is tried again")
            root, self._root = self._root, None
            if root is not None:
                root.close()
            try:
                duckdb_erase.put_in_place(copy, self._path)
            finally:
                self._connected()

    def expire(self, *, bodies_before: datetime | None, records_before: datetime | None, limit: int) -> int:
        """As `RecordLog.expire`."""
        with self._transaction() as connection:
            self._blanking()
            return duckdb_erase.expire(
                connection, bodies_before=bodies_before, records_before=records_before, limit=limit
            )

    def close(self) -> None:
        """As `RecordLog.close`, with a checkpoint, so that the next start reads no write-ahead log."""
        with self._writing:
            self._closed = True
            root, self._root = self._root, None
            if root is None:
                return
            try:
                _run(root, "checkpoint")
            except duckdb.Error as error:
                # A reader is still at work, or the disk is full. The write-ahead log holds everything.
                log.warning("no checkpoint at close; the next start reads the write-ahead log: %s", error)
            _let_go(root)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection of this call's own: it sees one state and holds nobody up."""
        if self._root is None:
            with self._writing:
                self._connected()
        try:
            with self._gate.entered():
                root = self._root
                if root is None:
                    raise StoreUnavailable(f"the record store {self._path} was lost just now; ask again")
                with root.cursor() as connection:
                    _run(connection, "use log")
                    yield connection
        except (duckdb.DataError, duckdb.InvalidInputException) as error:
            raise ValueError(f"the record log cannot be asked this: {error}") from error
        except duckdb.Error as error:
            raise self._failed(error) from error

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """The one writer's transaction, rolled back when the block raises."""
        with self._writing:
            connection = self._connected()
            if (trouble := self._file.trouble()) is not None:
                raise StoreUnavailable(f"the record store {trouble}")
            next_seq, self._checkpoints.came = self._next_seq, 0
            try:
                connection.begin()
                try:
                    yield connection
                    connection.commit()
                except BaseException:
                    self._next_seq = next_seq
                    self._kept.forget(self._next_seq)
                    self._words.forget()
                    with suppress(duckdb.Error):  # what failed first is what must be told
                        connection.rollback()
                    raise
                self._checkpoints.committed(connection)
            except (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException) as error:
                raise ValueError(f"the record log cannot take this: {error}") from error
            except duckdb.Error as error:
                raise self._failed(error) from error

    def _insert(self, connection: Connection, given: Sequence[StoredRecord]) -> None:
        """Store records that are not there yet, in the order given.

        The appender was measured to be as fast as reading NDJSON (40,000 records of 3 KB a second), without
        the file that needs.
        """
        if not given:
            return
        records: dict[str, StoredRecord] = {}
        for record in given:
            records.setdefault(record.id, record)
        asked = {"first": min(records), "last": max(records), "ids": list(records)}
        for (known,) in _run(connection, _query("known"), asked):
            del records[known]
        numbered = list(enumerate(records.values(), start=self._next_seq))
        self._next_seq += len(numbered)
        _append(connection, "records", [record_row(number, record) for number, record in numbered])
        bodies = [row for number, record in numbered for row in body_rows(number, record)]
        _append(connection, "bodies", bodies)
        self._kept.add(bodies)
        self._checkpoints.came += len(bodies)
        duckdb_scores.attach(connection, records)

    def _connected(self) -> Connection:
        """The connection to the file, opened again if it was lost. The caller holds `_writing`."""
        if self._closed:
            raise StoreUnavailable(f"the record store {self._path} is closed")
        if self._root is None:
            root = duckdb.connect(config=self._config)
            try:
                duckdb_erase.clear_copy(self._path)
                left = duckdb_erase.spilled(self._path)
                path = str(self._path).replace("'", "''")
                _run(root, f"attach '{path}' as log (row_group_size {ROWS})")
                for each in left:  # nobody else has the log open: they are of who was killed
                    each.unlink(missing_ok=True)
                _run(root, "use log")
                migrate(root, self._path)
                duckdb_tags.begin_anew(root)
                ends = "select coalesce(min(seq), 1), coalesce(max(seq), 0) + 1 from records"
                ((first_seq, next_seq),) = _run(root, ends)
            except duckdb.Error as error:
                root.close()
                raise unopened(self._path, error) from error
            except OSError as error:
                root.close()
                raise StoreUnavailable(f"{self._path} cannot be opened: {error}") from error
            except BaseException:
                root.close()
                raise
            self._first_seq: int = first_seq
            self._next_seq = next_seq
            self._words.forget()
            self._kept.forget(next_seq)
            self._root, self._file = root, OpenedFile(self._path)
        return self._root

    def _failed(self, error: duckdb.Error) -> StoreUnavailable:
        """DuckDB gives up a database whose disk failed it in a commit; only opening it again helps."""
        lost = isinstance(error, duckdb.FatalException | duckdb.InternalException)
        if lost or "invalidated" in str(error):
            root, self._root = self._root, None
            if root is not None:
                _let_go(root)
        return StoreUnavailable(f"the record store {self._path} failed: {error}")
