"""Responses that later calls may build on, in SQL, in the ledger's database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    CTE,
    Connection,
    LargeBinary,
    Row,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from airboss.domain.errors import WrongCall
from airboss.store.ledger_part import LedgerPart, utc_text
from airboss.store.ledger_tables import responses
from airboss.store.response_rows import LINKS_MAX, KeptResponse, TooLong

_REPLACED = delete(responses).where(
    (responses.c.id == bindparam("this")) & (responses.c.key == bindparam("whose"))
)


class SqlResponseStore(LedgerPart):
    """`ResponseStore`. Safe to use by threads, and by several processes on one database."""

    def put(self, *kept: KeptResponse) -> None:
        """As `ResponseStore.put`."""
        with self._write() as connection:
            for each in kept:
                _put(connection, each)

    def get(
        self, response_id: str, *, key: str, now: datetime, most: int | None = None
    ) -> KeptResponse | None:
        """As `ResponseStore.get`."""
        this = _is(response_id, key, now)
        with self._read() as connection:
            if most is not None:
                texts = self._bytes(responses.c.response) + self._bytes(responses.c.messages)
                size = connection.execute(select(texts).where(this)).scalar() or 0
                if size > most:
                    raise TooLong(size, 1)
            row = connection.execute(select(responses).where(this)).one_or_none()
            return None if row is None else _kept(row)

    def chain(self, response_id: str, *, key: str, now: datetime, most: int) -> Sequence[KeptResponse] | None:
        """As `ResponseStore.chain`."""
        links = _links(response_id, key, utc_text(now), bound=(self._bytes(responses.c.messages), most))
        told = [column for column in responses.c if column is not responses.c.response]
        with self._read() as connection:
            found = connection.execute(select(links).order_by(links.c.depth)).all()
            if found and found[-1].size > most:
                raise TooLong(found[-1].size, len(found))
            if not found or found[-1].previous is not None:
                return None
            rows = connection.execute(
                select(*told)
                .add_columns(literal("").label("response"))
                .where(responses.c.id.in_([link.id for link in found]))
            ).all()
        kept = {row.id: _kept(row) for row in rows}
        return [kept[link.id] for link in reversed(found)]

    def _bytes(self, column: Any) -> Any:
        """How long a response's text is, in SQL."""
        if self._engine.dialect.name == "postgresql":
            return func.octet_length(column)  # it does not read it
        return func.length(cast(column, LargeBinary))  # of a text it says characters

    def delete(self, response_id: str, *, key: str, now: datetime) -> bool:
        """As `ResponseStore.delete`."""
        with self._write() as connection:
            return connection.execute(delete(responses).where(_is(response_id, key, now))).rowcount > 0

    def people(self, before: datetime) -> Mapping[str, datetime]:
        """As `ResponseStore.people`."""
        with self._read() as connection:
            rows = connection.execute(
                select(responses.c.user, func.min(responses.c.created_at))
                .where(responses.c.user.is_not(None) & (responses.c.created_at < utc_text(before)))
                .group_by(responses.c.user)
            )
            return {user: datetime.fromisoformat(first) for user, first in rows}

    def forget_user(self, user: str, *, until: datetime | None = None) -> int:
        """As `ResponseStore.forget_user`."""
        theirs = responses.c.user == user
        if until is not None:
            theirs &= responses.c.created_at <= utc_text(until)
        with self._write() as connection:
            return connection.execute(delete(responses).where(theirs)).rowcount

    def expire(self, now: datetime, *, limit: int) -> int:
        """As `ResponseStore.expire`."""
        due = select(responses.c.id).where(responses.c.expires_at <= utc_text(now)).limit(limit)
        with self._read() as connection:
            gone = connection.execute(due).scalars().all()
        if not gone:
            return 0
        with self._write() as connection:
            return connection.execute(delete(responses).where(responses.c.id.in_(gone))).rowcount


def _put(connection: Connection, kept: KeptResponse) -> None:
    row = msgspec.structs.asdict(kept)
    row |= {"created_at": utc_text(kept.created_at), "expires_at": utc_text(kept.expires_at)}
    connection.execute(_REPLACED, {"this": kept.id, "whose": kept.key})
    try:
        connection.execute(insert(responses).values(**row))
    except IntegrityError as error:
        # A provider that remembers answers, say, gives one to two keys by one id.
        raise WrongCall(f"response {kept.id!r} cannot be kept: another key has one of this id") from error
    if kept.previous is None:
        return
    links = _links(kept.previous, kept.key, utc_text(kept.created_at))
    sooner = responses.c.expires_at < row["expires_at"]
    connection.execute(
        update(responses)
        .where(responses.c.id.in_(select(links.c.id)) & sooner)
        .values(expires_at=row["expires_at"])
    )


def _is(response_id: str, key: str, now: datetime) -> Any:
    mine = (responses.c.id == response_id) & (responses.c.key == key)
    return mine & (responses.c.expires_at > utc_text(now))


def _links(response_id: str, key: str, now: str, *, bound: tuple[Any, int] = (literal(0), 0)) -> CTE:
    """The ids of a response and of those that it builds on, how far back each is, and the size of all from
    there on, by the bound's expression: none is looked for behind one that is over the bound."""
    alive = (responses.c.key == key) & (responses.c.expires_at > now)
    size, most = bound
    links = (
        select(responses.c.id, responses.c.previous, literal(0).label("depth"), size.label("size"))
        .where((responses.c.id == response_id) & alive)
        .cte("links", recursive=True)
    )
    return links.union_all(
        select(responses.c.id, responses.c.previous, links.c.depth + 1, links.c.size + size)
        .join(links, responses.c.id == links.c.previous)
        .where(alive & (links.c.depth < LINKS_MAX) & (links.c.size <= most))
    )


def _kept(row: Row[Any]) -> KeptResponse:
    values = dict(row._mapping)
    for name in ("created_at", "expires_at"):
        values[name] = datetime.fromisoformat(values[name])
    return KeptResponse(**values)
