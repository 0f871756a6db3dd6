"""An OTLP backend that refuses, stalls and is cut: what was recorded is sent in the end, or counted."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from airboss.controller import otlp_export
from airboss.controller.otlp_export import (
    BACKOFF_S_MAX,
    RETRY_AFTER_S_MAX,
    Pause,
    Refused,
    retry_after_s,
)
from airboss.controller.otlp_settings import Way
from airboss.domain.errors import SetupError
from airboss.domain.ports import RecordFilter
from airboss.domain.score import Score
from tests.controller.test_otlp_export import Clock, Cursors, exporter, follow, log_of, settings
from tests.store.samples import START, call_id
from tests.support.otlp_backend import Backend
from tests.support.wait import until

SOON_S = 0.5


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads something of a request and then does as it is told; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    with client, suppress(OSError):
                        client.settimeout(60)
                        client.recv(65_536)
                        answer(client)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def says_nothing(client: socket.socket) -> None:
    """Wait until the other has had enough."""
    client.recv(1)


def drips(client: socket.socket) -> None:
    """A byte of the answer every twentieth of a second: no read of it ever takes long."""
    client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n")
    pause = threading.Event()
    for _ in range(1000):
        client.sendall(b"x")
        pause.wait(0.05)


def cuts(client: socket.socket) -> None:
    """Half of an answer."""
    client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\nhalf")


def cuts_at_once(client: socket.socket) -> None:
    """Nothing."""


def babbles(client: socket.socket) -> None:
    """What is no HTTP."""
    client.sendall(b"\x00" * 1000)


@pytest.mark.parametrize("behaviour", [says_nothing, drips, cuts, cuts_at_once, babbles])
def test_one_who_does_not_answer_whole_is_asked_again(behaviour: Callable[[socket.socket], None]) -> None:
    """Within the timeout, however it keeps us waiting; the cursor stays."""
    log, cursors = log_of(1, 2), Cursors()
    with answering(behaviour) as url:
        export = exporter(log, settings(url, timeout_s=SOON_S), cursors)

        async def once() -> None:
            async with asyncio.timeout(60 * SOON_S):
                await export.tick()

        with pytest.raises(Refused, match="does not answer"):
            asyncio.run(once())
    assert (cursors.kept["otlp"], export.sent, export.dropped) == ("", 0, 0)


def test_an_answer_without_end_is_not_read_to_it() -> None:
    """64 KiB say enough: the spans were taken."""

    def endless(client: socket.socket) -> None:
        client.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            client.sendall(b"10000\r\n" + b"x" * 65_536 + b"\r\n")

    log, cursors = log_of(1), Cursors()
    with answering(endless) as url:
        export = exporter(log, settings(url, timeout_s=60.0), cursors)
        asyncio.run(export.tick())
    assert (cursors.kept["otlp"], export.sent) == (call_id(1), 1)


def test_refused_is_sent_again_by_itself() -> None:
    """After 429, 502, 503, 504 and a redirection the same page comes until it is taken, once in the end."""
    log = log_of(1, 2)
    with Backend() as backend:
        backend.script = [429, 502, 308, 503, 504]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(otlp_export, "POLL_S", 0.01)
            patch.setattr(otlp_export, "BACKOFF_S_MAX", 0.05)
            export = exporter(log, settings(backend.url))

            async def run() -> None:
                running = asyncio.create_task(export.run())
                await asyncio.to_thread(until, lambda: backend.spans)
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running

            asyncio.run(run())
        assert len(backend.spans) == 2
    assert (export.failures, export.dropped) == (5, 0)


def test_the_lag_grows_while_a_backend_is_away() -> None:
    """`otlp_lag_seconds` is how old the oldest call is that was not sent, also between two tries."""
    log, clock = log_of(1, 2), Clock()
    with Backend() as backend:
        backend.script = [503]
        export = exporter(log, settings(backend.url), clock=clock)

        async def work() -> None:
            with pytest.raises(Refused):
                await export.tick()
            began = log.records(RecordFilter(id=call_id(1)), limit=1, bodies=False)[0].started_at
            for seconds in (60, 600):
                clock.at = began + timedelta(seconds=seconds)
                assert export.counts["otlp_lag_seconds"] == seconds
            await export.tick()
            assert export.counts["otlp_lag_seconds"] == 0
            await export._hang_up()

        asyncio.run(work())


def test_waits_grow_and_are_not_alike() -> None:
    """Twice as long each time, up to a minute, at least half of it; or as the backend says, within bounds."""
    for chance in (0.0, 1.0):
        pause = Pause(lambda chance=chance: chance)  # type: ignore[misc]
        waits = [pause.begin(100.0) for _ in range(9)]
        share = 0.5 + chance / 2
        assert waits == [share * each for each in (1, 2, 4, 8, 16, 32, BACKOFF_S_MAX, 60, 60)]
        assert not pause.over(100.0 + waits[-1] - 0.1)
        assert pause.over(100.0 + waits[-1])
        assert pause.begin(0.0, 90.0) == 90.0
        assert pause.begin(0.0, 1e9) == RETRY_AFTER_S_MAX
        pause.end()
        assert pause.begin(0.0) == share


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("7", 7.0),
        ("9" * 40, 999_999_999.0),
        ("Sat, 28 Nov 2026 12:00:30 GMT", 30.0),
        ("Sat, 28 Nov 2026 11:00:00 GMT", 0.0),
        ("Sat, 28 Nov 2026 12:00:30", 30.0),
        ("", None),
        ("-1", None),
        ("soon", None),
        ("Sat, 99 Nov 9999999 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_read(text: str, wait_s: float | None) -> None:
    """Seconds, or a date of HTTP."""
    assert retry_after_s(text, datetime(2026, 11, 28, 12, tzinfo=UTC)) == wait_s


def test_a_backend_without_metrics_holds_no_trace_up() -> None:
    """It is asked again now and then; traces go on, page after page."""
    log, clock, cursors = log_of(*range(1, 1001)), Clock(), Cursors()
    with Backend() as backend:
        export = exporter(log, settings(backend.url), cursors, clock=clock)
        backend.refuse = {"/v1/metrics": 404}
        failures: list[int] = []

        def later() -> None:
            failures.append(export.failures)
            clock.forward(5)

        follow(export, after=later)
        assert len(backend.spans) == 1000
        assert [*failures, export.failures] == [1, 2]


def test_what_is_too_large_is_sent_in_parts() -> None:
    """By its size, and after a 413; one call that is too large alone is dropped and counted."""
    log = log_of(1, 2, 3, 4)
    with Backend() as backend:
        backend.script = [413, 413, 413]
        export = exporter(log, settings(backend.url))
        asyncio.run(export.tick())
        assert len(backend.spans) == 3
    assert (export.sent, export.dropped) == (3, 1)
    long = msgspec.Raw(msgspec.json.encode({"messages": [{"role": "user", "content": "x" * 60_000}]}))
    log = log_of(*range(1, 121), request=long)
    with Backend() as backend:
        export = exporter(log, settings(backend.url, content=True))
        asyncio.run(export.tick())
        assert len(backend.spans) == 120
        sizes = [said.ByteSize() for path, said in backend.requests if path == "/v1/traces"]
        assert len(sizes) == 2
        assert max(sizes) <= otlp_export.REQUEST_BYTES_MAX


def test_all_that_is_not_taken_is_counted() -> None:
    """Spans, scores and metrics, whether refused whole or in part; never more than were sent."""
    log, clock = log_of(1, 2), Clock()
    score = Score(
        id="0190b1c0-0000-7000-8000-000000000001",
        subject="record",
        subject_id=call_id(1),
        name="s",
        source="human",
        by="team-a",
        at=START,
        value=1.0,
    )
    log.put_scores([score])
    with Backend() as backend:
        partial = ExportTraceServiceResponse()
        partial.partial_success.rejected_spans = 10**9
        of_logs = ExportLogsServiceResponse()
        of_logs.partial_success.rejected_log_records = 1
        backend.answers = {"/v1/traces": partial.SerializeToString(), "/v1/logs": of_logs.SerializeToString()}
        backend.refuse = {"/v1/metrics": 400}
        export = exporter(log, settings(backend.url), clock=clock)
        follow(export)
    assert (export.sent, export.dropped, export.dropped_scores, export.dropped_metrics) == (0, 2, 1, 1)


def test_each_signal_is_sent_in_its_own_way() -> None:
    """With its own headers, packed or not; an unknown certificate says so."""
    log, clock = log_of(1, 2), Clock()
    with Backend() as backend:
        own = {"metrics": Way(headers={"x-a": "metrics"}, gzip=False)}
        follow(exporter(log, settings(backend.url, own=own, headers={"x-a": "all"}), clock=clock))
        sent = {
            path: (headers["x-a"], headers.get("content-encoding"))
            for (path, _), headers in zip(backend.requests, backend.headers, strict=True)
        }
    assert sent == {"/v1/traces": ("all", "gzip"), "/v1/metrics": ("metrics", None)}
    export = exporter(log, settings("https://127.0.0.1:9", certificate="/nowhere/ca.pem"))
    with pytest.raises(SetupError, match="CERTIFICATE"):
        asyncio.run(export.tick())
