"""Changing one member of a JSON object and leaving every other byte as it was sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import accumulate

import msgspec

from airboss.gateway.outline import Outline, Span
from airboss.providers.outbox import Pieces

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]', re.DOTALL)
_OPEN, _CLOSE = b"{[", b"}]"


def member_spans(text: bytes) -> dict[bytes, list[Span]]:
    """Where the values of an object's members stand, without the white space around them, by the member's
    name as written, in quotes.

    `text` must be a valid JSON object. A name written twice has two spans; one with escapes stays escaped.
    """
    spans: dict[bytes, list[Span]] = {}
    depth = 0
    name = b""
    start = -1
    for token in _TOKEN.finditer(text):
        mark = token.group()
        first = mark[:1]
        if first in _OPEN:
            depth += 1
        elif first in _CLOSE:
            depth -= 1
            if depth == 0 and start >= 0:
                spans.setdefault(name, []).append(_trimmed(text, start, token.start()))
        elif depth != 1:
            continue
        elif first == b'"':
            if start < 0:
                name = mark
        elif first == b":":
            start = token.end()
        else:
            spans.setdefault(name, []).append(_trimmed(text, start, token.start()))
            start = -1
    return spans


_SAYS_NOTHING_OF_DEPTH = bytes(set(range(256)) - set(b'[]{}"\\/bfnrtu'))
"""All but brackets, quotes, backslashes and what may follow one."""
LONG = 16 * 1024
"""From so many bytes on a text is not looked through for what can be known without."""
COUNTED = 2 * 1024
"""Of so many bytes a mark's are counted; beyond that it is quicker to look for each."""
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")
"""Up and down, as signed bytes."""
DEPTH_MAX = 200
MEMBERS_MAX = 16_384
"""In a body's object: with places for a million of them a worker would be busy for seconds."""
FLOOD = 256 * 1024
"""Bytes below which there cannot be so many that it matters."""
_LEVELS = 4
"""So many are taken off at once."""


def too_deep(text: bytes) -> bool:
    """Whether valid JSON nests deeper than DEPTH_MAX: more than what reads it later can bear."""
    if len(text) <= 2 * DEPTH_MAX:
        return False
    if len(text) >= LONG:
        text = _outlined(text).text
    if len(text) < COUNTED:
        if text.count(b"[") + text.count(b"{") <= DEPTH_MAX:
            return False
    elif _seldom(text, b"[") + _seldom(text, b"{") <= DEPTH_MAX:
        return False
    if len(text) >= LONG:
        text = text.translate(None, _SAYS_NOTHING_OF_DEPTH)
    # A run of backslashes begins with one that escapes: what is left of it escapes a quote or a letter.
    quoted = text.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    brackets = b"".join(quoted[::2]).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(_LEVELS):
        if not brackets:
            return False
        # Each turn takes off the innermost level, whatever its width.
        brackets = brackets.replace(b"[]", b"")
    # Of what is deep in many places each turn would take off little.
    return max(accumulate(memoryview(brackets.translate(_STEPS)).cast("b")), default=0) + _LEVELS > DEPTH_MAX


_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


_TIGHT, _SPACED = (b'"%s":', b","), (b'"%s": ', b", ")
"""How nearly everybody writes objects: before a value, and between members."""
_latest: tuple[bytes, dict[str, Span] | None] = (b"", None)
_latest_outline = Outline(b"", (), b"")


def remember(outline: Outline) -> None:
    """Have this outline of a long text stand for it, until the next."""
    global _latest_outline  # noqa: PLW0603 - one worker reads one body at a time
    _latest_outline = outline


def _outlined(text: bytes) -> Outline:
    """What is known to be the outline of `text`, which may be all of it."""
    return _latest_outline if _latest_outline.whole is text else Outline(text, (), text)


def _places(text: bytes) -> dict[str, Span] | None:
    """Where the values of the long object `text` stand, if it is written without white space between its
    members and without escapes in their names, or as Python writes it. None for any other, and where a name
    stands twice. Of the same text it is known until the next: reading it through takes longest."""
    global _latest  # noqa: PLW0603 - one worker reads one body at a time
    latest, places = _latest
    if latest is not text:
        known = _outlined(text)
        kept = _raw_members(known.text)
        lengths = {name: len(value) for name, value in kept.items()}
        del kept
        places = _laid_out(known.text, lengths, *_TIGHT)
        if places is None:
            places = _laid_out(known.text, lengths, *_SPACED)
        if places is not None and known.cuts:
            places = {name: (known.back(start), known.back(end)) for name, (start, end) in places.items()}
        _latest = text, places
    return places


def _forget() -> None:
    global _latest, _latest_outline  # noqa: PLW0603 - as above
    _latest = b"", None
    _latest_outline = Outline(b"", (), b"")


def _laid_out(text: bytes, lengths: dict[str, int], before: bytes, between: bytes) -> dict[str, Span] | None:
    """Where values of these lengths stand in `text`, if all around them is as given."""
    places = {}
    at = 1
    for name, length in lengths.items():
        lead = before % name.encode()
        if not text.startswith(lead, at):
            return None
        start = at + len(lead)
        places[name] = start, start + length
        at = start + length + len(between)
        if not text.startswith(between, start + length):
            break
    return places if len(places) == len(lengths) and at - len(between) == len(text) - 1 else None


def stands_in(member: str, spans: Iterable[Span], text: bytes) -> bool:
    """Whether all spans are known to lie in the value of a member of the long object `text`."""
    places = _places(text)
    if places is None or member not in places:
        return False
    start, end = places[member]
    return all(start < first and last < end for first, last in spans)


def repeated_member(text: bytes) -> str | None:
    """The name of a member that the object `text` has twice; None if there is none. Which of the two counts
    is up to the reader, and there is more than one."""
    if len(text) >= LONG:
        if _places(text) is not None:
            return None
        text = _outlined(text).text
    kept = _raw_members(text)
    if _encode(kept) == text:  # nothing was left out
        return None
    # Quotes, colons, commas, braces and spaces are all the rest, so that nothing was left out.
    names = "".join(kept)
    more = len(text) - len(names) - sum(map(len, kept.values())) - 4 * len(kept) - 1
    if more == text.count(b" ") - b"".join(kept.values()).count(b" ") - names.count(" "):
        return None
    pairs: list[tuple[str, object]] = []

    def outermost(last: list[tuple[str, object]]) -> None:
        nonlocal pairs
        pairs = last

    json.loads(text, object_pairs_hook=outermost, parse_int=_unread, parse_float=_unread)
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            return name
        seen.add(name)
    return None


class _Member:
    """A value that nobody looks at."""


class _TooMany(Exception):
    pass


def has_too_many(text: bytes) -> bool:
    """Whether the object `text` has more than MEMBERS_MAX members. False of what is no JSON."""
    if len(text) < FLOOD or _seldom(text, b":") <= DEPTH_MAX or text.count(b":") <= MEMBERS_MAX:
        return False
    found = 0

    def counted(_type: type, _value: object) -> _Member:
        nonlocal found
        found += 1
        if found > MEMBERS_MAX:
            raise _TooMany
        return _Member()

    try:
        msgspec.json.Decoder(dict[str, _Member], dec_hook=counted).decode(text)
    except _TooMany:
        return True
    except (msgspec.MsgspecError, RecursionError):
        pass
    return False


def _unread(_: str) -> None:
    """A number that nobody looks at."""


def _seldom(text: bytes, mark: bytes) -> int:
    """How often a byte stands in a long `text`, counted no further than to DEPTH_MAX + 1."""
    # `find` goes 25 times as fast as `count` where there is little to be found.
    at, found = -1, 0
    while found <= DEPTH_MAX and (at := text.find(mark, at + 1)) >= 0:
        found += 1
    return found


def _trimmed(text: bytes, start: int, end: int) -> Span:
    value = text[start:end]
    left = len(value) - len(value.lstrip(b" \t\r\n"))
    return start + left, start + len(value.rstrip(b" \t\r\n"))


def replace(text: bytes, changes: list[tuple[Span, bytes]]) -> bytes:
    """`text` with each span replaced; spans do not overlap."""
    pieces = []
    at = 0
    for (start, end), value in sorted(changes):
        pieces += [text[at:start], value]
        at = end
    pieces.append(text[at:])
    return b"".join(pieces)


def insert_member(text: bytes, member: bytes) -> bytes:
    """`text`, an object that is not empty, with `member` (name, colon and value) put first."""
    brace = text.index(b"{") + 1
    return b"%s%s,%s" % (text[:brace], member, text[brace:])


def in_pieces(text: bytes, values: dict[str, bytes]) -> Pieces | None:
    """The long object `text` with these values of members, new ones put first; None where its members are not
    laid out as usual."""
    places = _places(text)
    if places is None:
        return None
    _forget()
    new = [b'"%s":%s,' % (name.encode(), value) for name, value in values.items() if name not in places]
    whole = memoryview(text)
    parts: list[bytes | memoryview] = [b"{" + b"".join(new)]
    at = 1
    for (start, end), value in sorted((places[name], values[name]) for name in values if name in places):
        parts += [whole[at:start], value]
        at = end
    return Pieces((*parts, whole[at:]))


def long_member(text: bytes, name: str) -> bytes | None:
    """The value of a member of the long object `text`, where its members are laid out as usual."""
    places = _places(text) or {}
    return text[slice(*places[name])] if name in places else None


def members(text: bytes) -> dict[str, bytes]:
    """An object's members by name, their values as written; of a name written twice the last counts."""
    places = _places(text) if len(text) >= LONG else None
    if places is not None:
        return {name: text[start:end] for name, (start, end) in places.items()}
    return {
        _decoded(name) if b"\\" in name else name[1:-1].decode(): text[start:end]
        for name, places in member_spans(text).items()
        for start, end in places
    }


def join_members(values: dict[str, bytes]) -> bytes:
    """The object with these members; `members` of it gives them back."""
    return b"{%s}" % b",".join(b"%s:%s" % (_encode(name), value) for name, value in values.items())


def asking_usage(options: bytes) -> bytes:
    """The value of `stream_options`, which may be null, that asks for the usage besides what it says."""
    said = members(options) if options[:1] == b"{" else {}
    return join_members(said | {"include_usage": b"true"})


_MODEL = re.compile(rb'"model"[ \t\r\n]*:[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*")', re.DOTALL)


def replace_model(text: bytes, model: bytes) -> bytes:
    """The object `text`, known to have a string member `model`, with `model` (JSON, in quotes) as its value.

    The usual body has the bytes `"model"` once and is changed without being scanned; any other is scanned,
    and every member of that name is changed, so that no reader takes another model than the one authorised.
    """
    places = _places(text) if len(text) >= LONG else None
    if places is not None:
        _forget()
        start, end = places["model"]
        whole = memoryview(text)
        return b"".join((whole[:start], model, whole[end:]))
    # Looked for by `find`, which goes several bytes at a time as no pattern does: most clients name it last.
    at = text.find(b'"model"')
    once = at >= 0 and text.find(b'"model"', at + 1) < 0
    if once and (b"\\" not in text or b"\\u00" not in text):
        found = _MODEL.match(text, at)
        if found is not None:
            start, end = found.span(1)
            return text[:start] + model + text[end:]
    changes = [
        (span, model)
        for name, places in member_spans(text).items()
        if name == b'"model"' or (b"\\" in name and _decoded(name) == "model")
        for span in places
    ]
    return replace(text, changes)


_encode = msgspec.json.Encoder().encode


def _decoded(name: bytes) -> str:
    return msgspec.json.decode(name, type=str)
