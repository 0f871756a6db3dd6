"""A server that is silent, and who waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from airboss.store import ledger_postgres, ledger_psycopg
from airboss.store.ledger import SqlLedger
from airboss.store.ledger_trouble import LedgerAway
from airboss.store.stopping import ending
from tests.support.between import Between, between


@pytest.fixture
def ends() -> Iterator[None]:
    """What is set within is taken back: this process does not end."""
    yield
    ending.clear()


def waiting(network: Between, ledger: SqlLedger, threads: ThreadPoolExecutor) -> Future[int]:
    """Somebody who has asked a server that was silent before it said anything."""
    ledger.revision()
    network.silence()
    return threads.submit(ledger.revision)


def test_what_was_idle_and_is_silent_is_given_up_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after what a statement may take: another connection is asked."""
    monkeypatch.setattr(ledger_postgres, "STATEMENT_S", 600)
    monkeypatch.setattr(ledger_psycopg, "ON_ITS_WAY_S", 1)
    with (
        between(tmp_path) as (network, url),
        closing(SqlLedger(url)) as ledger,
        ThreadPoolExecutor() as threads,
    ):
        ledger.revision()
        held = network.hold()
        try:
            assert threads.submit(ledger.revision).result(120) == 0
        finally:
            held.set()


def test_who_ends_does_not_wait_for_it(tmp_path: Path, ends: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told, and once one was, all that come after are told at once."""
    monkeypatch.setattr(ledger_postgres, "STATEMENT_S", 600)
    monkeypatch.setattr(ledger_psycopg, "ON_ITS_WAY_S", 600)
    with (
        between(tmp_path) as (network, url),
        closing(SqlLedger(url)) as ledger,
        ThreadPoolExecutor() as threads,
    ):
        asked = waiting(network, ledger, threads)
        try:
            ending.set()
            with pytest.raises(LedgerAway, match="silent"):
                asked.result(120)
            began = time.monotonic()
            for _ in range(100):
                with pytest.raises(LedgerAway, match="this process ends"):
                    ledger.revision()
            assert time.monotonic() - began < 60
        finally:
            network.mend()
