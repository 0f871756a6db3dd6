"""Traces: how soon a large one opens, of a whole Airboss over HTTP, to the last byte.

    python -m benchmarks.traces [--spans 1000 10000 50000] [--beside 100000] [--rounds 5]

Spans come by `POST /v1/traces`: a tree of five below each, one in ten a model call with messages. Beside them
are traces of a hundred spans each. The console's page is asked for, a part of it, one span, and the first
5,000 rows by the admin API; the median of the rounds, and the processor time that all processes took for it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from benchmarks import peers
from benchmarks.ingest import ATTRIBUTES
from benchmarks.stats import keep, machine, median, table
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from airboss.compose.parts import running

AT_ONCE = 500
FANS_OUT = 5
TRACE_BESIDE = 100
WITHIN_S = 300.0
KEPT_S = 2.0
"""An idle connection may be closed by the console after this."""


def requests(trace_id: bytes, spans: int) -> Iterator[bytes]:
    """A trace as the exports that an app would send."""
    began = time.time_ns() - 60 * 10**9
    for first in range(0, spans, AT_ONCE):
        made = ExportTraceServiceRequest()
        scope = made.resource_spans.add().scope_spans.add()
        for number in range(first, min(first + AT_ONCE, spans)):
            span = scope.spans.add(trace_id=trace_id, span_id=(number + 1).to_bytes(8, "big"), kind=1)
            span.name = f"step {number}"
            if number:
                span.parent_span_id = ((number - 1) // FANS_OUT + 1).to_bytes(8, "big")
            span.start_time_unix_nano = began + number * 100_000
            span.end_time_unix_nano = span.start_time_unix_nano + 10**9
            if number % 10 == 0:
                for key, value in ATTRIBUTES.items():
                    span.attributes.add(key=key).value.string_value = value
        yield made.SerializeToString()


class Console:
    """A kept connection to the console, of a program with the admin key and of a person with a cookie."""

    def __init__(self, url: str, key: str) -> None:
        where = urlsplit(url)
        self._connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
        self._key = {"authorization": f"Bearer {key}"}
        form = urlencode({"key": key}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded", "origin": url}
        self._connection.request("POST", "/login", form, headers)
        answer = self._connection.getresponse()
        answer.read()
        self._asked_at = time.monotonic()
        self._cookie = {"cookie": (answer.getheader("set-cookie") or "").partition(";")[0]}

    def get(self, path: str) -> bytes:
        """The answer of a GET, which must be 200."""
        headers = self._key if path.startswith("/api/") else self._cookie
        if time.monotonic() - self._asked_at > KEPT_S:
            self._connection.close()
        self._asked_at = time.monotonic()
        self._connection.request("GET", path, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}: {body[:200]!r}")
        return body


def arrived(console: Console, trace_id: str, spans: int) -> None:
    """Wait until a trace is whole in the record store, and no more of its model calls become records."""
    records = 0
    until = time.monotonic() + WITHIN_S
    while True:
        try:
            found = json.loads(console.get(f"/api/v1/traces/{trace_id}?limit=5000"))
            records, before = sum(row["record"] is not None for row in found["rows"]), records
            if found["spans"] == spans and 0 < records == before:
                return
        except SystemExit:  # none of it is there yet
            pass
        if time.monotonic() > until:
            raise SystemExit(f"{trace_id} was not whole after {WITHIN_S} s")
        time.sleep(0.5)


def opened(peer: peers.Peer, console: Console, spans: int, rounds: int) -> list[dict[str, Any]]:
    """How long each view of a trace of so many spans takes."""
    trace_id = os.urandom(16)
    send(peer, requests(trace_id, spans))
    arrived(console, trace_id.hex(), spans)
    page = f"/traces/{trace_id.hex()}"
    rows = json.loads(console.get(f"/api/v1{page}?limit=50"))["rows"]
    views = {
        "page": page,
        "a part": f"{page}?at={rows[1]['id']}",
        "one span": f"{page}?span={rows[9]['id']}",
        "API, 5,000 rows": f"/api/v1{page}?limit=5000",
    }
    found = []
    for name, path in views.items():
        took, before, size = [], peer.others_cpu_s(), 0
        for _ in range(rounds):
            began = time.perf_counter()
            size = len(console.get(path))
            took.append((time.perf_counter() - began) * 1000)
        cpu_ms = (peer.others_cpu_s() - before) * 1000 / rounds
        found.append({"spans": spans, "": name, "ms": median(took), "CPU ms": cpu_ms, "KB": size / 1000})
    return found


def send(peer: peers.Peer, bodies: Iterator[bytes]) -> None:
    """Send exports, one after the other."""
    where = urlsplit(f"{peer.url}/traces")
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    headers = {"authorization": f"Bearer {peer.key}", "content-type": "application/x-protobuf"}
    for body in bodies:
        connection.request("POST", where.path, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"/v1/traces answered {answer.status}")
    connection.close()


def main(arguments: list[str] | None = None) -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--spans", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--beside", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    print(json.dumps(machine()))
    cores = sorted(os.sched_getaffinity(0))
    rows: list[dict[str, Any]] = []
    with peers.direct(cores[-1], "ok") as direct, peers.airboss(cores[0], direct.url) as peer:
        assert peer.data_dir is not None
        up = running(peer.data_dir)
        assert up is not None
        console = Console(up.console_url, Path(peer.data_dir, "secrets", "admin_key").read_text().strip())
        for _ in range(given.beside // TRACE_BESIDE):
            send(peer, requests(os.urandom(16), TRACE_BESIDE))
        for spans in given.spans:
            rows += opened(peer, console, spans, given.rounds)
    print(table(rows))
    print(f"\n{keep('traces', {'rows': rows})}")


if __name__ == "__main__":
    main()
