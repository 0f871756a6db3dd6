"""What each key spent on each day, in SQL, in the ledger's database.

The controller writes it from the records. It only ever grows: a record that retention has deleted was paid
for all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from sqlalchemy import insert, select, update
from sqlalchemy.exc import DBAPIError

from airboss.domain.ports import Spent
from airboss.store.ledger_open import cannot, open_engine, writing
from airboss.store.ledger_tables import spends


class SqlSpends:
    """Safe to use by threads, and by several processes on one database. Raises SetupError if the database
    cannot be used."""

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._writer = writing(self._engine)

    def raise_to(self, spent: Iterable[Spent]) -> int:
        """Let no key and day have less than this; returns how many had."""
        wanted = {(each.key, each.day.isoformat()): each.usd for each in spent}
        if not wanted:
            return 0
        oldest = min(day for _, day in wanted)
        try:
            with self._writer.begin() as connection:
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
        except DBAPIError as error:
            raise cannot(error, self._engine) from error

    def since(self, day: date) -> tuple[Spent, ...]:
        """What was spent that day and later, by key and day."""
        try:
            with self._engine.connect() as connection:
                later = select(spends).where(spends.c.day >= day.isoformat())
                return tuple(
                    Spent(key=row.key, day=date.fromisoformat(row.day), usd=Decimal(row.usd))
                    for row in connection.execute(later.order_by(spends.c.key, spends.c.day))
                )
        except DBAPIError as error:
            raise cannot(error, self._engine) from error

    def close(self) -> None:
        """Give back connections. The store is not used after."""
        self._engine.dispose()
