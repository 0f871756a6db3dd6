"""Scores in ClickHouse, which knows no transactions: given by several at once, each is kept once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from airboss.config.clickhouse import read_url
from airboss.domain.errors import StoreUnavailable
from airboss.store.clickhouse import ClickHouseRecordLog
from airboss.store.clickhouse_http import ClickHouse
from tests.store.conftest import Open
from tests.store.samples import move
from tests.store.test_contract_scores import feedback, score
from tests.support.between import Between
from tests.support.wait import until


def test_scores_given_again_while_they_are_under_way_are_kept_once(
    url: str, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that is killed while ClickHouse is stuck has judged more when it begins again."""
    log, real = open_log(), ClickHouse.insert_new
    log.apply(move(1, 2, 3))
    under_way, again = threading.Event(), threading.Event()

    def insert(self: ClickHouse, table: str, columns: Any, rows: Any) -> None:
        if table == "scores" and not under_way.is_set():
            under_way.set()
            again.wait(0.5)
        real(self, table, columns, rows)
        if table == "scores":
            again.set()

    monkeypatch.setattr(ClickHouse, "insert_new", insert)
    with ThreadPoolExecutor(2) as threads, closing(ClickHouse(read_url(url))) as server:
        first = threads.submit(log.put_scores, [score(n, n) for n in (1, 2)])
        assert under_way.wait(20)
        second = threads.submit(log.put_scores, [score(n, n) for n in (1, 2, 3)])
        assert (first.result(), second.result()) == (2, 1)
        assert server.rows("select count(), uniqExact(id) from scores") == [[3, 3]]


def test_scores_that_are_inserted_late_are_kept_once(
    url: str, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was stuck carries out what nobody waits for any more, behind what was sent after it."""
    open_log().apply(move(1, 2, 3))
    server, _, path = url.removeprefix("clickhouse://").partition("/")
    host, _, port = server.partition(":")
    with Between((host, int(port))) as network, closing(ClickHouse(read_url(url))) as house:
        log = ClickHouseRecordLog(f"clickhouse://127.0.0.1:{network.port}/{path}")
        late: list[threading.Event] = []
        sent = ClickHouse._send

        def stuck(self: ClickHouse, body: bytes, *args: Any, **kwargs: Any) -> bytes:
            if not late and (b"insert into scores" in body or "scores" in args[0].get("query", "")):
                late.append(network.hold())
                kwargs["timeout_s"] = 0.2
            return sent(self, body, *args, **kwargs)

        monkeypatch.setattr(ClickHouse, "_send", stuck)
        with pytest.raises(StoreUnavailable):
            log.put_scores([score(n, n) for n in (1, 2)])
        assert log.put_scores([score(n, n) for n in (1, 2, 3)]) == 3
        before = network.passed[1]
        late[0].set()
        until(lambda: network.passed[1] > before)  # it has answered
        assert house.rows("select count(), uniqExact(id) from scores") == [[3, 3]]
        log.close()


def test_feedback_that_is_moved_again_is_not_taken_for_what_was_moved_before(
    url: str, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The move broke off, and the record of another of its scores has come since."""
    log, real = open_log(), ClickHouse.insert
    log.apply(move(1))
    given = feedback(score(1, 1), score(2, 2), segment="b/00000001")

    def breaks(self: ClickHouse, table: str, *rest: Any) -> None:
        if table == "waiting_scores":
            raise StoreUnavailable("gone")
        real(self, table, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(ClickHouse, "insert", breaks)
        with pytest.raises(StoreUnavailable):
            log.apply(given)
    log.apply(move(2, start=100))
    log.apply(given)
    with closing(ClickHouse(read_url(url))) as house:
        assert house.rows("select count(), uniqExact(id) from scores") == [[2, 2]]
        assert house.rows("select count() from waiting_scores final where done = 0") == [[0]]
