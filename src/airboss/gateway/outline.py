"""The outline of a long JSON text: all of it but what its long strings say. Pure.

Depth, names and the places of members are the same in both, and an outline is looked through in a fraction of
the time. What is left out is found by searches for a few bytes, and then made sure of: text from outside may
be made to look like anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

try:
    from ahocorasick_rs import BytesAhoCorasick, MatchKind
except ImportError:  # a platform without a build of it; all the rest works as it does, and slower
    BytesAhoCorasick = None  # type: ignore[assignment,misc]  # no type says "or None" of a name imported

Span = tuple[int, int]
"""Start and end of something in a text, in bytes."""

BEGINNING_CHARS = 4096
"""So much of a call is looked at to find those that begin alike."""
KEPT = BEGINNING_CHARS + 64
"""Of a string without escapes so many bytes stay, or characters where not all are ASCII."""
_STEP = 2 * KEPT
MESSAGE_MIN, SAID_MIN = 1024, 512
"""Bytes of a message, on average, and of what is said, from which on it is worth the trouble."""
_CHARACTER_MAX = 12
"""Bytes of a character in JSON: two escapes."""
_QUOTE = 0x22
_SOUGHT = 32
"""Bytes of a string that it is looked for by."""
_TRIES_MAX = 64
"""So often the beginnings of strings may be found where they are not, in one text."""
_ENDS_VALUE = re.compile(rb"[ \t\r\n]*[,}\]]").match
_OUTSIDE = frozenset(b",:]} \t\r\n")
"""What may come after a quote that ends a string."""


_CONTROLS = 32
"""Characters that no JSON string may hold are those below it."""
_TOGETHER = 16
"""So many of them are looked for by whole vectors."""
_PIECE = 64 * 1024
"""So much is searched at once: a list of all that is found in it could be far longer."""


class Outline(msgspec.Struct, frozen=True):
    """`text` is `whole` without the `cuts`, which are in order and apart."""

    whole: bytes
    cuts: tuple[Span, ...]
    text: bytes

    def back(self, at: int) -> int:
        """Where in the whole stands what is at `at` in the outline."""
        for start, end in self.cuts:
            if at < start:
                break
            at += end - start
        return at

    def without(self, more: Iterable[Span]) -> Outline:
        """The outline with more left out: spans of `text`."""
        return outline(self.whole, (*self.cuts, *((self.back(start), self.back(end)) for start, end in more)))


def outline(whole: bytes, cuts: Iterable[Span]) -> Outline:
    """The outline of `whole` without these spans."""
    apart: list[Span] = []
    for start, end in sorted(cuts):
        if apart and start <= apart[-1][1]:
            apart[-1] = apart[-1][0], max(end, apart[-1][1])
        else:
            apart.append((start, end))
    if not apart:
        return Outline(whole, (), whole)
    view = memoryview(whole)
    starts = (0, *(end for _, end in apart))
    ends = (*(start for start, _ in apart), len(whole))
    text = b"".join([view[start:end] for start, end in zip(starts, ends, strict=True)])
    return Outline(whole, tuple(apart), text)


def plain_ends(text: bytes) -> list[Span]:
    """The ends of long strings without escapes that are values in the object `text`: all but the first KEPT
    bytes of each, and some of their first. The text is valid JSON if it is without these and they hold no
    control character: what looks like such a string and is none is no JSON before the cut either."""
    found = []
    kept = 0
    at = _STEP
    while (close := text.find(b'"', at)) >= 0:
        # Nothing between two quotes is quoted or it all is; what is not begins as only that can.
        opened = text.rfind(b'"', kept, at)
        cut = opened + (KEPT if text[opened : opened + KEPT].isascii() else 4 * KEPT)
        escaped = text.endswith(b"\\", 0, opened) and not text.endswith(b"\\\\", 0, opened)
        inside = opened >= 0 and (escaped or text[opened + 1] not in _OUTSIDE)
        if inside and cut < close and text.find(b"\\", opened, close) < 0 and _ENDS_VALUE(text, close + 1):
            while text[cut] & 0xC0 == 0x80:
                cut -= 1  # to where a character begins
            found.append((cut, close))
            kept = close
        at = close + _STEP
    return found


_control_searches = (
    ()
    if BytesAhoCorasick is None
    else tuple(
        BytesAhoCorasick(
            [bytes([control]) for control in range(first, first + _TOGETHER)],
            matchkind=MatchKind.LeftmostFirst,  # the only kind that is looked for by whole vectors
        ).find_matches_as_indexes
        for first in range(0, _CONTROLS, _TOGETHER)
    )
)


def free_of_controls(text: bytes, spans: Iterable[Span]) -> bool:
    """Whether it is known that no control character stands in the spans: in a fifth of the time that reading
    them as JSON takes."""
    view = memoryview(text)
    return bool(_control_searches) and not any(
        search(view[at : min(at + _PIECE, end)])
        for start, end in spans
        for at in range(start, end, _PIECE)
        for search in _control_searches
    )


class _Message(msgspec.Struct):
    role: str
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Part(msgspec.Struct):
    text: msgspec.Raw = msgspec.Raw(b"null")


class _Chat(msgspec.Struct):
    messages: list[_Message]


_read_chat = msgspec.json.Decoder(_Chat).decode
_read_parts = msgspec.json.Decoder(list[_Part]).decode
_read_string = msgspec.json.Decoder(str).decode


def what_is_said(text: bytes) -> list[Span]:
    """What the messages of the chat request `text` say where it is long. The spans are within strings that
    are values, if not in messages then in the same value elsewhere, as long as the text without them is valid
    JSON. Raises msgspec's errors where `text` is not."""
    messages = _read_chat(text).messages
    said: list[Span] = []
    if len(text) < MESSAGE_MIN * len(messages):
        return said
    strings = _Strings(text)
    for message in messages:
        if len(message.content) < SAID_MIN:
            continue
        content = bytes(message.content)
        texts = (content,) if content[0] == _QUOTE else [bytes(part.text) for part in _read_parts(content)]
        for string in texts:
            if len(string) < SAID_MIN or string[0] != _QUOTE:
                continue
            span = strings.inside(string)
            if span is None:
                return said
            said.append(span)
    return said


def first_said(text: bytes) -> str | None:
    """How what a user says first in the chat request `text` begins, if that is a string."""
    for message in _read_chat(text).messages:
        if message.role == "user":
            content = bytes(message.content)
            return beginning(content) if content[0] == _QUOTE else None
    return None


def beginning(string: bytes) -> str:
    """The first BEGINNING_CHARS characters of a JSON string, or a few more, or all."""
    likely = KEPT * 5 // 4 if string[:KEPT].isascii() else KEPT * 4
    for most in (likely, *(BEGINNING_CHARS * each for each in (3, 6, _CHARACTER_MAX))):
        for end in range(min(most, len(string) - 1), most - _CHARACTER_MAX, -1):
            try:
                said = _read_string(string[:end] + b'"')
            except ValueError:  # the end is within a character
                continue
            if len(said) >= BEGINNING_CHARS:
                return said
            break
    return _read_string(string)


class _Strings:
    """Finds strings in the valid JSON `text`, one after another."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0
        self._tries = _TRIES_MAX

    def inside(self, string: bytes) -> Span | None:
        """Where what `string` says stands; it is a value in the text, given with its quotes, and comes after
        those asked for before. May be the very same value elsewhere, or the end of one. None where it is not
        found soon."""
        # Were the first quote one that ends a string, two would stand side by side in the outline: no JSON.
        text, at = self._text, self._at
        while self._tries and (at := text.find(string[:_SOUGHT], at)) >= 0:
            end = at + len(string)
            if text.startswith(string, at) and _ENDS_VALUE(text, end):
                self._at = end
                return at + 1, end - 1
            at += 1
            self._tries -= 1
        return None
