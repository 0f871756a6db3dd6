"""The request's ladder: one function a rung, read from top to bottom.

admit → assign → render → open → dispatch → close → deliver. A record is opened before the first byte goes
upstream and closed before the client has its last byte, whatever the call's end.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from datetime import datetime

import msgspec

from airboss.domain.errors import ApiError, InternalError, InvalidRequest, Unavailable
from airboss.domain.plan import DeploymentPlan
from airboss.domain.ports import Clock
from airboss.domain.record import ClosedCall, OpenedCall, Status
from airboss.domain.request import InferenceRequest, Operation
from airboss.gateway import wire
from airboss.gateway.account import closing
from airboss.gateway.answer import DONE, StreamedAnswer, WholeAnswer
from airboss.gateway.dispatch import Dispatched, Executor
from airboss.gateway.http1 import Connection, HttpRequest
from airboss.gateway.ids import RecordIds
from airboss.gateway.local_limits import unfit
from airboss.gateway.serving import Serving
from airboss.gateway.trace import child_traceparent, trace_id
from airboss.providers.connection import Pools
from airboss.telemetry.journal import JournalWriter
from airboss.telemetry.metrics import WorkerMetrics

_encode = msgspec.json.Encoder(decimal_format="number").encode
NO_TAGS: dict[str, str] = {}


class Worker:
    """What the calls of one gateway process share."""

    def __init__(self, *, journal: JournalWriter, clock: Clock, name: str) -> None:
        self.name = name
        self.clock = clock
        self.journal = journal
        self.executor = Executor(Pools(), rng=random.Random())  # noqa: S311 - jitter, not secrets
        self.metrics = WorkerMetrics()
        self.ids = RecordIds()
        self.serving: Serving | None = None

    def view(self) -> Serving:
        """What is served now. Raises Unavailable before the first plan."""
        if self.serving is None:
            raise Unavailable(
                "no plan has been published yet; try again shortly", code="no_plan", retry_after_s=1
            )
        return self.serving


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """A call with everything decided about it before it is sent."""

    request: InferenceRequest
    body: wire.Body
    deployment: DeploymentPlan
    arm: str
    upstream_body: bytes
    secret: str | None
    traceparent: str | None


async def infer(worker: Worker, client: Connection, http: HttpRequest, operation: Operation) -> None:
    """Serve one inference call."""
    now = worker.clock.now()
    record_id = worker.ids.next(int(now.timestamp() * 1000))
    try:
        serving = worker.view()
        request, body, deployment = admit(serving, http, operation, record_id, now)
        call = render(serving, http, request, body, deployment, arm=assign(deployment))
        opened = open_record(worker, serving, call)
    except ApiError as error:
        worker.metrics.refused(error.http_status)
        return _respond_error(client, error, _id_header(record_id))
    worker.metrics.in_flight += 1
    try:
        await _served(worker, serving, client, call, opened, http.received_at)
    finally:
        worker.metrics.in_flight -= 1


def admit(
    serving: Serving, http: HttpRequest, operation: Operation, record_id: str, now: datetime
) -> tuple[InferenceRequest, wire.Body, DeploymentPlan]:
    """Who calls, what for, and which deployment that means. Raises ApiError."""
    principal = serving.authenticate(http.headers)
    body = wire.parse_body(operation, http.body)
    deployment = serving.resolve(body.model, principal)
    tags = body.metadata or {}
    request = InferenceRequest(
        id=record_id,
        started_at=now,
        principal=principal,
        operation=operation,
        deployment=deployment.name,
        requested_model=body.model,
        stream=bool(body.stream),
        wants_usage=wire.wants_usage(body),
        body=http.body,
        user=body.user,
        session=tags.get("session_id"),
        tags={k: v for k, v in tags.items() if k != "session_id"} if tags else NO_TAGS,
        trace_id=trace_id(http.headers.get(b"traceparent")),
    )
    return request, body, deployment


def assign(deployment: DeploymentPlan) -> str:
    """The arm that serves the call."""
    del deployment  # there is one arm until a canary exists
    return "stable"


def render(
    serving: Serving,
    http: HttpRequest,
    request: InferenceRequest,
    body: wire.Body,
    deployment: DeploymentPlan,
    *,
    arm: str,
) -> Admitted:
    """What goes upstream. Raises ApiError where the deployment's model cannot do what is asked."""
    target = deployment.target
    if isinstance(body, wire.ChatBody):
        refuse_unsupported(body, deployment)
    if target.kind == "local" and (refusal := unfit(request.body, body)) is not None:
        raise refusal
    return Admitted(
        request=request,
        body=body,
        deployment=deployment,
        arm=arm,
        upstream_body=wire.upstream_body(
            request.body, body, model=target.upstream_model, release=deployment.stable
        ),
        secret=serving.secret(deployment),
        traceparent=child_traceparent(http.headers.get(b"traceparent"), request),
    )


def refuse_unsupported(body: wire.ChatBody, deployment: DeploymentPlan) -> None:
    """Refuse what the deployment's model would ignore or fail at. Raises InvalidRequest."""
    target = deployment.target
    if not target.tools and (body.tools or body.functions):
        raise InvalidRequest(
            f"deployment {deployment.name!r} cannot call tools: its model's chat template has no place for "
            "them; leave out 'tools', or use a deployment whose model has tools",
            code="tools_unsupported",
            param="tools" if body.tools else "functions",
        )
    if target.kind != "local":
        return
    for number, message in enumerate(body.messages):
        for part in message.content if isinstance(message.content, list) else ():
            if part.type != "text":
                raise InvalidRequest(
                    f"deployment {deployment.name!r} reads text only, messages[{number}] has a part of type "
                    f"{part.type[:40]!r}; leave it out, or use a deployment whose model reads it",
                    code="content_unsupported",
                    param=f"messages[{number}].content",
                )


def open_record(worker: Worker, serving: Serving, call: Admitted) -> OpenedCall:
    """Write the call to the journal; it now has a record, whatever happens."""
    request, deployment = call.request, call.deployment
    opened = OpenedCall(
        id=request.id,
        started_at=request.started_at,
        deployment=deployment.name,
        release=deployment.stable.digest,
        arm=call.arm,
        plan=serving.plan.number,
        model=deployment.target.upstream_model,
        provider=deployment.target.provider,
        key=request.principal.key,
        operation=request.operation,
        stream=request.stream,
        user=request.user,
        session=request.session,
        tags=request.tags,
        trace_id=request.trace_id,
        request=msgspec.Raw(request.body) if serving.plan.bodies else None,
    )
    worker.journal.open(serving.redactor.redact(_encode(opened)))
    return opened


async def _served(  # noqa: PLR0917 - the call's whole context, in the order it came to be
    worker: Worker, serving: Serving, client: Connection, call: Admitted, opened: OpenedCall, started: float
) -> None:
    dispatched = Dispatched(started=started)
    try:
        answer = await dispatch(worker, client, call, dispatched)
    except ApiError as error:
        close_record(worker, serving, call, opened, dispatched, status="error", error=error)
        error.message = serving.redactor.redact_text(error.message)
        deliver_error(client, call, dispatched, error)
    except asyncio.CancelledError:
        close_record(worker, serving, call, opened, dispatched, status="cancelled", error=None)
        raise
    except Exception:
        defect = InternalError("something went wrong on our side; the log has it")
        close_record(worker, serving, call, opened, dispatched, status="error", error=defect)
        raise
    else:
        closed = close_record(worker, serving, call, opened, dispatched, status="ok", error=None)
        deliver(client, call, answer, closed)


def dispatch(
    worker: Worker, client: Connection, call: Admitted, dispatched: Dispatched
) -> Awaitable[WholeAnswer | StreamedAnswer]:
    """Ask the upstream; a stream is passed on as it comes. Raises ApiError."""
    provider = call.deployment.target.provider

    def new_answer() -> WholeAnswer | StreamedAnswer:
        if not call.request.stream:
            return WholeAnswer(provider, client.loop)
        return StreamedAnswer(
            provider,
            client.loop,
            client,
            operation=call.request.operation,
            keep_usage=call.request.wants_usage,
            response_head=lambda: _response_head(
                call, b"text/event-stream; charset=utf-8", _ours_ms(dispatched)
            ),
        )

    return worker.executor.run(
        dispatched,
        call.deployment,
        operation=call.request.operation,
        body=call.upstream_body,
        secret=call.secret,
        traceparent=call.traceparent,
        new_answer=new_answer,
    )


def close_record(
    worker: Worker,
    serving: Serving,
    call: Admitted,
    opened: OpenedCall,
    dispatched: Dispatched,
    *,
    status: Status,
    error: ApiError | None,
) -> ClosedCall:
    """Write the call's end to the journal and count it."""
    closed = closing(
        opened.id,
        call.deployment.target,
        dispatched,
        status=status,
        error=error,
        request_bytes=len(call.request.body),
        bodies=serving.plan.bodies,
        several=wire.asks_several(call.body),
    )
    worker.journal.close_call(serving.redactor.redact(_encode(closed)))
    worker.metrics.call(opened, closed)
    return closed


def deliver(
    client: Connection, call: Admitted, answer: WholeAnswer | StreamedAnswer, closed: ClosedCall
) -> None:
    """Give the client its last bytes."""
    if isinstance(answer, StreamedAnswer):
        client.end_stream(DONE)
        return
    head = _response_head(call, b"application/json", closed.overhead_ms)
    if closed.cost_usd is not None:
        head += b"x-airboss-cost-usd: %s\r\n" % format(closed.cost_usd, "f").encode()
    client.respond(200, head, answer.content)


def deliver_error(client: Connection, call: Admitted, dispatched: Dispatched, error: ApiError) -> None:
    """Tell the client, in the stream if that has begun; a cut stream never looks complete."""
    if dispatched.answer is not None and dispatched.answer.committed:
        client.end_stream(wire.error_event(error))
        return
    _respond_error(client, error, _attribution(call))


# -- the rungs' small parts


def _response_head(call: Admitted, content_type: bytes, ours_ms: float) -> bytes:
    return b"content-type: %s\r\n%sserver-timing: airboss;dur=%.3f\r\n" % (
        content_type,
        _attribution(call),
        ours_ms,
    )


def _attribution(call: Admitted) -> bytes:
    return b"x-request-id: %s\r\nx-airboss-release: %s\r\nx-airboss-arm: %s\r\n" % (
        call.request.id.encode(),
        call.deployment.stable.digest.encode(),
        call.arm.encode(),
    )


def _ours_ms(dispatched: Dispatched) -> float:
    """Our part of a stream that is only just starting: all but what upstreams took so far."""
    now = time.perf_counter()
    waiting = now - dispatched.sent_at if dispatched.sent_at is not None else 0.0
    return max(0.0, now - dispatched.started - dispatched.upstream_s - waiting) * 1000


def _id_header(record_id: str) -> bytes:
    return b"x-request-id: %s\r\n" % record_id.encode()


def error_response(error: ApiError, headers: bytes) -> tuple[bytes, bytes]:
    """Headers and body of an error, in OpenAI's shape."""
    lines = b"content-type: application/json\r\n" + headers
    if error.retry_after_s is not None:
        lines += b"retry-after: %d\r\n" % max(1, round(error.retry_after_s))
    return lines, wire.error_body(error)


def _respond_error(client: Connection, error: ApiError, headers: bytes) -> None:
    client.respond(error.http_status, *error_response(error, headers))
