"""Engines placed for a configuration, in the ledger: before a plan that needs them, and after one that does
not any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import wraps
from typing import ParamSpec, TypeVar

import msgspec

from airboss.config import Config
from airboss.domain.errors import SetupError
from airboss.domain.plan import ServingPlan
from airboss.domain.ports import Ledger, Placement, Replica
from airboss.replicas import placing
from airboss.replicas.swap import Engines, settle

log = logging.getLogger(__name__)

PUBLISHING = threading.RLock()
"""Held from reading placements and plan to writing the next ones: a configuration is applied in one thread,
rollouts and scaling go on in others, and each builds on what it read."""

PORT_TRIES = 100

Given = ParamSpec("Given")
Result = TypeVar("Result")


def one_at_a_time(publish: Callable[Given, Result]) -> Callable[Given, Result]:
    """The function, while no other such function runs in this process."""

    @wraps(publish)
    def alone(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with PUBLISHING:
            return publish(*args, **kwargs)

    return alone


NewUrl = Callable[[str], str]
"""The URL of an engine that is placed now, by the placement's id. Raises SetupError where there is none."""


class Placed:
    """The engines of a configuration, decided and not written yet."""

    def __init__(
        self,
        ledger: Ledger,
        config: Config,
        models: Collection[str],
        *,
        pick_port: Callable[[], int],
        now: datetime,
        retry: bool,
    ) -> None:
        new_url = addresses(config, pick_port, ledger.placements())
        decided = {name: each.wanted for name, each in ledger.scalings().items()}
        self._ledger = ledger
        self._now = now
        self._rows = rows_by_id(ledger)
        self._wanted = placing.wants(config, models, decided)
        self._step = placing.place(
            self._wanted, ledger.placements(), self._rows, new_url=new_url, now=now, retry=retry
        )
        self._engines = Engines(self._wanted, self._step.placements, self._rows)

    @property
    def urls(self) -> Mapping[str, tuple[str, ...]]:
        """Where the engines of each model are placed, ready or not."""
        return {each.model: self._engines.urls(each.model) for each in self._wanted}

    def settle(self, plan: ServingPlan, before: ServingPlan | None) -> ServingPlan:
        """The plan pointed to what is ready (`replicas.swap`)."""
        return settle(plan, before, self._engines)

    def write(self) -> None:
        """Let the new ones start. Surplus ones drain: the plan that is published next does without them."""
        self._ledger.place(self._step.put, drop=self._step.drop)

    def retire(self, plan: ServingPlan) -> None:
        """Let drain what the plan that is now in force does not point to any more."""
        step = placing.retire(self._wanted, self._step.placements, self._rows, plan=plan, now=self._now)
        self._ledger.place(step.put, drop=step.drop)


def rehouse(
    ledger: Ledger, config: Config, *, pick_port: Callable[[], int], usable: Callable[[str], bool]
) -> None:
    """Before a start: forget how replicas stood, drop those that drained, because their callers are gone, and
    give a new URL to those that cannot be started at theirs."""
    for row in ledger.replicas():
        ledger.forget_replica(row.id)
    placements = ledger.placements()
    staying = [each for each in placements if each.draining_since is None]
    by_ray = config.replicas.host == "ray"
    new_url = addresses(config, pick_port, placements)
    moved = []
    for each in staying:
        on_machine = each.url.startswith("http://127.0.0.1:") and each.url.count("/") == 3
        if by_ray or not on_machine or not usable(each.url):
            url = new_url(each.id)
            if url != each.url:
                log.warning("replica %s moves from %s to %s", each.id, each.url, url)
                moved.append(msgspec.structs.replace(each, url=url))
    ledger.place(moved, drop=[each.id for each in placements if each.draining_since is not None])


def rows_by_id(ledger: Ledger) -> dict[str, Replica]:
    """How replicas stand, by id."""
    return {row.id: row for row in ledger.replicas()}


def addresses(config: Config, pick_port: Callable[[], int], placements: Collection[Placement]) -> NewUrl:
    """Where engines are reached, by the host that runs them."""
    return behind_ray(config) if config.replicas.host == "ray" else on_loopback(pick_port, placements)


def on_loopback(pick_port: Callable[[], int], placements: Collection[Placement]) -> NewUrl:
    """Engines of this machine get a port each: one may be free only because the engine that it was given to
    has not started yet."""
    taken = {each.url for each in placements}

    def new_url(_id: str) -> str:
        for _ in range(PORT_TRIES):
            url = f"http://127.0.0.1:{pick_port()}/v1"
            if url not in taken:
                taken.add(url)
                return url
        raise SetupError(
            f"no free port for a replica after {PORT_TRIES} tries; stop what listens on 127.0.0.1"
        )

    return new_url


def behind_ray(config: Config) -> NewUrl:
    """Engines on a Ray cluster are reached through Serve's proxy, each under its own name."""
    base = config.replicas.url.rstrip("/")
    return lambda placement_id: f"{base}/{placement_id.replace(':', '~')}/v1"


def shown_replicas(ledger: Ledger) -> tuple[Replica, ...]:
    """Every replica as people should see it: one that is placed and has not been started is `stopped`, one
    that is being taken out is `draining`. Ordered by id."""
    return shown(ledger.placements(), rows_by_id(ledger))


def shown(placements: Collection[Placement], rows: Mapping[str, Replica]) -> tuple[Replica, ...]:
    """As `shown_replicas`, of what the ledger has said."""
    found = {}
    for each in placements:
        row = rows.get(each.id)
        if row is None or row.url != each.url:
            row = Replica(
                id=each.id, model=each.model, url=each.url, state="stopped", restarts=0, since=each.since
            )
        if each.draining_since is not None:
            row = msgspec.structs.replace(row, state="draining", since=each.draining_since)
        found[each.id] = row
    return tuple(found[name] for name in sorted(found))
