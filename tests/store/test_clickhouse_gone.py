"""A ClickHouse whose machine is gone: what is known of that, and when."""

from __future__ import annotations

import socket
from contextlib import closing

from airboss.config.clickhouse import read_url
from airboss.store.clickhouse_http import GONE_S, HARD_S, ClickHouse


def test_nobody_waits_for_the_answer_of_a_machine_that_is_gone(url: str) -> None:
    """Parts may be rewritten for half an hour, while moves wait: the connection itself is looked at."""
    with closing(ClickHouse(read_url(url))) as server, server._http.stream("GET", "/ping") as answer:
        line = answer.extensions["network_stream"].get_extra_info("socket")

        def said(name: int) -> int:
            return int(line.getsockopt(socket.IPPROTO_TCP, name))

        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        looks = said(socket.TCP_KEEPINTVL) * said(socket.TCP_KEEPCNT)
        assert said(socket.TCP_KEEPIDLE) + looks <= GONE_S < HARD_S
