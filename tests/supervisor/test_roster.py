"""Which replicas should run, and how they are told to stand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from airboss.config import ModelConfig
from airboss.controller.publish import apply_config
from airboss.domain.ports import Replica
from airboss.domain.status import ProcessState, ProcessStatus
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from airboss.supervisor.fleet import Places, core, is_gateway, is_store
from airboss.supervisor.roster import Roster

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CONFIG = """
[providers.here]
kind = "local"

[models.tiny]
provider = "here"
model = "https://x.invalid/tiny.gguf"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

[deployments.a]
model = "tiny"

[deployments.b]
model = "tiny"
"""

Apply = Callable[[str], None]


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A data directory."""
    made = DataDir(tmp_path / "d")
    made.create()
    return made


@pytest.fixture
def ledger(data: DataDir) -> Iterator[SqlLedger]:
    """Its ledger."""
    made = SqlLedger(data.ledger_url)
    yield made
    made.close()


@pytest.fixture
def apply(ledger: SqlLedger, data: DataDir) -> Apply:
    """Applies a configuration; replicas get the ports from 40001 on."""
    ports = count(40_001)

    def put(text: str) -> None:
        apply_config(
            ledger,
            text,
            source="test",
            data=data,
            pick_port=lambda: next(ports),
            now=NOW,
            tools=lambda _model: False,
            engine_version="1",
        )

    return put


@pytest.fixture
def places(data: DataDir) -> Places:
    """Where everything is."""
    return Places(
        data_dir=data.path,
        host="127.0.0.1",
        port=8700,
        console_port=8701,
        workers=2,
        tls=False,
        insecure=False,
        listen_fd=7,
        lock_fd=8,
        store_socket=data.socket_path,
    )


def status(state: ProcessState, *, restarts: int = 0) -> dict[str, ProcessStatus]:
    """The process of the replica of `tiny` in that state."""
    name = "replica-tiny"
    return {name: ProcessStatus(name=name, state=state, restarts=restarts, since=NOW, pid=5, detail="why")}


def missing(_model: ModelConfig) -> bool:
    """No weights are at hand."""
    return False


def at_hand(_model: ModelConfig) -> bool:
    """All weights are."""
    return True


def test_one_engine_for_each_model_served(ledger: SqlLedger, apply: Apply, places: Places) -> None:
    """Before the first plan nothing is wanted; then one engine for each local model, however many deployments
    share it, at the plan's URL."""
    roster = Roster(ledger, places, fetched=at_hand)
    assert roster.specs() == []
    apply(CONFIG)
    (spec,) = roster.specs()
    assert spec.name == "replica-tiny"
    assert spec.command.argv[-6:-2] == ("--model", "tiny", "--port", "40001")
    assert spec.watch


def test_a_changed_engine_is_another_spec(ledger: SqlLedger, apply: Apply, places: Places) -> None:
    """Another number of slots replaces the engine; another alias or price does not."""
    roster = Roster(ledger, places, fetched=at_hand)
    apply(CONFIG)
    (first,) = roster.specs()
    apply(CONFIG.replace("[deployments.a]", '[deployments.a]\naliases = ["gpt-4o"]'))
    assert roster.specs()[0].same_as(first)
    price = "price = { input_usd_per_mtok = 1, output_usd_per_mtok = 2 }"
    apply(CONFIG.replace("[deployments.a]", f"{price}\n[deployments.a]"))
    assert roster.specs()[0].same_as(first)
    apply(CONFIG.replace("[deployments.a]", "slots = 2\n[deployments.a]"))
    assert not roster.specs()[0].same_as(first)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("starting", "starting"),
        ("starting", "fetching"),
        ("ready", "ready"),
        ("backing_off", "backing_off"),
        ("stopping", "stopped"),
        ("stopped", "stopped"),
    ],
)
def test_the_ledger_is_told(
    ledger: SqlLedger, apply: Apply, places: Places, state: ProcessState, expected: str
) -> None:
    """Each state of the process becomes a state of the replica, with restarts, pid and cause; one that starts
    without its weights is fetching."""
    apply(CONFIG)
    roster = Roster(ledger, places, fetched=missing if expected == "fetching" else at_hand)
    roster.specs()
    roster.report(status(state, restarts=3))
    (row,) = ledger.replicas()
    assert (row.state, row.restarts, row.pid, row.detail) == (expected, 3, 5, "why")
    assert row.url == "http://127.0.0.1:40001/v1"


def test_what_is_stale_is_mended(ledger: SqlLedger, apply: Apply, places: Places) -> None:
    """A row that says another URL than the plan is put right, and one that no plan wants is dropped."""
    apply(CONFIG)
    roster = Roster(ledger, places, fetched=at_hand)
    roster.specs()
    (row,) = ledger.replicas()
    for replica_id in ("tiny", "gone"):
        url = "http://127.0.0.1:1/v1"
        ledger.put_replica(
            Replica(id=replica_id, model=replica_id, url=url, state="ready", restarts=0, since=NOW)
        )
    roster.report(status("ready"))
    assert [(each.id, each.url) for each in ledger.replicas()] == [("tiny", row.url)]


def test_a_port_in_force_is_the_new_one(ledger: SqlLedger, apply: Apply, places: Places) -> None:
    """After an engine has moved to a new port the roster wants it there."""
    apply(CONFIG)
    roster = Roster(ledger, places, fetched=at_hand)
    roster.specs()
    apply(CONFIG.replace("[deployments.a]", "slots = 2\n[deployments.a]"))
    roster.report(status("ready"))  # the old port's, written before the new plan was seen
    assert "40002" in roster.specs()[0].command.argv
    roster.report(status("starting"))
    assert ledger.replicas()[0].url == "http://127.0.0.1:40002/v1"


def test_what_waits_for_a_start_is_said(
    ledger: SqlLedger, apply: Apply, places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings that only a start brings into force are reported once when they change."""
    apply(CONFIG)
    roster = Roster(ledger, places, fetched=at_hand)
    roster.specs()
    apply(CONFIG + "[gateway]\nmax_body_bytes = 1000000\n")
    with caplog.at_level(logging.WARNING):
        roster.specs()
        roster.specs()
    assert [line.message for line in caplog.records if "next `airboss up`" in line.message] != []
    assert len(caplog.records) == 1


def test_the_core_gets_its_descriptors(places: Places) -> None:
    """Gateways get socket and lock, store and controller the lock; all get their data directory."""
    specs = {spec.name: spec.command for spec in core(places)}
    assert set(specs) == {"store", "controller", "gateway-0", "gateway-1"}
    assert specs["gateway-1"].pass_fds == (8, 7)
    assert specs["gateway-1"].env["AIRBOSS_LISTEN_FD"] == "7"
    assert specs["store"].pass_fds == specs["controller"].pass_fds == (8,)
    assert all(command.argv[-2:] == ("--data-dir", str(places.data_dir)) for command in specs.values())
    assert [name for name in specs if is_gateway(name)] == ["gateway-0", "gateway-1"]
    assert [name for name in specs if is_store(name)] == ["store"]
