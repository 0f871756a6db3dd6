"""Counting what a call would send, without sending it: by the engine's or the provider's own tokenizer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated

import msgspec

from airboss.dialects.reckoning import reckoned
from airboss.domain.errors import ApiError, UpstreamFailed
from airboss.domain.plan import DeploymentPlan, Target
from airboss.domain.request import InferenceRequest
from airboss.gateway import wire
from airboss.gateway.answer import WholeAnswer
from airboss.gateway.asked import Asked, Route
from airboss.gateway.asking import Asking
from airboss.gateway.attempts import Dispatched
from airboss.gateway.deadline import in_time
from airboss.gateway.http1 import Connection
from airboss.gateway.judge import is_no_route
from airboss.gateway.pipeline import admit, assign, in_force, render, screen
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.serving import Serving, cleaned_by, is_screened
from airboss.gateway.splice import join_members, members
from airboss.gateway.spoken import Spoken
from airboss.gateway.spread import drawn
from airboss.gateway.sse import unmarked
from airboss.gateway.worker import Admitted, Worker, release
from airboss.providers.compatible import error_in
from airboss.providers.dialect import Outgoing, bearer
from airboss.providers.outbox import Pieces

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
    """Takes `{"input_tokens": …}` in; `tokens` is None where nobody counts: who speaks as Anthropic does need
    not."""

    tokens: int | None = None

    def _end(self) -> None:
        content = unmarked(self._pieces)
        if self.status != 200 and not is_no_route(self.status, content):
            raise self._refusal(content)
        if self.status == 200:
            try:
                self.tokens = msgspec.json.decode(content, type=_Counted).input_tokens
            except msgspec.DecodeError:
                raise error_in(self.provider, content) from None
        self._succeed()


class _Counting(Asking, frozen=True):
    """Asks the models that share a call's deployment; `reckoned` are those whose tokenizer nobody can ask."""

    reckoned: list[Target]

    def fallback(self, other: Target) -> Asked:
        """The question, of another model."""
        said = Asking.fallback(self, other)
        question = _question(other, said.outgoing, said.body)
        if question is None:
            self.reckoned.append(other)
            raise UpstreamFailed(f"provider {other.provider!r} does not count tokens")
        return _asked(other, question)


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
        held = await in_time(serving.limiter.enter(request, deployment), deployment)
    try:
        serving, request, body, deployment = in_force(worker, http, (serving, request, body, deployment))
        entered = (request, body, deployment)
        tokens, head = await _count(worker, client, http, serving, entered, spoken)
    finally:
        release(held)
    client.respond(200, head, msgspec.json.encode({**named, "input_tokens": tokens}))


async def _count(  # noqa: PLR0917 - the call's whole context, in the order it came to be
    worker: Worker,
    client: Connection,
    http: HttpRequest,
    serving: Serving,
    admitted: Entered,
    spoken: Spoken,
) -> tuple[int, bytes]:
    request, body, deployment = admitted
    branch = assign(serving, http, request, body, deployment)
    branch = drawn(worker.executor, branch, request, body, spoken)
    screened = None
    if is_screened(branch, deployment, request.principal):
        screening = screen(worker, request, body, deployment, branch, spoken)
        screened = await in_time(screening, deployment)
        if screened.refusal is not None:
            raise screened.refusal
        request, body, spoken = screened.request, screened.body, screened.spoken or spoken
    call = render(http, request, body, deployment, branch, screened, spoken)
    head = b"content-type: application/json\r\nx-request-id: %s\r\n" % request.id.encode()
    question = None
    if call.too_large is None:
        question = _question(call.branch.target, call.outgoing, call.upstream_body)
    tokens = await _told(worker, client, serving, call, question) if question is not None else None
    if tokens is not None:
        return tokens, head
    return reckoned(call.request.body), head + ESTIMATED


async def _told(
    worker: Worker, client: Connection, serving: Serving, call: Admitted, question: Outgoing
) -> int | None:
    """What a model's own tokenizer says, or one of those that share its calls where it fails; None where
    nobody counts. Raises ApiError."""
    branch = call.branch
    dispatched = Dispatched(started=time.perf_counter())
    asking = _Counting(client, call, dispatched, [])
    route = Route(
        deployment=call.deployment,
        operation="chat",
        stream=False,
        trace=call.trace,
        secret=serving.secret,
        cleaned=cleaned_by(serving, call.screen),
        asked=_asked(branch.target, question),
        others=branch.others[: len(branch.members)],
        asking=asking,
        trial=branch.trial,
        sharing=len(branch.members),
    )
    try:
        answer = await worker.executor.run(dispatched, route)
    except ApiError as error:
        error.__traceback__ = None  # its frames know the answer, and that knows the error
        if asking.reckoned:
            return None
        if call.screen is not None:
            call.screen.clear(error)
        raise
    finally:
        dispatched.over()
    assert isinstance(answer, CountAnswer)  # as was asked for
    return answer.tokens


def _asked(target: Target, question: Outgoing) -> Asked:
    return Asked(
        target=target,
        body=question.body,
        new_answer=lambda target: CountAnswer(target.provider),
        outgoing=question,
    )


def _question(target: Target, sent: Outgoing | None, body: bytes | Pieces) -> Outgoing | None:
    """What is asked where a model's own tokenizer can be, by what a call would send there."""
    if target.kind == "local" and sent is None:
        return Outgoing(
            path="/chat/completions/input_tokens",
            body=bytes(body),
            authorise=bearer,
            streams=False,
        )
    if target.kind == "anthropic" and sent is not None and sent.path == "/messages":
        taken = {name: each for name, each in members(sent.body).items() if name not in _NOT_COUNTED}
        return msgspec.structs.replace(
            sent,
            path="/messages/count_tokens",
            body=join_members(taken),
            streams=False,
            reader=None,
        )
    if sent is not None and sent.path.partition("?")[0].endswith("/responses"):
        path, mark, query = sent.path.partition("?")
        taken = {name: each for name, each in members(sent.body).items() if name in _COUNTED_THERE}
        return msgspec.structs.replace(
            sent,
            path=f"{path}/input_tokens{mark}{query}",
            body=join_members(taken),
            streams=False,
            reader=None,
            or_chat=False,
        )
    return None
