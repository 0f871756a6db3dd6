"""An upstream's own words, riding with the chat that is read of them, to a client that speaks its dialect.

That they ride with the chat, and are kept nowhere else, lets attempts run beside each other and after each
other. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from airboss.dialects.speech import encode
from airboss.domain.release import Release
from airboss.providers.lenient import without_halves

NOTHING: Final = encode({"choices": [{"index": 0, "delta": {}, "finish_reason": None}]})
"""A piece of chat that says nothing, to carry what was heard."""
OURS: Final = ("prompt_variables", "release_variant")
"""Members of a request that are for the gateway."""
MARK: Final = b'"heard":'
BEHIND_THE_END: Final = (MARK, b'"content_filter_')
"""What marks events that are the client's though they come behind an answer's end: those in a provider's own
words, and those of Azure's filter, where it looks at what is out already."""


class _Heard(msgspec.Struct):
    """What a piece of chat carries besides: the events, or the whole answer, that it was read from; and the
    same as it may be recorded, where that is not what the client is given."""

    heard: list[str] | None = None
    recorded: list[str] | None = None


_heard = msgspec.json.Decoder(_Heard)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def heard_in(chat: bytes) -> list[str] | None:
    """What an upstream said in its own words, where this was read from it."""
    both = both_heard(chat)
    return None if both is None else both[0]


def both_heard(chat: bytes) -> tuple[list[str], list[str]] | None:
    """The same, and what may be recorded of it."""
    try:
        said = _heard.decode(chat)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return None if said.heard is None else (said.heard, said.recorded or said.heard)


def carrying(chat: bytes, heard: Sequence[bytes], recorded: Sequence[bytes] | None = None) -> bytes:
    """A JSON object with what it was read from, and with what may be `recorded` of that."""
    texts = b"%s%s" % (MARK, _texts(heard))
    if recorded is not None:
        texts += b',"recorded":%s' % _texts(recorded)
    return b"%s,%s}" % (chat.rstrip()[:-1], texts)


def alone(chat: bytes) -> bytes:
    """A JSON object without what it was read from: a whole answer in other words is no event of a stream."""
    members = _members.decode(without_halves(chat))
    return encode({name: raw for name, raw in members.items() if name not in {"heard", "recorded"}})


def _texts(heard: Sequence[bytes]) -> bytes:
    return encode([each.decode("utf-8", "replace") for each in heard])


def as_event(type_: str, heard: str) -> bytes:
    """An event as it came."""
    # An event's data over several lines is one text with line ends in it.
    data = heard.replace("\n", "\ndata: ")
    named = f"event: {type_}\n" if type_.isprintable() else ""
    return f"{named}data: {data}\n\n".encode()


def put_parameters(
    changes: dict[str, bytes | None],
    members: Mapping[str, msgspec.Raw],
    release: Release,
    names: Mapping[str, str],
) -> None:
    """Put a release's parameters among a request's members, by their names in its dialect."""
    for params, forced in ((release.params, False), (release.params_force, True)):
        for name, value in params.items():
            if forced or bytes(members.get(names[name], b"null")) == b"null":
                # One alone, of those to stop at, is the only text among them.
                changes[names[name]] = encode([value] if isinstance(value, str) else value)


def before(first: Sequence[object], listed: bytes) -> bytes:
    """A JSON list, or null, with values put before its own, which keep their bytes."""
    rest = listed[1:-1].strip() if listed[:1] == b"[" else b""
    return b"%s,%s]" % (encode(first)[:-1], rest) if rest and first else encode(first) if first else listed
