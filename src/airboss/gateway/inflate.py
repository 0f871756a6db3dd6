"""Compressed bodies, unpacked as they come, and read as curl and browsers read them. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from airboss.domain.errors import UpstreamFailed

_GZIP = b"\x1f\x8b"
_CODINGS = {b"gzip": False, b"x-gzip": False, b"deflate": True}
_UNREAD = frozenset({b"br", b"zstd", b"compress", b"x-compress", b"dcb", b"dcz"})
SLICE_BYTES = 256 * 1024
"""Of what a piece comes to, looked at at once."""
_SLICE = 16 * 1024
"""Looked at at once: what follows a member is copied at its end, and there may be many in one read."""


def unpacks(encoding: bytes) -> Inflate | None:
    """What unpacks a body of this `content-encoding`; None where it is not packed. What is no coding (`none`,
    `utf-8`) says nothing, to others too. Raises UpstreamFailed for one that cannot be read here."""
    said = [
        each for each in map(bytes.strip, encoding.lower().split(b",")) if each in _CODINGS or each in _UNREAD
    ]
    if not said:
        return None
    if len(said) > 1 or said[0] in _UNREAD:
        raise UpstreamFailed(f"the upstream sent content-encoding {encoding!r}, unasked")
    # Not asked for, but some servers compress whatever they are told.
    return Inflate(deflate=_CODINGS[said[0]])


def slices(data: bytes) -> Iterable[bytes]:
    """What a piece comes to, in slices: of a small one that is a hundred million events."""
    return (data[at : at + SLICE_BYTES] for at in range(0, len(data), SLICE_BYTES))


class Inflate:
    """Unpacks one body that says `gzip` or, with `deflate`, that.

    Of gzip there may be several members, one after another; what follows them is nobody's. Deflate comes with
    zlib's head or without, as some servers send it; either may be the other.
    """

    def __init__(self, *, deflate: bool) -> None:
        self._deflate = deflate
        self._unpack: zlib._Decompress | None = None
        self._rest = b""
        """Too little to tell what begins."""
        self._ended = False

    @property
    def whole(self) -> bool:
        """Whether all that has begun has ended: it may not, though the body has ended in order."""
        return self._unpack is None and (self._ended or not self._rest)

    def feed(self, data: bytes, most: int) -> bytes:
        """What `data` comes to. Raises UpstreamFailed where it is broken, or more than `most` bytes."""
        try:
            return self._feed(data, most)
        except zlib.error as error:
            raise UpstreamFailed(f"the upstream sent a broken compressed body: {error}") from None

    def _feed(self, data: bytes, most: int) -> bytes:
        out: list[bytes] = []
        left = most
        for at in range(0, len(data), _SLICE):
            rest = self._rest + data[at : at + _SLICE]
            self._rest = b""
            while rest:
                if self._unpack is None:
                    if len(rest) < len(_GZIP):
                        self._rest = rest
                        break
                    self._unpack = self._begun(rest)
                    if self._unpack is None:
                        break
                out.append(self._unpack.decompress(rest, left + 1))
                left -= len(out[-1])
                if left < 0:
                    raise UpstreamFailed(f"the upstream sent more than {most} bytes at once, unpacked")
                rest = self._unpack.unused_data
                if self._unpack.eof:
                    self._ended, self._unpack = True, None
        return b"".join(out)

    def _begun(self, data: bytes) -> zlib._Decompress | None:
        """What unpacks that which begins so; None for what is nobody's."""
        if data.startswith(_GZIP):
            return zlib.decompressobj(31)
        if self._ended:
            return None
        if data[0] & 15 == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0:
            return zlib.decompressobj(15)
        return zlib.decompressobj(-15 if self._deflate else 31)
