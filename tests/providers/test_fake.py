"""The fake provider as a process, and the client that tests hold it by."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from airboss.domain.errors import SetupError, WrongCall
from airboss.testing import Behaviour, FakeProvider, ScriptStep
from tests.supervisor.children import alive
from tests.support.certificates import self_signed
from tests.support.wait import until

CHAT = "/v1/chat/completions"


def body(**fields: Any) -> bytes:
    """A chat request."""
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()


@contextmanager
def connected(provider: FakeProvider) -> Iterator[http.client.HTTPConnection]:
    """A connection, closed after."""
    connection = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def status(provider: FakeProvider, *, model: str = "m") -> int:
    """The status of one call on a connection of its own."""
    with connected(provider) as connection:
        connection.request("POST", CHAT, body(model=model))
        response = connection.getresponse()
        response.read()
        return response.status


def answers(provider: FakeProvider) -> bool:
    """Whether a call is answered well."""
    try:
        return status(provider) == 200
    except OSError:
        return False


def test_a_script_is_played_call_by_call(provider: FakeProvider) -> None:
    """Lines, behaviours and steps queue up; what comes after is answered well."""
    provider.script("500", Behaviour(fault="status", status=418), ScriptStep(behaviour="503", calls=2))
    provider.script("529", append=True)
    assert [status(provider) for _ in range(6)] == [500, 418, 503, 503, 529, 200]
    provider.script("500")
    provider.script()
    assert status(provider) == 200


def test_a_wrong_script_is_refused_and_changes_nothing(provider: FakeProvider) -> None:
    """The steps that waited still wait."""
    provider.script("500")
    with pytest.raises(WrongCall, match="cut-reset"):
        provider.script("cut-rest")
    assert status(provider) == 500


def test_stats_tell_the_request_as_it_came(provider: FakeProvider) -> None:
    """Headers with repeats, the path with its query, the body, and what became of it."""
    with connected(provider) as connection:
        connection.putrequest("POST", f"{CHAT}?x=1")
        connection.putheader("X-Twice", "a")
        connection.putheader("X-Twice", "b")
        sent = body(note="ü")
        connection.putheader("Content-Length", str(len(sent)))
        connection.endheaders(sent)
        assert connection.getresponse().read()
    seen = provider.last()
    assert (seen.method, seen.path, seen.state, seen.fault) == ("POST", f"{CHAT}?x=1", "answered", "ok")
    assert [value for name, value in seen.headers if name == "x-twice"] == ["a", "b"]
    assert seen.header("X-Twice") == "a"
    assert seen.header("absent") is None
    assert seen.body.encode() == sent
    stats = provider.stats()
    assert (stats.requests, stats.answered, stats.broken, stats.cancelled) == (1, 1, 0, 0)


def test_stats_keep_a_bounded_number_and_size(provider: FakeProvider) -> None:
    """A hundred requests, and a quarter of a megabyte of each."""
    with connected(provider) as connection:
        for _ in range(120):
            connection.request("POST", CHAT, body())
            connection.getresponse().read()
        connection.request("POST", CHAT, body(pad="x" * 2**20))
        connection.getresponse().read()
    stats = provider.stats()
    assert stats.requests == 121
    assert [seen.number for seen in stats.last] == list(range(22, 122))
    assert len(stats.last[-1].body) == 256 * 1024
    assert stats.last[-1].body_bytes > 2**20
    assert stats.connections == 1


@pytest.mark.parametrize("line", ["silence", "stall", "late-head;for_s=60", "ok;words=1000;tokens_per_s=5"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_is_seen_to_leave(provider: FakeProvider, line: str, *, stream: bool) -> None:
    """The call is in flight until the connection closes, and cancelled from then on."""
    provider.script(line)
    with connected(provider) as connection:
        connection.request("POST", CHAT, body(stream=stream))
        assert until(lambda: provider.stats().in_flight == 1)
        assert provider.last().ended_after_s is None
    until(lambda: provider.stats().cancelled == 1)
    assert provider.stats().in_flight == 0
    assert provider.last().state == "cancelled"
    assert 0 < (provider.last().ended_after_s or 0) < 40  # of the minute and more that it would have taken


def test_a_broken_answer_counts_as_broken(provider: FakeProvider) -> None:
    """What a fault broke was not the client's doing."""
    provider.script("cut-reset", "close-keep-alive")
    with connected(provider) as connection:
        connection.request("POST", CHAT, body(stream=True))
        with pytest.raises(ConnectionResetError):
            connection.getresponse().read()
    assert status(provider) == 200
    stats = provider.stats()
    assert (stats.answered, stats.broken, stats.cancelled, stats.in_flight) == (1, 1, 0, 0)


def test_reset_forgets_everything(provider: FakeProvider) -> None:
    """Counts, requests and script are as at the start; a call in flight is not counted when it ends."""
    provider.script("silence", "500")
    with connected(provider) as connection:
        connection.request("POST", CHAT, body())
        until(lambda: provider.stats().in_flight == 1)
        provider.reset()
    until(lambda: provider.stats().open_connections == 0)
    assert (provider.stats().requests, provider.stats().cancelled) == (0, 0)
    assert status(provider) == 200
    provider.reset()
    with pytest.raises(WrongCall, match="no request"):
        provider.last()


def test_an_outage_refuses_connections_until_it_is_over(provider: FakeProvider) -> None:
    """Connections break, new ones are refused, the control port stays, and the same port comes back."""
    with connected(provider) as connection:
        connection.request("POST", CHAT, body())
        connection.getresponse().read()
        provider.outage()

        def again() -> http.client.HTTPResponse:
            connection.request("POST", CHAT, body())
            return connection.getresponse()

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            until(again)
    with pytest.raises(ConnectionRefusedError):
        status(provider)
    assert provider.stats().open_connections == 0
    provider.reset()
    assert answers(provider)
    provider.outage(0.3)
    until(lambda: answers(provider))


def test_reset_ends_an_outage(provider: FakeProvider) -> None:
    """Without seconds an outage lasts until then, however often it was called."""
    for _ in range(3):
        provider.outage()
        provider.outage(60)
        with pytest.raises(ConnectionRefusedError):
            status(provider)
        provider.reset()
        provider.reset()
        assert status(provider) == 200


def test_a_request_may_begin_an_outage(provider: FakeProvider) -> None:
    """The scripted call is reset, and the next is refused."""
    provider.script("outage;for_s=60")
    with pytest.raises(ConnectionResetError):
        status(provider)
    with pytest.raises(ConnectionRefusedError):
        status(provider)
    provider.reset()
    provider.script("outage;for_s=0.3")
    with pytest.raises(ConnectionResetError):
        status(provider)
    until(lambda: answers(provider))


def test_pipelined_requests_are_answered_in_order(provider: FakeProvider) -> None:
    """A slow first answer holds the second back."""
    provider.script("late-head;for_s=0.05", "ok;text=second")
    one = body()
    raw = b"POST %b HTTP/1.1\r\nhost: f\r\ncontent-length: %d\r\n\r\n%b" % (CHAT.encode(), len(one), one)
    with socket.create_connection(("127.0.0.1", provider.port), timeout=60) as peer:
        peer.sendall(raw + raw.replace(b"host: f", b"connection: close"))
        got = b"".join(iter(lambda: peer.recv(65536), b""))
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert got.index(b"The air boss") < got.index(b"second")


def test_a_client_that_asks_before_sending_is_told_to_go_on(provider: FakeProvider) -> None:
    """`Expect: 100-continue` is answered at once."""
    with socket.create_connection(("127.0.0.1", provider.port), timeout=60) as peer:
        sent = body()
        head = f"POST {CHAT} HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {len(sent)}\r\n\r\n"
        peer.sendall(head.encode())
        assert peer.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(sent)
        assert peer.recv(1000).startswith(b"HTTP/1.1 200 OK")


def test_a_slow_reader_holds_the_answer_back(provider: FakeProvider) -> None:
    """What is not read is not written: one that reads overtakes one that does not."""
    provider.script(ScriptStep(behaviour="ok;words=50000;tokens_per_s=1000000", calls=2))
    with connected(provider) as slow, connected(provider) as quick:
        slow.request("POST", CHAT, body(stream=True))
        held = slow.getresponse()
        quick.request("POST", CHAT, body(stream=True))
        read = len(quick.getresponse().read())
        assert [seen.state for seen in provider.stats().last] == ["in_flight", "answered"]
        assert len(held.read()) == read > 9_000_000
    assert provider.stats().answered == 2


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [("GET", CHAT, 405), ("POST", "/v1/nothing", 404), ("GET", "/_fake/nothing", 404), ("POST", CHAT, 400)],
)
def test_what_is_wrong_is_said_in_openai_s_shape(
    provider: FakeProvider, method: str, path: str, wanted: int
) -> None:
    """Errors have `message`, `type`, `code` and `param`."""
    with connected(provider) as connection:
        connection.request(method, path, b"{")
        response = connection.getresponse()
        assert response.status == wanted
        assert sorted(json.loads(response.read())["error"]) == ["code", "message", "param", "type"]


def test_what_is_not_http_is_refused(provider: FakeProvider) -> None:
    """A 400, and the connection is closed."""
    with socket.create_connection(("127.0.0.1", provider.port), timeout=60) as peer:
        peer.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        got = b"".join(iter(lambda: peer.recv(65536), b""))
    assert got.startswith(b"HTTP/1.1 400 ")


def test_the_faults_are_listed_on_the_main_port_too(provider: FakeProvider) -> None:
    """`/_fake/…` is answered there when there is no outage, and is not counted."""
    with connected(provider) as connection:
        connection.request("GET", "/_fake/faults")
        assert "cut-reset" in json.loads(connection.getresponse().read())
    assert provider.stats().requests == 0


def test_a_default_can_be_given(tmp_path: Path) -> None:
    """`default` is what a request gets that asks for nothing."""
    with FakeProvider(default="ok;text=by default") as provider, connected(provider) as connection:
        connection.request("POST", CHAT, body())
        assert b"by default" in connection.getresponse().read()


def test_it_speaks_tls(tmp_path: Path) -> None:
    """With a certificate the URL is https, and a cut is a cut there too."""
    cert, key = self_signed(tmp_path)
    trust = ssl.create_default_context(cafile=str(cert))
    with FakeProvider(tls_cert=str(cert), tls_key=str(key)) as provider:
        assert provider.url == f"https://127.0.0.1:{provider.port}/v1"
        connection = http.client.HTTPSConnection("127.0.0.1", provider.port, timeout=60, context=trust)
        connection.request("POST", CHAT, body())
        assert connection.getresponse().read().startswith(b"{")
        provider.script("cut-reset")
        connection.request("POST", CHAT, body(stream=True))
        with pytest.raises((ConnectionResetError, ssl.SSLError, http.client.IncompleteRead)):
            connection.getresponse().read()
        connection.close()


def test_a_port_in_use_is_a_clear_error(provider: FakeProvider, capfd: pytest.CaptureFixture[str]) -> None:
    """Two fake providers never share a port."""
    with pytest.raises(SetupError, match="did not start"):
        FakeProvider(port=provider.port).start()
    assert "in use" in capfd.readouterr().err


def test_it_ends_with_the_process_that_started_it() -> None:
    """However that one dies: the lifeline's end is enough."""
    script = "import os, signal; from airboss.testing import FakeProvider; p = FakeProvider().start(); "
    script += "print(p.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    parent = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert parent.returncode == -9
    pid = int(parent.stdout)
    until(lambda: not alive(pid))


def test_stop_ends_the_process_and_may_be_called_twice() -> None:
    """SIGTERM is obeyed."""
    provider = FakeProvider().start()
    pid = provider.pid
    provider.stop()
    provider.stop()
    assert not alive(pid)
    assert not answers(provider)
