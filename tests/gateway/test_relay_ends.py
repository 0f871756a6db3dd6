"""How answers of routes that are passed on end: what they used, and whether they are whole."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from airboss.domain.plan import Retry, Timeouts
from tests.support.gateway import PRICE, Gateway, deployment
from tests.support.said_upstream import SaidUpstream, said_upstream

USED = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}
DELTA = {"type": "transcript.text.delta", "delta": "hi"}
DONE = {"type": "transcript.text.done", "text": "hi", "usage": USED}
PICTURE = "A" * 300_000
FAILED = {"error": {"message": "no room", "type": "server_error", "code": 503}}


@pytest.fixture(scope="module")
def said() -> Iterator[SaidUpstream]:
    """An upstream that says what it is told."""
    with said_upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def gateway(said: SaidUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A worker in front of it."""
    plans = [
        deployment(
            said.url, name=name, aliases=(), kind="openai", price=PRICE, retry=Retry(attempts=attempts)
        )
        for name, attempts in (("voice", 1), ("patient", 2))
    ]
    with Gateway(tmp_path_factory.mktemp("ends"), *plans) as running:
        yield running


def answered(said: SaidUpstream, body: bytes, kind: str = "text/event-stream") -> None:
    """Have the upstream say this, and end its connection in order."""
    said.seen.clear()
    said.raw = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\nconnection: close\r\n\r\n%s" % (kind.encode(), body)


def events(*each: Any, end: str = "\n") -> bytes:
    """A stream of these."""
    said = [value if isinstance(value, str) else json.dumps(value) for value in each]
    return "".join(f"data: {value}{end}{end}" for value in said).encode()


def ask(gateway: Gateway, path: str = "images/generations", model: str = "voice") -> httpx2.Response:
    """One call."""
    with gateway.client() as client:
        return client.post(f"/v1/{path}", json={"model": model, "prompt": "a deck", "stream": True})


def closed(gateway: Gateway, answer: httpx2.Response) -> dict[str, Any]:
    """The end of its record."""
    return gateway.closed(answer.headers["x-request-id"])


@pytest.mark.parametrize(
    "stream",
    [
        events(DELTA, DONE, "[DONE]"),
        events(DELTA, DONE) + b": ping\n\n",
        events(DELTA, DONE, end="\r"),
        events(DELTA, DONE, end="\r\n"),
        events(DELTA, DONE)[:-2],
        events({"type": "image_generation.completed", "b64_json": PICTURE, "usage": USED}),
        events({"choices": [], "usage": {"prompt_tokens": 14, "completion_tokens": 45}}, "[DONE]"),
        events(DELTA, DONE | {"text": '"usage": {"output_tokens": 7}'}),
    ],
)
def test_the_usage_of_a_stream_is_found(gateway: Gateway, said: SaidUpstream, stream: bytes) -> None:
    """Whatever follows the event that tells it, however long that is; words that look like it are none."""
    answered(said, stream)
    answer = ask(gateway)
    assert answer.content == stream
    ended = closed(gateway, answer)
    assert (ended["status"], ended["input_tokens"], ended["output_tokens"]) == ("ok", 14, 45)
    assert ended["cost_usd"] == pytest.approx((14 + 2 * 45) / 1e6)


def test_the_usage_of_large_pictures_is_found(gateway: Gateway, said: SaidUpstream) -> None:
    """It stands behind them."""
    body = json.dumps({"created": 1, "data": [{"b64_json": PICTURE}], "usage": USED}).encode()
    answered(said, body, "application/json")
    answer = ask(gateway)
    assert answer.content == body
    ended = closed(gateway, answer)
    assert (ended["input_tokens"], ended["output_tokens"]) == (14, 45)
    assert ended["cost_usd"] == pytest.approx((14 + 2 * 45) / 1e6)


def test_the_usage_before_long_documents_is_found(gateway: Gateway, said: SaidUpstream) -> None:
    """Who ranks tells it first, and gives documents back."""
    results = [{"index": 0, "document": {"text": PICTURE}}]
    body = json.dumps({"model": "up", "usage": {"total_tokens": 9}, "results": results}).encode()
    answered(said, body, "application/json")
    ended = closed(gateway, ask(gateway, "rerank"))
    assert (ended["input_tokens"], ended["output_tokens"]) == (9, 0)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_looks_at_a_batch_does_not_pay_for_it(gateway: Gateway, said: SaidUpstream, method: str) -> None:
    """Its usage is that of the calls in it, however often it is told."""
    batch = {"id": "batch_1", "object": "batch", "status": "completed", "usage": USED}
    answered(said, json.dumps(batch).encode(), "application/json")
    path = "/v1/batches/batch_1" if method == "GET" else "/v1/batches"
    with gateway.client() as client:
        answer = client.request(method, path, json=None if method == "GET" else {"input_file_id": "f"})
    assert answer.json() == batch
    ended = closed(gateway, answer)
    assert (ended["status"], ended["input_tokens"], ended["output_tokens"]) == ("ok", 0, 0)
    assert ended["cost_usd"] == (0 if method == "GET" else None)


@pytest.mark.parametrize(
    "failed", [events(DELTA, FAILED), events(DELTA) + b'event: error\ndata: {"message": "no"}\n\n']
)
def test_an_error_that_ends_a_stream_is_recorded(gateway: Gateway, said: SaidUpstream, failed: bytes) -> None:
    """The client has it as it came, once; the call has failed."""
    answered(said, failed)
    answer = ask(gateway)
    assert answer.content == failed
    assert closed(gateway, answer)["status"] == "error"


@pytest.mark.parametrize(
    "cut",
    [
        b"",
        b": ping\n\n",
        events(DELTA),
        events(DELTA, DONE)[:-30],
        events({"type": "image_generation.partial_image", "b64_json": PICTURE[:9]}),
        events({"type": "image_generation.completed", "b64_json": PICTURE})[:-9],
    ],
)
def test_a_cut_stream_never_looks_whole(gateway: Gateway, said: SaidUpstream, cut: bytes) -> None:
    """Where a provider's connection ends in order, too: a piece is not the last event."""
    answered(said, cut)
    answer = ask(gateway)
    last = answer.text.rpartition("data: ")[2] if answer.status_code == 200 else answer.text
    assert json.loads(last)["error"]["code"] == "stream_cut"
    ended = closed(gateway, answer)
    assert (ended["status"], ended["error_type"]) == ("error", "stream_cut")


@pytest.mark.parametrize(
    "cut",
    [b"", b" \n", b'{"data": [', b'{"data": [{"b64_json": "AA', b'{"data": []', b'{"data": [{}], "usage"'],
)
def test_cut_json_is_no_answer(gateway: Gateway, said: SaidUpstream, cut: bytes) -> None:
    """Where the connection alone tells the end, JSON that has none is asked for again, and then told."""
    answered(said, cut, "application/json")
    answer = ask(gateway, model="patient")
    assert (answer.status_code, answer.json()["error"]["code"], len(said.seen)) == (502, "stream_cut", 2)
    ended = closed(gateway, answer)
    assert (ended["status"], ended["error_type"]) == ("error", "stream_cut")


def test_long_json_that_is_cut_ends_in_a_cut_connection(gateway: Gateway, said: SaidUpstream) -> None:
    """The client has its beginning by then."""
    answered(said, json.dumps({"data": [{"b64_json": PICTURE}]}).encode()[:-3], "application/json")
    with pytest.raises(httpx2.RemoteProtocolError):
        ask(gateway)


@pytest.mark.parametrize(
    "odd",
    [
        b'{"score": NaN}',
        b'{"text": "\\ud83d"}',
        b'{"text": "\xff"}',
        b'{"n": ' + b"9" * 5000 + b"}",
        b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b"[Music] la la",
        b"1\n00:00:00,000 --> 00:00:01,000\nla",
        b'\xef\xbb\xbf{"text": "la"}',
    ],
)
def test_odd_json_passes(gateway: Gateway, said: SaidUpstream, odd: bytes) -> None:
    """What clients may make of it is theirs to know."""
    answered(said, odd, "application/json")
    answer = ask(gateway)
    assert (answer.status_code, answer.content) == (200, odd.removeprefix(b"\xef\xbb\xbf"))
    assert closed(gateway, answer)["status"] == "ok"


@pytest.mark.parametrize("kind", ["application/json", "text/html; charset=utf-8", "audio/mpeg"])
@pytest.mark.parametrize(
    "page", [b"<html><body>Sign in</body></html>", b"\n<!DOCTYPE HTML>\n<title>502</title>"]
)
def test_a_page_is_no_answer(gateway: Gateway, said: SaidUpstream, page: bytes, kind: str) -> None:
    """Whatever it is called, it is asked for again, and then told."""
    answered(said, page, kind)
    answer = ask(gateway, model="patient")
    assert (answer.status_code, answer.json()["error"]["code"], len(said.seen)) == (502, "upstream_error", 2)
    assert closed(gateway, answer)["status"] == "error"


@pytest.mark.parametrize(
    "head", ["200 OK\r\ncontent-type: audio/mpeg", "204 No Content", "205 Reset Content"]
)
def test_nothing_is_no_answer(gateway: Gateway, said: SaidUpstream, head: str) -> None:
    """Where a model was to make one. Of a silence there is nothing to transcribe."""
    said.seen.clear()
    said.raw = f"HTTP/1.1 {head}\r\nconnection: close\r\n\r\n".encode()
    answer = ask(gateway, model="patient")
    assert (answer.status_code, answer.json()["error"]["code"], len(said.seen)) == (502, "stream_cut", 2)
    answered(said, b"", "text/plain")
    assert ask(gateway, model="patient").status_code == 200


LOOKS = [
    ("GET", "files", 2),
    ("GET", "files/f-1", 2),
    ("DELETE", "files/f-1", 1),
    ("POST", "batches", 1),
    ("GET", "batches/b-1", 2),
    ("GET", "fine_tuning/jobs", 2),
    ("GET", "vector_stores/v-1", 2),
]
"""What is kept or runs at the provider, looked at or changed, and how often it is asked for in vain."""


def look(gateway: Gateway, method: str, path: str) -> httpx2.Response:
    """One call of those."""
    body = {"input_file_id": "f-1"} if method == "POST" else None
    with gateway.client() as client:
        return client.request(method, f"/v1/{path}", json=body, headers={"x-airboss-deployment": "patient"})


@pytest.mark.parametrize(
    "said_so", [b"<!doctype html><title>Sign in</title>", b'{"object": "list", "data": [{']
)
@pytest.mark.parametrize("looked", LOOKS)
def test_what_is_kept_there_is_told_whole_or_not_at_all(
    gateway: Gateway, said: SaidUpstream, looked: tuple[str, str, int], said_so: bytes
) -> None:
    """A page or half of an object is no answer about a file or a batch either; what makes something is not
    asked for again."""
    answered(said, said_so, "application/json")
    method, path, times = looked
    answer = look(gateway, method, path)
    assert (answer.status_code, len(said.seen)) == (502, times)
    assert answer.json()["error"]["code"] in {"upstream_error", "stream_cut"}
    assert closed(gateway, answer)["status"] == "error"


@pytest.mark.parametrize("content", [b"<!doctype html><title>Mine</title>", b'{"cut": [', b""])
def test_what_a_file_holds_is_its_owners(gateway: Gateway, said: SaidUpstream, content: bytes) -> None:
    """A page, half of an object or nothing: it comes as it was put there."""
    answered(said, content, "application/json")
    answer = look(gateway, "GET", "files/f-1/content")
    assert (answer.status_code, answer.content) == (200, content)
    assert closed(gateway, answer)["status"] == "ok"


@pytest.mark.parametrize(
    "head", ["204 No Content", "200 OK", "204 No Content\r\ncontent-type: application/json"]
)
def test_what_was_done_may_be_told_with_nothing(gateway: Gateway, said: SaidUpstream, head: str) -> None:
    """A file that is deleted may have nothing more to say."""
    said.raw = f"HTTP/1.1 {head}\r\nconnection: close\r\n\r\n".encode()
    answer = look(gateway, "DELETE", "files/f-1")
    assert (answer.status_code, answer.content) == (int(head[:3]), b"")
    assert closed(gateway, answer)["status"] == "ok"


def test_a_long_page_is_no_answer(gateway: Gateway, said: SaidUpstream) -> None:
    """Whose end nobody has to wait for to know."""
    answered(said, b"<!doctype html>" + b"<p>Sign in</p>" * 10_000, "text/html")
    assert ask(gateway, "audio/speech").status_code == 502
    assert look(gateway, "GET", "files").status_code == 502
    assert look(gateway, "GET", "files/f-1/content").status_code == 200


def test_an_error_with_status_200_is_one(gateway: Gateway, said: SaidUpstream) -> None:
    """It is asked again, and then told with the status that it would have come with."""
    answered(said, json.dumps(FAILED).encode(), "application/json")
    answer = ask(gateway, model="patient")
    assert (answer.status_code, len(said.seen)) == (503, 2)
    assert "no room" in answer.json()["error"]["message"]
    assert closed(gateway, answer)["status"] == "error"


def test_a_job_that_failed_is_told(gateway: Gateway, said: SaidUpstream) -> None:
    """What a job says of itself is no error of the call that looks at it."""
    job = {"id": "ftjob-1", "object": "fine_tuning.job", "status": "failed", **FAILED}
    answered(said, json.dumps(job).encode(), "application/json")
    with gateway.client() as client:
        answer = client.get("/v1/fine_tuning/jobs/ftjob-1")
    assert (answer.status_code, answer.json()) == (200, job)
    assert closed(gateway, answer)["status"] == "ok"


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A socket that listens; what answers there is the test's."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("text/event-stream", b"", "timeout_first_token"),
        ("text/event-stream", events(DELTA), "timeout_idle"),
        ("audio/mpeg", b"\0" * 100_000, "timeout_idle"),
    ],
)
def test_a_stream_that_falls_silent(
    silent: socket.socket, tmp_path: Path, kind: str, body: bytes, code: str
) -> None:
    """It ends long before `total_s`: in an error where one can be told, else in a cut connection."""
    port = silent.getsockname()[1]
    held: list[socket.socket] = []

    def answer() -> None:
        connection, _ = silent.accept()
        held.append(connection)
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\n\r\n%s" % (kind.encode(), body))

    thread = threading.Thread(target=answer)
    thread.start()
    first_s, idle_s = (0.3, 60.0) if code == "timeout_first_token" else (60.0, 0.3)
    times = Timeouts(total_s=60.0, first_token_s=first_s, idle_s=idle_s)
    plan = deployment(f"http://127.0.0.1:{port}/v1", kind="openai", timeout=times)
    with Gateway(tmp_path / "g", plan) as running:
        began = time.monotonic()
        try:
            said = ask(running, "audio/speech", model="gpt-4o")
        except httpx2.RemoteProtocolError:
            assert kind == "audio/mpeg"
        else:
            assert code in said.text
        assert time.monotonic() - began < 40
        (end,) = running.frames()[1].values()
    assert end["error_type"] == code
    thread.join()
    held[0].close()
