"""What tuning keeps, in SQL, in the ledger's database: calls begun, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import insert, select, update

from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import tune_calls, tune_choices


class SqlTuneStore(LedgerPart):
    """`tuning.ports.TuneStore`. Safe to use by threads, and by several processes on one database.

    Every write is on disk when its call returns. All calls raise SetupError if the database cannot be used.
    """

    def tune_calls(self, job: str) -> Mapping[str, int]:
        """As `TuneStore.tune_calls`."""
        with self._read() as connection:
            query = select(tune_calls.c.key, tune_calls.c.begun).where(tune_calls.c.job == job)
            return {row.key: row.begun for row in connection.execute(query)}

    def begin_tune_call(self, job: str, key: str) -> None:
        """As `TuneStore.begin_tune_call`."""
        mine = (tune_calls.c.job == job) & (tune_calls.c.key == key)
        with self._write() as connection:
            again = connection.execute(
                update(tune_calls).where(mine).values(begun=tune_calls.c.begun + 1)
            ).rowcount
            if not again:
                connection.execute(insert(tune_calls).values(job=job, key=key, begun=1))

    def tune_choice(self, job: str) -> str | None:
        """As `TuneStore.tune_choice`."""
        with self._read() as connection:
            return connection.execute(
                select(tune_choices.c.content).where(tune_choices.c.job == job)
            ).scalar()

    def put_tune_choice(self, job: str, content: str, at: datetime) -> None:
        """As `TuneStore.put_tune_choice`."""
        with self._write() as connection:
            known = connection.execute(select(tune_choices.c.job).where(tune_choices.c.job == job)).scalar()
            if known is None:
                connection.execute(insert(tune_choices).values(job=job, content=content, at=at.isoformat()))
