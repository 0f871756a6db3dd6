"""The request's ladder: one function a rung, read from top to bottom.

admit → enter → assign → screen → render → reserve → open → dispatch → close and settle → deliver. A record is
opened before the first byte goes upstream and closed before the client has its last byte, whatever the end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from airboss.domain.errors import ApiError, PermissionDenied, PolicyRefused
from airboss.domain.plan import DeploymentPlan
from airboss.domain.record import ClosedCall, OpenedCall, Status
from airboss.domain.request import InferenceRequest, Operation
from airboss.gateway import wire
from airboss.gateway.account import breaks_off, closing, said_whole, tell_counted, usage_event
from airboss.gateway.answer import AnyAnswer, StreamedAnswer, WholeAnswer
from airboss.gateway.asking import route_of, upstream_request
from airboss.gateway.attempts import Dispatched
from airboss.gateway.billing import is_counted
from airboss.gateway.cache_answer import Kept
from airboss.gateway.credentials import may_carry, without_credentials
from airboss.gateway.deadline import HEADER as TIMEOUT
from airboss.gateway.deadline import in_time, own_time_over, with_own_time
from airboss.gateway.failed_words import failed_words
from airboss.gateway.heads import attribution, id_header, respond_error, response_head
from airboss.gateway.judge import defect, is_too_large
from airboss.gateway.labels import HEADER as LABELS
from airboss.gateway.labels import labelled
from airboss.gateway.recording import without_room
from airboss.gateway.relayed import RelayedRequest, once
from airboss.gateway.relayed_answer import RelayedAnswer
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.serving import Branch, Serving, is_screened
from airboss.gateway.splice import LONG
from airboss.gateway.spoken import DONE, Client, Spoken, refuse_unsayable
from airboss.gateway.spread import after, drawn
from airboss.gateway.stock import SHADOW_TAG
from airboss.gateway.trace import read_trace, trace_headers
from airboss.gateway.worker import Admitted, Worker, release
from airboss.providers.outbox import Pieces
from airboss.rollouts import assign as rollout

if TYPE_CHECKING:
    from airboss.gateway.cached import Seat
    from airboss.gateway.held import Held
    from airboss.gateway.screened import CallScreen

NO_TAGS: dict[str, str] = {}
SHADOW_OF = b"x-airboss-shadow-of"
"""Names, in a call of our own, the call that it asks again of the deployment's shadow."""
KEY_OF = b"x-airboss-key"
"""And the key of that call, whose policies bind this one too."""
USER_OF = b"x-airboss-user"
"""Whose words a call of our own has in it: no part of the request, as no provider need know."""
TEST = b"x-airboss-test"
"""Says, in a call of our own that names a release, that it is to find out whether a model is there."""
Entered = tuple[Serving, InferenceRequest, wire.Body, DeploymentPlan]
"""What is served from, who calls, what for, and which deployment that means."""


async def infer(  # noqa: PLR0917 - what the call is, and what of it is known already
    worker: Worker,
    client: Client,
    http: HttpRequest,
    operation: Operation,
    spoken: Spoken | None = None,
    admitted: Entered | None = None,
) -> None:
    """Serve one inference call. With `spoken` the body of `http` is the client's request as chat, and
    `client` is answered in chat. `admitted`: it has been (`at_once`)."""
    now = worker.clock.now()
    record_id = worker.ids.next(int(now.timestamp() * 1000)) if admitted is None else admitted[1].id
    if spoken is not None:
        spoken.speech.record_id = record_id
    held = seat = None
    try:
        serving, request, body, deployment = admitted or admit(worker.view(), http, operation, record_id, now)
        if serving.limiter is not None:
            held = await in_time(serving.limiter.enter(request, deployment), deployment)
            serving, request, body, deployment = in_force(worker, http, (serving, request, body, deployment))
        branch = assign(serving, http, request, body, deployment)
        branch = drawn(worker.executor, branch, request, body, spoken)
        screened = None
        if is_screened(branch, deployment, request.principal):
            screening = screen(worker, request, body, deployment, branch, spoken)
            screened = await in_time(screening, deployment)
            request, body, spoken = screened.request, screened.body, screened.spoken
            if screened.refusal is not None:
                call = blocked(screened, deployment, branch, held)
                return refuse(worker, serving, client, call, screened.refusal, http)
        call = render(http, request, body, deployment, branch, screened, spoken, held)
        if deployment.cache is not None and worker.cache is not None:
            seat = await worker.cache.seat(call, http, deployment.cache, serving.redactor)
            call, client = msgspec.structs.replace(call, seat=seat), seat.heard(client)
        if held is not None and (seat is None or seat.answer is None):
            refusal = await in_time(held.reserve(body, branch), deployment)
            if refusal is not None:
                return refuse(worker, serving, client, call, refusal, http)
        opened = open_record(worker, serving, call)
    except BaseException as error:
        release(held, seat, left=isinstance(error, asyncio.CancelledError))
        if not isinstance(error, ApiError):
            raise
        worker.metrics.refused(error.http_status)
        return respond_error(client, error, id_header(record_id))
    worker.metrics.in_flight += 1
    return await served(
        worker, serving, client, call, opened, Dispatched(http.received_at, record_id=record_id)
    )


def admit(
    serving: Serving, http: HttpRequest, operation: Operation, record_id: str, now: datetime
) -> Entered:
    """Let a call in by its key and what it asks. Raises ApiError."""
    principal = serving.authenticate(http.headers)
    if serving.limiter is not None:
        serving.limiter.check(principal.key)
    relayed = http.parsed if isinstance(http, RelayedRequest) else None
    body = http.read or relayed or wire.parse_body(operation, http.body)
    deployment = serving.resolve(body.model, principal)
    if TIMEOUT in http.headers:
        deployment = with_own_time(deployment, http.headers[TIMEOUT], http.received_at)
    tags, session = NO_TAGS, None
    if body.metadata:
        session = body.metadata.get("session_id")
        tags = {k: v for k, v in body.metadata.items() if k != "session_id"}
    user = body.user
    if LABELS in http.headers:
        user, session, tags = labelled(http.headers[LABELS], user, session, tags)
    if principal.internal:
        if SHADOW_OF in http.headers:
            tags = {**tags, SHADOW_TAG: http.headers[SHADOW_OF].decode("latin-1")}
            if KEY_OF in http.headers:
                principal = serving.in_place_of(principal, http.headers[KEY_OF])
        if user is None and USER_OF in http.headers:
            user = unquote(http.headers[USER_OF].decode("latin-1"))
    trace = read_trace(http.headers) if b"traceparent" in http.headers else None
    # Here and below by their places: by name so many values cost each call a microsecond more.
    request = InferenceRequest(
        record_id,
        now,
        principal,
        operation,
        deployment.name,
        body.model,
        bool(body.stream),
        body.stream_options is not None and wire.wants_usage(body),
        http.body if relayed is None else relayed.recorded,
        user,
        session,
        tags,
        trace.trace_id if trace is not None else None,
        trace.parent if trace is not None else None,
    )
    return serving, request, body, deployment


def in_force(worker: Worker, http: HttpRequest, entered: Entered) -> Entered:
    """What a call goes by that has been let in. It may have waited: then by the plan and the keys of now.
    Raises ApiError."""
    serving, request, _, _ = entered
    if worker.serving is serving:
        return entered
    return admit(worker.view(), http, request.operation, request.id, request.started_at)


def assign(
    serving: Serving,
    http: HttpRequest,
    request: InferenceRequest,
    body: wire.Body,
    deployment: DeploymentPlan,
) -> Branch:
    """The branch that serves the call: its own for whom the deployment names, else sticky by user, else
    session, else per request. Raises ApiError where the call names a release that it may not have."""
    wanted = http.headers.get(b"x-airboss-release")
    if wanted is not None:
        return serving.named(wanted, request.principal, body.release_variant, tests=TEST in http.headers)
    if request.principal.internal and SHADOW_OF in http.headers:
        return serving.shadowed(deployment)
    if body.release_variant is not None:
        raise PermissionDenied("'release_variant' is for Airboss's own calls; leave it out")
    if serving.apart:
        for apart in serving.apart.get(deployment.name, ()):
            if apart.names(request):
                return apart.branch
    canary = deployment.canary
    if canary is not None:
        unit = rollout.unit(user=request.user, session=request.session, request_id=request.id)
        if rollout.arm(canary.salt, unit, canary.weight) == "canary":
            return serving.canary[deployment.name]
    return serving.stable[deployment.name]


def screen(  # noqa: PLR0917 - as `screened`
    worker: Worker,
    request: InferenceRequest,
    body: wire.Body,
    deployment: DeploymentPlan,
    branch: Branch,
    spoken: Spoken | None,
) -> Awaitable[CallScreen]:
    """The request under the policies of its release, its deployment and its key. Raises ApiError."""
    from airboss.gateway.screened import screened  # noqa: PLC0415 - 17 MB that only policies need

    return screened(worker, branch.release.policy, deployment.policy, request, body, spoken)


def render(  # noqa: PLR0917 - all that was decided, in the order it was
    http: HttpRequest,
    request: InferenceRequest,
    body: wire.Body,
    deployment: DeploymentPlan,
    branch: Branch,
    screened: CallScreen | None = None,
    spoken: Spoken | None = None,
    held: Held | None = None,
) -> Admitted:
    """What goes upstream. Raises ApiError where the deployment's model cannot do what is asked (of several
    that share its calls, none can), unless that is for its size and there are others, who may have more room.
    """
    said = request
    translated = too_large = None
    upstream_body: bytes | Pieces = b""
    try:
        request, upstream_body, translated = upstream_request(
            http, request, body, deployment, branch, screened, spoken
        )
    except ApiError as error:
        if branch.members:
            try:
                return render(http, said, body, deployment, after(branch), screened, spoken, held)
            except ApiError:
                raise error from None
        if not branch.others or not is_too_large(error):
            raise
        too_large = error
    return Admitted(
        request,
        body,
        once(deployment, body) if isinstance(body, wire.RelayedBody) else deployment,
        branch,
        upstream_body,
        said,
        trace_headers(http.headers, request) if request.trace_id is not None else None,
        screened,
        translated,
        too_large,
        spoken,
        held,
    )


def open_record(worker: Worker, serving: Serving, call: Admitted) -> OpenedCall:
    """Write the call to the journal; it now has a record, whatever happens."""
    request, branch = call.request, call.branch
    written = request.body if call.spoken is None else call.spoken.written
    if call.spoken is not None or may_carry(call.body):
        written = without_credentials(written)
    long = serving.plan.bodies and len(written) >= LONG
    opened = OpenedCall(
        request.id,
        request.started_at,
        request.deployment,
        branch.release.digest,
        branch.arm,
        serving.plan.number,
        branch.target.upstream_model,
        branch.target.provider,
        request.principal.key,
        request.operation,
        request.stream,
        request.user,
        request.session,
        request.tags,
        request.trace_id,
        request.trace_parent,
        msgspec.Raw(written) if serving.plan.bodies and not long else None,
    )
    if long:
        worker.recording.open_long(serving.redactor, opened, written)
    else:
        worker.recording.hold("open", serving.redactor, opened, opened.request)
    return opened


async def served(  # noqa: PLR0917 - the call's whole context, in the order it came to be
    worker: Worker,
    serving: Serving,
    client: Client,
    call: Admitted,
    opened: OpenedCall,
    dispatched: Dispatched,
) -> None:
    """Have a call that is recorded answered, or see to its end where that was begun at once."""
    try:
        try:
            answer = await dispatch(worker, serving, client, call, dispatched)
        finally:
            if is_counted(dispatched.tries):
                await worker.may_count()
        refuse_unsayable(call.spoken, answer)
        if call.spoken is not None and call.spoken.keep is not None:
            await call.spoken.keep(call.request, said_whole(answer))
    except ApiError as error:
        end_in_error(worker, serving, client, call, opened, dispatched, error)
        error.__traceback__ = None  # its frames know the answer, and that knows the error
    except asyncio.CancelledError:
        close_record(worker, serving, call, opened, dispatched, status="cancelled", error=None)
        raise
    except Exception:
        close_record(worker, serving, call, opened, dispatched, status="error", error=defect())
        raise
    else:
        closed = close_answered(worker, serving, call, opened, dispatched, answer)
        deliver(client, call, dispatched, answer, closed)
    finally:
        dispatched.over()
        release(call.held, call.seat)
        worker.metrics.in_flight -= 1


def end_in_error(  # noqa: PLR0917 - the call's whole context, in the order it came to be
    worker: Worker,
    serving: Serving,
    client: Client,
    call: Admitted,
    opened: OpenedCall,
    dispatched: Dispatched,
    error: ApiError,
) -> None:
    """Record a call that has failed, and tell the client."""
    if call.screen is not None:
        call.screen.clear(error)
    status: Status = "refused" if isinstance(error, PolicyRefused) else "error"
    if own_time_over(call.deployment.timeout, error):
        status = "cancelled"  # as of a client that goes away by then: it speaks against no release
    serving.hush(error)  # before it is recorded: there only whole secrets are found
    closed = close_record(worker, serving, call, opened, dispatched, status=status, error=error)
    deliver_error(client, call, dispatched, error, closed)


def close_answered(  # noqa: PLR0917 - the call's whole context, in the order it came to be
    worker: Worker,
    serving: Serving,
    call: Admitted,
    opened: OpenedCall,
    dispatched: Dispatched,
    answer: WholeAnswer | StreamedAnswer,
) -> ClosedCall:
    """Write the end of a call that has been answered to the journal."""
    refused = call.screen.refused(answer) if call.screen is not None else None
    status: Status = "ok" if refused is None else "refused"
    closed = close_record(worker, serving, call, opened, dispatched, status=status, error=refused)
    if call.spoken is not None:
        tell_counted(call.spoken.speech, closed)
    return closed


def dispatch(
    worker: Worker, serving: Serving, client: Client, call: Admitted, dispatched: Dispatched
) -> Awaitable[WholeAnswer | StreamedAnswer]:
    """Ask the upstream, and others where it fails; a stream is passed on as it comes. Raises ApiError."""
    if call.seat is not None:
        return looked_up(worker, serving, client, call, call.seat, dispatched)
    return worker.executor.run(dispatched, route_of(serving, client, call, dispatched))


async def looked_up(  # noqa: PLR0917 - the call's whole context, in the order it came to be
    worker: Worker, serving: Serving, client: Client, call: Admitted, seat: Seat, dispatched: Dispatched
) -> WholeAnswer | StreamedAnswer:
    """The answer from the cache, if there is one, to the same or to what only means the same; else an
    upstream's. Raises ApiError."""
    found = await seat.compare(worker, serving, dispatched)
    if found is None:
        asking = worker.executor.run(dispatched, route_of(serving, client, call, dispatched))
        return await seat.bring(asking, dispatched)
    kept = dispatched.answer = Kept(found)
    if call.request.stream:
        await kept.stream(client, call, dispatched)
    return kept


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
        call.branch.target,
        dispatched,
        status=status,
        error=error,
        bodies=serving.plan.bodies,
        user=opened.user if serving.plan.sealed else None,
        policy=call.screen.findings(dispatched.answer) if call.screen is not None else (),
        speech=None if call.spoken is None else call.spoken.speech,
        joined=serving.redactor.without_halves_at,
        failed=failed_words(dispatched.tries, call.screen, serving) if len(dispatched.tries) > 1 else (),
    )
    if isinstance(dispatched.answer, RelayedAnswer) and isinstance(call.body, wire.RelayedBody):
        closed = dispatched.answer.priced(closed, call.body)
    if call.seat is not None:
        closed = call.seat.close(closed)
    if closed.response is not None and breaks_off(dispatched.answer, closed):
        cut = serving.redactor.without_halves(bytes(closed.response))
        closed = msgspec.structs.replace(closed, response=msgspec.Raw(cut))
    if call.branch.tests and status == "ok":
        worker.executor.places.are_back([each.place for each in dispatched.tries if each.error is None])
    try:
        worker.recording.hold("close", serving.redactor, closed, closed.response)
    except ApiError:
        closed = without_room(closed)
        raise
    finally:  # what was used has been used, be there room on the disk for it or not
        worker.metrics.call(opened, closed)
        if call.held is not None:
            call.held.settle(closed)
    return closed


def deliver(
    client: Client,
    call: Admitted,
    dispatched: Dispatched,
    answer: WholeAnswer | StreamedAnswer,
    closed: ClosedCall,
) -> None:
    """Give the client its last bytes."""
    if isinstance(answer, RelayedAnswer):
        answer.deliver(closed)
        return
    if isinstance(answer, StreamedAnswer) or (isinstance(answer, Kept) and call.request.stream):
        end_stream(client, call, answer, closed)
        return
    head = response_head(call, dispatched, b"application/json", closed.overhead_ms)
    if closed.cost_usd is not None:
        head += b"x-airboss-cost-usd: %s\r\n" % format(closed.cost_usd, "f").encode()
    client.respond(200, head, answer.content if call.screen is None else call.screen.given(answer))


def end_stream(client: Client, call: Admitted, answer: AnyAnswer, closed: ClosedCall) -> None:
    """End a stream well, with the usage where its client has asked for that and its upstream told none."""
    if closed.usage_estimated and call.request.wants_usage and call.spoken is None:
        told = answer.told_usage if isinstance(answer, StreamedAnswer) else None
        if isinstance(answer, StreamedAnswer) and (told is None or not told.whole):
            client.stream(usage_event(answer, closed))
    client.end_stream(DONE)


def deliver_error(
    client: Client, call: Admitted, dispatched: Dispatched, error: ApiError, closed: ClosedCall
) -> None:
    """Tell the client, in the stream if that has begun; a cut stream never looks complete."""
    if dispatched.answer is not None and dispatched.answer.committed:
        if isinstance(dispatched.answer, RelayedAnswer):
            dispatched.answer.deliver_error(error)
            return
        if isinstance(error, PolicyRefused):  # the events have said so: `content_filter`
            end_stream(client, call, dispatched.answer, closed)
            return
        client.end_stream(wire.error_event(error))
        return
    respond_error(client, error, attribution(call, dispatched))


def refuse(  # noqa: PLR0917 - the call's whole context, in the order it came to be
    worker: Worker, serving: Serving, client: Client, call: Admitted, refusal: ApiError, http: HttpRequest
) -> None:
    """Answer a call that a policy or a budget refuses: nothing goes upstream, and the record says why."""
    opened = open_record(worker, serving, call)
    dispatched = Dispatched(started=http.received_at)
    close_record(worker, serving, call, opened, dispatched, status="refused", error=refusal)
    release(call.held, call.seat)
    respond_error(client, refusal, attribution(call, dispatched))


def blocked(screened: CallScreen, deployment: DeploymentPlan, branch: Branch, held: Held | None) -> Admitted:
    """A call whose request a policy blocks; the record has it masked."""
    said = screened.request
    return Admitted(
        said, screened.body, deployment, branch, b"", said, None, screened, spoken=screened.spoken, held=held
    )
