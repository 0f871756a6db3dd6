"""A chat that nothing holds up goes from its request to its answer without a task.

Its ladder is the pipeline's, but that it enters and reserves in one step, and only where all of that is here.
Where a rung may have to wait (it is long, a policy reads, a cache is asked, a limit has nothing left here, no
connection is kept) it goes on in a task, as any call does; so it does where its first attempt fails, or its
client goes. Coroutines, futures and what wakes a task take 2 µs a call.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence

import msgspec

from airboss.domain.errors import ApiError
from airboss.domain.record import ClosedCall, OpenedCall
from airboss.gateway import wire
from airboss.gateway.answer import AnyAnswer, StreamedAnswer, WholeAnswer
from airboss.gateway.asking import Asking
from airboss.gateway.attempts import Dispatched, told_all
from airboss.gateway.heads import attribution, id_header, respond_error
from airboss.gateway.http1 import Connection
from airboss.gateway.judge import defect
from airboss.gateway.pipeline import (
    admit,
    assign,
    close_record,
    deliver,
    infer,
    open_record,
    render,
    served,
)
from airboss.gateway.recording import unrecorded
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.serving import Serving, is_screened
from airboss.gateway.splice import LONG
from airboss.gateway.worker import Admitted, Worker, release

log = logging.getLogger("airboss.gateway")


def chat(worker: Worker, client: Connection, http: HttpRequest) -> Awaitable[None] | None:
    """Serve a chat. Returns what is to be awaited for that; None: it is under way, or answered."""
    if len(http.body) >= LONG:  # it may have to wait before it is read
        return infer(worker, client, http, "chat")
    now = client.intake.now
    record_id = worker.ids.next(client.intake.now_ms)
    held = None
    try:
        serving, request, body, deployment = admitted = admit(
            worker.serving or worker.view(), http, "chat", record_id, now
        )
        if serving.limiter is not None:
            held = serving.limiter.binding(request, deployment)
        try:
            branch = assign(serving, http, request, body, deployment)
        except ApiError:
            if held is None:
                raise
            return infer(worker, client, http, "chat", None, admitted)  # that it was made counts
        may_wait = is_screened(branch, deployment, request.principal) or bool(branch.members)
        may_wait = may_wait or (deployment.cache is not None and worker.cache is not None)
        if may_wait or (held is not None and not held.take_at_once(body, branch)):
            return infer(worker, client, http, "chat", None, admitted)
        call = render(http, request, body, deployment, branch, held=held)
        opened = open_record(worker, serving, call)
    except BaseException as error:
        release(held)
        if not isinstance(error, ApiError):
            raise
        worker.metrics.refused(error.http_status)
        respond_error(client, error, id_header(record_id))
        client.over()
        return None
    worker.metrics.in_flight += 1
    dispatched = Dispatched(http.received_at, record_id=record_id)
    client.intake.then(Going(worker, serving, client, call, opened, dispatched).send)
    return None


class Going(msgspec.Struct, eq=False):
    """A call whose first attempt is made without a task."""

    worker: Worker
    serving: Serving
    client: Connection
    call: Admitted
    opened: OpenedCall
    dispatched: Dispatched

    def rest(self) -> Awaitable[None]:
        """What is left to do, for a task."""
        return served(self.worker, self.serving, self.client, self.call, self.opened, self.dispatched)

    def send(self) -> None:
        """Make the attempt."""
        call, dispatched = self.call, self.dispatched
        answer: AnyAnswer
        target = call.branch.target
        try:
            if call.request.stream or target.kind == "local":
                answer = Asking(self.client, call, dispatched).new_answer(target)
            else:
                answer = WholeAnswer(target.provider)
            self.client.on_lost = self.left
            begun = self.worker.executor.begin(dispatched, call, answer, self.serving.secret, self.heard)
        except Exception:  # what follows in this turn is to be sent
            log.exception("an attempt cannot be made at once")
            begun = dispatched.begun is not None
            if begun and dispatched.answer is not None:
                dispatched.answer.fail(defect())
        if not begun:
            self.client.run(self.rest())

    def heard(self) -> None:
        """The attempt has ended."""
        begun = self.dispatched.begun
        assert begun is not None  # it has just ended
        try:
            if begun.answer.error is None:
                begun.told = told_all(begun.answer)
        except Exception:  # it is told by the task too, whose the defect is then
            log.exception("what an answer used cannot be told")
        if begun.told is None:  # counting may wait
            self.client.run(self.rest())
            return
        self.client.on_lost = None
        self.worker.outbox.later(conclude, self)

    def left(self) -> None:
        """The client has gone."""
        if self.dispatched.answer is not None:
            self.dispatched.answer.leave()
        self.client.run(self.rest())


def conclude(these: Sequence[Going]) -> None:
    """Record and deliver the calls that were answered in one turn of the loop: first the one for all of them,
    then the other. Call by call it takes half as long again, as between its steps the processor forgets
    them."""
    recording = these[0].worker.recording
    lost = recording.lost = set()
    closes = [_closed(each) for each in these]
    for each, closed in zip(these, closes, strict=True):
        client, call, dispatched = each.client, each.call, each.dispatched
        answer = dispatched.answer
        assert answer is not None  # it has ended
        try:
            told = unrecorded() if each.opened.id in lost else closed
            if isinstance(told, ClosedCall):
                deliver(client, call, dispatched, answer, told)
            elif isinstance(answer, StreamedAnswer):
                client.end_stream(wire.error_event(told))
            else:
                respond_error(client, told, attribution(call, dispatched))
        except Exception:
            log.exception("an answer cannot be given; its connection is cut")
            client.abort()  # the others of this turn get theirs
        dispatched.over()
        try:
            client.over()
        except Exception:
            log.exception("a connection cannot go on; it is cut")
            client.abort()
    recording.lost = None


def _closed(each: Going) -> ClosedCall | ApiError:
    """The record's close frame, written; or what its client is told instead."""
    worker, dispatched = each.worker, each.dispatched
    try:
        begun, dispatched.begun = dispatched.begun, None
        assert begun is not None  # and has just been answered
        worker.executor.trying.over(dispatched, begun, None)
        return close_record(worker, each.serving, each.call, each.opened, dispatched, status="ok", error=None)
    except ApiError as error:
        return error
    except Exception:
        log.exception("a call that was answered cannot be recorded")
        return defect()
    finally:
        worker.metrics.in_flight -= 1
        if each.call.held is not None:
            each.call.held.release()
