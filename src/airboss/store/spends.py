"""What each key spent on each day, in SQL, in the ledger's database.

The controller writes it from the records. It only ever grows: a record that retention has deleted was paid
for all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from sqlalchemy import insert, select, update

from airboss.domain.ports import Spent
from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import spends


class SqlSpends(LedgerPart):
    """Safe to use by threads, and by several processes on one database. Raises SetupError if the database
    cannot be used."""

    def raise_to(self, spent: Iterable[Spent]) -> int:
        """Let no key and day have less than this; returns how many had."""
        wanted = {(each.key, each.day.isoformat()): each.usd for each in spent}
        if not wanted:
            return 0
        oldest = min(day for _, day in wanted)
        with self._write() as connection:
            rows = connection.execute(select(spends).where(spends.c.day >= oldest))
            held = {(row.key, row.day): Decimal(row.usd) for row in rows}
            raised = 0
            for (key, day), usd in wanted.items():
                before = held.get((key, day))
                if before is None:
                    connection.execute(insert(spends).values(key=key, day=day, usd=str(usd)))
                elif before < usd:
                    mine = (spends.c.key == key) & (spends.c.day == day)
                    connection.execute(update(spends).where(mine).values(usd=str(usd)))
                else:
                    continue
                raised += 1
            return raised

    def since(self, day: date) -> tuple[Spent, ...]:
        """What was spent that day and later, by key and day."""
        with self._read() as connection:
            later = select(spends).where(spends.c.day >= day.isoformat())
            return tuple(
                Spent(key=row.key, day=date.fromisoformat(row.day), usd=Decimal(row.usd))
                for row in connection.execute(later.order_by(spends.c.key, spends.c.day))
            )
