"""The audit log in SQL, in the ledger's database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, Select, case, delete, func, insert, inspect, select, update

from airboss.store.audit_rows import (
    AuditEntry,
    HeadRow,
    KeptRow,
    LeafRow,
    NamedLeaf,
    NameRow,
    PlanTexts,
    Seal,
    Sealed,
)
from airboss.store.ledger_open import any_text
from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import (
    audit_head,
    audit_leaves,
    audit_names,
    datasets,
    erasures,
    jobs,
    keys,
    plans,
    proposals,
    releases,
    rollouts,
    standings,
    verdicts,
)

PAGE: Final = 1_000
TABLES: Final = (
    audit_leaves, audit_names, audit_head, plans, keys, releases, standings, rollouts, verdicts, datasets,
    jobs, proposals, erasures,
)  # fmt: skip
"""What a log is read from, and what its leaves tell of."""


class SqlAuditLog(LedgerPart):
    """`audit_rows.AuditLog`. Safe to use by threads, and by several processes on one database: whoever
    appends holds the database's write lock from reading the head to writing the next one. `seal` makes the
    rows."""

    def __init__(self, url: str, seal: Seal) -> None:
        super().__init__(url)
        any_text(self._engine)
        self._seal = seal

    def append(
        self,
        action: str,
        *,
        actor: str,
        subject: str,
        detail: Mapping[str, Any],
        at: datetime,
        user: str | None = None,
    ) -> int:
        """As `AuditLog.append`."""
        entry = AuditEntry(action=action, actor=actor, subject=subject, detail=detail, at=at, user=user)
        with self._write() as connection:
            return self._add(connection, entry)

    def forget(
        self, name: str, *, action: str, actor: str, subject: str, detail: Mapping[str, Any], at: datetime
    ) -> int:
        """As `AuditLog.forget`."""
        with self._write() as connection:
            theirs = audit_names.c.name == name
            found = connection.execute(
                select(audit_names.c.leaf, audit_names.c.field)
                .where(theirs)
                .order_by(audit_names.c.leaf, audit_names.c.field)
            ).all()
            connection.execute(delete(audit_names).where(theirs))
            # A leaf has its bounds: more names than fit in one are said in several.
            for start in range(0, max(1, len(found)), PAGE // 2):
                these = [[leaf, field] for leaf, field in found[start:][: PAGE // 2]]
                said = {**detail, "names": these}
                entry = AuditEntry(action=action, actor=actor, subject=subject, detail=said, at=at)
                self._add(connection, entry)
            return len(found)

    def newest(
        self,
        *,
        limit: int,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: int | None = None,
    ) -> Sequence[NamedLeaf]:
        """As `AuditLog.newest`."""
        asked = select(audit_leaves).order_by(audit_leaves.c.number.desc()).limit(limit)
        if action is not None:
            asked = asked.where(audit_leaves.c.action == action)
        if since is not None:
            asked = asked.where(audit_leaves.c.at >= since.astimezone(UTC).isoformat())
        if until is not None:
            asked = asked.where(audit_leaves.c.at < until.astimezone(UTC).isoformat())
        if before is not None:
            asked = asked.where(audit_leaves.c.number < before)
        with self._read() as connection:
            return _named(connection, connection.execute(asked).all())

    @contextmanager
    def whole(self) -> Iterator[_Whole]:
        """As `AuditLog.whole`."""
        with self._read() as connection:
            yield _Whole(connection)

    def plan(self, number: int) -> PlanTexts | None:
        """As `AuditLog.plan`."""
        with self._read() as connection:
            return _plan(connection, number)

    def key_text(self, name: str) -> str | None:
        """As `AuditLog.key_text`."""
        with self._read() as connection:
            return connection.execute(select(keys.c.content).where(keys.c.name == name)).scalar()

    def _add(self, connection: Connection, entry: AuditEntry) -> int:
        sealed: Sealed = self._seal(_head(connection), entry)
        for leaf in sealed.leaves:
            connection.execute(insert(audit_leaves).values(**msgspec.structs.asdict(leaf)))
        for name in sealed.names:
            connection.execute(insert(audit_names).values(**msgspec.structs.asdict(name)))
        values = msgspec.structs.asdict(sealed.head)
        if connection.execute(update(audit_head).values(**values)).rowcount == 0:
            connection.execute(insert(audit_head).values(id=1, **values))
        return sealed.leaves[-1].number


class _Whole:
    """`audit_rows.WholeLog`, read in the transaction of one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.head: HeadRow | None = None
        self.heads = 0
        self.strays: Sequence[int] = ()
        there = inspect(connection)
        self.gone: Sequence[str] = [each.name for each in TABLES if not there.has_table(each.name)]
        if self.gone:
            return
        self.head = _head(connection)
        self.heads = connection.execute(select(func.count()).select_from(audit_head)).scalar_one()
        known = select(audit_leaves.c.number)
        strays = select(audit_names.c.leaf).where(audit_names.c.leaf.not_in(known)).distinct()
        self.strays = connection.execute(strays).scalars().all()

    def leaves(self) -> Iterator[NamedLeaf]:
        """As `AuditData.leaves`."""
        found = self.page(-(2**63), PAGE)
        while found:
            yield from found
            found = self.page(found[-1].leaf.number, PAGE)

    def page(self, after: int, limit: int) -> Sequence[NamedLeaf]:
        """As `AuditData.page`."""
        asked = select(audit_leaves).where(audit_leaves.c.number > after).order_by(audit_leaves.c.number)
        return _named(self._connection, self._connection.execute(asked.limit(limit)).all())

    def plan(self, number: int) -> PlanTexts | None:
        """As `LedgerRows.plan`."""
        return _plan(self._connection, number)

    def plans(self) -> Iterator[KeptRow]:
        """As `LedgerRows.plans`."""
        return self._kept(select(plans.c.number, plans.c.created_at.label("content")))

    def api_keys(self) -> Iterator[KeptRow]:
        """As `LedgerRows.api_keys`."""
        return self._kept(select(keys.c.name, keys.c.content).order_by(keys.c.name))

    def releases(self) -> Iterator[KeptRow]:
        """As `LedgerRows.releases`."""
        row = releases.c
        named = select(row.digest.label("name"), row.content, row.first_plan.label("plan"))
        return self._kept(named.order_by(row.first_plan, row.digest))

    def standings(self) -> Iterator[KeptRow]:
        """As `LedgerRows.standings`."""
        return self._kept(select(standings.c.deployment.label("name"), standings.c.content))

    def rollouts(self) -> Iterator[KeptRow]:
        """As `LedgerRows.rollouts`."""
        state = case((rollouts.c.live, "live"), else_="over").label("state")
        row = rollouts.c
        return self._kept(select(row.id.label("name"), state, row.deployment.label("of"), row.content))

    def verdicts(self) -> Iterator[KeptRow]:
        """As `LedgerRows.verdicts`."""
        row = verdicts.c
        named = select(row.number, row.rollout.label("name"), row.content)
        return self._kept(named.order_by(row.number))

    def datasets(self) -> Iterator[KeptRow]:
        """As `LedgerRows.datasets`."""
        return self._kept(select(datasets.c.name, datasets.c.digest.label("content")))

    def jobs(self) -> Iterator[KeptRow]:
        """As `LedgerRows.jobs`."""
        row = jobs.c
        return self._kept(select(row.id.label("name"), row.kind.label("of"), row.spec.label("content")))

    def proposals(self) -> Iterator[KeptRow]:
        """As `LedgerRows.proposals`."""
        return self._kept(select(proposals.c.number, proposals.c.state, proposals.c.content))

    def erasures(self) -> Iterator[KeptRow]:
        """As `LedgerRows.erasures`."""
        row = erasures.c
        state = case((row.done_at.is_(None), "pending"), else_="done").label("state")
        named = (row.digest.label("name"), row.at.label("content"))
        return self._kept(select(row.id.label("number"), state, *named).order_by(row.id))

    def _kept(self, asked: Select[Any]) -> Iterator[KeptRow]:
        with self._connection.execute(asked, execution_options={"yield_per": PAGE}) as found:
            for row in found:
                yield KeptRow(**row._mapping)  # unchecked, as `_read`


def _plan(connection: Connection, number: int) -> PlanTexts | None:
    row = connection.execute(select(plans).where(plans.c.number == number)).first()
    return None if row is None else _read(row, PlanTexts)


def _head(connection: Connection) -> HeadRow | None:
    row = connection.execute(select(audit_head).order_by(audit_head.c.id)).first()
    return None if row is None else _read(row, HeadRow)


def _named(connection: Connection, rows: Sequence[Row[Any]]) -> list[NamedLeaf]:
    """Leaves with their names."""
    numbers = [row.number for row in rows]
    if not numbers:
        return []
    found = connection.execute(
        select(audit_names)
        .where(audit_names.c.leaf.between(min(numbers), max(numbers)))
        .order_by(audit_names.c.leaf, audit_names.c.field)
    )
    names = {
        leaf: tuple(these)
        for leaf, these in groupby((_read(row, NameRow) for row in found), lambda n: n.leaf)
    }
    return [
        NamedLeaf(leaf=_read(row, LeafRow), names=names.get(number, ()))
        for row, number in zip(rows, numbers, strict=True)
    ]


def _read(row: Row[Any], kind: Any) -> Any:
    """A row as its type, unchecked: what somebody wrote into the tables is for `verify` to judge."""
    return kind(**{name: row._mapping[name] for name in kind.__struct_fields__})
