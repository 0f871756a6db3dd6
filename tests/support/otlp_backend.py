"""An OTLP backend: a small HTTP server that decodes what it gets with OpenTelemetry's own messages."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Backend:
    """Answers 200, or each status of `script` first; by path, `refuse` has a status to answer with and
    `answers` a body. `url` is its base URL."""

    def __init__(self) -> None:
        self.script: list[int] = []
        self.refuse: dict[str, int] = {}
        self.answers: dict[str, bytes] = {}
        self.headers: list[dict[str, str]] = []
        self.requests: list[tuple[str, Any]] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                status = backend.script.pop(0) if backend.script else backend.refuse.get(self.path, 200)
                if status == 200:
                    kinds: dict[str, Any] = {
                        "/v1/traces": ExportTraceServiceRequest,
                        "/v1/metrics": ExportMetricsServiceRequest,
                        "/v1/logs": ExportLogsServiceRequest,
                    }
                    sent = kinds[self.path]()
                    sent.ParseFromString(body)
                    backend.headers.append({k.lower(): v for k, v in self.headers.items()})
                    backend.requests.append((self.path, sent))
                self.send_response(status)
                said = backend.answers.get(self.path, b"") if status == 200 else b""
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def spans(self) -> list[Any]:
        """All spans, in the order they came."""
        return [
            span
            for path, said in self.requests
            if path == "/v1/traces"
            for resource in said.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def metrics(self) -> dict[str, Any]:
        """The newest of each metric."""
        return {
            metric.name: metric
            for path, said in self.requests
            if path == "/v1/metrics"
            for resource in said.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    @property
    def events(self) -> list[Any]:
        """All log records."""
        return [
            record
            for path, said in self.requests
            if path == "/v1/logs"
            for resource in said.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def attributes(said: Any) -> dict[str, Any]:
    """The attributes of a span, a point or a log record."""
    found: dict[str, Any] = {}
    for pair in said.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        found[pair.key] = [each.string_value for each in value.values] if kind == "array_value" else value
    return found
