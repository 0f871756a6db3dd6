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


_event = msgspec.json.Decoder(_Event)
_named = msgspec.json.Decoder(_Named)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Heard:
    """What one client has heard. `previous` is what its response builds on, which the provider does not know:
    it was given the conversation itself. `last` is the whole response, once it is there."""

    def __init__(self, previous: str | None) -> None:
        self._previous = previous
        self._ends: list[bytes] = []
        self._begun = b"{}"
        self._number = -1
        self.id = ""
        self.last: bytes | None = None

    def whole(self, heard: str) -> bytes:
        """A whole response."""
        self.last = self._own(heard.encode())
        return self.last

    def event(self, heard: str, recorded: str) -> bytes:
        """One event as it came; nothing of one that says how the response ended: the client gets such a one
        when the call's record is closed. `recorded` is the event as it may be kept."""
        data = heard.encode()  # of a `str` msgspec cannot keep a part as it is
        said = decoded(_event, data)
        type_ = said.type if isinstance(said.type, str) else ""
        if isinstance(said.sequence_number, int):
            self._number = max(self._number, said.sequence_number)
        if bytes(said.response)[:1] != b"{":
            return b"" if type_ in LAST else as_event(type_, heard)
        whole = kept = self._own(bytes(said.response))
        if recorded != heard:
            kept = self._own(bytes(decoded(_event, recorded.encode()).response))
        self._begun = whole
        if self._previous is not None:
            members = _members.decode(without_halves(data))
            heard = encode(members | {"response": msgspec.Raw(whole)}).decode()
        if type_ not in LAST:
            return as_event(type_, heard)
        self.last = kept
        self._ends.append(as_event(type_, heard))
        return b""

    def _own(self, response: bytes) -> bytes:
        """A response as its client knows it; halves of characters stay where nothing else changes."""
        named = decoded(_named, response).id
        self.id = named if isinstance(named, str) else ""
        if self._previous is None:
            return response
        previous = msgspec.Raw(encode(self._previous))
        return encode(_members.decode(without_halves(response)) | {"previous_response_id": previous})

    def end(self) -> bytes:
        """The events that end it."""
        return b"".join(self._ends)

    def fail(self, error: Json) -> bytes:
        """The event that ends a stream that broke."""
        response: Json = {**_members.decode(without_halves(self._begun)), "status": "failed", "error": error}
        name = "response.failed"
        return sse(name, {"type": name, "sequence_number": self._number + 1, "response": response})
