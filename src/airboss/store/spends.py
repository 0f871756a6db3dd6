"""What each key spent on each day, in SQL, in the ledger's database; and each user of some keys.

The controller writes it from the records. It only ever grows: a record that retention has deleted was paid
for all the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from sqlalchemy import Numeric, bindparam, cast, delete, func, insert, select, update

from airboss.domain.ports import Spent
from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import spends, user_spends

AT_ONCE: Final = 500
"""Rows that are written or asked for together."""


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

    def users_since(self, keys: Collection[str], day: date) -> list[Spent]:
        """What users of these keys spent that day and later, as it was put. Users as counters name them."""
        with self._read() as connection:
            later = (user_spends.c.day >= day.isoformat()) & user_spends.c.key.in_(keys)
            return [
                Spent(key=row.key, day=date.fromisoformat(row.day), usd=Decimal(row.usd), user=row.user)
                for row in connection.execute(select(user_spends).where(later))
            ]

    def most(self, key: str, day: date) -> Decimal:
        """What the user of a key, or the value of a tag, that spent most did that day and later, to ten
        decimals: a database may add as a double does."""
        c = user_spends.c
        total = func.sum(cast(c.usd, Numeric(asdecimal=False)))
        theirs = (c.key == key) & (c.day >= day.isoformat())
        dearest = select(total).where(theirs).group_by(c.user).order_by(total.desc()).limit(1)
        with self._read() as connection:
            return Decimal(f"{connection.execute(dearest).scalar() or 0:.10f}")

    def put_users(self, spent: Iterable[Spent]) -> None:
        """Let users have spent so much, in place of what they had."""
        c = user_spends.c
        mine = (c.key == bindparam("k")) & (c.user == bindparam("u")) & (c.day == bindparam("d"))
        every = list(spent)
        for at in range(0, len(every), AT_ONCE):
            some = every[at : at + AT_ONCE]
            rows = [{"k": each.key, "u": each.user, "d": each.day.isoformat()} for each in some]
            added = [
                {"key": each.key, "user": each.user, "day": each.day.isoformat(), "usd": str(each.usd)}
                for each in some
            ]
            with self._write() as connection:
                connection.execute(delete(user_spends).where(mine), rows)
                connection.execute(insert(user_spends), added)

    def drop_users_before(self, day: date) -> None:
        """Drop what users spent before that day: no budget's period goes back so far."""
        with self._read() as connection:
            old = user_spends.c.day < day.isoformat()
            if connection.execute(select(user_spends.c.day).where(old).limit(1)).first() is None:
                return
        with self._write() as connection:
            connection.execute(delete(user_spends).where(old))

    def of_users(self, key: str, users: Sequence[str], since: date) -> dict[str, Decimal]:
        """What these users of a key spent that day and later; who spent nothing is not there."""
        found: dict[str, Decimal] = {}
        c = user_spends.c
        for at in range(0, len(users), AT_ONCE):
            some = users[at : at + AT_ONCE]
            theirs = (c.key == key) & c.user.in_(some) & (c.day >= since.isoformat())
            with self._read() as connection:
                for row in connection.execute(select(c.user, c.usd).where(theirs)):
                    found[row.user] = found.get(row.user, Decimal(0)) + Decimal(row.usd)
        return found
