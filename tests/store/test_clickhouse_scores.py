"""Scores in ClickHouse, which knows no transactions: given by several at once, each is kept once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from airboss.config.clickhouse import read_url
from airboss.store.clickhouse_http import ClickHouse
from tests.store.conftest import Open
from tests.store.samples import move
from tests.store.test_contract_scores import score


def test_scores_given_again_while_they_are_under_way_are_kept_once(
    url: str, open_log: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A controller that is killed while ClickHouse is stuck has judged more when it begins again."""
    log, real = open_log(), ClickHouse.insert
    log.apply(move(1, 2, 3))
    under_way, again = threading.Event(), threading.Event()

    def insert(self: ClickHouse, table: str, columns: Any, rows: Any, token: str) -> None:
        if table == "scores" and not under_way.is_set():
            under_way.set()
            again.wait(0.5)
        real(self, table, columns, rows, token)
        if table == "scores":
            again.set()

    monkeypatch.setattr(ClickHouse, "insert", insert)
    with ThreadPoolExecutor(2) as threads, closing(ClickHouse(read_url(url))) as server:
        first = threads.submit(log.put_scores, [score(n, n) for n in (1, 2)])
        assert under_way.wait(20)
        second = threads.submit(log.put_scores, [score(n, n) for n in (1, 2, 3)])
        assert (first.result(), second.result()) == (2, 1)
        assert server.rows("select count(), uniqExact(id) from scores") == [[3, 3]]
