"""Bad input over the raw wire: a clear 4xx, never a 5xx or a trace, and the next call is served."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airboss.domain.plan import Timeouts
from airboss.gateway import http1
from airboss.testing import FakeProvider
from tests.support.gateway import KEY, Gateway, deployment
from tests.support.wait import until

AUTH = f"authorization: Bearer {KEY}\r\n"
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]})


def _raw(gateway: Gateway, data: bytes, *, wait_s: float = 5.0) -> bytes:
    """Send bytes, read what comes until the server closes or says nothing for a moment."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=wait_s) as raw:
        got = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            raw.sendall(data)
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while piece := raw.recv(65536):
                got += piece
                head, _, body = got.partition(b"\r\n\r\n")
                length = [v for v in head.lower().split(b"\r\n") if v.startswith(b"content-length:")]
                if length and len(body) >= int(length[0].split(b":")[1]) and b"100 Continue" not in head:
                    break
        return got


def _post(body: str = BODY, *, head: str = AUTH, path: str = "/v1/chat/completions") -> bytes:
    length = len(body.encode())
    return f"POST {path} HTTP/1.1\r\nhost: x\r\n{head}content-length: {length}\r\n\r\n{body}".encode()


def _status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else 0


def _error(answer: bytes) -> dict[str, object]:
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert isinstance(error, dict)
    return error


CASES = {
    "no http": (b"hello\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50, 400),
    "nul in the target": (b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "nul in a header": (b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n", 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx", 400),
    "length and chunked": (
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "chunked, twice said": (
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n",
        400,
    ),
    "odd transfer encoding": (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n", 400),
    "negative length": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n", 400),
    "huge length": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n", 413),
    "absurd length": (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: " + b"9" * 40 + b"\r\n\r\n", 400),
    "bad chunk": (
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        400,
    ),
    "bare line feeds": (b"GET /healthz HTTP/1.1\nhost: x\n\n", 400),
    "folded header": (b"GET /healthz HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n", 400),
    "space before colon": (b"GET /healthz HTTP/1.1\r\nhost: x\r\na : b\r\n\r\n", 400),
    "head of 100 KB": (b"GET /healthz HTTP/1.1\r\nhost: x\r\na: " + b"b" * 100_000 + b"\r\n\r\n", 431),
    "20,000 headers": (b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 20_000 + b"\r\n", 431),
    "target of 100 KB": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", 431),
    "upgrade": (
        b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        404,
    ),
    "connect": (b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    "unknown method": (b"BREW / HTTP/1.1\r\nhost: x\r\n\r\n", 400),
    "http 2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "http 9": (b"GET /healthz HTTP/9.9\r\nhost: x\r\n\r\n", 400),
    "unknown route": (b"GET /v2/x HTTP/1.1\r\nhost: x\r\n\r\n", 404),
    "wrong method": (b"GET /v1/chat/completions HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    "delete": (b"DELETE /v1/models HTTP/1.1\r\nhost: x\r\n\r\n", 405),
    "gzip'd body": (
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx",
        415,
    ),
    "no key": (_post(head=""), 401),
    "wrong key": (_post(head="authorization: Bearer ab_nope\r\n"), 401),
    "key in bytes": (b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer \xff\xfe\r\n\r\n", 401),
    "no body": (_post(""), 400),
    "malformed": (_post("{"), 400),
    "lone surrogate": (_post(BODY.replace("hi", "\\ud83d")), 400),
    "low surrogate first": (_post(BODY.replace("hi", "\\ude00\\ud83d")), 400),
    "wrong types": (_post('{"model":1,"messages":{}}'), 400),
    "messages of null": (_post('{"model":"gpt-4o","messages":[null]}'), 400),
    "unknown model": (_post(BODY.replace("gpt-4o", "gpt-4x")), 404),
    "model of 1 MB": (_post(BODY.replace("gpt-4o", "m" * 1_000_000)), 404),
    "deep nesting": (_post('{"model":"gpt-4o","messages":[],"x":' + "[" * 60_000 + "]" * 60_000 + "}"), 400),
    "deep objects": (_post('{"x":' * 30_000 + "1" + "}" * 30_000), 400),
    "201 levels": (_post('{"model":"gpt-4o","messages":[],"x":' + "[" * 201 + "]" * 201 + "}"), 400),
    "user of 1 MB": (_post(BODY[:-1] + ',"user":"' + "u" * 1_000_000 + '"}'), 400),
    "infinity": (_post('{"model":"gpt-4o","messages":[{"role":"u"}],"temperature":1e999}'), 400),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input(gateway: Gateway, case: str) -> None:
    """Each kind of nonsense gets its 4xx in OpenAI's shape, and the next call is served at once."""
    data, status = CASES[case]
    answer = _raw(gateway, data)
    assert _status(answer) == status, answer[:300]
    error = _error(answer)
    assert "Traceback" not in str(error)
    assert "/src/" not in str(error)
    started = time.monotonic()
    assert _status(_raw(gateway, _post())) == 200
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    "content",
    ["\\u0000", "\x7f", "\\ud83d\\ude00", "😀" * 1000, "\u202e", "\\\\u0000", "a" * 1_000_000],
    ids=["nul", "del", "pair", "emoji", "rtl", "backslash", "megabyte"],
)
def test_odd_but_valid_content(gateway: Gateway, provider: FakeProvider, content: str) -> None:
    """Content that is only odd passes, byte for byte."""
    body = BODY.replace("hi", content)
    assert _status(_raw(gateway, _post(body))) == 200
    seen = provider.last()
    assert seen.body_bytes == len(body.encode()) + len("up") - len("gpt-4o")
    if seen.body_bytes < 200_000:
        assert seen.body == body.replace('"gpt-4o"', '"up"')


def test_ten_thousand_messages(gateway: Gateway) -> None:
    """10,000 messages pass to a model that takes them."""
    messages = [{"role": "user", "content": f"message {i}"} for i in range(10_000)]
    assert _status(_raw(gateway, _post(json.dumps({"model": "gpt-4o", "messages": messages})))) == 200


def test_fifty_megabytes_are_refused_early(gateway: Gateway) -> None:
    """A body over the limit is refused from its head on, with or without a declared length."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{AUTH}"
    declared = (head + f"content-length: {50 * 1024 * 1024}\r\n\r\n").encode()
    answer = _raw(gateway, declared + b"x" * 100_000)
    assert _status(answer) == 413
    assert "33554432" in str(_error(answer)["message"])
    piece = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    answer = _raw(gateway, (head + "transfer-encoding: chunked\r\n\r\n").encode() + piece * 50)
    assert _status(answer) == 413


def test_a_header_without_an_end_is_refused(gateway: Gateway) -> None:
    """A header that goes on and on is refused before it ends: none may fill the memory of the worker."""
    answer = _raw(gateway, b"GET /healthz HTTP/1.1\r\nhost: x\r\na: " + b"b" * 4_000_000)
    assert _status(answer) == 431


def test_expect_continue(gateway: Gateway) -> None:
    """A client that waits for `100 Continue` gets it."""
    data = _post(head=AUTH + "expect: 100-continue\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as raw:
        raw.sendall(head + b"\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        raw.sendall(body)
        assert raw.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, provider: FakeProvider) -> None:
    """Requests sent at once are answered one after the other, each with its own answer."""
    data = b"".join(_post(BODY.replace("hi", f'fake:{{\\"text\\": \\"answer {i}\\"}}')) for i in range(40))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw:
        raw.sendall(data)
        got = b""
        while got.count(b"HTTP/1.1 200") < 40 or b"answer 39" not in got:
            got += raw.recv(65536)
    places = [got.index(f"answer {i}".encode()) for i in range(40)]
    assert places == sorted(places)
    assert provider.stats().requests == 40


def test_http_1_0_stream_is_not_chunked(gateway: Gateway) -> None:
    """An HTTP/1.0 client gets a stream that ends with the connection."""
    body = BODY[:-1] + ',"stream":true}'
    data = _post(body).replace(b"HTTP/1.1", b"HTTP/1.0")
    answer = _raw(gateway, data)
    assert b"chunked" not in answer
    assert answer.endswith(b"data: [DONE]\n\n")


def test_absolute_form(gateway: Gateway) -> None:
    """A target in absolute form is served by its path."""
    answer = _raw(gateway, b"GET http://example.com/healthz?x=1 HTTP/1.1\r\nhost: x\r\n\r\n")
    assert _status(answer) == 200


def test_slow_senders_are_refused(own_root: Path, provider: FakeProvider) -> None:
    """Who sends a head too slowly gets a 408, and holds up nobody."""
    plan = deployment(provider.url, timeout=Timeouts(total_s=5, first_token_s=5, idle_s=5))
    with Gateway(own_root, plan) as gateway:
        slow_head = socket.create_connection(("127.0.0.1", gateway.port), timeout=http1.HEAD_S_MAX + 10)
        slow_head.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n")
        assert _status(_raw(gateway, _post())) == 200
        answer = slow_head.recv(10_000)
        assert _status(answer) == 408
        assert "bytes of the request came in time" in str(_error(answer)["message"])
        slow_head.close()


def test_many_idle_connections_hold_up_nobody(gateway: Gateway) -> None:
    """300 connections that say nothing or half a request do not slow the next call."""
    idle = []
    for i in range(300):
        raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=5)
        if i % 2:
            raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhos")
        idle.append(raw)
    started = time.monotonic()
    assert _status(_raw(gateway, _post())) == 200
    assert time.monotonic() - started < 0.5
    for raw in idle:
        raw.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=400)
    | st.builds(lambda a, b: a + b, st.just(_post()[:60]), st.binary(max_size=200))
)
def test_any_bytes_leave_the_worker_well(gateway: Gateway, data: bytes) -> None:
    """Whatever bytes come, the answer is none or an HTTP one under 500, and the worker lives."""
    answer = _raw(gateway, data, wait_s=0.05)
    assert not answer or 100 <= _status(answer) < 500, answer[:200]


def test_drain_finishes_what_was_begun(own_root: Path, provider: FakeProvider) -> None:
    """On SIGTERM a stream in flight goes on to its end, no new connection is taken, and the exit is 0."""
    with Gateway(own_root, deployment(provider.url)) as gateway:
        body = BODY[:-1].replace("hi", 'fake:{\\"words\\": 20, \\"tokens_per_s\\": 20}') + ',"stream":true}'
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw:
            raw.sendall(_post(body))
            got = raw.recv(65536)
            gateway.process.send_signal(signal.SIGTERM)
            while piece := raw.recv(65536):
                got += piece
        assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert gateway.process.wait(10) == 0
        _, closed = gateway.frames()
        assert [c["status"] for c in closed.values()] == ["ok"]


def test_kill_leaves_an_open_frame(own_root: Path, provider: FakeProvider) -> None:
    """A worker killed in mid-call leaves the open frame that recovery needs, and serves when restarted."""
    provider.script("ok;words=500;tokens_per_s=20")
    with Gateway(own_root, deployment(provider.url)) as gateway:
        body = BODY[:-1] + ',"stream":true}'
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw:
            raw.sendall(_post(body))
            until(lambda: provider.stats().in_flight == 1)
            gateway.kill()
        opened, closed = gateway.frames()
        assert len(opened) == 1
        assert not closed
        gateway.restart()
        assert gateway.chat().status_code == 200
