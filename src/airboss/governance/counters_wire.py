"""What gateways and the counters' owner say to each other on a unix socket.

A message is its length (four bytes, little-endian) and a tagged msgpack array. A worker opens with `Hello`
and waits for `Welcome`; then it sends `Ask` and `Tell`, each of which is answered by its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from airboss.governance.counting import Change, Denied, Grant, Want

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
_LENGTH: Final = 4


class Hello(msgspec.Struct, array_like=True, tag="hello"):
    """A worker is there, and holds this. `line` grows with each of its connections: what one before says is
    not heard any more, as it may come late, from a network that was stuck."""

    worker: str
    held: dict[str, int]
    line: int = 0


class Ask(msgspec.Struct, array_like=True, tag="ask"):
    """`Counters.ask`."""

    number: int
    wants: tuple[Want, ...]


class Tell(msgspec.Struct, array_like=True, tag="tell"):
    """`Counters.tell`; `seq` grows with each."""

    seq: int
    changes: tuple[Change, ...]


class Welcome(msgspec.Struct, array_like=True, tag="welcome"):
    """The number of the last telling of this worker that counted."""

    seq: int


class Given(msgspec.Struct, array_like=True, tag="given"):
    """An `Ask` is granted."""

    number: int
    grants: tuple[Grant, ...]


class Refused(msgspec.Struct, array_like=True, tag="refused"):
    """An `Ask` is not granted."""

    number: int
    denied: Denied


class Heard(msgspec.Struct, array_like=True, tag="heard"):
    """A `Tell` counted, and all before it."""

    seq: int


class Broken(msgspec.Struct, array_like=True, tag="broken"):
    """An `Ask` could not be written down; `reason` says why."""

    number: int
    reason: str


FromWorker = Hello | Ask | Tell
FromOwner = Welcome | Given | Refused | Heard | Broken

from_workers: Final = msgspec.msgpack.Decoder(FromWorker)
from_owners: Final = msgspec.msgpack.Decoder(FromOwner)
_encode = msgspec.msgpack.Encoder().encode


def framed(message: FromWorker | FromOwner) -> bytes:
    """A message as it goes over the socket."""
    payload = _encode(message)
    return len(payload).to_bytes(_LENGTH, "little") + payload


class Messages:
    """Cuts what comes over a socket into messages. Raises ValueError for one that is too long."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole by now."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH:
            length = int.from_bytes(self._buffer[:_LENGTH], "little")
            if length > MESSAGE_BYTES_MAX:
                raise ValueError(f"a message of {length} bytes, of at most {MESSAGE_BYTES_MAX}")
            if len(self._buffer) < _LENGTH + length:
                return
            message = bytes(self._buffer[_LENGTH : _LENGTH + length])
            del self._buffer[: _LENGTH + length]
            yield message
