"""Engines kept as many as wanted, and the plan pointed to those that are ready, on a real ledger."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airboss.config import parse_config
from airboss.controller.placement import rehouse, shown_replicas
from airboss.controller.publish import apply_config
from airboss.controller.scaling import Scaler, calls_of, with_calls
from airboss.domain.ports import Replica, ReplicaState
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from airboss.telemetry.metrics import Counts, read_counts

START = datetime(2026, 11, 23, tzinfo=UTC)
CONFIG = """
[providers.here]
kind = "local"

[models.m]
provider = "here"
model = "file:/m.gguf"
slots = 2
replicas = { min = 1, max = 3, window_s = 10 }

[deployments.d]
model = "m"
"""


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.s = 0.0

    def now(self) -> datetime:
        """Wall-clock time."""
        return START + timedelta(seconds=self.s)

    def monotonic(self) -> float:
        """Seconds."""
        return self.s


class House:
    """A ledger, a scaler, and hosts and gateways that the test plays."""

    def __init__(self, folder: Path) -> None:
        self.data = DataDir(folder)
        self.data.create()
        self.ledger = SqlLedger(self.data.ledger_url)
        self.ports: Iterator[int] = itertools.count(9000)
        self.clock = Time()
        self.outstanding: dict[str, int] = {}
        self.gateway_age_s = 0.0
        self.plan_seen: int | None = None
        self.scaler = self.new_scaler()

    def new_scaler(self) -> Scaler:
        """A scaler as a controller that has just started has it."""
        return Scaler(
            self.ledger,
            counts=self.counts,
            republish=lambda: self.apply(self.ledger.config() or "", retry_failed=False),
            metrics=self.data.metrics_dir / "scaling.json",
            clock=self.clock,
        )

    def counts(self) -> dict[str, Counts]:
        """What one gateway says."""
        snapshot = self.ledger.snapshot()
        newest = snapshot.plan.number if snapshot is not None else 0
        written = self.clock.now() - timedelta(seconds=self.gateway_age_s)
        seen = newest if self.plan_seen is None else self.plan_seen
        return {"gateway-0": Counts(written_at=written, plan=seen, outstanding=self.outstanding)}

    def apply(self, text: str, *, retry_failed: bool = True) -> None:
        """Apply a configuration."""
        apply_config(
            self.ledger,
            text,
            source="t",
            data=self.data,
            pick_port=lambda: next(self.ports),
            now=self.clock.now(),
            tools=lambda _: False,
            engine_version="e 1",
            retry_failed=retry_failed,
        )

    def stand(self, state: ReplicaState = "ready", *, only: str | None = None) -> None:
        """Say that every engine, or only that one, is in that state."""
        for each in self.ledger.placements():
            if only in {None, each.id}:
                row = Replica(
                    id=each.id, model=each.model, url=each.url, state=state, restarts=0, since=START
                )
                self.ledger.put_replica(row)

    def tick(self, seconds: float = 0.5) -> None:
        """Let time pass, looking twice a second."""
        for _ in range(int(seconds * 2)):
            self.clock.s += 0.5
            self.scaler.tick()

    def placed(self, *, draining: bool = False) -> list[str]:
        """The engines that shall run, or those that drain."""
        return [each.id for each in self.ledger.placements() if (each.draining_since is not None) == draining]

    def urls(self) -> tuple[str, ...]:
        """Where the plan sends calls."""
        snapshot = self.ledger.snapshot()
        assert snapshot is not None
        return snapshot.plan.deployments[0].target.base_urls

    def url(self, name: str) -> str:
        """Where an engine is."""
        return next(each.url for each in self.ledger.placements() if each.id == name)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house that serves `d` with one ready engine."""
    made = House(tmp_path / "data")
    made.apply(CONFIG)
    made.stand()
    made.tick()
    yield made
    made.ledger.close()


def test_up_and_down_again(house: House) -> None:
    """Load brings a second engine, which the plan points to once it is ready; without load one of them is
    taken out of the plan, and stops when its last call has ended."""
    assert house.ledger.scalings()["m"].reason == "min is 1"
    house.outstanding = {house.url("m"): 3}
    house.tick(3)
    assert house.placed() == ["m", "m:2", "m:3"]
    assert house.urls() == (house.url("m"),)
    house.stand()
    house.tick()
    assert len(house.urls()) == 3
    house.outstanding = {house.url("m:2"): 1, house.url("m:3"): 1}
    house.tick(40)
    assert house.ledger.scalings()["m"].wanted == 2
    assert (house.placed(), len(house.urls())) == (["m", "m:2"], 2)
    assert house.placed(draining=True) == ["m:3"]
    house.outstanding = {}
    house.tick()
    assert house.placed(draining=True) == []
    house.tick(40)
    assert house.placed() == ["m"]


def test_nothing_that_drains_is_cut(house: House) -> None:
    """Not while a gateway counts a call there, serves an older plan, or says nothing; but not for ever."""
    house.apply(CONFIG.replace("min = 1", "min = 2") + "[replicas]\ndrain_s = 60\n")
    house.stand()
    house.tick()
    house.outstanding = {house.url("m:2"): 1}
    house.apply(CONFIG.replace("max = 3", "max = 1") + "[replicas]\ndrain_s = 60\n")
    house.tick(20)
    assert house.placed(draining=True) == ["m:2"]
    house.outstanding, house.plan_seen = {}, 1
    house.tick(10)
    assert house.placed(draining=True) == ["m:2"]
    house.plan_seen, house.gateway_age_s = None, 5.0
    house.tick(10)
    assert house.placed(draining=True) == ["m:2"]
    house.tick(25)
    assert house.placed(draining=True) == []


def test_a_new_engine_takes_over_when_it_is_ready(house: House) -> None:
    """The plan follows without anybody applying anything again; the old engine drains."""
    old = house.url("m")
    house.apply(CONFIG.replace("slots = 2", "slots = 1"))
    house.tick(5)
    assert (house.placed(), house.urls()) == (["m", "m:2"], (old,))
    house.stand(only="m:2")
    house.tick(1)
    assert (house.placed(draining=True), house.urls()) == (["m"], (house.url("m:2"),))
    house.tick(3)
    assert [each.id for each in house.ledger.placements()] == ["m:2"]


def test_one_that_dies_gets_no_calls_until_it_is_back(house: House) -> None:
    """The other takes them."""
    house.apply(CONFIG.replace("min = 1", "min = 2"))
    house.stand()
    house.tick()
    both = house.urls()
    house.stand("backing_off", only="m")
    house.tick()
    assert house.urls() == (house.url("m:2"),)
    house.stand(only="m")
    house.tick()
    assert house.urls() == both


def test_a_controller_started_again_goes_on(house: House) -> None:
    """What was decided stands in the ledger; nothing is taken away before a window of its own is full."""
    house.outstanding = {house.url("m"): 3}
    house.tick(3)
    house.stand()
    house.tick(20)
    wanted = house.ledger.scalings()["m"].wanted
    assert wanted == 3
    house.scaler = house.new_scaler()
    house.outstanding = {}
    house.tick(8)
    assert house.ledger.scalings()["m"].wanted == wanted
    house.tick(15)
    assert house.ledger.scalings()["m"].wanted < wanted


def test_a_quiet_controller_publishes_nothing(house: House) -> None:
    """Looking is no change."""
    house.tick(2)
    before = house.ledger.revision()
    house.tick(20)
    assert house.ledger.revision() == before


def test_it_is_shown(house: House) -> None:
    """Replicas with what runs and waits at each, and counts for /metrics."""
    house.apply(CONFIG.replace("min = 1", "min = 2"))
    house.outstanding = {house.url("m"): 3}
    house.tick()
    shown = with_calls(
        shown_replicas(house.ledger), house.ledger.placements(), calls_of(house.counts(), house.clock.now())
    )
    assert [(each.id, each.state, each.running, each.slots, each.queued) for each in shown] == [
        ("m", "ready", 2, 2, 1),
        ("m:2", "stopped", 0, 2, 0),
    ]
    counts = read_counts(house.data.metrics_dir, but="")["scaling"]
    assert counts.replicas == {"m": {"ready": 1, "stopped": 1}}
    assert counts.replicas_wanted == {"m": 2}
    house.gateway_age_s = 5
    unknown = with_calls(shown, house.ledger.placements(), calls_of(house.counts(), house.clock.now()))
    assert [each.running for each in unknown] == [None, None]


def test_a_dead_gateway_has_no_calls() -> None:
    """Its counts are old; those of the others are added up, and the oldest plan counts."""
    young, old = START - timedelta(seconds=1), START - timedelta(seconds=60)
    found = calls_of(
        {
            "gateway-0": Counts(written_at=young, plan=3, outstanding={"u": 1}),
            "gateway-1": Counts(written_at=young, plan=2, outstanding={"u": 2, "v": 1}),
            "gateway-2": Counts(written_at=old, plan=1, outstanding={"u": 9}),
            "controller": Counts(written_at=young),
        },
        START,
    )
    assert found is not None
    assert (found.outstanding, found.plan) == ({"u": 3, "v": 1}, 2)


def test_a_start_forgets_what_the_last_run_said(house: House) -> None:
    """No engine runs, none drains, and one whose port somebody else has taken gets another; the plan then
    points to what is about to start."""
    house.apply(CONFIG.replace("min = 1", "min = 2"))
    house.stand()
    house.apply(CONFIG.replace("max = 3", "max = 1"))
    taken = house.url("m")
    rehouse(
        house.ledger,
        parse_config(CONFIG, source="t"),
        pick_port=lambda: next(house.ports),
        usable=lambda url: url != taken,
    )
    assert house.ledger.replicas() == ()
    assert [each.id for each in house.ledger.placements()] == ["m"]
    assert house.url("m") != taken
    house.apply(CONFIG)
    assert house.urls() == (house.url("m"),)
