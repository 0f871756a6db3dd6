"""How one attempt's answer is taken in: by the call's dialect, its policies and its target."""

from __future__ import annotations

from collections.abc import Callable

from airboss.domain.plan import Target
from airboss.gateway.answer import (
    EngineStreamedAnswer,
    EngineWholeAnswer,
    StreamedAnswer,
    WholeAnswer,
)
from airboss.gateway.attempts import Dispatched
from airboss.gateway.embeddings import EmbeddingsAnswer
from airboss.gateway.engine_wire import engine_answers
from airboss.gateway.heads import ours_ms, relayed_head, response_head
from airboss.gateway.relayed_answer import RelayedAnswer
from airboss.gateway.spoken import Client
from airboss.gateway.wire import RelayedBody
from airboss.gateway.worker import Admitted

EVENT_STREAM = b"text/event-stream; charset=utf-8"


def taking(
    client: Client, call: Admitted, dispatched: Dispatched, target: Target
) -> Callable[[], WholeAnswer | StreamedAnswer]:
    """What makes an empty answer for each attempt of a call at a target."""
    provider = target.provider
    operation = call.request.operation
    answers = engine_answers(call.body, call.branch.release) if target.kind == "local" else None

    def new_answer() -> WholeAnswer | StreamedAnswer:
        if isinstance(call.body, RelayedBody):
            return RelayedAnswer(
                provider,
                client,
                path=f"/v1{call.body.path.partition('?')[0]}",
                attribution=lambda: relayed_head(call, dispatched, ours_ms(dispatched)),
            )
        if call.screen is not None:
            return call.screen.new_answer(
                provider,
                client,
                call.request,
                answers=answers,
                response_head=lambda: response_head(call, dispatched, EVENT_STREAM, ours_ms(dispatched)),
            )
        if not call.request.stream:
            if operation == "embeddings":
                return EmbeddingsAnswer(provider, client.loop)
            if answers is not None:
                return EngineWholeAnswer(provider, client.loop, operation=operation, answers=answers)
            return WholeAnswer(provider, client.loop)
        make = StreamedAnswer if answers is None else EngineStreamedAnswer
        answer = make(
            provider,
            client.loop,
            client,
            operation=operation,
            keep_usage=call.request.wants_usage,
            response_head=lambda: response_head(call, dispatched, EVENT_STREAM, ours_ms(dispatched)),
            answers=answers,
        )
        if call.body.n is not None:
            answer.assembly.expected = call.body.n
        return answer

    return new_answer
