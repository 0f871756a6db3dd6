"""Bodies of records in ClickHouse: a table of their own, in which nothing says whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from airboss.store.clickhouse_http import ClickHouse
from airboss.store.clickhouse_rows import BODY_COLUMNS, body_of
from airboss.store.joining import StoredRecord

IDS_AT_ONCE: Final = 5_000


Bodies = dict[str, tuple[str, str, str, str] | None]
"""Rows by their record's id; None where a record has no body."""


def bodies_of(records: Iterable[StoredRecord]) -> Bodies:
    """What `put` takes. Raises ValueError for a body that cannot be stored."""
    return {record.id: body_of(record) for record in records}


def put(house: ClickHouse, bodies: Bodies, token: str, *, again: bool = False) -> None:
    """Insert the bodies that records have, before the records. `again`: some may be in already, under this
    token. Who was forgotten since has a record without a body and without a name, by which nobody would find
    the body that is."""
    house.insert("bodies", BODY_COLUMNS, [row for row in bodies.values() if row is not None], token)
    if again:
        drop(house, [record_id for record_id, row in bodies.items() if row is None])


def drop(house: ClickHouse, ids: Sequence[str]) -> None:
    """Delete bodies, with the parts that held them written anew."""
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = {"ids": ids[start : start + IDS_AT_ONCE]}
        house.run(f"delete from bodies{house.on_cluster} where id in $ids", some)  # noqa: S608 - fixed
    if ids:
        house.run(f"alter table bodies{house.on_cluster} apply deleted mask", hard=True)
