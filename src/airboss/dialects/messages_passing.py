"""Anthropic's client in front of Anthropic: its bytes go there, and the answer's come back, as they are.

Pure. Only what the release says is put among the client's members. The answer is read as chat all the same,
for record, usage and deadlines. What the client gets are the bytes that were read: they ride with the chat.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from airboss.dialects.chat_said import MARK, REASONING
from airboss.dialects.heard import NOTHING, OURS, as_event, before, carrying, put_parameters
from airboss.dialects.messages_shape import Typed
from airboss.dialects.plain import is_at
from airboss.dialects.speech import Json, Passing, encode
from airboss.domain.plan import Target
from airboss.domain.release import Release
from airboss.providers.anthropic_answer import AnthropicReader
from airboss.providers.dialect import DONE, Outgoing, key_in
from airboss.providers.dialects import ANTHROPIC_VERSION
from airboss.providers.lenient import decoded

OWN_HEADERS = ("anthropic-version", "anthropic-beta")
"""Headers of a client's that go on with its words."""
OWN_DOMAINS = ("anthropic.com",)
"""Where Anthropic itself is."""
PARAMETERS: Mapping[str, str] = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "stop": "stop_sequences",
}
"""A release's parameters that Anthropic has, and their names there."""
_LAST = frozenset({"message_delta", "message_stop"})
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_typed = msgspec.json.Decoder(Typed)
_turns = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_blocks = msgspec.json.Decoder(list[msgspec.Raw])
_UNSIGNED = re.compile(rb'"signature"\s*:\s*"(?:(?:%s)?"|%s)' % (REASONING.encode(), MARK.encode()))
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
    itself = is_at(target, OWN_DOMAINS) or "claude" in target.upstream_model
    theirs = {"", REASONING} if itself else {REASONING}
    _put_turns(changes, bytes(changes.get("messages") or members["messages"]), theirs)
    put_parameters(changes, members, release, PARAMETERS)
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
        changes["system"] = before(system, said)
    if turns:
        changes["messages"] = before(turns, bytes(members["messages"]))


class _Block(msgspec.Struct):
    type: Any = ""
    signature: Any = None

    def is_thought(self, signatures: Collection[str]) -> bool:
        """Whether it is what a model thought whose thoughts are signed so."""
        if self.type != "thinking" or not isinstance(self.signature, str):
            return False
        return self.signature in signatures or self.signature.startswith(MARK)


_block = msgspec.json.Decoder(_Block)


def _put_turns(changes: dict[str, bytes | None], listed: bytes, theirs: Collection[str]) -> None:
    """Anthropic refuses thoughts that it has not signed, as those of another model are, whose conversation
    this was; other servers of its dialect sign theirs with nothing. `theirs` are signatures of the others."""
    if _UNSIGNED.search(listed) is None:
        return
    kept: list[dict[str, msgspec.Raw]] = []
    left_out = 0
    for turn in _turns.decode(listed):
        if bytes(turn.get("content", b""))[:1] == b"[":
            said = _blocks.decode(turn["content"])
            blocks = [each for each in said if not _block.decode(each).is_thought(theirs)]
            left_out += len(said) - len(blocks)
            if said and not blocks:
                continue
            turn["content"] = msgspec.Raw(encode(blocks))
        kept.append(turn)
    if left_out:
        changes["messages"] = encode(kept)


def _put_labels(changes: dict[str, bytes | None], members: Mapping[str, msgspec.Raw]) -> None:
    """Sessions and tags are ours: Anthropic refuses every label but the user's."""
    labels = msgspec.json.decode(members.get("metadata", msgspec.Raw(_NULL)))
    if isinstance(labels, dict) and labels.keys() - {"user_id"}:
        user: Json = {name: value for name, value in labels.items() if name == "user_id"}
        changes["metadata"] = encode(user) if user else None


def said_as_heard(heard: str) -> tuple[bytes, bool]:
    """An event as it came, and whether it says how a message ended: the client gets such a one when the
    call's record is closed."""
    type_ = decoded(_typed, heard.encode()).type
    return as_event(type_, heard), type_ in _LAST


class PassingReader(AnthropicReader):
    """Reads one attempt's answer; what it gives carries the answer as it came."""

    def __init__(self, created: int) -> None:
        super().__init__(created, answer_tool=None)
        self._pings: list[bytes] = []

    def whole(self, body: bytes) -> bytes:
        """A whole answer."""
        chat = super().whole(body)
        return chat if chat.startswith(b'{"error"') else carrying(chat, [body])

    def event(self, data: bytes) -> list[bytes]:
        """One event. One that chat has no words for still moves the stream on, but for a ping, which says
        only that the connection is there and waits for the next."""
        said = super().event(data)
        if said and said[0].startswith(b'{"error"'):
            return said  # told in our own words
        type_ = decoded(_typed, data).type
        if type_ == "ping":
            self._pings = [data]
            return said
        first, *more = said if said and said[0] != DONE else [NOTHING, *said]
        heard, self._pings = [*self._pings, data], []
        return [carrying(first, heard), *more]
