"""What a worker and its process that finds names say to each other over pipes.

A message is its length (four bytes, little-endian) and a tagged msgpack array. The process opens with
`Ready`; then every `Ask` is answered by its number, in their order.
"""

from __future__ import annotations

from typing import Final

import msgspec

from airboss.governance.names import Spans

LENGTH: Final = 4
MESSAGE_BYTES_MAX: Final = 1024 * 1024


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """The model is loaded; or `wrong` says why it cannot be."""

    wrong: str = ""


class Ask(msgspec.Struct, array_like=True, tag="ask"):
    """Which names are in each of these pieces."""

    number: int
    pieces: tuple[str, ...]


class Found(msgspec.Struct, array_like=True, tag="found"):
    """Those in each."""

    number: int
    spans: tuple[Spans, ...]


class Broken(msgspec.Struct, array_like=True, tag="broken"):
    """An `Ask` that nothing was found out about, for an error of this class."""

    number: int
    error: str


asks: Final = msgspec.msgpack.Decoder(Ask)
answers: Final = msgspec.msgpack.Decoder(Ready | Found | Broken)
_encode = msgspec.msgpack.Encoder().encode


def framed(message: Ready | Ask | Found | Broken) -> bytes:
    """A message as it goes through the pipe."""
    payload = _encode(message)
    return len(payload).to_bytes(LENGTH, "little") + payload
