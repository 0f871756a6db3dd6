"""People to forget, in SQL, in the ledger's database."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from airboss.domain.errors import SetupError
from airboss.store.erasure_rows import Erasure
from airboss.store.ledger_open import REFUSALS, cannot
from airboss.store.ledger_part import LedgerPart, utc_text
from airboss.store.ledger_tables import erasures, metadata
from airboss.store.ledger_unchanged import unchanged


class SqlErasures(LedgerPart):
    """`ErasureStore`. Safe to use by threads, and by several processes on one database."""

    def ask(self, user: str, *, digest: str, at: datetime, by: str) -> Erasure:
        """As `ErasureStore.ask`."""
        with self._write() as connection:
            same = (erasures.c.digest == digest) & erasures.c.user.is_not(None)
            known = connection.execute(select(erasures.c.id).where(same)).scalar()
            if known is not None:
                connection.execute(update(erasures).where(erasures.c.id == known).values(at=utc_text(at)))
                return _one(connection, known)
            counts = {"records": 0, "scores": 0, "items": 0, "names": 0}
            row = {"digest": digest, "at": utc_text(at), "by": by[:200], "user": user, **counts}
            made = connection.execute(insert(erasures).values(**row)).inserted_primary_key
            assert made is not None  # the table has one
            return _one(connection, made[0])

    def get(self, erasure_id: int) -> Erasure | None:
        """As `ErasureStore.get`."""
        with self._read() as connection:
            row = connection.execute(select(erasures).where(erasures.c.id == erasure_id)).one_or_none()
            return None if row is None else _read(row)

    def newest(self, limit: int) -> Sequence[Erasure]:
        """As `ErasureStore.newest`."""
        with self._read() as connection:
            rows = connection.execute(select(erasures).order_by(erasures.c.id.desc()).limit(limit))
            return [_read(row) for row in rows]

    @unchanged
    def pending(self) -> Sequence[Erasure]:
        """As `ErasureStore.pending`."""
        with self._read() as connection:
            rows = connection.execute(
                select(erasures).where(erasures.c.done_at.is_(None)).order_by(erasures.c.id)
            )
            return [_read(row) for row in rows]

    @unchanged
    def tombstones(self, than: object = None) -> tuple[object, Mapping[str, datetime]] | None:
        """As `ErasureStore.tombstones`."""
        with self._read() as connection:
            mark = tuple(connection.execute(select(func.count(), func.max(erasures.c.at))).one())
            if mark == than:
                return None
            found = select(erasures.c.digest, func.max(erasures.c.at)).group_by(erasures.c.digest)
            return mark, {
                digest: datetime.fromisoformat(at) for digest, at in connection.execute(found).all()
            }

    def found(self, erasure_id: int, *, records: int, scores: int, items: int, names: int) -> None:
        """As `ErasureStore.found`."""
        with self._write() as connection:
            connection.execute(
                update(erasures)
                .where(erasures.c.id == erasure_id)
                .values(
                    user=None,
                    records=erasures.c.records + records,
                    scores=erasures.c.scores + scores,
                    items=erasures.c["items"] + items,
                    names=erasures.c.names + names,
                )
            )

    def clean(self) -> bool:
        """As `ErasureStore.clean`."""
        if self._engine.dialect.name == "postgresql":
            from airboss.store.ledger_postgres import rewrite  # noqa: PLC0415 - an extra

            try:
                return rewrite(self._engine, metadata.sorted_tables)
            except REFUSALS as error:
                raise cannot(error, self._engine) from error
        # Past SQLAlchemy, which begins a transaction wherever it can; there is none around these two.
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            # Deleted rows are overwritten at once (`secure_delete`), but not what moved between pages.
            cursor.execute("VACUUM")
            # Now all of the file is new, and the write-ahead log, which has old pages, is cut to nothing.
            busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            cursor.close()
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                return False
            raise SetupError(f"the ledger cannot be written anew: {error}; is its disk full?") from error
        finally:
            connection.close()
        return not busy

    def finish(self, erasure_ids: Sequence[int], now: datetime) -> None:
        """As `ErasureStore.finish`."""
        with self._write() as connection:
            connection.execute(
                update(erasures)
                .where(erasures.c.id.in_(erasure_ids) & erasures.c.user.is_(None))
                .values(done_at=utc_text(now))
            )


def _one(connection: Connection, erasure_id: int) -> Erasure:
    return _read(connection.execute(select(erasures).where(erasures.c.id == erasure_id)).one())


def _read(row: Row[Any]) -> Erasure:
    values = {name: row._mapping[name] for name in Erasure.__struct_fields__}
    values["at"] = datetime.fromisoformat(values["at"])
    values["done_at"] = datetime.fromisoformat(values["done_at"]) if values["done_at"] else None
    return Erasure(**values)
