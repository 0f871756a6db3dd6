"""Saved views, and where drift stands, in SQL, in the ledger's database."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, insert, select

from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import drifts, saved_views
from airboss.store.view_rows import SavedView


class SqlViewStore(LedgerPart):
    """`view_rows.ViewStore` and `drift_rows.DriftStore`. Safe to use by threads, and by several processes on
    one database."""

    def views(self) -> Sequence[SavedView]:
        """As `ViewStore.views`."""
        with self._read() as connection:
            found = connection.execute(select(saved_views.c.content).order_by(saved_views.c.name)).scalars()
            return [msgspec.json.decode(each, type=SavedView) for each in found]

    def put_view(self, view: SavedView) -> None:
        """As `ViewStore.put_view`."""
        with self._write() as connection:
            connection.execute(delete(saved_views).where(saved_views.c.name == view.name))
            content = msgspec.json.encode(view).decode()
            connection.execute(insert(saved_views).values(name=view.name, content=content))

    def drop_view(self, name: str) -> bool:
        """As `ViewStore.drop_view`."""
        with self._write() as connection:
            return bool(connection.execute(delete(saved_views).where(saved_views.c.name == name)).rowcount)

    def forget_user(self, user: str) -> int:
        """Keep no view of a person's calls any more; how many there were."""
        theirs = [each.name for each in self.views() if each.query.get("user") == user]
        with self._write() as connection:
            connection.execute(delete(saved_views).where(saved_views.c.name.in_(theirs)))
        return len(theirs)

    def drift(self, name: str) -> bytes | None:
        """As `DriftStore.drift`."""
        with self._read() as connection:
            found = connection.execute(select(drifts.c.content).where(drifts.c.name == name)).scalar()
            return None if found is None else found.encode()

    def put_drift(self, name: str, content: bytes | None) -> None:
        """As `DriftStore.put_drift`."""
        with self._write() as connection:
            connection.execute(delete(drifts).where(drifts.c.name == name))
            if content is not None:
                connection.execute(insert(drifts).values(name=name, content=content.decode()))

    def move_drift(self, name: str, was: bytes | None, content: bytes) -> bool:
        """As `DriftStore.move_drift`."""
        with self._write() as connection:
            found = connection.execute(select(drifts.c.content).where(drifts.c.name == name)).scalar()
            if (None if found is None else found.encode()) != was:
                return False
            connection.execute(delete(drifts).where(drifts.c.name == name))
            connection.execute(insert(drifts).values(name=name, content=content.decode()))
            return True
