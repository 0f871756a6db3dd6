"""A rollout as the ledger keeps it, and the small things that follow from how it does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b

import msgspec

from airboss.rollouts import analysis, stages
from airboss.rollouts.live import Rollout
from airboss.rollouts.stages import Order
from airboss.store.rollouts import RolloutRow, SqlRolloutStore


def superseded(store: SqlRolloutStore, deployment: str, reason: str, *, now: datetime) -> None:
    """End the live rollout of a deployment, if there is one: a configuration wants something else."""
    for row in store.live():
        if row.deployment == deployment:
            rollout = read(row)
            order = Order(
                at=now,
                action="abort",
                by="apply",
                reason=reason,
                evidence=analysis.evidence(rollout.analysis),
            )
            decided = stages.decide(rollout.rules, rollout.stage, order)
            after = msgspec.structs.replace(rollout, stage=decided.stage, verdict=decided.verdict)
            store.save(
                row_of(after),
                still=still(rollout),
                verdict=msgspec.json.encode(decided.verdict),
                at=now,
            )


def first_id(moment: datetime) -> str:
    """The least id that a call admitted at `moment` can have (UUIDv7: the first 48 bits are milliseconds)."""
    text = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{text[:8]}-{text[8:]}-"


def began_at(record_id: str) -> float:
    """When a call was admitted, by its id, or by as much of one as `first_id` gives; seconds since 1970."""
    return int(record_id[:8] + record_id[9:13], 16) / 1000


def unit_key(rollout: Rollout, unit: str) -> str:
    """A unit's name in the ledger: nobody's user id stands there."""
    text = f"{rollout.salt}/{unit}".encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16).hexdigest()


def row_of(rollout: Rollout) -> RolloutRow:
    """How a rollout is kept; one that is over waits to come into force."""
    return RolloutRow(
        id=rollout.id,
        deployment=rollout.deployment,
        started_at=rollout.started_at,
        live=not rollout.final,
        settled=False,
        exposure=rollout.exposure(),
        content=msgspec.json.encode(rollout),
    )


def still(rollout: Rollout) -> Callable[[bytes], bool]:
    """Whether that is how it is kept."""
    return lambda content: msgspec.json.decode(content, type=Rollout) == rollout


def read(row: RolloutRow) -> Rollout:
    """The rollout in a row."""
    return msgspec.json.decode(row.content, type=Rollout)
