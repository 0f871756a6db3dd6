"""Rollouts in SQL, in the ledger's database. What a rollout is, `rollouts.live` says; here it is text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Select, delete, insert, select

from airboss.domain.errors import SetupError
from airboss.domain.plan import Exposure
from airboss.store.ledger_part import LedgerPart
from airboss.store.ledger_tables import rollout_units, rollouts, verdicts
from airboss.store.ledger_unchanged import unchanged

UNITS_ASKED_MAX = 500
"""So many units are asked for in one statement: SQLite takes a bounded number of values."""


class RolloutRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout as it is kept. `live`: not over yet; `settled`: its end has come into force."""

    id: str
    deployment: str
    started_at: datetime
    live: bool
    settled: bool
    exposure: Exposure
    content: bytes


class SqlRolloutStore(LedgerPart):
    """Rollouts, what their lanes remember of units, and their verdicts. Safe to use by threads.

    All calls raise SetupError if the database cannot be used.
    """

    def save(
        self,
        row: RolloutRow,
        *,
        still: Callable[[bytes], bool],
        units: Mapping[tuple[str, str], bytes] | None = None,
        verdict: bytes | None = None,
        at: datetime | None = None,
    ) -> None:
        """Keep a rollout, the units that changed (by lane and unit) and a verdict of `at`: all or nothing.

        `still`: whether what is kept now is what this follows from. A server may commit what nobody waits for
        any more. Raises SetupError where it is not, or where another has begun there.

        The units of a rollout that is over are dropped: nobody looks at them again.
        """
        with self._write() as connection:
            kept = connection.execute(
                select(rollouts.c.id, rollouts.c.content).where(
                    (rollouts.c.id == row.id) | (rollouts.c.live & (rollouts.c.deployment == row.deployment))
                )
            ).all()
            before = next((each.content.encode() for each in kept if each.id == row.id), None)
            if (kept and row.live) if before is None else not still(before):
                raise SetupError(
                    f"the rollout of {row.deployment!r} was changed meanwhile, by a write that came late: "
                    "nothing was done; try again"
                )
            connection.execute(delete(rollouts).where(rollouts.c.id == row.id))
            values = msgspec.structs.asdict(row) | {
                "started_at": row.started_at.isoformat(),
                "exposure": msgspec.json.encode(row.exposure).decode(),
                "content": row.content.decode(),
            }
            connection.execute(insert(rollouts).values(**values))
            mine = rollout_units.c.rollout == row.id
            if not row.live:
                connection.execute(delete(rollout_units).where(mine))
            elif units:
                for (lane, unit), content in units.items():
                    this = mine & (rollout_units.c.lane == lane) & (rollout_units.c.unit == unit)
                    connection.execute(delete(rollout_units).where(this))
                    connection.execute(
                        insert(rollout_units).values(
                            rollout=row.id, lane=lane, unit=unit, content=content.decode()
                        )
                    )
            if verdict is not None and at is not None:
                connection.execute(
                    insert(verdicts).values(rollout=row.id, at=at.isoformat(), content=verdict.decode())
                )

    @unchanged
    def live(self) -> tuple[RolloutRow, ...]:
        """Those that are not over, the oldest first."""
        return self._rows(select(rollouts).where(rollouts.c.live).order_by(rollouts.c.started_at))

    @unchanged
    def unsettled(self) -> tuple[RolloutRow, ...]:
        """Those that are over, but whose end has not come into force."""
        over = ~rollouts.c.live & ~rollouts.c.settled
        return self._rows(select(rollouts).where(over).order_by(rollouts.c.started_at))

    def get(self, rollout_id: str) -> RolloutRow | None:
        """The rollout of this id."""
        found = self._rows(select(rollouts).where(rollouts.c.id == rollout_id))
        return found[0] if found else None

    def newest(
        self, *, deployment: str | None = None, until: datetime | None = None, limit: int = 100
    ) -> tuple[RolloutRow, ...]:
        """Rollouts, the newest first, but what is live before all: one begun while the clock was ahead would
        stand before it. With `until` those that had begun before then."""
        order = (rollouts.c.live.desc(), rollouts.c.started_at.desc())
        asked = select(rollouts).order_by(*order).limit(limit)
        if deployment is not None:
            asked = asked.where(rollouts.c.deployment == deployment)
        if until is not None:
            asked = asked.where(rollouts.c.started_at < until.astimezone(UTC).isoformat())
        return self._rows(asked)

    def units(self, rollout_id: str, lane: str, units: Sequence[str]) -> dict[str, bytes]:
        """What a lane remembers of these units; those never seen are left out."""
        found: dict[str, bytes] = {}
        with self._read() as connection:
            for start in range(0, len(units), UNITS_ASKED_MAX):
                asked = select(rollout_units.c.unit, rollout_units.c.content).where(
                    rollout_units.c.rollout == rollout_id,
                    rollout_units.c.lane == lane,
                    rollout_units.c.unit.in_(units[start : start + UNITS_ASKED_MAX]),
                )
                found.update((unit, content.encode()) for unit, content in connection.execute(asked))
        return found

    def verdicts(self, rollout_id: str, *, limit: int = 100) -> tuple[bytes, ...]:
        """The verdicts of a rollout that changed something, the oldest first."""
        with self._read() as connection:
            asked = (
                select(verdicts.c.content)
                .where(verdicts.c.rollout == rollout_id)
                .order_by(verdicts.c.number)
                .limit(limit)
            )
            return tuple(each.encode() for each in connection.execute(asked).scalars())

    @unchanged
    def verdicts_after(self, number: int, *, limit: int) -> tuple[tuple[int, str, bytes], ...]:
        """The number, rollout and content of verdicts of any rollout, the oldest first."""
        with self._read() as connection:
            asked = (
                select(verdicts.c.number, verdicts.c.rollout, verdicts.c.content)
                .where(verdicts.c.number > number)
                .order_by(verdicts.c.number)
                .limit(limit)
            )
            return tuple((at, rollout, text.encode()) for at, rollout, text in connection.execute(asked))

    def _rows(self, asked: Select[Any]) -> tuple[RolloutRow, ...]:
        with self._read() as connection:
            return tuple(
                RolloutRow(
                    id=row.id,
                    deployment=row.deployment,
                    started_at=datetime.fromisoformat(row.started_at),
                    live=row.live,
                    settled=row.settled,
                    exposure=msgspec.json.decode(row.exposure, type=Exposure),
                    content=row.content.encode(),
                )
                for row in connection.execute(asked)
            )
