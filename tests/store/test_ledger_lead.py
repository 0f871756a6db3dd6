"""Who leads on a ledger in PostgreSQL: one at a time, whatever becomes of the connection that says so."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from airboss.domain.errors import SetupError
from airboss.store import ledger_lead, ledger_postgres, ledger_psycopg
from airboss.store.ledger_lead import LEADER, check_leads, leading
from airboss.store.ledger_postgres import GONE_S, SERVER, connect
from tests.support import postgres
from tests.support.between import between
from tests.support.wait import until

NOT_ME = "datname = current_database() AND pid <> pg_backend_pid()"


@contextmanager
def nobody_comes_in(url: str) -> Iterator[psycopg.Connection]:
    """The database as while its server is started again: connections are cut, and no new one is let in."""
    name = url.split("///")[1].split("?", maxsplit=1)[0]
    with psycopg.connect(url, autocommit=True) as inside, psycopg.connect(postgres.server()) as outside:
        outside.autocommit = True
        outside.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        try:
            inside.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {NOT_ME}".encode())
            yield inside
        finally:
            outside.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


def is_led(url: str) -> bool:
    """Whether somebody leads."""
    try:
        check_leads(url, wait_s=0)
    except SetupError as error:
        return "another Airboss leads" in str(error)
    return False


def holders(url: str) -> list[int]:
    """Which connections have a lock of the kind that a leader has."""
    mine = "locktype = 'advisory' AND granted AND datname = current_database()"
    with psycopg.connect(url) as asks:
        joined = "pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
        return [pid for (pid,) in asks.execute(f"SELECT pid FROM {joined} WHERE {mine}".encode())]


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A ledger's database; who leads on it looks often."""
    monkeypatch.setattr(ledger_lead, "LOOK_S", 0.05)
    return postgres.database(tmp_path)


def test_one_leads(url: str) -> None:
    """A second one is refused until the first has ended."""
    assert not is_led(url)
    with leading(url, broke=pytest.fail):
        assert is_led(url)
    until(lambda: not is_led(url))  # the server ends a connection in its own time


def test_the_lead_outlasts_a_server_that_is_away(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """However often it is asked for in vain meanwhile."""
    caplog.set_level("DEBUG", logger=ledger_lead.__name__)
    with leading(url, broke=pytest.fail):
        with nobody_comes_in(url):
            until(lambda: caplog.text.count("who leads cannot be asked now") >= 3)
        until(lambda: holders(url))  # to ask by taking it would be another that leads


def test_the_lead_outlasts_a_connection_that_says_nothing_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stands between answers for it, so that the server does not know, and has the lock held."""
    monkeypatch.setattr(ledger_lead, "LOOK_S", 0.05)
    monkeypatch.setattr(ledger_postgres, "STATEMENT_S", 0)
    monkeypatch.setattr(ledger_psycopg, "ON_ITS_WAY_S", 1)
    with between(tmp_path) as (network, url):
        at = postgres.database(tmp_path)
        with leading(url, broke=pytest.fail):
            before = holders(at)
            network.hold()
            until(lambda: holders(at) not in ([], before))
            assert is_led(url)


def test_who_finds_another_in_the_lead_ends(url: str) -> None:
    """It was taken while the connection was away."""
    broke = threading.Event()
    with leading(url, broke=broke.set), nobody_comes_in(url) as other:
        other.execute(f"SELECT pg_advisory_lock({LEADER})".encode())
        assert not broke.is_set()
        name = url.split("///")[1].split("?", maxsplit=1)[0]
        with psycopg.connect(postgres.server(), autocommit=True) as outside:
            outside.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())
        assert broke.wait(60)


def test_a_machine_that_is_gone_leads_no_more(url: str) -> None:
    """Server and client look soon whether the other is there. By itself a server keeps the lock of a machine
    without power for two hours; how soon it lets go with this was seen with packets dropped."""
    engine = connect(make_url(url))
    with engine.connect() as connection:
        told = "SELECT name FROM pg_settings WHERE name LIKE 'tcp_%%' AND source = 'client'"
        names = {str(name) for (name,) in connection.exec_driver_sql(told)}
        driver = connection.connection.driver_connection
        assert driver is not None
        own = driver.info.get_parameters()
    engine.dispose()
    assert names == {name for name in SERVER if name.startswith("tcp_")} != set()
    assert int(own["tcp_user_timeout"]) == SERVER["tcp_user_timeout"] == GONE_S * 1000
    server = {name.removeprefix("tcp_"): str(value) for name, value in SERVER.items()}
    for said in (own, server):
        looks = int(said["keepalives_interval"]) * int(said["keepalives_count"])
        assert int(said["keepalives_idle"]) + looks <= GONE_S
