"""Which replicas should run, and how they are told to stand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from airboss.controller.publish import apply_config
from airboss.domain.ports import Replica
from airboss.domain.status import ProcessState, ProcessStatus
from airboss.store.datadir import DataDir
from airboss.store.ledger import SqlLedger
from airboss.supervisor.fleet import Places, core, is_gateway, is_store
from airboss.supervisor.local import LocalHost
from airboss.supervisor.roster import Roster
from airboss.supervisor.supervisor import Spec

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


def status(state: ProcessState, *, restarts: int = 0, name: str = "tiny") -> dict[str, ProcessStatus]:
    """The process of a replica in that state."""
    name = f"replica-{name}"
    return {name: ProcessStatus(name=name, state=state, restarts=restarts, since=NOW, pid=5, detail="why")}


class Kept:
    """A roster and the host that it keeps, as `airboss up` has them."""

    def __init__(self, ledger: SqlLedger, places: Places, *, fetched: bool = True) -> None:
        self.host = LocalHost(places, fetched=lambda _model: fetched)
        self.roster = Roster(ledger, self.host)

    def specs(self, statuses: Mapping[str, ProcessStatus] | None = None) -> list[Spec]:
        """What should run, after saying how processes stand."""
        self.host.saw(statuses or {})
        self.roster.keep()
        return self.host.specs(essential=self.roster.essential)


def test_one_engine_for_each_model_served(ledger: SqlLedger, apply: Apply, places: Places) -> None:
    """Before the first plan nothing is wanted; then one engine for each local model, however many deployments
    share it, at its port. It may fail; but as nothing would be served without it, that ends the start."""
    kept = Kept(ledger, places)
    assert kept.specs() == []
    apply(CONFIG)
    (spec,) = kept.specs()
    assert spec.name == "replica-tiny"
    assert spec.command.argv[-8:-2] == ("--model", "tiny", "--port", "40001", "--placement", "tiny")
    assert (spec.watch, spec.may_fail, spec.essential) == (True, True, True)


def test_without_one_of_several_the_rest_serves(ledger: SqlLedger, apply: Apply, places: Places) -> None:
    """Where deployments depend on different engines, or on a provider, none of them ends the start."""
    other = '[models.other]\nprovider = "here"\nmodel = "file:/other.gguf"\n'
    apply(CONFIG + other + '[deployments.c]\nmodel = "other"\n')
    assert [spec.essential for spec in Kept(ledger, places).specs()] == [False, False]


def test_an_engine_beside_another_is_another_process(ledger: SqlLedger, apply: Apply, places: Places) -> None:
    """Another number of slots starts an engine beside the first, which stays; another alias or price changes
    nothing. The one that comes is not what the start waits for."""
    kept = Kept(ledger, places)
    apply(CONFIG)
    (first,) = kept.specs()
    apply(CONFIG.replace("[deployments.a]", '[deployments.a]\naliases = ["gpt-4o"]'))
    assert kept.specs()[0].command == first.command
    price = "price = { input_usd_per_mtok = 1, output_usd_per_mtok = 2 }"
    apply(CONFIG.replace("[deployments.a]", f"{price}\n[deployments.a]"))
    assert kept.specs()[0].command == first.command
    kept.specs(status("ready"))
    apply(CONFIG.replace("[deployments.a]", "slots = 2\n[deployments.a]"))
    one, two = kept.specs(status("ready"))
    assert one.command == first.command
    assert two.command.argv[-4:-2] == ("--placement", "tiny:2")
    assert (one.essential, two.essential) == (True, False)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("starting", "starting"),
        ("starting", "fetching"),
        ("ready", "ready"),
        ("backing_off", "backing_off"),
        ("failed", "failed"),
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
    Kept(ledger, places, fetched=expected != "fetching").specs(status(state, restarts=3))
    (row,) = ledger.replicas()
    assert (row.state, row.restarts, row.pid, row.detail) == (expected, 3, 5, "why")
    assert row.url == "http://127.0.0.1:40001/v1"


def test_what_is_stale_is_mended(ledger: SqlLedger, apply: Apply, places: Places) -> None:
    """A row that says something else than the process is put right, and one that nobody runs is dropped."""
    apply(CONFIG)
    for replica_id in ("tiny", "gone"):
        url = "http://127.0.0.1:1/v1"
        ledger.put_replica(
            Replica(id=replica_id, model=replica_id, url=url, state="ready", restarts=0, since=NOW)
        )
    Kept(ledger, places).specs(status("ready"))
    assert [(each.id, each.url) for each in ledger.replicas()] == [("tiny", "http://127.0.0.1:40001/v1")]


def test_a_replica_that_is_ending_keeps_its_name(ledger: SqlLedger, apply: Apply, places: Places) -> None:
    """While its process is there its row is, so that no new engine gets its name; then the row goes."""
    apply(CONFIG)
    kept = Kept(ledger, places)
    kept.specs(status("ready"))
    ledger.place([], drop=["tiny"])
    assert kept.specs(status("stopping")) == []
    assert [each.id for each in ledger.replicas()] == ["tiny"]
    kept.specs({})
    assert ledger.replicas() == ()


def test_what_waits_for_a_start_is_said(
    ledger: SqlLedger, apply: Apply, places: Places, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings that only a start brings into force are reported once when they change."""
    apply(CONFIG)
    kept = Kept(ledger, places)
    kept.specs()
    apply(CONFIG + "[gateway]\nmax_body_bytes = 1000000\n")
    with caplog.at_level(logging.WARNING):
        kept.specs()
        kept.specs()
    assert [line.message for line in caplog.records if "next `airboss up`" in line.message] != []
    assert len(caplog.records) == 1


def test_the_core_gets_its_descriptors(places: Places) -> None:
    """Gateways get socket and lock, store and controller the lock; all get their data directory."""
    specs = {spec.name: spec.command for spec in core(places, records="embedded")}
    assert set(specs) == {"store", "controller", "gateway-0", "gateway-1"}
    assert specs["gateway-1"].pass_fds == (8, 7)
    assert specs["gateway-1"].env["AIRBOSS_LISTEN_FD"] == "7"
    assert specs["store"].pass_fds == specs["controller"].pass_fds == (8,)
    assert specs["store"].env["AIRBOSS_UP_RECORDS"] == "embedded"
    for command in specs.values():  # names that URLs are given under, as in `records = "env:AIRBOSS_RECORDS"`
        assert {"AIRBOSS_LEDGER", "AIRBOSS_RECORDS", "AIRBOSS_COUNTERS"}.isdisjoint(command.env)
    assert all(command.argv[-2:] == ("--data-dir", str(places.data_dir)) for command in specs.values())
    assert [name for name in specs if is_gateway(name)] == ["gateway-0", "gateway-1"]
    assert [name for name in specs if is_store(name)] == ["store"]
