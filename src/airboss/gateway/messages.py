"""`POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's dialect, served by the one pipeline."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

import msgspec

from airboss.dialects.messages_answer import MessagesSpeech, error_body
from airboss.dialects.messages_request import AsChat, messages_as_chat
from airboss.domain.errors import ApiError
from airboss.gateway import wire
from airboss.gateway.counting import count
from airboss.gateway.http1 import Connection, HttpRequest
from airboss.gateway.outgoing import dropped_line
from airboss.gateway.pipeline import infer
from airboss.gateway.spoken import Spoken, SpokenClient
from airboss.gateway.worker import Worker

PATH = "/v1/messages"


def messages(worker: Worker, client: Connection, http: HttpRequest) -> Awaitable[None]:
    """Serve one call. Raises ApiError, which the router says in Anthropic's shape."""
    worker.view().authenticate(http.headers)  # a stranger's body is not read
    asked = read_messages(http.body)
    speech = MessagesSpeech(asked)
    spoken = Spoken(speech=speech, written=http.body)
    said = SpokenClient(client, speech, headers=dropped_line(asked.dropped))
    return infer(worker, said, msgspec.structs.replace(http, body=asked.body), "chat", spoken)


async def count_tokens(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Count what a call would send. Raises ApiError."""
    worker.view().authenticate(http.headers)
    asked = read_messages(http.body, counting=True)
    speech = MessagesSpeech(asked)
    await count(worker, client, msgspec.structs.replace(http, body=asked.body), speech)


def read_messages(body: bytes, *, counting: bool = False) -> AsChat:
    """A request as chat. Raises InvalidRequest."""
    return wire.read_body(partial(messages_as_chat, counting=counting), body)


def error_said(error: ApiError) -> bytes:
    """An error's body on these routes."""
    return error_body(error.http_status, wire.error_body(error))
