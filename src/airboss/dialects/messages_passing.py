"""Anthropic's client in front of Anthropic: its bytes go there, and the answer's come back, as they are.

Pure. Only what the release says is put among the client's members. The answer is read as chat all the same,
for record, usage and deadlines. What the client gets are the bytes that were read: they ride with the chat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from airboss.dialects.messages_shape import Typed
from airboss.dialects.speech import Json, Passing, encode
from airboss.domain.plan import Target
from airboss.domain.release import Release
from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.dialect import Outgoing, key_in
from airboss.providers.dialects import ANTHROPIC_VERSION

OWN_HEADERS = ("anthropic-version", "anthropic-beta")
"""Headers of a client's that go on with its words."""
PARAMETERS: Mapping[str, str] = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop": "stop_sequences",
}
"""A release's parameters that Anthropic has, and their names there."""
OURS = ("prompt_variables", "release_variant")
"""Members that are for the gateway."""
NOTHING = encode({"choices": [{"index": 0, "delta": {}, "finish_reason": None}]})
"""A piece of chat that says nothing, to carry what was heard."""
_LAST = frozenset({"message_delta", "message_stop"})
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_typed = msgspec.json.Decoder(Typed)
_NULL = b"null"


def pass_on(
    written: bytes,
    target: Target,
    release: Release,
    lead: Sequence[Mapping[str, str]],
    headers: Sequence[tuple[str, str]],
) -> Passing | None:
    """How a request goes on; None where it goes as chat (`Speech.passing`)."""
    parameters = release.params.keys() | release.params_force.keys()
    if target.kind != "anthropic" or parameters - PARAMETERS.keys():
        return None
    members = _members.decode(written)
    changes: dict[str, bytes | None] = {name: None for name in OURS if name in members}
    _put_lead(changes, members, lead)
    _put_parameters(changes, members, release)
    _put_labels(changes, members)
    outgoing = Outgoing(
        path="/messages",
        body=b"",
        authorise=key_in("x-api-key"),
        headers=tuple({"anthropic-version": ANTHROPIC_VERSION, **dict(headers)}.items()),
        streams=bytes(members.get("stream", _NULL)) == b"true",
        reader=PassingReader,
    )
    return Passing(outgoing=outgoing, changes=changes)


def _put_lead(
    changes: dict[str, bytes | None], members: Mapping[str, msgspec.Raw], lead: Sequence[Mapping[str, str]]
) -> None:
    system = [{"type": "text", "text": turn["content"]} for turn in lead if turn["role"] == "system"]
    turns = [turn for turn in lead if turn["role"] != "system"]
    if system:
        said = bytes(members.get("system", _NULL))
        if said[:1] == b'"':
            text: str = msgspec.json.decode(said)
            said = encode([{"type": "text", "text": text}] if text else [])
        changes["system"] = _before(system, said)
    if turns:
        changes["messages"] = _before(turns, bytes(members["messages"]))


def _before(first: Sequence[Mapping[str, str]], listed: bytes) -> bytes:
    """A JSON list, or null, with values put before its own, which keep their bytes."""
    rest = listed[1:-1].strip() if listed[:1] == b"[" else b""
    return b"%s,%s]" % (encode(first)[:-1], rest) if rest else encode(first)


def _put_parameters(
    changes: dict[str, bytes | None], members: Mapping[str, msgspec.Raw], release: Release
) -> None:
    for name, value in release.params.items():
        if bytes(members.get(PARAMETERS[name], _NULL)) == _NULL:
            changes[PARAMETERS[name]] = _parameter(name, value)
    for name, value in release.params_force.items():
        changes[PARAMETERS[name]] = _parameter(name, value)


def _parameter(name: str, value: Any) -> bytes:
    return encode([value] if name == "stop" and isinstance(value, str) else value)


def _put_labels(changes: dict[str, bytes | None], members: Mapping[str, msgspec.Raw]) -> None:
    """Sessions and tags are ours: Anthropic refuses every label but the user's."""
    labels = msgspec.json.decode(members.get("metadata", msgspec.Raw(_NULL)))
    if isinstance(labels, dict) and labels.keys() - {"user_id"}:
        user: Json = {name: value for name, value in labels.items() if name == "user_id"}
        changes["metadata"] = encode(user) if user else None


class Heard(msgspec.Struct):
    """What a piece of chat carries besides: the events, or the whole answer, that it was read from."""

    heard: list[str] | None = None


_heard = msgspec.json.Decoder(Heard)


def heard_in(chat: bytes) -> list[str] | None:
    """What an upstream said in its own words, where this was read from it."""
    try:
        return _heard.decode(chat).heard
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def said_as_heard(heard: str) -> tuple[bytes, bool]:
    """An event as it came, and whether it says how a message ended: the client gets such a one when the
    call's record is closed."""
    type_ = _typed.decode(heard).type
    # An event's data over several lines is one text with line ends in it.
    data = heard.replace("\n", "\ndata: ")
    return f"event: {type_}\ndata: {data}\n\n".encode(), type_ in _LAST


def _carrying(chat: bytes, heard: Sequence[bytes]) -> bytes:
    """A JSON object with what it was read from."""
    texts = encode([each.decode("utf-8", "replace") for each in heard])
    return b'%s,"heard":%s}' % (chat.rstrip()[:-1], texts)


class PassingReader(AnthropicReader):
    """Reads one attempt's answer; what it gives carries the answer as it came. That it rides with the chat,
    and is kept nowhere else, lets attempts run beside each other and after each other."""

    def __init__(self, created: int) -> None:
        super().__init__(created, answer_tool=None)
        self._pings: list[bytes] = []

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        chat = super().whole(body)
        return chat if chat.startswith(b'{"error"') else _carrying(chat, [body])

    def event(self, data: bytes) -> list[bytes]:
        """One event. One that chat has no words for still moves the stream on, but for a ping, which says
        only that the connection is there and waits for the next."""
        said = super().event(data)
        type_ = _typed.decode(data).type
        if type_ == "error":
            return said  # told in our own words
        if type_ == "ping":
            self._pings = [data]
            return said
        first, *more = said or [NOTHING]
        heard, self._pings = [*self._pings, data], []
        return [_carrying(first, heard), *more]
