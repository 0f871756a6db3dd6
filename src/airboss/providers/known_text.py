"""Events of a stream that differ in one text alone, as nearly all of them do: told by their bytes. Pure.

Where the bytes before and behind the text are those of an event that has been read, and what stands between
them is one JSON string, all members but the text are the same too.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, Final

import msgspec

from airboss.providers.compatible import Delta, read_event

LEARNT_MAX: Final = 8
"""So many events of a stream are looked at: where each is of a kind of its own, no more are."""
BYTES_MAX: Final = 8 * 1024
PLACES_MAX: Final = 4
MARK: Final = "?this text?"
MARKED: Final = b'"?this text?"'
_PADDING = re.compile(rb',"obfuscation":"[A-Za-z0-9+/=_-]{0,1024}"\}\Z')
"""OpenAI's, at the end of each event: as long as it must be for the event's length to tell nothing."""


class _Choice(msgspec.Struct):
    text: Any = None
    delta: dict[str, Any] | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice]


_event = msgspec.json.Decoder(_Event)
_string = msgspec.json.Decoder(str)


class KnownText(msgspec.Struct, frozen=True, kw_only=True):
    """Events in which one choice says a text and nothing else: which choice, what the text is called, and
    what stands before and behind it, its quotes among that."""

    index: int
    name: str
    before: bytes
    behind: bytes

    def text_in(self, data: bytes) -> str | None:
        """The text of an event's data that is one of these; None of any other."""
        before, behind = self.before, self.behind
        if not data.startswith(before):
            return None
        if not data.endswith(behind):
            data = _PADDING.sub(b"}", data)
            if not data.endswith(behind):
                return None
        try:
            # With its quotes: no line ends between them.
            return _string.decode(data[len(before) - 1 : len(data) - len(behind) + 1])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    def text_of(self, piece: bytes) -> str | None:
        """The same of a piece of a stream that is one such event and no more."""
        return self.text_in(piece[6:-2]) if piece.startswith(b"data: ") and piece.endswith(b"\n\n") else None


def around(data: bytes, name: str) -> tuple[bytes, bytes] | None:
    """What stands before and behind the text of this name of an event's only choice, its quotes among that;
    None where it is not found."""
    if len(data) > BYTES_MAX:
        return None
    data = _PADDING.sub(b"}", data)
    strings = re.finditer(rb'"%s"\s*+:\s*+("[^"\\]*+(?:\\.[^"\\]*+)*+")' % name.encode(), data)
    for found in itertools.islice(strings, PLACES_MAX):
        before, behind = data[: found.start(1)], data[found.end(1) :]
        try:
            choice = _event.decode(MARKED.join((before, behind))).choices[0]
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if (choice.text if name == "text" else (choice.delta or {}).get(name)) == MARK:
            return before + b'"', b'"' + behind
    return None


_NOTHING = Delta()


def only_text(data: bytes | None) -> KnownText | None:
    """What an event of this data tells of those like it. None where it says anything but one text of its only
    choice. Raises UpstreamFailed for what is no JSON object."""
    if not data:
        return None
    reply = read_event(data)
    choices = reply.choices or ()
    if len(choices) != 1 or reply.usage is not None:
        return None
    choice = choices[0]
    delta = choice.delta or _NOTHING
    name = "text" if choice.text else "content" if delta.content else "reasoning_content"
    said = msgspec.structs.replace(delta, role=None, **({} if choice.text else {name: None}))
    if choice.message is not None or choice.finish_reason or said != _NOTHING:
        return None
    comes = around(data, name)
    if comes is None:
        return None
    return KnownText(index=choice.index, name=name, before=comes[0], behind=comes[1])
