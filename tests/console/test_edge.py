"""Bad input at the console's port, over the raw wire and by the API's own description of itself."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Iterator

import pytest

from airboss.console import api, protocol
from airboss.store.memory import MemoryRecordLog
from tests.console.site import ADMIN_KEY, API_KEY, Site
from tests.gateway import edge_wire
from tests.support.browser import served
from tests.support.gateway import KEY
from tests.support.wire_http import MARK, Answer, Wire, exchange

DIFF = b"/api/v1/config/diff"
WIRE = edge_wire.FRAMING | edge_wire.HEADS | edge_wire.TARGETS
REFUSED = sorted(name for name, (_, statuses) in WIRE.items() if not statuses & {200, 401, 404})
"""What is refused before anybody asks for which route."""


@pytest.fixture(scope="module")
def port(day: MemoryRecordLog) -> Iterator[int]:
    """The port of a console over a busy day."""
    with served(Site(log=day).app()) as url:
        yield int(url.rpartition(":")[2])


def here(data: bytes) -> bytes:
    """A request of the data plane's table, for the admin API."""
    data = data.replace(b"/v1/chat/completions", b"/api/v1/config/diff").replace(
        KEY.encode(), ADMIN_KEY.encode()
    )
    return data.replace(b"/v1/models", b"/api/v1/status")


def check(answer: Answer) -> None:
    """An error is the caller's, in OpenAI's shape, and shows nothing of our insides."""
    assert 300 <= answer.status < 500 or answer.status == 200, answer
    if answer.status < 400 or not answer.headers["content-type"].startswith("application/json"):
        return
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert not re.search(r"Traceback|\.py\b|site-packages|object at 0x", error["message"]), error


@pytest.mark.parametrize("case", sorted(WIRE))
def test_raw_requests(port: int, case: str) -> None:
    """Each raw request gets one answer under 500, at once; the connection ends or is in step."""
    started = time.monotonic()
    answer = exchange(port, here(WIRE[case][0]))
    check(answer)
    if case in REFUSED:
        assert answer.status in WIRE[case][1], answer
        assert answer.json()["error"]["message"]
    assert time.monotonic() - started < protocol.HEAD_S_MAX / 2


HALF_CLOSED = {
    "get": (edge_wire.get(), [200]),
    "several": (edge_wire.get() + edge_wire.get(target=b"/api/v1/none") + edge_wire.get(), [200, 404, 200]),
    "stranger": (b"GET /api/v1/status HTTP/1.1\r\nhost: x\r\n\r\n", [401]),
    "half a head": (edge_wire.get()[:-2], [400]),
    "half a body": (edge_wire.post()[:-3], [400]),
}


@pytest.mark.parametrize("case", sorted(HALF_CLOSED))
def test_who_sends_no_more_is_answered(port: int, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that ends its sending side behind its requests is answered, and half a request refused."""
    monkeypatch.setattr(protocol, "HALF_CLOSED_S", 60.0)
    data, expected = HALF_CLOSED[case]
    with Wire(port) as wire:
        wire.send(here(data))
        wire.socket.shutdown(socket.SHUT_WR)
        answers = list(iter(wire.answer, None))
    assert [answer.status for answer in answers] == expected
    for answer in answers:
        check(answer)


def test_a_slow_sender_is_turned_away(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who does not end a head or a body gets a 408, and who says nothing is cut off."""
    monkeypatch.setattr(protocol, "HEAD_S_MAX", 0.3)
    monkeypatch.setattr(protocol, "BODY_S_MAX", 0.3)
    for begun in (b"GET /api/v1/st", here(edge_wire.post())[:-50]):
        with Wire(port) as wire:
            wire.send(begun)
            answer = wire.answer()
            assert answer is not None
            assert answer.status == 408
            check(answer)
            assert wire.answer() is None
    with Wire(port) as wire:
        assert wire.answer() is None


def test_requests_do_not_wait_without_end(port: int) -> None:
    """Some requests sent at once are answered in order; who sends very many is turned away."""
    with Wire(port) as wire:
        wire.send(MARK * 60)
        for _ in range(60):
            answer = wire.answer()
            assert answer is not None
            assert answer.status == 200
        wire.send(MARK * 20_000)
        answer = wire.answer()
        many = 0
        while answer is not None and answer.status == 200:
            answer, many = wire.answer(), many + 1
        assert many < 1_000


def test_an_offered_protocol_is_passed_over(port: int) -> None:
    """Java's own client offers HTTP/2 with each request: it is answered in HTTP/1.1, its body read."""
    offer = b"connection: Upgrade\r\nupgrade: h2c\r\nauthorization: Bearer %s\r\n" % ADMIN_KEY.encode()
    body = b'{"config": 7}'
    posts = edge_wire.post(body, head=offer, path=DIFF)
    chunked = posts.replace(b"content-length: %d" % len(body), b"transfer-encoding: chunked").replace(
        body, edge_wire.chunks(body)
    )
    for request in (posts, chunked):
        with Wire(port) as wire:
            wire.send(request[:-3])
            wire.send(request[-3:])
            for _ in range(2):
                answer = wire.answer()
                assert answer is not None
                assert "Expected `str`, got `int`" in answer.json()["error"]["message"], answer
                wire.send(request)
        with Wire(port) as wire:
            wire.send((request + MARK) * 20)
            for status in (400, 200) * 20:
                answer = wire.answer()
                assert answer is not None
                assert answer.status == status


@pytest.mark.parametrize("offer", [b"", b"upgrade: h2c\r\n"])
def test_what_comes_behind_the_last_request_is_left_alone(port: int, offer: bytes) -> None:
    """Who says that it is the last is answered, whatever is sent after it, also behind an offer."""
    key = b"authorization: Bearer %s\r\n" % ADMIN_KEY.encode()
    last = edge_wire.post(b'{"config": 7}', head=b"connection: upgrade, close\r\n" + offer + key, path=DIFF)
    answer = exchange(port, last + MARK)
    assert answer is not None
    assert "Expected `str`, got `int`" in answer.json()["error"]["message"], answer


def test_a_body_that_comes_while_the_one_before_is_answered(port: int) -> None:
    """It is read to its end and answered, too: what is dropped is only what belongs to the answered one."""
    key = b"authorization: Bearer %s\r\n" % ADMIN_KEY.encode()
    second = edge_wire.post(b'{"config": 7}', head=key, path=DIFF)
    with Wire(port) as wire:
        wire.send(MARK + second[:-5])
        for status in (200, 400):
            answer = wire.answer()
            assert answer is not None
            assert answer.status == status
            wire.send(second[-5:] if status == 200 else b"")


def test_a_client_that_goes_is_no_defect(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that ends within a body leaves no trace in the log."""
    with caplog.at_level(logging.WARNING), Wire(port) as wire:
        wire.send(here(edge_wire.post())[:-5])
    assert exchange(port, MARK).status == 200
    assert "defect" not in caplog.text


@pytest.mark.parametrize("key", [None, "wrong", API_KEY], ids=["none", "wrong", "an app's"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_every_route_by_every_method_and_key(day: MemoryRecordLog, method: str, key: str | None) -> None:
    """Without the admin key no route of the API does anything, whatever the method: 401, for an app's 403."""
    site = Site(log=day)
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    client = site.client()
    for path in sorted({route.path for route in api.ROUTES}):
        site.clock.forward(120)  # wrong keys are counted by the minute
        answer = client.request(method, re.sub(r"{\w+}", "some-id", path), headers=headers)
        assert answer.status_code == (403 if key == API_KEY else 401), (path, answer.text)
        if method != "HEAD":
            assert set(answer.json()["error"]) == {"message", "type", "code", "param"}
    assert site.applied == []


def test_answers_do_not_wait_for_an_ack(port: int) -> None:
    """On a kept connection an answer comes at once, not after the 40 ms of a delayed ACK."""
    with Wire(port) as wire:
        took = []
        for _ in range(40):
            started = time.monotonic()
            wire.send(MARK)
            assert wire.answer()
            took.append(time.monotonic() - started)
    assert min(took[20:]) < 0.03, "the first are acknowledged at once"


LONG = "a" * 100_000


@pytest.mark.parametrize(
    ("path", "body", "end"),
    [
        ("/api/v1/config/diff", {LONG: 1}, "a`"),
        ("/api/v1/keys", {"name": "x", "budget": {"usd": 1, "per": LONG}}, "at `$.budget.per`"),
        ("/api/v1/datasets", {"name": "x", "records": {"group_by": LONG}}, "at `$.records.group_by`"),
    ],
)
def test_an_error_is_short(day: MemoryRecordLog, path: str, body: dict[str, object], end: str) -> None:
    """However long what was sent, an error of the API says some of it again, and how it ends."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    answer = Site(log=day).client().post(path, json=body, headers=headers)
    assert answer.status_code == 400
    assert "aaaaaaaa…aaaaaaa" in answer.json()["error"]["message"]
    assert answer.json()["error"]["message"].split(" - ")[-1].endswith(end), answer.text[-300:]
    assert len(answer.content) < 4_000


def test_an_error_page_is_short(day: MemoryRecordLog) -> None:
    """As one of the API is."""
    client = Site(log=day).person()
    short, long = (client.get(f"/datasets/{name}") for name in ("b", "b" * 9_000))
    assert (short.status_code, long.status_code) == (404, 404)
    assert len(long.text) < len(short.text) + 3_000
