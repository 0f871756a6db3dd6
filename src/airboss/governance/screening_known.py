"""Events of a stream that differ in one text alone, as nearly all of them do: told by their bytes.

An event that has been read says how the next of its kind is read: where the bytes before and behind the text
are the same, and what stands between them is one JSON string, all members but the text are the same too.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

import msgspec

from airboss.governance.screening_stream import (
    CALLS,
    TEXTS,
    ChoiceScreen,
    Members,
    StreamedText,
    read_list,
    read_number,
    read_object,
    read_text,
)

LEARNT_MAX: Final = 8
"""So many events of a stream are looked at: where each is of a kind of its own, no more are."""
BYTES_MAX: Final = 8 * 1024
PLACES_MAX: Final = 4
_KNOWN = frozenset({"content", "reasoning_content", "text"})
_MARK = "?this text?"
_MARKED = b'"?this text?"'
_PADDING = re.compile(rb',"obfuscation":"[A-Za-z0-9+/=_-]{0,1024}"\}\Z')
"""OpenAI's, at the end of each event: as long as it must be for the event's length to tell nothing."""


class _Choice(msgspec.Struct):
    text: Any = None
    delta: dict[str, Any] | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice]


_event = msgspec.json.Decoder(_Event)
_string = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class KnownEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Events in which one choice says a text and nothing else. `comes` and `goes` are the bytes before and
    behind that text, as they come, with its quotes, and as they go on, without; `rest` are the members beside
    the choices that do, and `head` those of them that any event has. `silent`: they go on without any text,
    too."""

    choice: ChoiceScreen
    text: StreamedText
    index: int
    name: str
    head: Members
    rest: Members
    comes: tuple[bytes, bytes]
    goes: tuple[bytes, bytes]
    silent: bool

    def text_of(self, piece: bytes) -> str | None:
        """The text of a piece of a stream that is one of these and no more; None of any other."""
        return self.text_in(piece[6:-2]) if piece.startswith(b"data: ") and piece.endswith(b"\n\n") else None

    def text_in(self, data: bytes) -> str | None:
        """The text of an event that is one of these; None of any other."""
        before, behind = self.comes
        if not data.startswith(before):
            return None
        if not data.endswith(behind):
            data = _PADDING.sub(b"}", data)
            if not data.endswith(behind):
                return None
        try:
            # With its quotes, which `comes` has too: no line ends between them.
            return _string.decode(data[len(before) - 1 : len(data) - len(behind) + 1])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def saying(self, text: str) -> bytes:
        """The event that says this text."""
        return _encode(text).join(self.goes)


def learn(
    data: bytes, top: Members, choice: ChoiceScreen, *, head: Members, rest: Members
) -> KnownEvent | None:
    """What the event `data`, of the members `top`, tells of those like it. None where it says anything but
    one text of its only choice."""
    members = read_list(top.get("choices"))
    if len(data) > BYTES_MAX or len(members) != 1 or not _none(top.get("usage")):
        return None
    name = _only_text(members[0])
    comes = _around(data, name) if name is not None else None
    if name is None or comes is None:
        return None
    said, silent = choice.saying(members[0], name, _MARK)
    goes = _encode({**rest, "choices": [said]}).split(_MARKED)
    if len(goes) != 2:
        return None
    return KnownEvent(
        choice=choice,
        text=choice.text(name),
        index=read_number(members[0].get("index")),
        name=name,
        head=head,
        rest=rest,
        comes=(comes[0] + b'"', b'"' + comes[1]),
        goes=(goes[0], goes[1]),
        silent=silent,
    )


def _only_text(member: Members) -> str | None:
    """The name of the text that is all that a choice says; None where there is more to it."""
    delta = read_object(member.get("delta")) or {}
    if "message" in member or not _none(member.get("finish_reason")) or any(name in delta for name in CALLS):
        return None
    said = [(name, raw) for name, raw in delta.items() if name in TEXTS and not _none(raw)]
    said += [("text", raw) for name, raw in member.items() if name == "text" and not _none(raw)]
    if len(said) != 1 or said[0][0] not in _KNOWN or not read_text(said[0][1]):
        return None
    return said[0][0]


def _none(raw: msgspec.Raw | None) -> bool:
    return raw is None or bytes(raw) == b"null"


def _around(data: bytes, name: str) -> tuple[bytes, bytes] | None:
    """The bytes of an event before and behind the text of its only choice."""
    data = _PADDING.sub(b"}", data)
    strings = re.finditer(rb'"%s"\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+")' % name.encode(), data)
    for found in itertools.islice(strings, PLACES_MAX):
        before, behind = data[: found.start(1)], data[found.end(1) :]
        try:
            choice = _event.decode(_MARKED.join((before, behind))).choices[0]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if (choice.text if name == "text" else (choice.delta or {}).get(name)) == _MARK:
            return before, behind
    return None
