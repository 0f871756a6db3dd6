"""Jobs in SQL, in the ledger's database: queued, claimed for a lease, done."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Update, and_, insert, or_, select, update

from airboss.store.job_rows import ENDS, Job, JobState, JobStore
from airboss.store.ledger_part import LedgerPart, utc_text
from airboss.store.ledger_tables import jobs
from airboss.store.ledger_unchanged import unchanged

__all__ = ["Job", "JobState", "JobStore", "SqlJobStore"]

CLAIMS_MAX: Final = 20
"""A job that was begun so often and never ended is taken to be what kills its owners."""

NOTE_CHARS_MAX: Final = 500
ERROR_CHARS_MAX: Final = 4_000
RESULT_BYTES_MAX: Final = 32 * 1024 * 1024


SET_BACK_MIN: Final = timedelta(hours=1)
"""An owner who was heard of so long after now was heard of by a clock that has been set back. Less is no sign
of it: whoever claims may have been held up since it looked at its own."""


class SqlJobStore(LedgerPart):
    """`JobStore`. Safe to use by threads, and by several processes on one database."""

    def add(self, kind: str, spec: object, by: str, now: datetime, *, job_id: str | None = None) -> Job:
        """As `JobStore.add`."""
        job = Job(
            id=job_id or f"{kind}-{secrets.token_hex(5)}",
            kind=kind,
            spec=_raw(spec),
            state="queued",
            done=0,
            total=0,
            note="",
            result=None,
            error=None,
            created_at=now,
            updated_at=now,
            by=by,
        )
        with self._write() as connection:
            connection.execute(insert(jobs).values(**_values(job), owner=None, claims=0))
        return job

    def get(self, job_id: str) -> Job | None:
        """As `JobStore.get`."""
        with self._read() as connection:
            return _get(connection, job_id)

    def list(self, kind: str | None = None, limit: int = 100) -> tuple[Job, ...]:
        """As `JobStore.list`."""
        with self._read() as connection:
            query = select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
            if kind is not None:
                query = query.where(jobs.c.kind == kind)
            return tuple(_job(row) for row in connection.execute(query))

    def claim(self, owner: str, now: datetime, lease_s: float, *, but: Collection[str] = ()) -> Job | None:
        """As `JobStore.claim`."""
        if not self._unfinished():
            return None
        lease = timedelta(seconds=lease_s)
        # Much later than now: the owner died before the clock was set back.
        lapsed = or_(
            jobs.c.updated_at < utc_text(now - lease), jobs.c.updated_at > utc_text(now + SET_BACK_MIN)
        )
        silent = and_(jobs.c.state == "running", lapsed)
        query = (
            select(jobs)
            .where(or_(jobs.c.state == "queued", silent), jobs.c.kind.not_in(but))
            .order_by(jobs.c.created_at, jobs.c.id)
            .limit(1)
        )
        with self._write() as connection:
            while (row := connection.execute(query).one_or_none()) is not None:
                if row.claims >= CLAIMS_MAX:
                    error = (
                        f"it was begun {row.claims} times, and its owner died, or lost the ledger, each time"
                    )
                    self._set(connection, row, state="failed", error=error, owner=None, now=now)
                    continue
                self._set(
                    connection, row, state="running", error=None, owner=owner, now=now, claims=row.claims + 1
                )
                return _get(connection, row.id)
            return None

    @unchanged
    def _unfinished(self) -> bool:
        with self._read() as connection:
            found = select(jobs.c.id).where(jobs.c.state.not_in(ENDS)).limit(1)
            return connection.execute(found).first() is not None

    def beat(self, job_id: str, owner: str, *, done: int, total: int, note: str, now: datetime) -> bool:
        """As `JobStore.beat`."""
        return self._owned(
            job_id, owner, now, done=done, total=total, note=note[:NOTE_CHARS_MAX], state="running"
        )

    def finish(self, job_id: str, owner: str, result: object, now: datetime) -> bool:
        """As `JobStore.finish`. Raises ValueError for a result of more than RESULT_BYTES_MAX."""
        raw = bytes(_raw(result))
        if len(raw) > RESULT_BYTES_MAX:
            raise ValueError(f"a job's result of {len(raw):,} bytes; at most {RESULT_BYTES_MAX:,} are kept")
        return self._owned(job_id, owner, now, state="done", result=raw.decode(), owner=None)

    def fail(self, job_id: str, owner: str, error: str, now: datetime) -> bool:
        """As `JobStore.fail`."""
        return self._owned(job_id, owner, now, state="failed", error=error[:ERROR_CHARS_MAX], owner=None)

    def release(self, job_id: str, owner: str, now: datetime) -> bool:
        """As `JobStore.release`."""
        # It did not die of the job, so the claim does not count.
        return self._owned(job_id, owner, now, state="queued", owner=None, claims=jobs.c.claims - 1)

    def cancel(self, job_id: str, now: datetime) -> Job | None:
        """As `JobStore.cancel`."""
        with self._write() as connection:
            connection.execute(
                update(jobs)
                .where((jobs.c.id == job_id) & jobs.c.state.not_in(ENDS))
                .values(state="cancelled", owner=None, updated_at=utc_text(now))
            )
            return _get(connection, job_id)

    def _owned(self, job_id: str, by: str, now: datetime, **values: Any) -> bool:
        """Change a job that `by` still works at; whether it does."""
        mine = (jobs.c.id == job_id) & (jobs.c.state == "running") & (jobs.c.owner == by)
        with self._write() as connection:
            changed = connection.execute(update(jobs).where(mine).values(**values, updated_at=utc_text(now)))
            return bool(changed.rowcount)

    @staticmethod
    def _set(connection: Connection, row: Row[Any], *, now: datetime, **values: Any) -> None:
        statement: Update = update(jobs).where(jobs.c.id == row.id)
        connection.execute(statement.values(**values, updated_at=utc_text(now)))


def _get(connection: Connection, job_id: str) -> Job | None:
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()
    return None if row is None else _job(row)


def _raw(value: object) -> msgspec.Raw:
    return value if isinstance(value, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(value))


def _values(job: Job) -> dict[str, Any]:
    values = msgspec.structs.asdict(job)
    for name in ("spec", "result"):
        values[name] = None if values[name] is None else bytes(values[name]).decode()
    return values | {name: utc_text(values[name]) for name in ("created_at", "updated_at")}


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        kind=row.kind,
        spec=msgspec.Raw(row.spec.encode()),
        state=row.state,
        done=row.done,
        total=row.total,
        note=row.note,
        result=None if row.result is None else msgspec.Raw(row.result.encode()),
        error=row.error,
        created_at=datetime.fromisoformat(row.created_at),
        updated_at=datetime.fromisoformat(row.updated_at),
        by=row.by,
    )
