"""The ledger's part about engines: which shall run, and how many of each model. In SQL, as the rest of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from sqlalchemy import delete, insert, select

from airboss.domain.ports import Placement, Scaling
from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import placements, scalings
from airboss.store.ledger_unchanged import unchanged


class ScalingRows(LedgerPart):
    """What `SqlLedger` knows about placements and scaling."""

    @unchanged
    def placements(self) -> tuple[Placement, ...]:
        """Every engine that shall run, ordered by id."""
        with self._read() as connection:
            found = connection.execute(select(placements.c.content).order_by(placements.c.id)).scalars()
            return tuple(msgspec.json.decode(each, type=Placement) for each in found)

    def place(self, put: Iterable[Placement], *, drop: Iterable[str] = ()) -> None:
        """Add or replace placements by id, and drop those named, in one transaction."""
        put, drop = tuple(put), tuple(drop)
        gone = [*drop, *(each.id for each in put)]
        if not gone:
            return
        with self._write() as connection:
            connection.execute(delete(placements).where(placements.c.id.in_(gone)))
            for each in put:
                content = msgspec.json.encode(each).decode()
                connection.execute(insert(placements).values(id=each.id, content=content))

    @unchanged
    def scalings(self) -> Mapping[str, Scaling]:
        """How many replicas each model should have, by model."""
        with self._read() as connection:
            found = connection.execute(select(scalings.c.content)).scalars()
            decided = [msgspec.json.decode(each, type=Scaling) for each in found]
        return {each.model: each for each in decided}

    def put_scaling(self, scaling: Scaling) -> None:
        """Add or replace a model's."""
        with self._write() as connection:
            connection.execute(delete(scalings).where(scalings.c.model == scaling.model))
            content = msgspec.json.encode(scaling).decode()
            connection.execute(insert(scalings).values(model=scaling.model, content=content))
