"""Requests of one turn, taken in together."""

from __future__ import annotations

import json
import socket

from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Gateway


def test_many_requests_of_one_turn(gateway: Gateway, provider: FakeProvider) -> None:
    """Good and bad ones, on connections that are kept, each get their own answer, in every round."""
    head = f"host: x\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
    raws = [socket.create_connection(("127.0.0.1", gateway.port), timeout=60) for _ in range(40)]
    try:
        for turn in range(3):
            for n, raw in enumerate(raws):
                wanted = json.dumps({"text": f"answer {turn}-{n}"})
                said = {"role": "user", "content": f"fake:{wanted}"}
                body = json.dumps({"model": "gpt-4o", "messages": [said]})
                if n % 4 == 3:
                    body = body[:-1] + ', "n": 0}' if n % 8 == 3 else body[:-1]
                line = f"POST /v1/chat/completions HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n"
                raw.sendall((line + body).encode())
            for n, raw in enumerate(raws):
                got = b""
                while b"}" not in got or not got.endswith(b"}"):
                    got += raw.recv(65536)
                if n % 4 == 3:
                    assert got.startswith(b"HTTP/1.1 400"), got
                else:
                    assert f'answer {turn}-{n}"'.encode() in got, got
    finally:
        for raw in raws:
            raw.close()
    assert provider.stats().requests == 3 * 30
