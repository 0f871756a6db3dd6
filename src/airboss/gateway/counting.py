"""Counting what a call would send, without sending it: by the engine's or the provider's own tokenizer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated

import msgspec

from airboss.dialects.reckoning import reckoned
from airboss.domain.errors import ApiError, UpstreamFailed
from airboss.domain.plan import DeploymentPlan
from airboss.domain.request import InferenceRequest
from airboss.gateway import wire
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.asked import Asked, Route
from airboss.gateway.attempts import Dispatched
from airboss.gateway.deadline import in_time, left_of
from airboss.gateway.http1 import Connection
from airboss.gateway.judge import is_no_route
from airboss.gateway.pipeline import admit, assign, in_force, render, screen
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.serving import Serving, is_screened
from airboss.gateway.splice import join_members, members
from airboss.gateway.spoken import Spoken
from airboss.gateway.spread import drawn
from airboss.gateway.sse import unmarked
from airboss.gateway.worker import Admitted, Worker, release
from airboss.providers.compatible import error_in
from airboss.providers.dialect import Outgoing, bearer

ESTIMATED = b"x-airboss-estimated: true\r\n"
_NOT_COUNTED = frozenset(
    {"max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"}
)
"""Members of a request that Anthropic does not take where it only counts."""

_COUNTED_THERE = frozenset(
    {
        "model",
        "input",
        "instructions",
        "parallel_tool_calls",
        "personality",
        "reasoning",
        "text",
        "tool_choice",
        "tools",
        "truncation",
    }
)
"""Members of a request that OpenAI takes where it only counts."""


class _Counted(msgspec.Struct):
    input_tokens: Annotated[int, msgspec.Meta(ge=0)]


Entered = tuple[InferenceRequest, wire.Body, DeploymentPlan]


class CountAnswer(WholeAnswer):
    """Takes `{"input_tokens": …}` in."""

    tokens = 0

    def _end(self) -> None:
        content = unmarked(self._pieces)
        if self.status != 200:
            raise self._refusal(content)
        try:
            self.tokens = msgspec.json.decode(content, type=_Counted).input_tokens
        except msgspec.DecodeError:
            raise error_in(self.provider, content) from None
        self._succeed()


async def count(
    worker: Worker, client: Connection, http: HttpRequest, spoken: Spoken, named: Mapping[str, str] = {}
) -> None:
    """Answer with the number of tokens of a request, given as chat, under what it would be served by, beside
    what the answer is `named`. It leaves no record, but is a request where those are limited. Raises
    ApiError."""
    serving = worker.view()
    now = worker.clock.now()
    spoken.speech.record_id = worker.ids.next(int(now.timestamp() * 1000))
    _, request, body, deployment = admit(serving, http, "chat", spoken.speech.record_id, now)
    held = None
    if serving.limiter is not None:
        held = await in_time(serving.limiter.enter(request, deployment), http, deployment)
    try:
        serving, request, body, deployment = in_force(worker, http, (serving, request, body, deployment))
        tokens, head = await _count(worker, serving, http, (request, body, deployment), spoken)
    finally:
        release(held)
    client.respond(200, head, msgspec.json.encode({**named, "input_tokens": tokens}))


async def _count(
    worker: Worker, serving: Serving, http: HttpRequest, admitted: Entered, spoken: Spoken
) -> tuple[int, bytes]:
    request, body, deployment = admitted
    branch = assign(serving, http, request, body, deployment)
    branch = drawn(worker.executor, branch, request, body, spoken)
    screened = None
    if is_screened(branch, deployment, request.principal):
        screened = await screen(worker, request, body, deployment, branch, spoken)
        if screened.refusal is not None:
            raise screened.refusal
        request, body, spoken = screened.request, screened.body, screened.spoken or spoken
    call = left_of(render(http, request, body, deployment, branch, screened, spoken), http)
    head = b"content-type: application/json\r\nx-request-id: %s\r\n" % request.id.encode()
    asked = _question(call)
    if asked is None:
        tokens = reckoned(call.request.body)
        head += ESTIMATED
    else:
        route = Route(
            deployment=call.deployment,
            operation="chat",
            stream=False,
            trace=call.trace,
            secret=serving.secret,
            asked=Asked(
                target=call.branch.target,
                body=asked.body,
                new_answer=lambda target: CountAnswer(target.provider),
                outgoing=asked,
            ),
            trial=branch.trial,
        )
        dispatched = Dispatched(started=time.perf_counter())
        try:
            answer = await worker.executor.run(dispatched, route)
        except ApiError as error:
            error.__traceback__ = None  # its frames know the answer, and that knows the error
            failed = dispatched.answer
            no_route = isinstance(failed, CountAnswer) and is_no_route(failed.status, failed.so_far)
            if not (no_route and isinstance(error, UpstreamFailed)):
                if call.screen is not None:
                    call.screen.clear(error)
                raise
            tokens = reckoned(call.request.body)  # who speaks as Anthropic does need not count
            head += ESTIMATED
        else:
            assert isinstance(answer, CountAnswer)  # made just above
            tokens = answer.tokens
        finally:
            dispatched.over()
    return tokens, head


def _question(call: Admitted) -> Outgoing | None:
    """What is asked where the model's own tokenizer can be."""
    target = call.branch.target
    if target.kind == "local" and call.outgoing is None and call.too_large is None:
        return Outgoing(
            path="/chat/completions/input_tokens",
            body=bytes(call.upstream_body),
            authorise=bearer,
            streams=False,
        )
    if target.kind == "anthropic" and call.outgoing is not None and call.outgoing.path == "/messages":
        sent = members(call.outgoing.body)
        taken = {name: each for name, each in sent.items() if name not in _NOT_COUNTED}
        return msgspec.structs.replace(
            call.outgoing,
            path="/messages/count_tokens",
            body=join_members(taken),
            streams=False,
            reader=None,
        )
    if call.outgoing is not None and call.outgoing.path.partition("?")[0].endswith("/responses"):
        path, mark, query = call.outgoing.path.partition("?")
        sent = members(call.outgoing.body)
        return msgspec.structs.replace(
            call.outgoing,
            path=f"{path}/input_tokens{mark}{query}",
            body=join_members({name: each for name, each in sent.items() if name in _COUNTED_THERE}),
            streams=False,
            reader=None,
            or_chat=False,
        )
    return None
