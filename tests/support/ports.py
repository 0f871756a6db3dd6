"""Ports on loopback that nobody takes between two uses."""

from __future__ import annotations

import os
import random
import socket

FROM, TO = 20_000, 32_000
"""Below those that Linux gives to whoever wants any port (`net.ipv4.ip_local_port_range`): one of those, let
go, goes to another test's server or client meanwhile, and what should be refused is answered."""
WORKERS = 32
"""Each of so many processes that run tests side by side has ports of its own, and gives each of them once."""
_given: set[int] = set()


def unused_port() -> int:
    """A port that nobody listens on, and that nobody is given who does not ask for it by number."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    for _ in range(1_000):
        port = random.randrange(FROM, TO, WORKERS) + worker
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no free port between {FROM} and {TO}")
