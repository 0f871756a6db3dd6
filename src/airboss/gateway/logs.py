"""`POST /v1/logs`: what was said in calls of models, where instrumentations write it into log records and not
into the calls' spans.

Such a record becomes a span of no time below the call's, whichever of the two comes first: the tree is put
together when it is looked at. All other log records are taken and not kept.
"""

from __future__ import annotations

from airboss.domain.errors import InvalidRequest, NotFound
from airboss.gateway.http1 import Connection, HttpRequest
from airboss.gateway.traces import SPANS_MAX, Spans, is_json, taken_head, unpacked, worked
from airboss.gateway.worker import Worker


async def logs(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Take log records: 200 once all that are kept are in the journal. Raises ApiError."""
    serving = worker.view()
    principal = serving.authenticate(http.headers)
    as_json = is_json(http.headers)
    now = worker.clock.now()

    def work() -> bytes:
        from airboss.telemetry.otlp_read import logs_of_json, logs_of_protobuf  # noqa: PLC0415 - 7 MB of protobuf

        body, now_ns = unpacked(http, "logs"), int(now.timestamp() * 1e9)
        try:
            found = logs_of_json(body, now_ns) if as_json else logs_of_protobuf(body, now_ns)
        except ValueError as error:
            kind = "JSON" if as_json else "protobuf"
            raise InvalidRequest(
                f"the body is no ExportLogsServiceRequest in {kind}: {str(error)[:200]}", code="invalid_otlp"
            ) from None
        spans = Spans(serving, principal, "", worker.listed)
        for log in found[:SPANS_MAX] if serving.plan.bodies else ():  # they hold nothing but what was said
            worker.journal.span(serving.redactor.redact(spans.messages(log)))
        return b"{}" if as_json else b""

    body = await worked(worker, http, work)
    client.respond(200, taken_head(worker, now, as_json=as_json), body)


async def metrics(worker: Worker, client: Connection, http: HttpRequest) -> None:  # noqa: ARG001 - a route
    """Metrics are not taken. Raises NotFound, and PermissionDenied for a stranger."""
    worker.view().authenticate(http.headers)
    raise NotFound(
        "metrics are not taken here: Airboss counts the calls that it sees, in traces and at /metrics; set "
        "OTEL_METRICS_EXPORTER=none",
        code="route_not_offered",
    )
