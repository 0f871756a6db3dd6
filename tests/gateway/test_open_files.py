"""A gateway that may open no more files."""

from __future__ import annotations

import resource
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx2

from airboss.testing import FakeProvider
from tests.support.gateway import PATIENT, Gateway, deployment
from tests.support.wait import until

CALL = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
MORE = 10
KEPT = httpx2.Limits(keepalive_expiry=60.0)
"""Of clients: they would connect anew after five seconds."""


def is_closed(client: socket.socket) -> bool:
    """Whether the other side has closed it."""
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_who_is_connected_is_served_and_others_are_again(provider: FakeProvider, own_root: Path) -> None:
    """Those that cannot be accepted are closed at once; with room new ones are served."""
    with Gateway(own_root, deployment(provider.url)) as gateway, ExitStack() as opened:
        client = opened.enter_context(gateway.client(limits=KEPT))
        assert client.post("/v1/chat/completions", json=CALL).status_code == 200
        pid = gateway.process.pid
        most = len(list(Path(f"/proc/{pid}/fd").iterdir())) + MORE
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, hard))
        others = [
            opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            for _ in range(5 * MORE)
        ]
        for each in others:
            each.setblocking(False)
        # Not all that are too many: what the gateway had open for a moment while it was counted is room.
        until(lambda: sum(map(is_closed, others)) >= 3 * MORE)
        for _ in range(3):
            assert client.post("/v1/chat/completions", json=CALL).status_code == 200
        for each in others:
            each.close()

        def served() -> bool:
            try:
                return gateway.chat().status_code == 200
            except httpx2.TransportError:
                return False

        until(served)


def test_without_a_file_more_a_call_is_refused_and_an_end_recorded(
    provider: FakeProvider, own_root: Path
) -> None:
    """A connection upstream that cannot be made is no fault of the provider's; and a call that breaks off is
    recorded, though what counts its tokens cannot be read."""
    slow = 'fake:{"words": 2000, "tokens_per_s": 20}'
    with (
        Gateway(own_root, deployment(provider.url, timeout=PATIENT)) as gateway,
        gateway.client() as client,
        gateway.client(limits=KEPT) as other,
    ):
        assert other.post("/v1/chat/completions", json=CALL).status_code == 200
        asked = {"model": "gpt-4o", "stream": True, "messages": [{"role": "user", "content": slow}]}
        with client.stream("POST", "/v1/chat/completions", json=asked) as stream:
            next(stream.iter_bytes())
            pid = gateway.process.pid
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, hard))
            refused = other.post("/v1/chat/completions", json=CALL)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_connections")
            assert refused.headers["retry-after"] == "1"
        broken_off = gateway.closed(stream.headers["x-request-id"])
        assert broken_off["status"] == "cancelled"
        assert broken_off["usage_estimated"]
        assert broken_off["output_tokens"] > 0
        assert "Traceback" not in gateway.log
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert other.post("/v1/chat/completions", json=CALL).status_code == 200
