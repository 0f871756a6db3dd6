"""The ledger in SQL: SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from airboss.domain.plan import Exposure, ServingPlan, Standing
from airboss.domain.ports import ApiKey, KeptRelease, Replica, Snapshot
from airboss.domain.release import Release
from airboss.store.ledger_rows import key_text, plan_text, read_key, read_plan, row_text
from airboss.store.ledger_scaling import ScalingRows
from airboss.store.ledger_tables import keys, plans, releases, replicas, revision, rollouts, standings
from airboss.store.ledger_unchanged import unchanged


class SqlLedger(ScalingRows):
    """`domain.ports.Ledger`. Safe to use by threads, and by several processes on one database.

    Every plan and release ever published is kept. Making one brings the schema up to date.
    All calls raise SetupError if the database cannot be used.
    """

    @unchanged
    def revision(self) -> int:
        """The number of the newest change that gateways must see; 0 before the first plan."""
        with self._read() as connection:
            return _revision(connection)

    @unchanged
    def snapshot(self) -> Snapshot | None:
        """The newest plan with the keys, or None before the first plan."""
        with self._read() as connection:
            plan = connection.execute(
                select(plans.c.content).order_by(plans.c.number.desc()).limit(1)
            ).scalar()
            if plan is None:
                return None
            kept = connection.execute(select(keys.c.content).order_by(keys.c.name)).scalars()
            return Snapshot(
                revision=_revision(connection),
                plan=read_plan(plan),
                keys=tuple(map(read_key, kept)),
            )

    @unchanged
    def config(self, plan: int | None = None) -> str | None:
        """As `Ledger.config`."""
        asked = select(plans.c.config).order_by(plans.c.number.desc()).limit(1)
        with self._read() as connection:
            return connection.execute(asked if plan is None else asked.where(plans.c.number == plan)).scalar()

    def publish(self, config: str, plan: ServingPlan, *, standings: Iterable[Standing] = ()) -> ServingPlan:
        """Store `config`, the plan's releases and `standings`, and number `plan` one above the last; returns
        it numbered."""
        with self._write() as connection:
            # First, so that on PostgreSQL too a second publisher waits here and then reads our number.
            connection.execute(update(revision).values(value=revision.c.value + 1))
            last = connection.execute(select(func.max(plans.c.number))).scalar() or 0
            numbered = msgspec.structs.replace(plan, number=last + 1)
            for served in plan.served():
                _keep_release(connection, served.release, numbered.number)
            for standing in standings:
                _keep_standing(connection, standing)
            connection.execute(
                insert(plans).values(
                    number=numbered.number,
                    created_at=numbered.created_at.isoformat(),
                    content=plan_text(numbered),
                    config=config,
                )
            )
            return numbered

    @unchanged
    def standings(self) -> Mapping[str, Standing]:
        """Where each deployment stands that was ever published, by name."""
        with self._read() as connection:
            found = connection.execute(select(standings.c.content).order_by(standings.c.deployment)).scalars()
            read = [msgspec.json.decode(each, type=Standing) for each in found]
            return {each.deployment: each for each in read}

    @unchanged
    def exposures(self, *, over: bool = False) -> Mapping[str, Exposure]:
        """As `Ledger.exposures`."""
        with self._read() as connection:
            asked = select(rollouts.c.exposure, rollouts.c.live).order_by(rollouts.c.started_at)
            found = connection.execute(asked if over else asked.where(rollouts.c.live))
            newest = {
                each.deployment: (each, live)
                for each, live in ((msgspec.json.decode(text, type=Exposure), live) for text, live in found)
            }
            return {name: each for name, (each, live) in newest.items() if live is not over}

    def change_key(self, name: str, change: Callable[[ApiKey | None], ApiKey]) -> ApiKey:
        """As `Ledger.change_key`."""
        with self._write() as connection:
            found = connection.execute(select(keys.c.content).where(keys.c.name == name)).scalar()
            before = None if found is None else read_key(found)
            changed = change(before)
            if changed != before:
                _put_key(connection, changed)
            return changed

    def all_keys(self) -> tuple[ApiKey, ...]:
        """Every key, revoked ones included, by name."""
        with self._read() as connection:
            kept = connection.execute(select(keys.c.content).order_by(keys.c.name)).scalars()
            return tuple(map(read_key, kept))

    @unchanged
    def replicas(self) -> tuple[Replica, ...]:
        """Every replica known, ordered by id."""
        with self._read() as connection:
            found = connection.execute(select(replicas.c.content).order_by(replicas.c.id)).scalars()
            return tuple(msgspec.json.decode(each, type=Replica) for each in found)

    def put_replica(self, replica: Replica) -> None:
        """Add or replace a replica by id, without touching `revision`."""
        with self._write() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == replica.id))
            connection.execute(insert(replicas).values(id=replica.id, content=row_text(replica)))

    def forget_replica(self, replica_id: str) -> None:
        """Drop a replica; nothing happens if there is none."""
        with self._write() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == replica_id))

    def release(self, digest: str) -> Release | None:
        """The release of this digest, if it was ever published."""
        with self._read() as connection:
            found = connection.execute(select(releases.c.content).where(releases.c.digest == digest)).scalar()
            return None if found is None else msgspec.json.decode(found, type=Release)

    def releases(self) -> tuple[KeptRelease, ...]:
        """Every release ever published, the oldest first."""
        with self._read() as connection:
            found = connection.execute(
                select(releases.c.content, releases.c.first_plan, plans.c.created_at)
                .join(plans, plans.c.number == releases.c.first_plan)
                .order_by(releases.c.first_plan, releases.c.digest)
            )
            return tuple(
                KeptRelease(
                    release=msgspec.json.decode(content, type=Release),
                    plan=number,
                    at=datetime.fromisoformat(at),
                )
                for content, number, at in found
            )

    def plan(self, number: int) -> ServingPlan | None:
        """The plan of this number, if it was ever published."""
        with self._read() as connection:
            found = connection.execute(select(plans.c.content).where(plans.c.number == number)).scalar()
            return None if found is None else read_plan(found)


def _revision(connection: Connection) -> int:
    value: int = connection.execute(select(revision.c.value)).scalar_one()
    return value


def _put_key(connection: Connection, key: ApiKey) -> None:
    # Before the first plan nobody is served, so there is no change to see yet.
    first = select(plans.c.number).limit(1).exists()
    connection.execute(update(revision).where(first).values(value=revision.c.value + 1))
    connection.execute(delete(keys).where(keys.c.name == key.name))
    connection.execute(insert(keys).values(name=key.name, content=key_text(key)))


def _keep_release(connection: Connection, release: Release, plan: int) -> None:
    """A release is kept under the name that it was first published with; the digest is of all the rest."""
    known = connection.execute(select(releases.c.digest).where(releases.c.digest == release.digest)).scalar()
    if known is None:
        connection.execute(
            insert(releases).values(digest=release.digest, content=row_text(release), first_plan=plan)
        )


def _keep_standing(connection: Connection, standing: Standing) -> None:
    connection.execute(delete(standings).where(standings.c.deployment == standing.deployment))
    connection.execute(insert(standings).values(deployment=standing.deployment, content=row_text(standing)))
