"""Placements, rows and wants for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airboss.config import ModelConfig
from airboss.domain.ports import Placement, Replica, ReplicaState
from airboss.replicas.placing import Want, want

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def wanted(count: int, *, slots: int = 2, model: str = "m") -> Want:
    """So many engines of `m`, each with so many slots."""
    return want(model, ModelConfig(provider="here", model="file:/m.gguf", slots=slots), count)


def placement(name: str, *, slots: int = 2, age_s: float = 100, drains_s: float | None = None) -> Placement:
    """A placed engine of `m`; `NAME` is its URL's host."""
    engine = wanted(1, slots=slots)
    return Placement(
        id=name,
        model="m",
        url=url(name),
        engine=engine.engine,
        settings=engine.settings,
        since=NOW - timedelta(seconds=age_s),
        draining_since=None if drains_s is None else NOW - timedelta(seconds=drains_s),
    )


def url(name: str) -> str:
    """Where the engine of that id is reached."""
    return f"http://{name.replace(':', '-')}/v1"


def rows(**states: ReplicaState) -> dict[str, Replica]:
    """How engines stand; `m_2` is for `m:2`."""
    found = {}
    for name, state in states.items():
        replica_id = name.replace("_", ":")
        detail = "it broke" if state == "failed" else None
        found[replica_id] = Replica(
            id=replica_id, model="m", url=url(replica_id), state=state, restarts=0, since=NOW, detail=detail
        )
    return found
