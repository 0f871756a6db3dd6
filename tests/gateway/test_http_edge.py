"""Bad input over the raw wire: a clear 4xx, never a 5xx or a trace, and the next call is served."""

from __future__ import annotations

import contextlib
import gzip
import json
import signal
import socket
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airboss.domain.plan import Timeouts
from airboss.gateway.client_bounds import HEAD_S_MAX
from airboss.testing import FakeProvider
from tests.gateway.edge_wire import EVERY, post
from tests.support.gateway import KEY, Gateway, deployment
from tests.support.wait import until
from tests.support.wire_http import check_error, exchange

AUTH = f"authorization: Bearer {KEY}\r\n"
BODY = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]})


def _raw(gateway: Gateway, data: bytes, *, wait_s: float = 60.0) -> bytes:
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


@pytest.mark.parametrize("case", EVERY)
def test_bad_input(gateway: Gateway, case: str) -> None:
    """Each kind of nonsense gets one answer that fits, in the house's shape; the connection ends or is in
    step, and the next call is served at once. Behind a good request, whose head is known, as on its own."""
    data, statuses = EVERY[case]
    for before in (b"", post()):
        spent_s = gateway.spent_s()
        answer = exchange(gateway.port, data, before=before)
        assert answer.status in statuses, answer
        if answer.status >= 400:
            check_error(answer, anthropic=b"/v1/messages" in data[:60])
        if answer.status == 405:
            assert answer.headers["allow"] in {"POST", "GET, HEAD", "GET, DELETE, HEAD"}
        assert gateway.spent_s() - spent_s < 1.0
    spent_s = gateway.spent_s()
    assert exchange(gateway.port, post()).status == 200
    assert gateway.spent_s() - spent_s < 0.5


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
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as raw:
        raw.sendall(head + b"\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        raw.sendall(body)
        assert raw.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_blanks_behind_a_header_are_no_part_of_it(gateway: Gateway, provider: FakeProvider) -> None:
    """RFC 9110, 5.5: what a client says in one is heeded all the same."""
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    said = f"x-airboss-timeout-s: 60\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\nexpect: 100-continue\n"
    said += "content-encoding: identity\n"
    head, _, body = _post(head=AUTH + said.replace("\n", " \t\r\n")).partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as raw:
        raw.sendall(head + b"\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        raw.sendall(body)
        assert raw.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert trace in (provider.last().header("traceparent") or "")


def test_nor_of_how_a_body_is_packed_and_whose_files_are_asked_for(gateway: Gateway) -> None:
    """Where a route reads that itself."""
    packed = gzip.compress(b'{"resourceSpans":[]}')
    said = b"content-type: application/json\r\ncontent-encoding: gzip \r\ncontent-length: %d\r\n\r\n"
    for path, more in (
        (b"POST /v1/traces", said % len(packed) + packed),
        (b"GET /v1/files", b"x-airboss-deployment: gpt-4o \r\n\r\n"),
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as raw:
            raw.sendall(path + b" HTTP/1.1\r\nhost: a\r\n" + AUTH.encode() + more)
            answer = raw.recv(4_000)
        assert b"model_not_found" not in answer, answer
        assert path.startswith(b"GET") or answer.startswith(b"HTTP/1.1 200"), answer


@pytest.mark.parametrize("said", ["", " ", "\t", "Identity"], ids=["empty", "a blank", "a tab", "identity"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/traces"])
def test_a_body_that_is_not_packed(gateway: Gateway, path: str, said: str) -> None:
    """A header that names no coding says so, as some proxies send it."""
    body = BODY if path.endswith("completions") else '{"resourceSpans":[]}'
    lines = f"host: a\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n{AUTH}"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as raw:
        raw.sendall(f"POST {path} HTTP/1.1\r\n{lines}content-encoding:{said}\r\n\r\n{body}".encode())
        answer = raw.recv(4_000)
    assert answer.startswith(b"HTTP/1.1 200"), answer


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, provider: FakeProvider) -> None:
    """Requests sent at once are answered one after the other, each with its own answer."""
    data = b"".join(_post(BODY.replace("hi", f'fake:{{\\"text\\": \\"answer {i}\\"}}')) for i in range(40))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as raw:
        raw.sendall(data)
        got = b""
        while got.count(b"HTTP/1.1 200") < 40 or b"answer 39" not in got:
            got += raw.recv(65536)
    places = [got.index(f"answer {i}".encode()) for i in range(40)]
    assert places == sorted(places)
    assert provider.stats().requests == 40


@pytest.mark.parametrize(
    "then", [b"nonsense\r\n\r\n", b"GET /v1/models HTTP/1.1\r\n\r\n"], ids=["none", "no host"]
)
def test_what_is_before_a_refused_request_is_answered(gateway: Gateway, then: bytes) -> None:
    """All of it, and the last answer says that there are no more."""
    data = b"".join(_post(BODY.replace("hi", f'fake:{{\\"text\\": \\"answer {i}\\"}}')) for i in range(4))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as raw:
        raw.sendall(data + then)
        got = b""
        while more := raw.recv(65536):
            got += more
    assert [got.count(f"answer {i}".encode()) for i in range(4)] == [1] * 4
    assert got.count(b"HTTP/1.1 200") == 4
    last = got.rindex(b"HTTP/1.1 200")
    assert [part.count(b"connection: close") for part in (got[:last], got[last:])] == [0, 1]


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
        slow_head = socket.create_connection(("127.0.0.1", gateway.port), timeout=HEAD_S_MAX + 10)
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
        raw = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
        if i % 2:
            raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhos")
        idle.append(raw)
    spent_s = gateway.spent_s()
    assert _status(_raw(gateway, _post())) == 200
    assert gateway.spent_s() - spent_s < 0.25
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
    with Gateway(own_root, deployment(provider.url), forked=False) as gateway:
        body = BODY[:-1].replace("hi", 'fake:{\\"words\\": 20, \\"tokens_per_s\\": 20}') + ',"stream":true}'
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as raw:
            raw.sendall(_post(body))
            got = raw.recv(65536)
            gateway.process.send_signal(signal.SIGTERM)
            while piece := raw.recv(65536):
                got += piece
        assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert gateway.process.wait(60) == 0
        _, closed = gateway.frames()
        assert [c["status"] for c in closed.values()] == ["ok"]


def test_who_calls_on_while_a_worker_stops_is_answered(own_root: Path, provider: FakeProvider) -> None:
    """Kept connections that are in use end with an answer that says so, not with a cut call: their clients
    cannot know of the SIGTERM, and may not repeat what was sent."""
    waits = ("--set=gateway.serve:LAST_CALLS_S=60",)
    with (
        Gateway(own_root, deployment(provider.url), options=waits) as gateway,
        contextlib.ExitStack() as opened,
    ):
        kept = [
            opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=60))
            for _ in range(3)
        ]
        for raw in kept:
            raw.sendall(_post())
            assert b"connection: close" not in _answer_of(raw)
        gateway.process.send_signal(signal.SIGTERM)
        while kept:
            raw = kept.pop(0)
            raw.sendall(_post())
            answer = _answer_of(raw)
            assert _status(answer) == 200
            if b"connection: close" not in answer:
                kept.append(raw)
        assert gateway.process.wait(60) == 0


def _answer_of(raw: socket.socket) -> bytes:
    """One whole answer, read off a connection that may stay open."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = raw.recv(65536)
        assert piece, f"closed after {got!r}"
        got += piece
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += raw.recv(65536)
    return head + b"\r\n\r\n" + body


def test_kill_leaves_an_open_frame(own_root: Path, provider: FakeProvider) -> None:
    """A worker killed in mid-call leaves the open frame that recovery needs, and serves when restarted."""
    provider.script("ok;words=500;tokens_per_s=20")
    with Gateway(own_root, deployment(provider.url), forked=False) as gateway:
        body = BODY[:-1] + ',"stream":true}'
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as raw:
            raw.sendall(_post(body))
            until(lambda: provider.stats().in_flight == 1)
            gateway.kill()
        opened, closed = gateway.frames()
        assert len(opened) == 1
        assert not closed
        gateway.restart()
        assert gateway.chat().status_code == 200
