"""Which engines shall run. Facts in, placements out; nothing here starts or stops anything.

An engine is never changed where it stands. What must be started anew is placed beside the old one, and the
old one drains once no plan points to it any more (`replicas.swap` says when that is).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from airboss.config import Config, ModelConfig
from airboss.domain.plan import ServingPlan
from airboss.domain.ports import Placement, Replica, ReplicaState

SETTLE_S = 2.0
"""A gateway reads the plan four times a second; so long after a new one some may still send to an old URL."""

Engine = tuple[str, str]
"""A model's name and `Placement.engine`: replicas that have both alike are interchangeable."""


class ReplicaHost(Protocol):
    """Where engines run: as processes of this machine, or on a Ray cluster."""

    def want(self, placements: Sequence[Placement]) -> None:
        """These shall run and no others. Returns at once; an engine that is no longer wanted may be cut off,
        because it was drained before. Wanting the same again changes nothing."""

    def replicas(self) -> Sequence[Replica]:
        """How each engine stands that runs or should, in any order."""


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """So many engines of a model, started with `settings`."""

    model: str
    engine: str
    settings: str
    count: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What changes: `placements` are all that there are after it, `put` those of them that are new or
    changed, `drop` the ids of those that are gone."""

    placements: tuple[Placement, ...]
    put: tuple[Placement, ...] = ()
    drop: tuple[str, ...] = ()


NO_PART = frozenset({"price", "replicas", "continuation", "shares"})
"""Settings of a model that its engine is not started with."""


def want(model: str, said: ModelConfig, count: int) -> Want:
    """So many engines of a model as it is configured. Price, number and who may go on with an answer are no
    part of an engine."""
    asked = msgspec.structs.asdict(said)
    settings = {name: value for name, value in asked.items() if value is not None and name not in NO_PART}
    text = msgspec.json.encode(settings, order="sorted").decode()
    return Want(
        model=model, engine=hashlib.sha256(text.encode()).hexdigest()[:16], settings=text, count=count
    )


def wants(config: Config, models: Iterable[str], decided: Mapping[str, int]) -> tuple[Want, ...]:
    """What a configuration wants of its local models: as many as were decided, within `min` and `max`."""
    found = []
    for name in models:
        said = config.models[name]
        least, most = (said.replicas.min, said.replicas.max) if said.replicas is not None else (1, 1)
        found.append(want(name, said, min(most, max(least, decided.get(name, least)))))
    return tuple(found)


def read_settings(said: str) -> ModelConfig:
    """`Placement.settings` read: what an engine is started with. Raises msgspec.ValidationError if another
    version wrote it."""
    return msgspec.json.decode(said, type=ModelConfig)


def engine_of(placement: Placement) -> Engine:
    """The engine that a placement runs."""
    return placement.model, placement.engine


def engines_of(plan: ServingPlan | None) -> frozenset[Engine]:
    """The engines that a plan points to."""
    targets = list(plan.targets()) if plan is not None else []
    return frozenset((each.upstream_model, each.engine) for each in targets if each.engine is not None)


def state_of(placement: Placement, rows: Mapping[str, Replica]) -> ReplicaState:
    """How a placement's engine stands, by its host's rows; `stopped` where it has not been started yet."""
    row = rows.get(placement.id)
    return row.state if row is not None and row.url == placement.url else "stopped"


def place(
    wanted: Collection[Want],
    placements: Collection[Placement],
    rows: Mapping[str, Replica],
    *,
    new_url: Callable[[str], str],
    now: datetime,
    retry: bool,
) -> Step:
    """Bring each wanted engine to its count; other engines stay as they are.

    Missing ones are taken back from those that drain, or placed anew at `new_url(id)`. Surplus ones drain:
    those that are not ready first, then the youngest, so that whatever is ready longest stays. With `retry`
    those that have failed are placed anew; without, they count, so that nothing is tried for ever.
    """
    after = {each.id: each for each in placements}
    drop: set[str] = set()
    taken = {*after, *rows}
    for each in wanted:
        own = [p for p in placements if engine_of(p) == (each.model, each.engine)]
        if retry:
            failed = [p for p in own if state_of(p, rows) == "failed"]
            drop |= {p.id for p in failed}
            own = [p for p in own if p not in failed]
        active = [p for p in own if p.draining_since is None]
        back = [p for p in own if p.draining_since is not None and state_of(p, rows) == "ready"]
        for placement in back[: max(0, each.count - len(active))]:
            active.append(msgspec.structs.replace(placement, draining_since=None))
            after[placement.id] = active[-1]
        for _ in range(each.count - len(active)):
            made = _new(each, taken, new_url, now)
            taken.add(made.id)
            active.append(made)
            after[made.id] = made
        surplus = sorted(active, key=lambda p: (state_of(p, rows) == "ready", -p.since.timestamp(), p.id))
        for placement in surplus[: max(0, len(active) - each.count)]:
            after[placement.id] = msgspec.structs.replace(placement, draining_since=now)
    return _step(placements, after, drop)


def retire(
    wanted: Collection[Want],
    placements: Collection[Placement],
    rows: Mapping[str, Replica],
    *,
    plan: ServingPlan | None,
    now: datetime,
) -> Step:
    """Let engines drain that are neither wanted nor pointed to by the plan in force, and drop of those what
    has failed."""
    kept = engines_of(plan) | {(each.model, each.engine) for each in wanted}
    after = {each.id: each for each in placements}
    drop = set()
    for placement in placements:
        if engine_of(placement) in kept or placement.draining_since is not None:
            continue
        if state_of(placement, rows) == "failed":
            drop.add(placement.id)
        else:
            after[placement.id] = msgspec.structs.replace(placement, draining_since=now)
    return _step(placements, after, drop)


def finish(
    placements: Collection[Placement],
    rows: Mapping[str, Replica],
    *,
    outstanding: Mapping[str, int] | None,
    now: datetime,
    drain_s: float,
) -> Step:
    """Drop those that have drained: nothing outstanding at their URL, or `drain_s` seconds gone by.

    `outstanding` None means that it is not known, which is not the same as nothing. One that does not run
    has nothing to finish.
    """
    after = {each.id: each for each in placements}
    drop = set()
    for placement in placements:
        if placement.draining_since is None:
            continue
        age_s = (now - placement.draining_since).total_seconds()
        idle = outstanding is not None and not outstanding.get(placement.url)
        dead = state_of(placement, rows) in {"failed", "backing_off"}
        if age_s >= drain_s or (age_s >= SETTLE_S and (idle or dead)):
            drop.add(placement.id)
    return _step(placements, after, drop)


def _step(before: Collection[Placement], after: Mapping[str, Placement], drop: set[str]) -> Step:
    unchanged = set(map(id, before))
    left = [each for each in after.values() if each.id not in drop]
    return Step(
        placements=tuple(sorted(left, key=lambda each: each.id)),
        put=tuple(each for each in left if id(each) not in unchanged),
        drop=tuple(sorted(drop)),
    )


def _new(wanted: Want, taken: Collection[str], new_url: Callable[[str], str], now: datetime) -> Placement:
    """The first of `NAME`, `NAME:2`, `NAME:3`… that nobody has: not even a process that is just ending."""
    number = 1
    while (name := wanted.model if number == 1 else f"{wanted.model}:{number}") in taken:
        number += 1
    return Placement(
        id=name,
        model=wanted.model,
        url=new_url(name),
        engine=wanted.engine,
        settings=wanted.settings,
        since=now,
    )
