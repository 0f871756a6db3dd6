"""The keys that bodies are sealed with, in SQL, in the ledger's database."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, insert, select

from airboss.store.body_key_rows import BodyKey
from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import body_keys, erasures

_AT_ONCE = 500
"""Holders in one question: SQLite counts parameters."""


class SqlBodyKeys(LedgerPart):
    """`BodyKeyStore`. Safe to use by threads, and by several processes on one database."""

    def get(self, key_id: str) -> BodyKey | None:
        """As `BodyKeyStore.get`."""
        with self._read() as connection:
            row = connection.execute(select(body_keys).where(body_keys.c.id == key_id)).one_or_none()
            return None if row is None else _key(row)

    def put(self, keys: Sequence[BodyKey]) -> Sequence[BodyKey]:
        """As `BodyKeyStore.put`."""
        with self._write() as connection:
            there = {
                (each.holder, each.generation): each for each in _held(connection, {k.holder for k in keys})
            }
            new = [each for each in keys if (each.holder, each.generation) not in there]
            if new:
                rows = [{name: getattr(each, name) for name in BodyKey.__struct_fields__} for each in new]
                connection.execute(insert(body_keys), rows)
        there |= {(each.holder, each.generation): each for each in new}
        return [there[each.holder, each.generation] for each in keys]

    def held(self, holders: Collection[str]) -> Sequence[BodyKey]:
        """As `BodyKeyStore.held`."""
        with self._read() as connection:
            return _held(connection, holders)

    def master(self) -> str | None:
        """As `BodyKeyStore.master`."""
        with self._read() as connection:
            return connection.execute(select(body_keys.c.master).limit(1)).scalar()

    def destroy_forgotten(self) -> int:
        """As `BodyKeyStore.destroy_forgotten`."""
        since = exists().where(
            (erasures.c.digest == body_keys.c.holder) & (erasures.c.at > body_keys.c.generation)
        )
        return self._delete(since)

    def destroy_before(self, holder: str) -> int:
        """As `BodyKeyStore.destroy_before`."""
        kind, _, _day = holder.partition(" ")
        return self._delete((body_keys.c.holder >= f"{kind} ") & (body_keys.c.holder < holder))

    def _delete(self, which: Any) -> int:
        with self._read() as connection:  # most of the time there are none, and nobody need be held up
            if connection.execute(select(body_keys.c.id).where(which).limit(1)).first() is None:
                return 0
        with self._write() as connection:
            return connection.execute(delete(body_keys).where(which)).rowcount


def _held(connection: Connection, holders: Collection[str]) -> list[BodyKey]:
    found: list[BodyKey] = []
    listed = sorted(holders)
    for start in range(0, len(listed), _AT_ONCE):
        some = body_keys.c.holder.in_(listed[start : start + _AT_ONCE])
        found += [_key(row) for row in connection.execute(select(body_keys).where(some))]
    return found


def _key(row: Row[Any]) -> BodyKey:
    return BodyKey(**{name: row._mapping[name] for name in BodyKey.__struct_fields__})
