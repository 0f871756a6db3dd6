"""A provider's own response, as its client hears it and as it is kept. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from airboss.dialects.heard import as_event
from airboss.dialects.responses_passing import LAST
from airboss.dialects.speech import Json, encode, sse
from airboss.providers.lenient import decoded, without_halves


class _Event(msgspec.Struct):
    type: Any = ""
    sequence_number: Any = -1
    response: msgspec.Raw = msgspec.Raw()


class _Named(msgspec.Struct):
    id: Any = ""
    store: Any = None


_event = msgspec.json.Decoder(_Event)
_named = msgspec.json.Decoder(_Named)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Heard:
    """What one client has heard. `previous` is what its response builds on, which the provider does not know:
    it was given the conversation itself. `last` is the whole response, once it is there. What is told of a
    response that is not `kept` here never says that it is stored: whoever asked for it would find none."""

    def __init__(self, previous: str | None) -> None:
        self._previous = previous
        self._ends: list[tuple[str, str]] = []
        self._begun = b"{}"
        self._number = -1
        self.id = ""
        self.last: bytes | None = None

    def whole(self, heard: str, *, kept: bool) -> bytes:
        """A whole response."""
        self.last = self.own(heard.encode(), kept=kept)
        return self.last

    def event(self, heard: str, recorded: str, *, kept: bool) -> bytes:
        """One event as it came; nothing of one that says how the response ended: the client gets such a one
        when the call's record is closed. `recorded` is the event as it may be kept."""
        data = heard.encode()  # of a `str` msgspec cannot keep a part as it is
        said = decoded(_event, data)
        type_ = said.type if isinstance(said.type, str) else ""
        if isinstance(said.sequence_number, int):
            self._number = max(self._number, said.sequence_number)
        if bytes(said.response)[:1] != b"{":
            return b"" if type_ in LAST else as_event(type_, heard)
        self._begun = self.own(bytes(said.response), kept=kept)
        if type_ not in LAST:
            return self._told(type_, heard, kept=kept)
        self.last = self._begun
        if recorded != heard:
            self.last = self.own(bytes(decoded(_event, recorded.encode()).response), kept=kept)
        self._ends.append((type_, heard))
        return b""

    def _told(self, type_: str, heard: str, *, kept: bool) -> bytes:
        """An event with a response, as its client knows that."""
        data = heard.encode()
        response = bytes(decoded(_event, data).response)
        own = self.own(response, kept=kept)
        if own is not response:
            members = _members.decode(without_halves(data))
            heard = encode(members | {"response": msgspec.Raw(own)}).decode()
        return as_event(type_, heard)

    def own(self, response: bytes, *, kept: bool) -> bytes:
        """A response as its client knows it; halves of characters stay where nothing else changes."""
        named = decoded(_named, response)
        self.id = named.id if isinstance(named.id, str) else ""
        changed: dict[str, msgspec.Raw] = {}
        if self._previous is not None:
            changed["previous_response_id"] = msgspec.Raw(encode(self._previous))
        if named.store is True and not kept:
            changed["store"] = msgspec.Raw(b"false")
        return encode(_members.decode(without_halves(response)) | changed) if changed else response

    def end(self, *, kept: bool) -> bytes:
        """The events that end it."""
        return b"".join(self._told(type_, heard, kept=kept) for type_, heard in self._ends)

    def fail(self, error: Json) -> bytes:
        """The event that ends a stream that broke."""
        begun = self.own(self._begun, kept=False)
        response: Json = {**_members.decode(without_halves(begun)), "status": "failed", "error": error}
        name = "response.failed"
        return sse(name, {"type": name, "sequence_number": self._number + 1, "response": response})
