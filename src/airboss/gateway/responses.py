"""`/v1/responses`: OpenAI's Responses, served by the one pipeline, and kept for later ones to build on."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from airboss.dialects.chat_said import REASONING, read_said
from airboss.dialects.responses_answer import ResponsesSpeech
from airboss.dialects.responses_custom import CUSTOM
from airboss.dialects.responses_items import OWN, as_history, items_of, marked, own_items
from airboss.dialects.responses_request import as_chat, instructions, read_responses
from airboss.dialects.responses_tools import NAMED, called_in
from airboss.domain.errors import AirbossError, InvalidRequest, NotFound, UpstreamFailed
from airboss.domain.request import InferenceRequest, Principal
from airboss.gateway import wire
from airboss.gateway.counting import count
from airboss.gateway.http1 import Connection
from airboss.gateway.kept import Keeping, Kept, asked_of
from airboss.gateway.pipeline import infer
from airboss.gateway.request_head import HttpRequest
from airboss.gateway.room import Place
from airboss.gateway.serving import Serving
from airboss.gateway.spoken import Spoken, SpokenClient
from airboss.gateway.turns import apart
from airboss.gateway.worker import Worker
from airboss.providers.cut import cut
from airboss.providers.lenient import without_halves
from airboss.store.response_rows import KeptResponse
from airboss.store.wording import many
from airboss.telemetry.outage import Outage

PATH = "/v1/responses"
_RICH = (
    b'"thinking_blocks"',
    b'"extra_content"',
    b'"images"',
    *(b'"%s"' % each.encode() for each in (OWN, CUSTOM, NAMED, REASONING)),
)
_NAMED = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
"""Ids by which a response can be asked for."""


_outage: Final = Outage(logging.getLogger("airboss.gateway"), "a response is not kept")
_encode = msgspec.json.Encoder().encode


class _Conversation(msgspec.Struct):
    messages: list[msgspec.Raw]


class _Response(msgspec.Struct):
    output: list[Any] = []
    status: Any = None


async def create(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Serve one call. Raises ApiError."""
    serving = worker.view()
    principal = serving.authenticate(http.headers)  # a stranger's body is not read
    keeping = worker.keeping if serving.plan.bodies else None
    began = worker.clock.now()
    with Place(worker.room) as place:
        named = Kept(worker, keeping, _owner(principal), place)
        body = await named.with_items(http.body)
        speech, chat, before = await _read(named, body, began)
        spoken = Spoken(speech=speech, written=body)
        if speech.kept and keeping is not None:
            keeper = _Keeper(serving, keeping, named.owner, speech, began=began, before=before)
            spoken = msgspec.structs.replace(spoken, keep=keeper.keep)
        said = SpokenClient(client, speech)
        await infer(worker, said, msgspec.structs.replace(http, body=chat), "chat", spoken)


async def input_tokens(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Count what a call would send. Raises ApiError."""
    serving = worker.view()
    principal = serving.authenticate(http.headers)
    keeping = worker.keeping if serving.plan.bodies else None
    with Place(worker.room) as place:
        named = Kept(worker, keeping, _owner(principal), place)
        body = await named.with_items(http.body)
        speech, chat, _ = await _read(named, body, worker.clock.now())
        spoken = Spoken(speech=speech, written=body)
        answered = {"object": "response.input_tokens"}
        await count(worker, client, msgspec.structs.replace(http, body=chat), spoken, answered)


async def _read(named: Kept, body: bytes, began: datetime) -> tuple[ResponsesSpeech, bytes, int]:
    """A call's speech, its request as chat, and how many messages of that are what it builds on. Raises
    ApiError."""
    asked = wire.read_body(read_responses, body)
    previous = asked.request.previous_response_id
    history = await _history(named, previous) if previous is not None else []
    chat = wire.read_body(lambda _: as_chat(asked, history), body)
    speech = ResponsesSpeech(
        asked,
        created_at=int(began.timestamp()),
        kept=asked.store and named.keeping is not None,
        rich=any(name in chat for name in _RICH),
        history=history,
    )
    return speech, chat, len(history)


async def _history(named: Kept, previous: str) -> Sequence[msgspec.Raw]:
    """The messages of the responses that a call builds on. Raises ApiError."""
    if named.keeping is None:
        raise NotFound(
            "responses are not kept here (bodies are off), so that none can be built on; send the whole "
            "conversation as 'input'",
            code="previous_response_not_found",
            param="previous_response_id",
        )
    chain = await named.chain(previous)
    if chain is None:
        raise NotFound(
            f"previous response {cut(previous, 100)!r} is not known, or one that it builds on: responses are "
            f"kept for {many(named.keeping.days, 'day')} and belong to the key that made them; send "
            "the whole as 'input'",
            code="previous_response_not_found",
            param="previous_response_id",
        )
    return [raw for kept in chain for raw in msgspec.json.decode(kept.messages, type=list[msgspec.Raw])]


class _Keeper:
    """Keeps one response, once it is there."""

    def __init__(
        self,
        serving: Serving,
        keeping: Keeping,
        key: str,
        speech: ResponsesSpeech,
        *,
        began: datetime,
        before: int,
    ) -> None:
        self._serving = serving
        self._keeping = keeping
        self._key = key
        self._began = began
        self._speech = speech
        self._before = before + len(instructions(speech.asked.request))
        """Messages of the conversation that are not this call's."""

    async def keep(self, call: InferenceRequest, answer: bytes | None) -> None:
        """As `spoken.Keep`: what cannot be kept is told as not kept."""
        try:
            response = without_halves(self._speech.whole(answer or b"{}"))  # it may bring its own id
            named, previous = self._speech.response_id, self._speech.asked.request.previous_response_id
            named_well = named != previous and _NAMED.fullmatch(named) is not None
            if not named_well or self._hushed(named) != named:
                raise UpstreamFailed(f"its provider calls it {cut(named, 100)!r}")
            sealed = self._keeping.sealed if self._serving.plan.sealed else None
            store = self._keeping.store if sealed is None else sealed
            await self._keeping.shelf.put(store, self._kept(call, answer, response))
        except (AirbossError, msgspec.DecodeError) as error:
            self._speech.kept = False
            _outage.failed(error)
        else:
            _outage.over()

    def _kept(self, call: InferenceRequest, answer: bytes | None, response: bytes) -> KeptResponse:
        conversation = msgspec.json.decode(call.body, type=_Conversation).messages[self._before :]
        told = self._speech.as_told(read_said(answer or b"{}", over=self._speech.over))
        made = msgspec.json.decode(response, type=_Response)
        if not self._speech.native:
            said = as_history(told, self._speech.call_id, self._speech.called())
        else:
            output = made.output
            said = as_history(told, self._speech.call_id, called_in(output), native=True)
            given = self._speech.asked.request.input
            read = given if isinstance(given, str) else [msgspec.json.decode(each) for each in given or ()]
            own = own_items(read, output)
            if own is not None:
                said[OWN] = {"instead_of": len(conversation), "items": own}
        ours = _encode(said)
        if made.status != "completed":  # it may have broken off in the midst of a secret
            response, ours = map(self._serving.redactor.without_halves, (response, ours))
        messages = [*marked(conversation, self._speech.asked.messages), msgspec.Raw(ours)]
        request = self._speech.asked.request
        return KeptResponse(
            id=self._speech.response_id,
            key=self._key,
            # As its record has it, whatever said so: an erasure finds both.
            user=None if call.user is None else self._hushed(call.user),
            previous=request.previous_response_id,
            created_at=self._began,
            expires_at=self._began + timedelta(days=self._keeping.days),
            response=self._redacted(response),
            messages=self._redacted(_encode(messages)),
        )

    def _hushed(self, text: str) -> str:
        return self._serving.redactor.redact_text(text)

    def _redacted(self, data: bytes) -> str:
        return self._serving.redactor.redact(data).decode()


async def retrieve(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """A response that was kept. Raises NotFound, and InvalidRequest where a stream of it is asked for."""
    keeping, principal, response_id = _named(worker, http)
    if _query(http).get("stream", "false") != "false":
        raise InvalidRequest(
            "'stream' is for responses that are made in the background; leave it out", param="stream"
        )
    with Place(worker.room) as place:
        kept = await Kept(worker, keeping, _owner(principal), place).response(response_id)
        if kept is None:
            raise _unknown(response_id)
        _answer(worker, client, kept.response.encode())
        await asyncio.sleep(0)  # what a turn writes goes out at its end
        if not client.writable:
            await client.until_read()


async def forget(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """Delete a response. Raises NotFound."""
    keeping, principal, response_id = _named(worker, http)
    now = worker.clock.now()
    gone = False
    if keeping is not None:
        gone = await asked_of(keeping.store.delete, response_id, key=_owner(principal), now=now)
    if not gone:
        raise _unknown(response_id)
    _answer(worker, client, _encode({"id": response_id, "object": "response", "deleted": True}))


async def input_items(worker: Worker, client: Connection, http: HttpRequest) -> None:
    """What a response was made from, with what it builds on: newest first unless asked otherwise, in pages.
    Raises NotFound and InvalidRequest."""
    keeping, principal, response_id = _named(worker, http)
    asked = _page(http)
    with Place(worker.room) as place:
        chain = await Kept(worker, keeping, _owner(principal), place).chain(response_id)
        if not chain:
            raise _unknown(response_id)
        _answer(worker, client, await apart(worker.reading, lambda: _items_page(chain, asked)))


def _items_page(chain: Sequence[KeptResponse], asked: _Page) -> bytes:
    response_id = chain[-1].id
    messages = [each for kept in chain for each in msgspec.json.decode(kept.messages, type=list[Any])]
    items = items_of(messages[:-1], response_id.removeprefix("resp_"))  # the last is the response itself
    if asked.order == "desc":
        items.reverse()
    after = next((at for at, item in enumerate(items, 1) if item["id"] == asked.after), 0)
    page = items[after : after + asked.limit]
    value = {"object": "list", "data": page, "has_more": after + asked.limit < len(items)}
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return _encode(value | ends)


class _Page(msgspec.Struct):
    """Which part of a list is wanted."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = None


def _page(http: HttpRequest) -> _Page:
    try:
        return msgspec.convert(_query(http), _Page, strict=False)
    except msgspec.ValidationError as error:
        raise wire.invalid(str(error)) from None


def _query(http: HttpRequest) -> dict[str, str]:
    return dict(parse_qsl(http.url.decode("latin-1").partition("?")[2]))


def _named(worker: Worker, http: HttpRequest) -> tuple[Keeping | None, Principal, str]:
    principal = worker.view().authenticate(http.headers)
    response_id = http.path.removeprefix(f"{PATH}/").rstrip("/").removesuffix("/input_items")
    return worker.keeping, principal, response_id


def _owner(principal: Principal) -> str:
    return principal.owner or principal.key


def _unknown(response_id: str) -> NotFound:
    return NotFound(
        f"response {cut(response_id, 100)!r} is not known: it was not kept, has expired, or is another key's",
        code="response_not_found",
    )


def _answer(worker: Worker, client: Connection, body: bytes) -> None:
    made = worker.ids.next(int(worker.clock.now().timestamp() * 1000))
    head = b"content-type: application/json\r\nx-request-id: %s\r\n" % made.encode()
    client.respond(200, head, body)


def are_items(path: str) -> bool:
    """Whether a path names the input of one response."""
    return path.endswith("/input_items") and is_one(path.removesuffix("/input_items"))


def is_one(path: str) -> bool:
    """Whether a path names one response."""
    return path.startswith(f"{PATH}/") and "/" not in path.removeprefix(f"{PATH}/").rstrip("/")
