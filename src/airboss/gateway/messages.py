"""`POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's dialect, served by the one pipeline."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

import msgspec

from airboss.dialects.messages_answer import MessagesSpeech, error_body
from airboss.dialects.messages_passing import OWN_HEADERS
from airboss.dialects.messages_request import AsChat, messages_as_chat
from airboss.domain.errors import ApiError
from airboss.gateway import wire
from airboss.gateway.counting import count
from airboss.gateway.http1 import Connection
from airboss.gateway.pipeline import infer
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.spoken import Spoken, SpokenClient
from airboss.gateway.worker import Worker

PATH = "/v1/messages"


def messages(worker: Worker, client: Connection, http: HttpRequest) -> Awaitable[None]:
    """Serve one call. Raises ApiError, which the router says in Anthropic's shape."""
    worker.view().authenticate(http.headers)  # a stranger's body is not read
    asked = read_messages(http.body)
    speech = MessagesSpeech(asked, own_headers(http))
    spoken = Spoken(speech=speech, written=http.body)
    said = SpokenClient(client, speech)
    return infer(worker, said, msgspec.structs.replace(http, body=asked.body), "chat", spoken)


async def count_tokens(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Count what a call would send. Raises ApiError."""
    worker.view().authenticate(http.headers)
    asked = read_messages(http.body, counting=True)
    spoken = Spoken(speech=MessagesSpeech(asked, own_headers(http)), written=http.body)
    await count(worker, client, msgspec.structs.replace(http, body=asked.body), spoken)


def own_headers(http: HttpRequest) -> list[tuple[str, str]]:
    """Headers that go on where the client's own words do."""
    found = ((name, http.headers.get(name.encode())) for name in OWN_HEADERS)
    return [(name, value.decode("latin-1")) for name, value in found if value is not None]


def read_messages(body: bytes, *, counting: bool = False) -> AsChat:
    """A request as chat. Raises InvalidRequest."""
    return wire.read_body(partial(messages_as_chat, counting=counting), body)


def error_said(error: ApiError) -> bytes:
    """An error's body on these routes."""
    return error_body(error.http_status, wire.error_body(error))
